// SPDX-License-Identifier: Apache-2.0
//! Lines of mod_proxy_balancer's configuration with the directive's name changed: they mean what
//! they meant, or configtest says what to write. Stock httpd is asked beside.

use std::fs;
use std::os::unix::net::UnixListener;
use std::thread;

use server_tests::httpd::ConfigTest;
use server_tests::{Backend, Builder, Httpd, wait_until};

const STOCK: [&str; 8] = [
    "slotmem_shm",
    "proxy_balancer",
    "lbmethod_byrequests",
    "lbmethod_bybusyness",
    "lbmethod_bytraffic",
    "watchdog",
    "proxy_hcheck",
    "proxy_ajp",
];

/// Modules that a balancer's lines may need; what is built into httpd is left out.
fn with_all(builder: Builder) -> Builder {
    STOCK
        .iter()
        .fold(builder, |builder, name| if *name == "watchdog" { builder } else { builder.module(name) })
}

/// The members and settings of a balancer, as they stand in a stock configuration and in a pool.
fn stock_lines(members: &[&str], settings: &str) -> String {
    let members: String = members.iter().map(|line| format!("BalancerMember {line}\n")).collect();
    let settings = if settings.is_empty() { String::new() } else { format!("ProxySet {settings}\n") };
    format!("<Proxy \"balancer://app\">\n{members}{settings}</Proxy>\nProxyPass /app balancer://app\n")
}

fn pool_lines(members: &[&str], settings: &str) -> String {
    let members: String = members.iter().map(|line| format!("LuaBalancerMember {line}\n")).collect();
    let settings = if settings.is_empty() { String::new() } else { format!("LuaBalancerSet {settings}\n") };
    format!("<LuaBalancerPool app>\n{members}{settings}</LuaBalancerPool>\nProxyPass /app lb://app\n")
}

fn tests_of(members: &[&str], settings: &str) -> (ConfigTest, ConfigTest) {
    let stock = with_all(Httpd::builder().stock()).config(&stock_lines(members, settings)).configtest();
    let own = with_all(Httpd::builder()).config(&pool_lines(members, settings)).configtest();
    (stock, own)
}

/// A backend behind a unix socket, which says `socket`.
fn socket_backend(path: &std::path::Path) {
    use std::io::{Read, Write};
    let listener = UnixListener::bind(path).expect("bind a socket");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(path, mode).expect("open the socket");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut seen = Vec::new();
            let mut piece = [0; 512];
            while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut piece) {
                    Ok(read) if read > 0 => seen.extend_from_slice(&piece[..read]),
                    _ => break,
                }
            }
            let path = String::from_utf8_lossy(&seen).split(' ').nth(1).unwrap_or_default().to_owned();
            let body = format!("socket {path}");
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
}

#[test]
fn a_socket_member_may_leave_its_host_out() {
    for form in ["http:", "http://", "http://localhost", "http:///inner", "http://localhost/inner"] {
        let serve = |builder: Builder, lines: &dyn Fn(&str) -> String| {
            let path = builder.dir().join("app.sock");
            socket_backend(&path);
            let text = lines(&format!("unix:{}|{form}", path.display()));
            let httpd = with_all(builder).config(&text).start();
            httpd.client().get("/app/x").text()
        };
        let stock = serve(Httpd::builder().stock(), &|line| stock_lines(&[line], ""));
        let own = serve(Httpd::builder(), &|line| pool_lines(&[line], ""));
        assert!(stock.starts_with("socket "), "{form}: {stock}");
        assert_eq!(own, stock, "{form}");
    }
}

#[test]
fn a_relative_socket_is_in_the_runtime_folder() {
    let serve = |builder: Builder, lines: String| {
        socket_backend(&builder.dir().join("run/app.sock"));
        with_all(builder).config(&lines).start().client().get("/app/x").text()
    };
    let line = "unix:app.sock|http:";
    let stock = serve(Httpd::builder().stock(), stock_lines(&[line], ""));
    assert_eq!(stock, "socket /x");
    assert_eq!(serve(Httpd::builder(), pool_lines(&[line], "")), stock);
}

