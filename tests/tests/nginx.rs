// SPDX-License-Identifier: Apache-2.0
//! The same servers, weights and keys in nginx and in a pool: the same member answers, request for
//! request.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use server_tests::ports::ReservedPort;
use server_tests::{Client, Httpd, Request, wait_until};

const SOON: Duration = Duration::from_secs(15);

/// One server of an upstream: its address, its weight, whether it is out.
#[derive(Clone, Copy)]
struct Server {
    host: &'static str,
    /// Index among the ports.
    port: usize,
    weight: u32,
    down: bool,
}

const fn up(host: &'static str, port: usize, weight: u32) -> Server {
    Server { host, port, weight, down: false }
}

const fn down(host: &'static str, port: usize, weight: u32) -> Server {
    Server { host, port, weight, down: true }
}

/// Servers under both names: nginx's `upstream` and the pool.
struct Upstream {
    name: String,
    servers: Vec<Server>,
    /// nginx's directive, and the pool's lines.
    nginx: &'static str,
    pool: &'static str,
}

/// nginx with one worker (so that its round robin is one sequence), which also plays every server.
struct Nginx {
    process: Child,
    folder: PathBuf,
    front: ReservedPort,
    ports: [ReservedPort; 3],
}

impl Nginx {
    /// Listens at every address of the upstreams but those that are `silent`.
    fn start(test: &str, upstreams: &[Upstream], silent: &[(&str, usize)]) -> Self {
        let ports: [ReservedPort; 3] = Default::default();
        let front = ReservedPort::new();
        let folder = std::env::temp_dir().join(format!("lua-balancer-nginx-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let config = config(upstreams, silent, &folder.display().to_string(), &ports, front.port());
        fs::write(folder.join("nginx.conf"), config).expect("nginx's configuration");
        let process = Command::new("nginx")
            .arg("-c")
            .arg(folder.join("nginx.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx runs (apt-get install nginx)");
        let nginx = Nginx { process, folder, front, ports };
        nginx.wait();
        nginx
    }

    fn wait(&self) {
        let listens = || TcpStream::connect(("127.0.0.1", self.front.port())).is_ok();
        let log = self.folder.join("error.log");
        wait_until(&format!("nginx to listen, see {log:?}"), SOON, listens);
    }

    /// The pools that are the same as the upstreams, and a place for each.
    fn httpd(&self, upstreams: &[Upstream]) -> Httpd {
        let mut builder = Httpd::builder()
            .with_member_states()
            .file("by_script.lua", BY_SCRIPT)
            .config("SetEnvIfExpr \"%{QUERY_STRING} =~ /^k=(.*)$/\" KEY=$1")
            .config("<Location /script>\nLuaHookTranslate by_script.lua\n</Location>");
        for upstream in upstreams {
            let members: String =
                upstream.servers.iter().map(|server| self.member(upstream, server)).collect();
            let Upstream { name, pool, .. } = upstream;
            builder = builder.config(&format!(
                "<LuaBalancerPool {name}>\n{members}{pool}\n</LuaBalancerPool>\nProxyPass /{name} lb://{name}"
            ));
        }
        builder.start()
    }

    fn member(&self, upstream: &Upstream, server: &Server) -> String {
        let port = self.ports[server.port].port();
        // A health check finds out by itself.
        let out = server.down && !upstream.pool.contains("HealthCheck");
        format!(
            "LuaBalancerMember http://{}:{port} weight={}{}\n",
            server.host,
            server.weight,
            if out { " status=+D" } else { "" }
        )
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn config(
    upstreams: &[Upstream],
    silent: &[(&str, usize)],
    dir: &str,
    ports: &[ReservedPort; 3],
    front: u16,
) -> String {
    let mut http = String::new();
    let mut addresses = BTreeSet::new();
    let mut places = String::new();
    for Upstream { name, servers, nginx, .. } in upstreams {
        let mut lines = String::new();
        for server in servers {
            let address = format!("{}:{}", server.host, ports[server.port].port());
            let down = if server.down { " down" } else { "" };
            lines.push_str(&format!("    server {address} weight={}{down};\n", server.weight));
            if !silent.contains(&(server.host, server.port)) {
                addresses.insert(address);
            }
        }
        let method = if nginx.is_empty() { String::new() } else { format!("    {nginx};\n") };
        http.push_str(&format!("  upstream {name} {{\n{method}{lines}  }}\n"));
        places.push_str(&format!("    location /{name} {{ proxy_pass http://{name}; }}\n"));
    }
    for address in addresses {
        http.push_str(&format!(
            "  server {{ listen {address}; location / {{ add_header X-Backend {address}; return 200 ok; }} }}\n"
        ));
    }
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {dir}/{kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/error.log;\nevents {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n{temp}{http}  server {{\n    listen 127.0.0.1:{front};\n{places}  }}\n}}\n"
    )
}

/// `/script/POOL?k=KEY` asks the pool's method by name.
const BY_SCRIPT: &str = r#"
function translate(r)
  local pool = lb.pool(r.uri:match("[^/]+$"))
  local key = (r.args or ""):match("^k=(.*)$") or r.headers_in["X-IP"] or ""
  if pool.name:find("^consistent") then return pool:consistent_hash(key) end
  if pool.name:find("^hash") then return pool:hash(key) end
  return pool:round_robin()
end
"#;

/// Every number of servers, at one port of many addresses, at many ports of one, at both; equal and
/// unequal weights.
fn server_lists() -> Vec<(&'static str, Vec<Server>)> {
    vec![
        ("addresses", vec![up("127.0.1.1", 0, 1), up("127.0.1.2", 0, 1), up("127.0.2.3", 0, 1)]),
        ("ports", vec![up("127.0.0.1", 0, 1), up("127.0.0.1", 1, 1), up("127.0.0.1", 2, 1)]),
        ("weights", vec![up("127.0.1.1", 0, 5), up("127.0.1.2", 1, 1), up("127.0.3.1", 2, 2)]),
        ("heavy", vec![up("127.0.4.9", 0, 100), up("127.0.4.8", 0, 1), up("127.0.4.7", 1, 37)]),
        ("one", vec![up("127.0.5.1", 0, 3)]),
        ("out", vec![up("127.0.1.1", 0, 1), down("127.0.1.2", 0, 1), up("127.0.2.3", 0, 1)]),
        (
            "more_out",
            vec![
                down("127.0.1.1", 0, 5),
                up("127.0.1.2", 1, 1),
                up("127.0.3.1", 2, 2),
                down("127.0.3.2", 2, 1),
                up("127.0.3.3", 0, 4),
            ],
        ),
        ("last_one", vec![down("127.0.1.1", 0, 2), up("127.0.1.2", 0, 1)]),
    ]
}

fn upstreams(kind: &str, nginx: &'static str, pool: &'static str) -> Vec<Upstream> {
    let named = |(name, servers)| Upstream { name: format!("{kind}_{name}"), servers, nginx, pool };
    server_lists().into_iter().map(named).collect()
}

/// Keys as they come: numbers, paths, addresses, odd bytes, of every length.
fn keys() -> Vec<String> {
    let mut keys: Vec<String> = (0..150).map(|n| n.to_string()).collect();
    keys.extend((0..100).map(|n| format!("/shop/item-{}/{n}.html", n * 7919)));
    keys.extend((0..100).map(|n| format!("10.{}.{}.{}", n % 7, n * 3 % 256, n * 31 % 256)));
    keys.extend(["a", "A", "%20", "a+b", "caf%C3%A9", "k=v", ";", "~", "-"].map(str::to_owned));
    keys.extend((1..30).map(|n| "x".repeat(n * n)));
    keys
}

fn asked(client: &mut Client, request: &Request) -> String {
    let response = client.send(request);
    if response.status == 200 { response.backend().to_owned() } else { format!("status {}", response.status) }
}

/// Asks both for every key, and the pool by its directive and by a script, each in turn through two
/// children.
fn assert_same_members(
    nginx: &Nginx,
    httpd: &Httpd,
    upstreams: &[Upstream],
    ask: impl Fn(&str, &str) -> Request,
) {
    let mut theirs = Client::new(nginx.front.port());
    let mut ours: Vec<Client> = httpd.clients_in_children(2, "/probe").into_values().collect();
    let mut wrong = Vec::new();
    for Upstream { name, servers, .. } in upstreams {
        let mut seen = BTreeSet::new();
        for (at, key) in keys().iter().enumerate() {
            let expected = asked(&mut theirs, &ask(&format!("/{name}"), key));
            for place in [format!("/{name}"), format!("/script/{name}")] {
                let found = asked(&mut ours[at % 2], &ask(&place, key));
                if found != expected {
                    wrong.push(format!("{place}, key {key:?}: {found}, nginx: {expected}"));
                }
            }
            seen.insert(expected);
        }
        // The keys of a light server can be few: none of these, at some ports.
        let alive = servers.iter().filter(|server| !server.down).count();
        assert!(seen.len() >= alive.min(2), "{name}: nginx itself used {seen:?}");
    }
    let count = wrong.len();
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{count} differ, among them {wrong:#?}");
    httpd.assert_no_crash();
}

fn by_argument(place: &str, key: &str) -> Request {
    Request::get(&format!("{place}?k={key}"))
}

#[test]
fn consistent_hash_is_hash_consistent() {
    let same = upstreams(
        "consistent",
        "hash $arg_k consistent",
        "LuaBalancerMethod consistent_hash key=\"%{reqenv:KEY}\"",
    );
    let nginx = Nginx::start("consistent", &same, &[]);
    assert_same_members(&nginx, &nginx.httpd(&same), &same, by_argument);
}

#[test]
fn hash_is_hash() {
    let same = upstreams("hash", "hash $arg_k", "LuaBalancerMethod hash key=\"%{reqenv:KEY}\"");
    let nginx = Nginx::start("hash", &same, &[]);
    assert_same_members(&nginx, &nginx.httpd(&same), &same, by_argument);
}

#[test]
fn a_key_by_address_is_hash_by_that_address() {
    let by_address = |place: &str, key: &str| Request::get(place).header("X-IP", key);
    let mut same = upstreams("hash", "hash $http_x_ip", "LuaBalancerMethod hash key=\"%{req:X-IP}\"");
    same.extend(upstreams(
        "consistent",
        "hash $http_x_ip consistent",
        "LuaBalancerMethod consistent_hash key=\"%{req:X-IP}\"",
    ));
    let nginx = Nginx::start("address", &same, &[]);
    assert_same_members(&nginx, &nginx.httpd(&same), &same, by_address);
}

/// A server that nginx is told is down, and that a health check finds down.
#[test]
fn a_member_that_checks_took_out_is_a_server_that_is_down() {
    let servers = vec![up("127.0.1.1", 0, 2), down("127.0.1.2", 0, 1), up("127.0.2.3", 0, 1)];
    let check = "LuaBalancerHealthCheck tcp interval=100ms fall=1 jitter=0%\n";
    let same: Vec<Upstream> = [
        ("consistent", "hash $arg_k consistent", "LuaBalancerMethod consistent_hash key=\"%{reqenv:KEY}\""),
        ("hash", "hash $arg_k", "LuaBalancerMethod hash key=\"%{reqenv:KEY}\""),
    ]
    .into_iter()
    .map(|(name, nginx, method)| {
        let pool: &'static str = String::leak(format!("{check}{method}"));
        Upstream { name: name.to_owned(), servers: servers.clone(), nginx, pool }
    })
    .collect();
    let nginx = Nginx::start("checked", &same, &[("127.0.1.2", 0)]);
    let httpd = nginx.httpd(&same);
    for Upstream { name, .. } in &same {
        let out = format!("127.0.1.2:{}", nginx.ports[0].port());
        wait_until("the silent member to be down", SOON, || httpd.member(name, &out).state == "down");
    }
    assert_same_members(&nginx, &httpd, &same, by_argument);
}

#[test]
fn round_robin_is_the_weighted_round_robin_over_all_children() {
    let vectors: [&[i32]; 12] = [
        &[1, 1, 1],
        &[5, 1, 1],
        &[4, 2, 1],
        &[11, 3],
        &[1, 2, 3, 4, 5],
        &[100, 1, 37],
        &[7],
        &[2, 2, 3, 3],
        // Negative: a server of that weight that is down.
        &[5, -1, 1],
        &[-5, 2, 1],
        &[3, -2, -7, 1],
        &[1, 4, -9],
    ];
    let same: Vec<Upstream> = vectors
        .iter()
        .enumerate()
        .map(|(at, weights)| {
            const HOSTS: [&str; 5] = ["127.0.1.1", "127.0.1.2", "127.0.1.3", "127.0.2.4", "127.0.2.5"];
            let servers = weights.iter().zip(HOSTS).map(|(weight, host)| Server {
                host,
                port: at % 3,
                weight: weight.unsigned_abs(),
                down: *weight < 0,
            });
            Upstream { name: format!("vector{at}"), servers: servers.collect(), nginx: "", pool: "" }
        })
        .collect();
    let nginx = Nginx::start("weights", &same, &[]);
    let httpd = nginx.httpd(&same);
    let mut theirs = Client::new(nginx.front.port());
    let mut ours: Vec<Client> = httpd.clients_in_children(2, "/probe").into_values().collect();
    for (upstream, weights) in same.iter().zip(vectors) {
        let Upstream { name, .. } = upstream;
        let places = [format!("/{name}"), format!("/script/{name}")];
        let expected = theirs.sequence(&places[0], 300);
        // By directive and by script, in either child: one sequence.
        let found: Vec<String> =
            (0..300).map(|at| asked(&mut ours[at % 2], &Request::get(&places[at / 2 % 2]))).collect();
        assert_eq!(found, expected, "weights {weights:?}");
    }
}
