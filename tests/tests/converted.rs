// SPDX-License-Identifier: Apache-2.0
//! What `lbctl convert` writes is taken by httpd with the module, and does with requests what the
//! other balancer does: mod_proxy_balancer, nginx and HAProxy, each over the same backends.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use server_tests::httpd::Builder;
use server_tests::ports::ReservedPort;
use server_tests::{Backend, Client, Httpd, Request, ended, lbctl_command, wait_until};

const SOON: Duration = Duration::from_secs(15);

/// Another balancer, with a folder of its own.
struct Other {
    process: Child,
    folder: PathBuf,
    front: ReservedPort,
}

impl Other {
    /// Runs a program with a configuration, in which FRONT is the port and DIR the folder.
    fn start((program, options): (&str, &[&str]), file: &str, text: &str) -> Self {
        let front = ReservedPort::new();
        let folder = std::env::temp_dir().join(format!("lua-balancer-{file}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let text =
            text.replace("FRONT", &front.port().to_string()).replace("DIR", &folder.display().to_string());
        fs::write(folder.join(file), text).expect("a configuration");
        let process = Command::new(program)
            .args(options)
            .arg(folder.join(file))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error} (scripts/deps test installs it)"));
        let other = Other { process, folder, front };
        let listens = || TcpStream::connect(("127.0.0.1", other.front.port())).is_ok();
        wait_until(&format!("{program} to listen"), SOON, listens);
        other
    }

    fn client(&self) -> Client {
        Client::new(self.front.port())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A server with what is written for a configuration of another balancer, behind lines that say
/// what people have to write themselves.
fn converted(from: &str, file: &Path, first: &str) -> Builder {
    let words = ["convert", from, &file.display().to_string()];
    let said = ended(&mut lbctl_command(&words)).done().out;
    Httpd::builder().children(1).with_member_states().config(first).config(&said)
}

fn with_key(place: &str, key: usize) -> Request {
    Request::get(place).header("X-Key", &format!("key{key}"))
}

/// The backends that serve these requests.
fn served(client: &mut Client, requests: &[Request]) -> Vec<String> {
    requests.iter().map(|request| client.send(request).backend().to_owned()).collect()
}

#[test]
fn an_upstream_of_nginx_serves_as_it_did() {
    let [a, b, c, spare] = Backend::named(["a", "b", "c", "spare"]);
    let gone = Backend::refusing("gone");
    let address = |backend: &Backend| format!("127.0.0.1:{}", backend.port());
    let (first, second, third) = (address(&a), address(&b), address(&c));
    let (spare, gone) = (address(&spare), address(&gone));
    let text = format!(
        "daemon off; master_process off; pid DIR/pid; error_log DIR/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n  access_log off; client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;\n\
         \x20 uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;\n\
         \x20 upstream plain {{ server {first} weight=5; server {second}; server {third} weight=2; server {spare} down; }}\n\
         \x20 upstream ring {{ hash $http_x_key consistent; server {first}; server {second} weight=3; server {third}; }}\n\
         \x20 upstream modulo {{ hash $http_x_key; server {first}; server {second} weight=3; server {third}; }}\n\
         \x20 upstream whole {{ hash $request_uri consistent; server {first}; server {second} weight=3; server {third}; }}\n\
         \x20 upstream last {{ server {gone} max_fails=1 fail_timeout=60s; server {spare} backup; }}\n\
         \x20 server {{\n    listen 127.0.0.1:FRONT;\n\
         \x20   location /plain {{ proxy_pass http://plain; }}\n    location /ring {{ proxy_pass http://ring; }}\n\
         \x20   location /modulo {{ proxy_pass http://modulo; }}\n    location /last {{ proxy_pass http://last; }}\n\
         \x20   location /whole/ {{ proxy_pass http://whole; }}\n\
         \x20   location /moved/ {{ proxy_pass http://plain/else/; }}\n  }}\n}}\n"
    );
    let nginx = Other::start(("nginx", &["-c"]), "nginx.conf", &text);
    let httpd = converted("nginx", &nginx.folder.join("nginx.conf"), "").start();
    let (mut theirs, mut ours) = (nginx.client(), httpd.client());
    for place in ["/plain", "/ring", "/modulo", "/last"] {
        let requests: Vec<Request> = (0..120).map(|key| with_key(place, key)).collect();
        assert_eq!(served(&mut ours, &requests), served(&mut theirs, &requests), "{place}");
    }
    // As the client writes it: with and without a query, with escapes, with a host before it.
    let targets =
        ["/whole/N", "/whole/N?", "/whole/N?a=1", "/whole/%6N%20y", "http://www.example.org:80/whole/N?q"];
    let targets = targets.iter().flat_map(|target| (0..10).map(|n| target.replace('N', &n.to_string())));
    let requests: Vec<Request> = targets.map(|target| Request::get(&target)).collect();
    assert_eq!(served(&mut ours, &requests), served(&mut theirs, &requests), "$request_uri");
    let path = |client: &mut Client| client.get("/moved/x?y=1").text();
    let (own, other) = (path(&mut ours), path(&mut theirs));
    let path_of = |text: &str| text.split_whitespace().nth(1).unwrap_or_default().to_owned();
    assert_eq!(path_of(&own), path_of(&other), "{own} {other}");
    httpd.assert_no_crash();
}

#[test]
fn a_balancer_of_httpd_serves_as_it_did() {
    let [a, b, c, spare] = Backend::named(["a", "b", "c", "spare"]);
    let gone = Backend::refusing("gone");
    let text = format!(
        "<Proxy balancer://plain>\nBalancerMember {} loadfactor=5 route=one\nBalancerMember {} route=two\n\
         BalancerMember {} loadfactor=2\nProxySet stickysession=JSESSIONID|jsessionid\n</Proxy>\n\
         <Proxy balancer://last>\nBalancerMember {} retry=60\nBalancerMember {} status=+H\n</Proxy>\n\
         ProxyPass /plain balancer://plain\nProxyPass /last balancer://last\nProxyPass /off !\n",
        a.url(),
        b.url(),
        c.url(),
        gone.url(),
        spare.url(),
    );
    let stock = ["proxy_balancer", "slotmem_shm", "lbmethod_byrequests"]
        .iter()
        .fold(Httpd::builder().children(1), |builder, module| builder.module(module));
    let stock = stock.config(&text).file("balancer.conf", &text).start();
    let httpd = converted("balancer", &stock.dir().join("balancer.conf"), "").start();
    let (mut theirs, mut ours) = (stock.client(), httpd.client());
    for place in ["/plain", "/last"] {
        let requests: Vec<Request> = (0..80).map(|key| with_key(place, key)).collect();
        assert_eq!(served(&mut ours, &requests), served(&mut theirs, &requests), "{place}");
    }
    for route in ["one", "two", "one", "nobody"] {
        let request = Request::get("/plain/x").header("Cookie", &format!("JSESSIONID=s.{route}"));
        let (own, other) = (ours.send(&request), theirs.send(&request));
        assert!(route == "nobody" || own.backend() == other.backend(), "{route}: {own:?} {other:?}");
        assert_eq!((own.status, other.status), (200, 200));
    }
    httpd.assert_no_crash();
}

/// The settings of a pool as the server has them.
fn settings(httpd: &Httpd, pool: &str) -> Value {
    let text = httpd.socket().get(&format!("/api/v1/pools/{pool}")).text();
    serde_json::from_str::<Value>(&text).expect("JSON")["settings"].take()
}

#[test]
fn checks_and_parameters_of_a_balancer_mean_what_the_module_takes_them_for() {
    let [a, b] = Backend::named(["a", "b"]);
    let named = "ProxyHCTemplate deep hcmethod=GET hcuri=/health hcinterval=200ms hcpasses=2\n\
                 ProxyHCExpr fine {%{REQUEST_STATUS} =~ /^[23]/}\n";
    let member = |backend: &Backend| {
        format!("BalancerMember {} hctemplate=deep hcexpr=fine hcfails=2\n", backend.url())
    };
    let inside = format!(
        "{}{}ProxySet stickysession=JSESSIONID|jsessionid nofailover=On failonstatus=501,502 failontimeout=On\n\
         ProxySet maxattempts=4 lbmethod=bybusyness\n",
        member(&a),
        member(&b)
    );
    let text = format!("{named}<Proxy balancer://app>\n{inside}</Proxy>\nProxyPass /app balancer://app\n");
    let folder = std::env::temp_dir().join(format!("lua-balancer-checks-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("httpd.conf");
    fs::write(&file, text).expect("a configuration");
    let converted = converted("balancer", &file, "").start();
    fs::remove_dir_all(folder).expect("to remove the folder");
    // The same lines with only the names of the directives changed.
    let inside = inside.replace("BalancerMember", "LuaBalancerMember").replace("ProxySet", "LuaBalancerSet");
    let modules = Httpd::builder().children(1).module("proxy_hcheck");
    let carried =
        modules.config(&format!("{named}<LuaBalancerPool app>\n{inside}</LuaBalancerPool>")).start();
    let own = settings(&converted, "app");
    assert_eq!(own, settings(&carried, "app"));
    assert_eq!(own["health"]["uri"], "/health", "{own}");
    a.health_status(503);
    let name = format!("127.0.0.1:{}", a.port());
    wait_until("a to be down by its check", SOON, || converted.member("app", &name).state == "down");
    assert_eq!(converted.client().get("/app/x").backend(), "b");
    converted.assert_no_crash();
}

#[test]
fn a_backend_of_haproxy_serves_as_it_did() {
    let [a, b, c, spare] = Backend::named(["a", "b", "c", "spare"]);
    let gone = Backend::refusing("gone");
    let server = |name: &str, backend: &Backend, rest: &str| {
        format!("  server {name} 127.0.0.1:{} {rest}\n", backend.port())
    };
    let text = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n  retries 2\n  option redispatch\n\
         frontend www\n  bind 127.0.0.1:FRONT\n  default_backend plain\n  use_backend last if {{ path_beg /last }}\n\
         backend plain\n  balance roundrobin\n  cookie SRV insert indirect nocache\n{}{}{}{}\
         backend last\n  balance leastconn\n{}{}",
        server("a", &a, "weight 5 cookie one"),
        server("b", &b, "weight 1 cookie two"),
        server("c", &c, "weight 2 cookie three"),
        server("d", &spare, "disabled"),
        server("gone", &gone, "check inter 100ms fall 1"),
        server("spare", &spare, "backup"),
    );
    let haproxy = Other::start(("haproxy", &["-db", "-f"]), "haproxy.cfg", &text);
    let file = haproxy.folder.join("haproxy.cfg");
    let httpd = converted("haproxy", &file, "ProxyPass /last lb://last/last").start();
    let new = |client: &mut Client, place: &str, n: usize| client.shares(place, n);
    wait_until("HAProxy to know that a server is gone", SOON, || haproxy.client().get("/last").status == 200);
    for (place, count) in [("/plain", 80), ("/last", 10)] {
        let (own, other) = (new(&mut httpd.client(), place, count), new(&mut haproxy.client(), place, count));
        assert_eq!(own, other, "{place}");
    }
    // A client stays where its cookie says, which either sets itself.
    for mut client in [httpd.client(), haproxy.client()] {
        let first = client.get("/plain");
        let cookie =
            first.header("Set-Cookie").unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
        assert!(cookie.starts_with("SRV="), "{first:?}");
        for _ in 0..10 {
            let again = client.send(&Request::get("/plain").header("Cookie", &cookie));
            assert_eq!(again.backend(), first.backend(), "{cookie}");
        }
    }
    httpd.assert_no_crash();
}

#[test]
fn odd_and_doubled_names_become_a_configuration_that_httpd_takes() {
    let folder = std::env::temp_dir().join(format!("lua-balancer-odd-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    for (from, text) in [
        (
            "haproxy",
            "backend\n server a 10.0.0.1:80\n server a 10.0.0.2:80\n server a 10.0.0.1:80\n server b/c 10.0.0.3:80\n\
             backend app\n server x 10.0.0.1:80 weight 9999999\n option \\\nbackend app\n server y 10.0.0.1\n\
             backend ..\nlisten\n server z 127.0.0.1:80\nfrontend f\n default_backend app\n\
             default_backend gone\nfrontend g\\\n default_backend app\n",
        ),
        (
            "nginx",
            "upstream a { server 10.0.0.1; server 10.0.0.1; }\nupstream a { server 10.0.0.2; }\nupstream A { }\n\
             upstream { server 10.0.0.3; }\nupstream {}\nupstream \"we ird\" { server \"h 4\"; server h5:99999; }\n\
             upstream _ { hash $request_uri; server 10.0.0.4; }\n\
             server { location / { proxy_pass http://a; } location / { proxy_pass http://A; }\n\
             location /x\\y { proxy_pass http://a; } location '/q\"' { proxy_pass http://a; } }\n",
        ),
        (
            "balancer",
            "<Proxy balancer://>\nBalancerMember http://10.0.0.1\n</Proxy>\n\
             <Proxy balancer://x>\nBalancerMember http://10.0.0.1\nBalancerMember http://10.0.0.1\n</Proxy>\n\
             <Proxy balancer://x>\nBalancerMember http://10.0.0.2\n</Proxy>\n<Proxy balancer://X>\n</Proxy>\n\
             <Location /loc>\nProxyPass balancer://x/y\n</Location>\nProxyPass balancer://x\n\
             ProxyPass / balancer://x/\nProxyPass / balancer://X/\nProxyPass /q balancer://gone/\n\
             ProxyPassMatch ^/a(\\d+) balancer://x/$1\n",
        ),
    ] {
        let file = folder.join(from);
        fs::write(&file, text).expect("a configuration");
        converted(from, &file, "").start();
    }
    fs::remove_dir_all(folder).expect("to remove the folder");
}
