// SPDX-License-Identifier: Apache-2.0
//! The servers that are compared, as ways from client to backend.

use std::panic::{self, AssertUnwindSafe};
use std::process::Command;

use peers::backends::nginx_folders;
use peers::config::{self, SCRIPT, address, proxy_pass};
use peers::process::{Folder, Process, listens};
use server_tests::ports::ReservedPort;
use server_tests::{Builder, Httpd};

/// The way that all others are compared with.
pub const PLAIN: &str = "plain ProxyPass";

/// Where the members are and what the servers may use.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// How many members.
    pub members: usize,
    /// Their port.
    pub port: u16,
    /// Threads of each of httpd's children.
    pub threads: usize,
}

/// The owner of the code that does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// httpd with what it brings.
    Stock,
    /// This module.
    Own,
    /// Another server.
    Other,
}

/// One way, not started.
pub struct Way {
    /// Its name in tables.
    pub name: String,
    /// The owner of the code that does the work.
    pub kind: Kind,
    start: Box<Start>,
}

type Start = dyn Fn(&Scene) -> Result<Running, String>;

/// A running server, ended when dropped.
pub enum Running {
    /// An httpd.
    Httpd(Box<Httpd>),
    /// Another server and its port.
    Other(Process, ReservedPort),
}

impl Running {
    /// The pid of the first process.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Httpd(httpd) => httpd.pid(),
            Self::Other(process, _) => process.pid(),
        }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        match self {
            Self::Httpd(httpd) => httpd.port(),
            Self::Other(_, port) => port.port(),
        }
    }

    /// The last words of its log.
    pub fn last_words(&self) -> String {
        match self {
            Self::Httpd(httpd) => httpd.error_log().lines().last().unwrap_or_default().to_owned(),
            Self::Other(process, _) => process.output(),
        }
    }
}

impl Way {
    fn new(name: &str, kind: Kind, start: impl Fn(&Scene) -> Result<Running, String> + 'static) -> Self {
        Self { name: name.to_owned(), kind, start: Box::new(start) }
    }

    /// Starts it; whatever goes wrong is an error, so that the others go on.
    pub fn start(&self, scene: &Scene) -> Result<Running, String> {
        caught(|| (self.start)(scene))
    }
}

/// Makes a panic an error.
pub fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("panic").to_owned())
    })
}

/// Every way; plain ProxyPass is the first.
pub fn all() -> Vec<Way> {
    let mut ways = stock_ways();
    ways.extend(other_ways());
    ways.extend(own_ways());
    ways
}

fn stock_ways() -> Vec<Way> {
    let balancer = |name: &str, method: &'static str, lbmethod: &'static str| {
        Way::new(name, Kind::Stock, move |scene| {
            let config = config::balancer("app", 0..scene.members, scene.port, method);
            let modules = ["slotmem_shm", "proxy_balancer", lbmethod];
            stock(scene, &modules, &(config + &proxy_pass("balancer://app")))
        })
    };
    vec![
        Way::new(PLAIN, Kind::Stock, |scene| stock(scene, &[], &plain(scene))),
        balancer("mod_proxy_balancer byrequests", "byrequests", "lbmethod_byrequests"),
        balancer("mod_proxy_balancer bybusyness", "bybusyness", "lbmethod_bybusyness"),
        Way::new("mod_lua as documented", Kind::Stock, |scene| mod_lua(scene, "")),
        Way::new("mod_lua, workers by hand", Kind::Stock, |scene| {
            let workers = (0..scene.members).map(|index| {
                format!("<Proxy \"{}\">\n    ProxySet enablereuse=on\n</Proxy>\n", url(scene, index))
            });
            mod_lua(scene, &(workers.collect::<String>() + "LuaScope thread\n"))
        }),
    ]
}

fn own_ways() -> Vec<Way> {
    let lb = |method: &'static str| {
        let name = format!("lb:// {}", method.split(' ').next().unwrap_or(method));
        Way::new(&name, Kind::Own, move |scene| {
            let pool = config::pool("app", 0..scene.members, scene.port, method);
            httpd(scene, Httpd::builder().config(&(pool + &proxy_pass("lb://app"))))
        })
    };
    let mut ways = vec![Way::new("plain ProxyPass, module loaded", Kind::Own, |scene| {
        let pool = config::pool("app", 0..scene.members, scene.port, "round_robin");
        httpd(scene, Httpd::builder().config(&(pool + &plain(scene))))
    })];
    let methods = [
        "round_robin",
        "random",
        "least_connections",
        "power_of_two",
        "least_latency",
        "consistent_hash key=\"%{REQUEST_URI}\"",
        "maglev key=\"%{REQUEST_URI}\"",
        "rendezvous key=\"%{REQUEST_URI}\"",
        "hash key=\"%{REQUEST_URI}\"",
        "first",
    ];
    ways.extend(methods.map(lb));
    ways.push(Way::new("LuaHookTranslate, script", Kind::Own, |scene| {
        let pool = config::pool("app", 0..scene.members, scene.port, "least_connections");
        let config = pool + "LuaHookTranslate balancer.lua select\n";
        httpd(scene, Httpd::builder().file("balancer.lua", SCRIPT).config(&config))
    }));
    ways
}

fn other_ways() -> Vec<Way> {
    vec![
        Way::new("nginx round robin", Kind::Other, |scene| nginx(scene, "", &nginx_servers(scene), "")),
        Way::new("nginx random two least_conn", Kind::Other, |scene| {
            nginx(scene, "", &format!("random two least_conn;\n{}", nginx_servers(scene)), "")
        }),
        Way::new("nginx balancer_by_lua", Kind::Other, nginx_lua),
        Way::new("HAProxy roundrobin", Kind::Other, |scene| haproxy(scene, "roundrobin")),
        Way::new("HAProxy leastconn", Kind::Other, |scene| haproxy(scene, "leastconn")),
    ]
}

