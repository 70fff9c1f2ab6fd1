//! The command table. Directives only parse: what they say goes into `app::config`.
#![allow(unsafe_code)]

mod pool;
mod rewrite;
mod server;

use std::ffi::CString;
use std::os::raw::{c_char, c_int, c_void};
use std::path::Path;

use crate::app::config::{DirConfig, Global, Place, ServerConfig};
use crate::ffi;
use crate::guard::guard;
use crate::httpd;
use crate::httpd::config::Command;

/// What a directive's function gets.
pub struct Context<'c> {
    /// The directive's name, without `<`.
    pub name: &'static str,
    /// httpd's record of it.
    pub command: Command,
    /// The server as a whole.
    pub global: &'c mut Global,
    /// The virtual host that it stands in.
    pub server: &'c mut ServerConfig,
    /// Index of that in [`Global::servers`].
    pub server_index: usize,
    /// The section that it stands in, if any.
    pub section: Option<&'c mut DirConfig>,
}

impl Context<'_> {
    /// File and line.
    pub fn place(&self) -> Place {
        let (file, line) = self.command.place();
        Place { file, line }
    }
}

type Setter = fn(&mut Context<'_>, &str) -> Result<(), String>;

/// Server config, virtual host, section, pool.
const S: c_int = ffi::RSRC_CONF as c_int;
const SVL: c_int = (ffi::RSRC_CONF | ffi::ACCESS_CONF) as c_int;

struct Directive {
    name: &'static str,
    set: Setter,
}

macro_rules! directives {
    ($(($name:literal, $place:expr, $set:path, $help:literal)),* $(,)?) => {
        const DIRECTIVES: &[Directive] = &[$(Directive { name: $name, set: $set }),*];
        const COUNT: usize = DIRECTIVES.len();
        const fn table() -> [ffi::command_rec; COUNT + 3] {
            let mut index = 0usize;
            // An entry without a name ends the table.
            let mut table = [END; COUNT + 3];
            $(
                table[index] = ffi::command_rec {
                    name: concat!($name, "\0").as_ptr().cast(),
                    func: ffi::cmd_func { raw_args: Some(command) },
                    cmd_data: std::ptr::without_provenance_mut(index),
                    req_override: $place,
                    args_how: ffi::RAW_ARGS,
                    errmsg: concat!($help, "\0").as_ptr().cast(),
                };
                index += 1;
            )*
            table[index] = rewrite::RULE;
            table[index + 1] = rewrite::HANDLER;
            table
        }
    };
}

const END: ffi::command_rec = ffi::command_rec {
    name: std::ptr::null(),
    func: ffi::cmd_func { raw_args: None },
    cmd_data: std::ptr::null_mut(),
    req_override: 0,
    args_how: ffi::RAW_ARGS,
    errmsg: std::ptr::null(),
};

directives![
    ("<LuaBalancerPool", S, pool::section, "a pool of members: <LuaBalancerPool name>"),
    ("LuaBalancerMember", S, pool::member, "a member: URL [key=value ...]"),
    ("LuaBalancerMethod", S, pool::setting, "how the pool picks: round_robin, least_connections, ..."),
    (
        "LuaBalancerHealthCheck",
        S,
        pool::setting,
        "active checks: none, tcp, http, https, agent, lua, then key=value ..."
    ),
    ("LuaBalancerOutlier", S, pool::setting, "passive checks: on or off, then key=value ..."),
    ("LuaBalancerSticky", S, pool::setting, "sticky sessions: cookie=NAME [key=value ...]"),
    ("LuaBalancerSet", S, pool::setting, "further settings of the pool: key=value ..."),
    (
        "LuaHookTranslate",
        SVL,
        server::hook_translate,
        "selection function: script.lua [function], or a registered name"
    ),
    (
        "LuaHookSelect",
        SVL,
        server::hook_select,
        "selection function after authentication: script.lua [function], or a registered name"
    ),
    ("LuaHookFinish", SVL, server::hook_finish, "function called after the response: script.lua [function]"),
    ("LuaBalancerTimer", S, server::timer, "function run by one child: script.lua [function] every=10s"),
    ("LuaRegisterFunc", S, server::register_func, "name script.lua [function], or: name function(r) ... end"),
    (
        "LuaBalancerPackagePath",
        S,
        server::package_path,
        "adds to package.path, for example /etc/apache2/lua/?.lua"
    ),
    ("LuaBalancerCodeCache", S, server::code_cache, "stat, forever or never"),
    ("LuaBalancerScriptLimit", S, server::script_limit, "time=50ms memory=16M"),
    ("LuaBalancerOnError", SVL, server::on_error, "error, decline or pool:NAME"),
    ("LuaBalancerSandbox", S, server::sandbox, "on or off"),
    ("LuaBalancerGeoIP", S, server::geoip, "MaxMind databases for lb.geo: file.mmdb [file.mmdb ...]"),
    ("LuaBalancerDict", S, server::dict, "a store for scripts in shared memory: name size"),
    ("LuaBalancerMaxMembers", S, server::max_members, "room for members added while running"),
];

/// The command table of the module record.
pub struct Commands([ffi::command_rec; COUNT + 3]);

// SAFETY: httpd reads the table; its pointers are to static data.
unsafe impl Sync for Commands {}

/// See [`Commands`].
pub static COMMANDS: Commands = Commands(table());

impl Commands {
    /// Its first entry.
    pub const fn as_ptr(&self) -> *const ffi::command_rec {
        self.0.as_ptr()
    }
}

/// Whether a name is a directive that stands inside a pool.
fn belongs_in_pool(name: &str) -> bool {
    [
        "LuaBalancerMember",
        "LuaBalancerMethod",
        "LuaBalancerHealthCheck",
        "LuaBalancerOutlier",
        "LuaBalancerSticky",
        "LuaBalancerSet",
    ]
    .iter()
    .any(|known| known.eq_ignore_ascii_case(name))
}

unsafe extern "C" fn command(
    cmd: *mut ffi::cmd_parms,
    dir: *mut c_void,
    args: *const c_char,
) -> *const c_char {
    guard(c"internal error in a mod_lua_balancer directive".as_ptr(), || {
        // SAFETY: httpd's promise to a directive's function: a valid record, this module's directory configuration, a
        // NUL-terminated argument string.
        unsafe {
            let index = (*(*cmd).cmd).cmd_data.addr();
            let pool = (*cmd).pool;
            let Err(message) = run(&DIRECTIVES[index], cmd, dir, &httpd::text(args)) else {
                return std::ptr::null();
            };
            let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
            ffi::apr_pstrmemdup(pool, message.as_ptr(), message.to_bytes().len() as ffi::apr_size_t)
        }
    })
}

/// # Safety
/// As for a directive's function.
unsafe fn run(
    directive: &Directive,
    cmd: *mut ffi::cmd_parms,
    dir: *mut c_void,
    args: &str,
) -> Result<(), String> {
    // SAFETY: the caller's promise; the server configuration was made by `create_server_config`, the directory's by
    // `create_dir_config`; the configuration phase has one thread.
    unsafe {
        let command = Command::from_ptr(cmd);
        let server = server_config(command.server()).ok_or("internal error: no server configuration")?;
        let global =
            crate::app::startup::global().ok_or("internal error: the configuration was not begun")?;
        let server_index = *server.index.get_or_init(|| {
            global.servers.push(std::ptr::from_ref(server));
            global.servers.len() - 1
        });
        let section = if command.in_section() { dir.cast::<DirConfig>().as_mut() } else { None };
        let name = directive.name.trim_start_matches('<');
        (directive.set)(&mut Context { name, command, global, server, server_index, section }, args)
            // What stands inside a section names itself.
            .map_err(
                |message| {
                    if message.starts_with("LuaBalancer") { message } else { format!("{name}: {message}") }
                },
            )
    }
}

/// This module's configuration of a server.
///
/// # Safety
/// `server` is a live server, in the configuration phase or only read.
pub unsafe fn server_config<'s>(server: *mut ffi::server_rec) -> Option<&'s mut ServerConfig> {
    // SAFETY: the caller's promise; the pointer was made by `create_server_config`.
    unsafe {
        ffi::lb_module_config((*server).module_config, crate::own_module()).cast::<ServerConfig>().as_mut()
    }
}

/// Words of a directive's arguments, as httpd would split them.
fn words(args: &str) -> Result<Vec<String>, String> {
    balance::words::split(args).map_err(|error| error.to_string())
}

/// The file that a script's name means: under ServerRoot, or else in the folder of the installed scripts, where `require` looks as
/// well. There it is found with and without that folder's own name, `lua/`.
fn script_file(context: &Context<'_>, written: &str) -> Result<String, String> {
    let own = context.command.server_relative(written);
    let own = own.ok_or_else(|| format!("'{written}' is no path of a file"))?;
    if Path::new(written).is_absolute() || Path::new(&own).exists() {
        return Ok(own);
    }
    let installed = crate::app::startup::shipped();
    let named = installed.parent().map(|parent| parent.join(written));
    let named = named.filter(|path| path.starts_with(&installed));
    let found = [Some(installed.join(written)), named].into_iter().flatten().find(|path| path.is_file());
    Ok(found.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or(own))
}

/// Makes a server's configuration; dropped with its pool.
pub unsafe extern "C" fn create_server_config(
    pool: *mut ffi::apr_pool_t,
    _: *mut ffi::server_rec,
) -> *mut c_void {
    guard(std::ptr::null_mut(), || {
        // SAFETY: httpd's configuration pool.
        let pool = unsafe { httpd::pool::Pool::from_ptr(pool) };
        pool.map_or(std::ptr::null_mut(), |pool| {
            std::ptr::from_mut(pool.keep(ServerConfig::default())).cast()
        })
    })
}

/// Makes a section's configuration: all zero, which is what `None` is for references.
pub unsafe extern "C" fn create_dir_config(pool: *mut ffi::apr_pool_t, _: *mut c_char) -> *mut c_void {
    guard(std::ptr::null_mut(), || new_dir_config(pool, DirConfig::default()))
}

/// Merges two sections' configurations. Runs for requests too.
pub unsafe extern "C" fn merge_dir_config(
    pool: *mut ffi::apr_pool_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_void {
    guard(outer, || {
        // SAFETY: both were made by `create_dir_config` or here.
        let (outer, inner) = unsafe { (&*outer.cast::<DirConfig>(), &*inner.cast::<DirConfig>()) };
        let mut merged = DirConfig::merged(outer, inner);
        if let (Some(outer), Some(inner)) = (outer.rewrites, inner.rewrites) {
            merged.rewrites = rewrite::both(pool, inner, outer);
        }
        new_dir_config(pool, merged)
    })
}

fn new_dir_config(pool: *mut ffi::apr_pool_t, value: DirConfig) -> *mut c_void {
    // SAFETY: a live pool; the block has the value's size and APR's alignment, which is 8; the value needs no drop.
    unsafe {
        let block = ffi::apr_palloc(pool, size_of::<DirConfig>() as ffi::apr_size_t).cast::<DirConfig>();
        block.write(value);
        block.cast()
    }
}
