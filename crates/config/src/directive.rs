// SPDX-License-Identifier: Apache-2.0
//! The directives as data.

use std::ffi::CStr;

use balance::keys;

use crate::door_lines;
use crate::kept;
use crate::parse;
use crate::sampling_lines;
use crate::script_lines;
use crate::shared;
use crate::statement::Statement;

/// Where a directive may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contexts {
    /// In the main server alone.
    Server,
    /// In the main server and in virtual hosts.
    Servers,
    /// There, and in sections such as `<Location>`.
    Sections,
    /// Inside `<LuaBalancerPool>`.
    Pool,
    /// In the main server and inside `<LuaBalancerPool>`.
    ServerAndPools,
}

/// Where a directive stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// Inside `<VirtualHost>`.
    pub in_virtual_host: bool,
    /// Inside `<Location>` or another section of requests.
    pub in_section: bool,
}

/// A key of a `key=value` directive.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// The form of its value.
    pub value: &'static str,
    /// Its default; empty where it has to be given.
    pub default: &'static str,
}

type Parse = fn(&str, &str) -> Result<Statement, String>;

/// One directive.
#[derive(Debug)]
pub struct Directive {
    c_name: &'static CStr,
    c_help: &'static CStr,
    /// Where it may stand.
    pub contexts: Contexts,
    /// Its arguments, as the reference writes them.
    pub arguments: &'static str,
    /// Keys that belong to this crate.
    pub own_keys: &'static [Key],
    /// Names of keys that `balance` reads.
    pub keys: &'static [&'static [&'static str]],
    parse: Parse,
}

/// All directives.
pub static DIRECTIVES: &[Directive] = &[
    of(c"<LuaBalancerPool", Contexts::Server, "name", parse::pool)
        .help(c"a pool of members: <LuaBalancerPool name>"),
    of(c"LuaBalancerMember", Contexts::Pool, "url [key=value…]", parse::member)
        .help(c"a member: URL [key=value ...]")
        .keys(&[&keys::MEMBER, keys::MEMBER_CHECK]),
    of(c"LuaBalancerDiscovery", Contexts::Pool, "source [key=value…]", parse::setting)
        .help(c"where members come from: file:PATH, http:URL, dns:NAME:PORT, ... [key=value ...]")
        .keys(&[
            keys::DISCOVERY,
            keys::DISCOVERY_HTTP,
            keys::DISCOVERY_DNS,
            keys::DISCOVERY_ETCD,
            keys::DISCOVERY_CONSUL,
            keys::DISCOVERY_KUBERNETES,
            keys::DISCOVERY_LUA,
        ]),
    of(c"LuaBalancerMethod", Contexts::Pool, "name [key=value…]", parse::setting)
        .help(c"how the pool picks: round_robin, least_connections, ...")
        .keys(&[keys::METHOD]),
    of(c"LuaBalancerHealthCheck", Contexts::Pool, "type [key=value…]", parse::setting)
        .help(c"active checks: none, tcp, http, https, agent, lua, then key=value ...")
        .keys(&[keys::CHECK, keys::CHECK_HTTP, keys::CHECK_HTTPS, keys::CHECK_LUA]),
    of(c"LuaBalancerOutlier", Contexts::Pool, "on|off [key=value…]", parse::setting)
        .help(c"passive checks: on or off, then key=value ...")
        .keys(&[keys::OUTLIER]),
    of(c"LuaBalancerSticky", Contexts::Pool, "cookie=NAME [key=value…]", parse::setting)
        .help(c"sticky sessions: cookie=NAME [key=value ...]")
        .keys(&[keys::STICKY]),
    of(c"LuaBalancerSet", Contexts::Pool, "key=value…", parse::setting)
        .help(c"further settings of the pool: key=value ...")
        .keys(&[keys::SET]),
    of(c"LuaHookTranslate", Contexts::Sections, "script.lua [function]", parse::hook_translate)
        .help(c"selection function: script.lua [function], or a registered name"),
    of(c"LuaHookSelect", Contexts::Sections, "script.lua [function]", parse::hook_select)
        .help(c"selection function after authentication: script.lua [function], or a registered name"),
    of(c"LuaHookFinish", Contexts::Sections, "script.lua [function]", parse::hook_finish)
        .help(c"function called after the response: script.lua [function]"),
    of(c"LuaBalancerShadow", Contexts::Sections, "script.lua [function] [sample=100%]", script_lines::shadow)
        .help(c"function that runs as well and decides nothing: script.lua [function] [sample=100%]")
        .own_keys(&[Key { name: "sample", value: "a percentage", default: "100%" }]),
    of(c"LuaBalancerTimer", Contexts::Server, "script.lua [function] every=10s", parse::timer)
        .help(c"function run by one child: script.lua [function] every=10s")
        .own_keys(&[Key { name: "every", value: "a duration of at least 1ms", default: "" }]),
    of(c"LuaRegisterFunc", Contexts::Servers, "name script.lua [function]", parse::register_func)
        .help(c"name script.lua [function], or: name function(r) ... end"),
    of(c"LuaBalancerPackagePath", Contexts::Servers, "path", parse::package_path)
        .help(c"adds to package.path, for example /etc/apache2/lua/?.lua"),
    of(c"LuaBalancerCodeCache", Contexts::Servers, "stat|forever|never", parse::code_cache)
        .help(c"stat, forever or never"),
    of(c"LuaBalancerScriptLimit", Contexts::Servers, "time=50ms memory=16M", parse::script_limit)
        .help(c"time=50ms memory=16M")
        .own_keys(&[
            Key { name: "time", value: "a duration of at least 1ms", default: "50ms" },
            Key { name: "memory", value: "a size of at least 1M", default: "16M" },
        ]),
    of(
        c"LuaBalancerRollout",
        Contexts::Servers,
        "off|[percent=10%] [for=60s] [errors=1%]",
        script_lines::rollout,
    )
    .help(c"a saved script serves a share of the requests first: off, or percent=10% for=60s errors=1%")
    .own_keys(&[
        Key { name: "percent", value: "a percentage above 0", default: "10%" },
        Key { name: "for", value: "a duration of at least 1s", default: "60s" },
        Key { name: "errors", value: "a percentage", default: "1%" },
    ]),
    of(c"LuaBalancerOnError", Contexts::Sections, "error|decline|pool:NAME", parse::on_error)
        .help(c"error, decline or pool:NAME"),
    of(c"LuaBalancerSandbox", Contexts::Server, "on|off", parse::sandbox).help(c"on or off"),
    of(c"LuaBalancerGeoIP", Contexts::Server, "file.mmdb…", parse::geoip)
        .help(c"MaxMind databases for lb.geo: file.mmdb [file.mmdb ...]"),
    of(c"LuaBalancerDict", Contexts::Server, "name size", parse::dict)
        .help(c"a store for scripts in shared memory: name size"),
    of(c"LuaBalancerMaxMembers", Contexts::Server, "1024", parse::max_members)
        .help(c"room for members added while running"),
    of(c"LuaBalancerSocket", Contexts::Server, "path|none [mode=0600] [group=NAME]", door_lines::socket)
        .help(c"the socket of the control plane: path or none, then mode= and group=")
        .own_keys(&[
            Key { name: "mode", value: "rights of a file, octal", default: "0600" },
            Key { name: "group", value: "a group of the system", default: "" },
        ]),
    of(
        c"LuaBalancerMetrics",
        Contexts::Server,
        "off|[listen=ADDR:PORT] [members=auto] [histograms=members] [max_series=50000]",
        door_lines::metrics,
    )
    .help(c"off, or listen=ADDR:PORT members=auto|on|off histograms=members|pools|off max_series=50000")
    .own_keys(&[
        Key { name: "listen", value: "an address and a port", default: "" },
        Key { name: "members", value: "auto, on or off", default: "auto" },
        Key { name: "histograms", value: "members, pools or off", default: "members" },
        Key { name: "max_series", value: "a number of at least 1", default: "50000" },
    ]),
    of(
        c"LuaBalancerDecisions",
        Contexts::Server,
        "off|[size=512] [sample=1%] [always=errors,retries]",
        sampling_lines::decisions,
    )
    .help(c"decisions that are kept to be looked at: off, or size=512 sample=1% always=errors,retries")
    .own_keys(&[
        Key { name: "size", value: "a number from 1 to 65536", default: "512" },
        Key { name: "sample", value: "a percentage", default: "1%" },
        Key {
            name: "always",
            value: "errors, retries, both with a comma, or none",
            default: "errors,retries",
        },
    ]),
    of(
        c"LuaBalancerAdmin",
        Contexts::Sections,
        "on|off [anonymous=on] [origin=https://HOST]",
        door_lines::admin,
    )
    .help(c"whether SetHandler lua-balancer takes changes here: on or off, then anonymous=on and origin=")
    .own_keys(&[
        Key { name: "anonymous", value: "on or off", default: "" },
        Key { name: "origin", value: "a scheme and a host", default: "" },
    ]),
    of(
        c"LuaBalancerStateFile",
        Contexts::Server,
        "path|none [max_age=7d] [health_age=60s]",
        kept::state_file,
    )
    .help(c"the file that keeps orders over stops: path or none, then max_age= and health_age=")
    .own_keys(&[
        Key { name: "max_age", value: "a duration", default: "7d" },
        Key { name: "health_age", value: "a duration", default: "60s" },
    ]),
    of(c"LuaBalancerStore", Contexts::Server, "etcd:URL,…/PREFIX [key=value…]", shared::store)
        .help(c"the etcd by which several servers share orders: etcd:URL,.../PREFIX [key=value ...]")
        .keys(&[keys::DISCOVERY_ETCD]),
    of(
        c"LuaBalancerShare",
        Contexts::ServerAndPools,
        "none|orders health[=show|quorum] limits",
        shared::share,
    )
    .help(c"what several servers share by LuaBalancerStore: none, or orders health[=show|quorum] limits"),
];

const fn of(c_name: &'static CStr, contexts: Contexts, arguments: &'static str, parse: Parse) -> Directive {
    Directive { c_name, c_help: c"", contexts, arguments, own_keys: &[], keys: &[], parse }
}

impl Directive {
    const fn help(mut self, help: &'static CStr) -> Self {
        self.c_help = help;
        self
    }