fn url(scene: &Scene, index: usize) -> String {
    format!("http://{}:{}", address(index), scene.port)
}

/// To a member that is as fast as the others: where one is slow, it is the first.
fn plain(scene: &Scene) -> String {
    proxy_pass(&url(scene, scene.members - 1))
}

fn httpd(scene: &Scene, builder: Builder) -> Result<Running, String> {
    let builder = builder.threads(scene.threads).log_level("warn").without_access_log();
    builder.try_start().map(|httpd| Running::Httpd(Box::new(httpd)))
}

fn stock(scene: &Scene, modules: &[&str], config: &str) -> Result<Running, String> {
    let builder = modules.iter().fold(Httpd::builder().stock(), |builder, name| builder.module(name));
    httpd(scene, builder.config(config))
}

/// The hook of httpd's documentation, which picks at random from a list; with the answer OK, as the
/// documented one gets every request a 403.
fn mod_lua(scene: &Scene, config: &str) -> Result<Running, String> {
    let urls: String = (0..scene.members).map(|index| format!("  \"{}\",\n", url(scene, index))).collect();
    let script = format!(
        "local backends = {{\n{urls}}}\nfunction pick(r)\n  r.handler = \"proxy-server\"\n  r.proxyreq = apache2.PROXYREQ_REVERSE\n  \
         r.filename = \"proxy:\" .. backends[math.random(#backends)] .. r.uri\n  return apache2.OK\nend\n"
    );
    let builder = Httpd::builder().stock().module("lua").file("pick.lua", &script);
    let hook = format!("LuaHookTranslateName \"{}/pick.lua\" pick\n", builder.dir().display());
    httpd(scene, builder.config(&format!("{config}{hook}")))
}

fn nginx_servers(scene: &Scene) -> String {
    (0..scene.members).map(|index| format!("server {}:{};\n", address(index), scene.port)).collect()
}

/// As many idle connections kept as members and clients can use, HTTP/1.1 to the members.
fn nginx(scene: &Scene, main: &str, upstream: &str, http: &str) -> Result<Running, String> {
    let (port, folder) = (ReservedPort::new(), Folder::new());
    let zone = if http.is_empty() { "zone app 4m;" } else { "" };
    let config = format!(
        "{main}worker_processes 2; pid {dir}/pid; error_log {dir}/error.log warn; daemon off;\n\
         events {{ worker_connections 16384; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 1200s;\n{folders}{http}\
         upstream app {{\n{zone}\n{upstream}keepalive {idle}; keepalive_requests 1000000000; keepalive_timeout 1200s;\n}}\n\
         server {{ listen 127.0.0.1:{number}; location / {{\n    proxy_pass http://app; proxy_http_version 1.1; \
         proxy_set_header Connection \"\";\n}} }} }}\n",
        dir = folder.path().display(),
        folders = nginx_folders(&folder),
        idle = scene.members + 64,
        number = port.port(),
    );
    let file = folder.write("nginx.conf", &config);
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(file);
    let process = Process::start(command, folder, || listens("127.0.0.1", port.port()))?;
    Ok(Running::Other(process, port))
}

/// Round robin over a list, a sequence in each worker.
fn nginx_lua(scene: &Scene) -> Result<Running, String> {
    let hosts: String = (0..scene.members).map(|index| format!("\"{}\",", address(index))).collect();
    let modules = "/usr/lib/nginx/modules";
    let main =
        format!("load_module {modules}/ndk_http_module.so;\nload_module {modules}/ngx_http_lua_module.so;\n");
    let http = format!("init_by_lua_block {{ hosts = {{{hosts}}} turn = 0 }}\n");
    let upstream = format!(
        "server 0.0.0.1;\nbalancer_by_lua_block {{\n  turn = turn % #hosts + 1\n  \
         require(\"ngx.balancer\").set_current_peer(hosts[turn], {})\n}}\n",
        scene.port
    );
    nginx(scene, &main, &upstream, &http)
}

fn haproxy(scene: &Scene, balance: &str) -> Result<Running, String> {
    let (port, folder) = (ReservedPort::new(), Folder::new());
    let servers: String = (0..scene.members)
        .map(|index| format!("    server m{index} {}:{}\n", address(index), scene.port))
        .collect();
    let config = format!(
        "global\n    nbthread 2\n    maxconn 4000\n\
         defaults\n    mode http\n    timeout connect 5s\n    timeout client 1200s\n    timeout server 60s\n    http-reuse always\n\
         frontend front\n    bind 127.0.0.1:{}\n    default_backend app\n\
         backend app\n    balance {balance}\n    default-server pool-purge-delay 1200s\n{servers}",
        port.port()
    );
    let file = folder.write("haproxy.cfg", &config);
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    let process = Process::start(command, folder, || listens("127.0.0.1", port.port()))?;
    Ok(Running::Other(process, port))
}

/// Many pools of so many members each.
pub fn pools(scene: &Scene, pools: usize, of_members: usize) -> String {
    let pool =
        |index: usize| config::pool(&format!("p{index}"), part(index, of_members), scene.port, "round_robin");
    (0..pools).map(pool).collect()
}

/// The same as balancers of mod_proxy_balancer.
pub fn balancers(scene: &Scene, balancers: usize, of_members: usize) -> String {
    let balancer = |index: usize| {
        config::balancer(&format!("p{index}"), part(index, of_members), scene.port, "byrequests")
    };
    (0..balancers).map(balancer).collect()
}

fn part(index: usize, of_members: usize) -> std::ops::Range<usize> {
    index * of_members..(index + 1) * of_members
}