#[test]
fn members_of_one_host_and_port_have_names_of_their_own() {
    let backend = Backend::new("a");
    let url = backend.url();
    let lines = [format!("{url}/one"), format!("{url}/two"), format!("{url} status=+H")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let (stock, own) = tests_of(&lines, "");
    assert!(stock.ok, "{}", stock.output);
    assert!(own.ok, "{}", own.output);
    let httpd = Httpd::builder().config(&pool_lines(&lines, "")).start();
    let mut client = httpd.client();
    for _ in 0..4 {
        assert_eq!(client.get("/app/x").status, 200);
    }
    let paths: Vec<String> = backend.recorded().iter().map(|request| request.uri.clone()).collect();
    assert_eq!(paths.iter().filter(|path| *path == "/one/x").count(), 2, "{paths:?}");
    assert_eq!(paths.iter().filter(|path| *path == "/two/x").count(), 2, "{paths:?}");
    let port = backend.port();
    let names: Vec<String> = httpd.access_log().iter().map(|line| line.env["LB_MEMBER"].clone()).collect();
    assert!(names.contains(&format!("127.0.0.1:{port}")), "{names:?}");
    assert!(names.contains(&format!("127.0.0.1:{port}-2")), "{names:?}");
}

#[test]
fn a_pools_name_has_no_case() {
    let backend = Backend::new("a");
    let script = "function translate(r)\n  if r.uri == '/lua/x' then return lb.pool('APP') end\n  \
                  if r.uri == '/name' then r.err_headers_out['X-Name'] = lb.pool('aPp').name return 404 end\nend";
    let httpd = Httpd::builder()
        .file("pick.lua", script)
        .config(&format!(
            "<LuaBalancerPool App>\nLuaBalancerMember {} name=a\n</LuaBalancerPool>",
            backend.url()
        ))
        .config("ProxyPass /one lb://app\nProxyPass /two lb://APP\nProxyPass /three LB://App")
        .config("RewriteEngine on\nRewriteRule ^/four/(.*) lb://aPP/$1 [P]")
        .config("LuaHookTranslate pick.lua\nLuaBalancerOnError pool:APP")
        .start();
    for path in ["/one/x", "/two/x", "/three/x", "/four/x", "/lua/x"] {
        assert_eq!(httpd.client().get(path).backend(), "a", "{path}");
    }
    assert_eq!(httpd.client().get("/name").header("X-Name"), Some("App"));
    assert_eq!(httpd.wait_for_access("/two/x").env["LB_POOL"], "App");
    let twice = "<LuaBalancerPool app>\nLuaBalancerMember http://127.0.0.1:9\n</LuaBalancerPool>\n\
                 <LuaBalancerPool APP>\nLuaBalancerMember http://127.0.0.1:9\n</LuaBalancerPool>";
    Httpd::builder()
        .config(twice)
        .configtest()
        .assert_error_at("<LuaBalancerPool APP>", &["defined already"]);
}

#[test]
fn a_pool_that_is_spelled_anew_keeps_its_state() {
    let [a, b] = Backend::named(["a", "b"]);
    let members = format!("LuaBalancerMember {} name=a\nLuaBalancerMember {} name=b", a.url(), b.url());
    let mut httpd = Httpd::builder()
        .with_acts()
        .config(&format!("<LuaBalancerPool App>\n{members}\n</LuaBalancerPool>\nProxyPass /app lb://app"))
        .start();
    httpd.act("app/disable/a");
    httpd.edit_config("<LuaBalancerPool App>", "<LuaBalancerPool aPP>");
    httpd.graceful();
    wait_until("the new children alone", std::time::Duration::from_secs(10), || {
        httpd.client().get("/app/x").status == 200 && httpd.wait_for_access("/app/x").env["LB_POOL"] == "aPP"
    });
    for _ in 0..6 {
        assert_eq!(httpd.client().get("/app/x").backend(), "b");
    }
}

#[test]
fn keys_of_mod_proxy_hcheck_are_the_pools_check() {
    let [a, b] = Backend::named(["a", "b"]);
    let keys = "hcmethod=HEAD hcuri=/health hcinterval=200ms hcpasses=1 hcfails=2";
    let lines = [format!("{} {keys}", a.url()), format!("{} {keys}", b.url())];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let httpd = Httpd::builder().with_member_states().config(&pool_lines(&lines, "")).start();
    a.health_status(500);
    let name = format!("127.0.0.1:{}", a.port());
    wait_until("a to be down by its check", std::time::Duration::from_secs(10), || {
        httpd.member("app", &name).state == "down"
    });
    httpd.wait_for_log("pool app: member .* is down: 2 checks failed");
    // The template is the stock module's own directive.
    let template = "ProxyHCTemplate tcp5 hcmethod=tcp hcinterval=5\n";
    let lines = pool_lines(&["http://127.0.0.1:9 hctemplate=tcp5"], "");
    let known = with_all(Httpd::builder()).config(&format!("{template}{lines}")).configtest();
    assert!(known.ok, "{}", known.output);
    let unknown = with_all(Httpd::builder()).config(&lines).configtest();
    unknown.assert_error_at("hctemplate=tcp5", &["ProxyHCTemplate"]);
}

#[test]
fn expressions_of_mod_proxy_hcheck_are_the_pools_check() {
    let [a, b] = Backend::named(["a", "b"]);
    let expressions = "ProxyHCExpr ok234 {%{REQUEST_STATUS} =~ /^[234]/}\n\
                       ProxyHCExpr in_maint \"hc('body') !~ /^b /\"\n";
    let lines = |name: &str| {
        let keys = format!("hcmethod=GET hcuri=/health hcinterval=200ms hcpasses=1 hcfails=1 hcexpr={name}");
        [format!("{} {keys}", a.url()), format!("{} {keys}", b.url())]
    };
    let start = |name: &str| {
        let lines = lines(name);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let stock = with_all(Httpd::builder().stock());
        let stock = stock.config(&format!("{expressions}{}", stock_lines(&lines, ""))).configtest();
        assert!(stock.ok, "{name}: {}", stock.output);
        let own = with_all(Httpd::builder()).with_member_states();
        own.config(&format!("{expressions}{}", pool_lines(&lines, ""))).start()
    };
    let soon = std::time::Duration::from_secs(10);
    let names = [&a, &b].map(|backend| format!("127.0.0.1:{}", backend.port()));
    a.health_status(404);
    b.health_status(503);
    let httpd = start("ok234");
    wait_until("b to be down by its check", soon, || httpd.member("app", &names[1]).state == "down");
    assert_eq!(httpd.member("app", &names[0]).state, "up", "404 is one of 2xx to 4xx");
    drop(httpd);
    // Its body is its name and the path.
    let httpd = start("in_maint");
    wait_until("b to be down by its body", soon, || httpd.member("app", &names[1]).state == "down");
    httpd.wait_for_log("match not_body=.*b");
    assert_eq!(httpd.member("app", &names[0]).state, "up", "whatever its status");
}

#[test]
fn failonstatus_takes_a_member_out_as_in_stock_httpd() {
    let [a, b] = Backend::named(["a", "b"]);
    let members = [a.url(), b.url()];
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let settings = "failonstatus=503";
    let stock = with_all(Httpd::builder().stock()).config(&stock_lines(&members, settings)).start();
    let own = Httpd::builder().config(&pool_lines(&members, settings)).start();
    for httpd in [&stock, &own] {
        a.status(503);
        let answers: Vec<u16> = (0..8).map(|_| httpd.client().get("/app/x").status).collect();
        assert_eq!(answers.iter().filter(|status| **status == 503).count(), 1, "{answers:?}");
        // A status that is not among them takes nobody out.
        a.answer();
    }
    own.wait_for_log("pool app: member .* ejected for .* after 1 consecutive failures, the last one: status");
}

#[test]
fn parameters_of_a_balancers_line_are_taken_or_refused_with_the_line_to_write() {
    let member = "http://127.0.0.1:9";
    // Stock httpd takes all of these.
    for (line, settings) in [
        (member, "stickysession=JSESSIONID|jsessionid"),
        (member, "stickysession=ROUTEID nofailover=On"),
        (member, "lbmethod=byrequests maxattempts=1"),
        (member, "lbmethod=bybusyness stickysession=A stickysessionsep=."),
        (member, "failonstatus=500,503 failontimeout=On"),
        (member, "failontimeout=Off"),
        ("http://127.0.0.1:9 hcmethod=TCP hcinterval=10", ""),
        ("http://127.0.0.1:9 hcmethod=GET hcuri=/ok hcpasses=2 hcfails=3", ""),
        ("http://127.0.0.1:9 hcmethod=OPTIONS", ""),
        (
            "http://127.0.0.1:9 loadfactor=2.5 route=r1 redirect=r2 lbset=1 status=+H retry=5 ping=1 upgrade=ANY",
            "",
        ),
        ("http://127.0.0.1:9 flusher=flush max=10 smax=2 min=0 ttl=60 acquire=100 flushpackets=auto", ""),
    ] {
        let (stock, own) = tests_of(&[line], settings);
        assert!(stock.ok, "{line} {settings}: {}", stock.output);
        assert!(own.ok, "{line} {settings}: {}", own.output);
    }
    for (line, settings, wrong, parts) in [
        (member, "lbmethod=bytraffic", "lbmethod=bytraffic", ["least_connections", "LuaBalancerMethod"]),
        (member, "timeout=5", "timeout=5", ["queue=", "LuaBalancerMember"]),
        (member, "stickysession=A stickysessionsep=!", "stickysessionsep", ["'.' or Off", "script"]),
        (
            "http://127.0.0.1:9 hcmethod=GET hcexpr=odd",
            "",
            "hcexpr=odd",
            ["expect=", "LuaBalancerHealthCheck http"],
        ),
        ("ajp://127.0.0.1:9 hcmethod=CPING", "", "CPING", ["LuaBalancerHealthCheck tcp", "in the pool"]),
    ] {
        let (stock, own) = if line.contains("hcexpr") {
            let expr = "ProxyHCExpr odd {%{HTTP:X-Up} == 'yes'}\n";
            let test = |builder: Builder, lines: String| {
                with_all(builder).config(&format!("{expr}{lines}")).configtest()
            };
            let stock = test(Httpd::builder().stock(), stock_lines(&[line], settings));
            (stock, test(Httpd::builder(), pool_lines(&[line], settings)))
        } else {
            tests_of(&[line], settings)
        };
        assert!(stock.ok, "{line} {settings}: {}", stock.output);
        own.assert_error_at(wrong, &parts);
    }
    let mixed = ["http://127.0.0.1:9 hcmethod=GET", "http://127.0.0.1:10"];
    let (stock, own) = tests_of(&mixed, "");
    assert!(stock.ok, "{}", stock.output);
    own.assert_error_at("http://127.0.0.1:10", &["one check for all", "LuaBalancerHealthCheck http"]);
    let sticky = format!(
        "<LuaBalancerPool app>\nLuaBalancerMember {member}\nLuaBalancerSticky cookie=A|a\n</LuaBalancerPool>"
    );
    Httpd::builder().config(&sticky).configtest().assert_error_at("cookie=A|a", &["cookie=A param=a"]);
}

#[test]
fn a_stock_balancers_sessions_are_found_by_its_own_words() {
    let [a, b] = Backend::named(["a", "b"]);
    let members = [format!("{} route=ra", a.url()), format!("{} route=rb", b.url())];
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let settings = "stickysession=JSESSIONID|jsessionid nofailover=On";
    let stock = with_all(Httpd::builder().stock()).config(&stock_lines(&members, settings)).start();
    let own = Httpd::builder().config(&pool_lines(&members, settings)).start();
    for httpd in [&stock, &own] {
        for path in ["/app/x;jsessionid=1.rb", "/app/x?jsessionid=1.rb"] {
            for _ in 0..3 {
                assert_eq!(httpd.client().get(path).backend(), "b", "{path}");
            }
        }
    }
    b.refuse();
    for httpd in [&stock, &own] {
        assert_eq!(httpd.client().get("/app/x;jsessionid=1.rb").status, 503);
    }
}