    const fn own_keys(mut self, keys: &'static [Key]) -> Self {
        self.own_keys = keys;
        self
    }

    const fn keys(mut self, keys: &'static [&'static [&'static str]]) -> Self {
        self.keys = keys;
        self
    }

    /// The name as httpd wants it: of a section with its `<`.
    pub const fn c_name(&self) -> &'static CStr {
        self.c_name
    }

    /// One line of help, as httpd wants it.
    pub const fn c_help(&self) -> &'static CStr {
        self.c_help
    }

    /// The name, of a section without its `<`.
    pub fn name(&self) -> &'static str {
        self.c_name.to_str().unwrap_or_default().trim_start_matches('<')
    }

    /// Names of all its keys.
    pub fn key_names(&self) -> impl Iterator<Item = &'static str> {
        let own = self.own_keys.iter().map(|key| key.name);
        own.chain(self.keys.iter().flat_map(|group| group.iter().copied()))
    }

    /// Reads its arguments. The error has the directive's name in front.
    pub fn read(&self, standing: Standing, args: &str) -> Result<Statement, String> {
        let statement = self.check_standing(standing).and_then(|()| (self.parse)(self.name(), args));
        statement.map_err(|text| self.named(&text))
    }

    /// An error's text with the directive's name. A statement inside a section names itself.
    pub fn named(&self, text: &str) -> String {
        if text.starts_with("LuaBalancer") { text.to_owned() } else { format!("{}: {text}", self.name()) }
    }

    /// Whether it may stand inside `<LuaBalancerPool>`.
    pub fn is_of_pools(&self) -> bool {
        matches!(self.contexts, Contexts::Pool | Contexts::ServerAndPools)
    }

    fn is_section(&self) -> bool {
        self.c_name.to_bytes().starts_with(b"<")
    }

    /// Refuses the places that httpd itself takes: to it, server and virtual host are one place.
    fn check_standing(&self, standing: Standing) -> Result<(), String> {
        let is_elsewhere = standing.in_virtual_host || self.is_section() && standing.in_section;
        if !matches!(self.contexts, Contexts::Server | Contexts::ServerAndPools) || !is_elsewhere {
            return Ok(());
        }
        Err(if self.is_section() {
            "a pool belongs to the server as a whole: write it outside of <VirtualHost> and <Location>".into()
        } else {
            "holds for the server as a whole: write it outside of <VirtualHost>".into()
        })
    }
}

/// Refuses what cannot stand inside of `<LuaBalancerPool>`: directives with their lines.
pub(crate) fn check_inside_pool(inside: &[(String, u32)]) -> Result<(), String> {
    let belongs = |name: &str| {
        let mut own = DIRECTIVES.iter().filter(|known| known.is_of_pools());
        own.any(|known| known.name().eq_ignore_ascii_case(name))
    };
    match inside.iter().find(|(name, _)| !belongs(name)) {
        None => Ok(()),
        Some((name, line)) => Err(format!(
            "{name} (line {line}) cannot stand inside <LuaBalancerPool>: expected {}",
            alternatives()
        )),
    }
}

/// The directives of a pool: `A, B or C`.
fn alternatives() -> String {
    let own = DIRECTIVES.iter().filter(|known| known.is_of_pools());
    let names: Vec<&str> = own.map(Directive::name).collect();
    match names.split_last() {
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
