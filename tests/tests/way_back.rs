// SPDX-License-Identifier: Apache-2.0
//! The way back: what names a member comes back as the front's, and nothing else does; cookies can
//! be edited.

use server_tests::client::Response;
use server_tests::httpd::Builder;
use server_tests::{Backend, Httpd, pool};

/// A pool of the backend (with a path) and of one that nobody runs.
fn with_member(backend: &Backend, path: &str) -> Builder {
    Httpd::builder().config(&format!(
        "<LuaBalancerPool app>\n  LuaBalancerMember {0}{path} name=a\n  \
         LuaBalancerMember http://other.example:8080{path} name=other status=+D\n</LuaBalancerPool>",
        backend.url()
    ))
}

fn location(answer: &Response) -> &str {
    answer.header("Location").expect("a Location")
}

/// The Location that a client gets for the one that the member sends.
fn mapped(config: &str, path: &str, target: &str, sent: &str) -> String {
    let backend = Backend::new("a");
    backend.add_header("Location", &sent.replace("MEMBER", &backend.url()));
    backend.status(302);
    let httpd = with_member(&backend, path).config(config).start();
    let answer = httpd.client().get(target);
    assert_eq!(answer.status, 302, "{target}");
    location(&answer).replace(&backend.url(), "MEMBER")
}

#[test]
fn only_what_names_a_member_is_mapped_to_the_prefix_that_is_configured() {
    let pass = "ProxyPass /grafana lb://app";
    for (config, path, target, sent, want) in [
        (pass, "", "/grafana/login", "/grafana/login", "/grafana/login"),
        (pass, "", "/grafana/login", "/login", "/login"),
        (pass, "", "/grafana", "MEMBER/login", "http://localhost/grafana/login"),
        (pass, "", "/grafana/", "MEMBER/login", "http://localhost/grafana/login"),
        (pass, "", "/grafana/a/b", "MEMBER", "http://localhost/grafana"),
        (pass, "", "/grafana//a//b", "MEMBER/x?y=1#z", "http://localhost/grafana/x?y=1#z"),
        (pass, "", "/grafana/x", "http://other.example:8080/x", "http://localhost/grafana/x"),
        (pass, "", "/grafana/x", "HTTP://OTHER.example:8080/X", "http://localhost/grafana/X"),
        (pass, "", "/grafana/x", "http://other.example/x", "http://other.example/x"),
        (pass, "", "/grafana/x", "//other.example:8080/x", "//other.example:8080/x"),
        (pass, "/inner", "/grafana/x", "MEMBER/inner/login", "http://localhost/grafana/login"),
        (pass, "/inner", "/grafana/x", "MEMBER/innermost", "MEMBER/innermost"),
        (pass, "/inner", "/grafana/x", "MEMBER/login", "MEMBER/login"),
        (pass, "/inner", "/grafana/x", "/inner/login", "/inner/login"),
        ("ProxyPass /app lb://app/deep", "/inner", "/app/x", "MEMBER/inner/deep/y", "http://localhost/app/y"),
        ("ProxyPass /app/ lb://app/", "", "/app/x", "MEMBER/y", "http://localhost/app/y"),
        ("ProxyPass / lb://app/", "/inner", "/x", "MEMBER/inner/y", "http://localhost/y"),
        ("ProxyPass /app lb://app nocanon", "", "/app/a%20b?q=/x", "MEMBER/y", "http://localhost/app/y"),
        (
            "<Location /app>\nProxyPass lb://app/deep\n</Location>",
            "",
            "/app/x",
            "MEMBER/deep/y",
            "http://localhost/app/y",
        ),
        (
            "<Location /app>\nSetHandler proxy:lb://app\n</Location>",
            "",
            "/app/x",
            "MEMBER/app/y",
            "http://localhost/app/y",
        ),
        (
            "<Location /app>\nSetHandler proxy:lb://app/pre\n</Location>",
            "/in",
            "/app/x",
            "MEMBER/in/pre/app/y",
            "http://localhost/app/y",
        ),
        ("ProxyPassMatch ^/m/(.*)$ lb://app/$1?p=/m", "", "/m/x", "MEMBER/y", "http://localhost/y"),
        ("ProxyPass /a lb://app/a\nProxyPass /b lb://app", "", "/b/x", "MEMBER/y", "http://localhost/b/y"),
    ] {
        assert_eq!(mapped(config, path, target, sent), want, "{config} {path}: {sent} for {target}");
    }
}

#[test]
fn a_scripts_path_is_the_fronts() {
    let backend = Backend::new("a");
    backend.add_header("Location", &format!("{}/inner/new", backend.url()));
    backend.status(302);
    let httpd = with_member(&backend, "/inner")
        .file("pick.lua", "function translate(r) return lb.pool('app') end")
        .config("ProxyPass /app lb://app\nLuaHookTranslate pick.lua")
        .start();
    assert_eq!(location(&httpd.client().get("/app/x")), "http://localhost/new");
}

#[test]
fn every_header_that_holds_a_location_is_mapped() {
    let backend = Backend::new("a");
    for name in ["Location", "Content-Location", "URI", "Destination", "X-Other"] {
        backend.add_header(name, &format!("{}/x", backend.url()));
    }
    let httpd = with_member(&backend, "").config("ProxyPass /app lb://app").start();
    let answer = httpd.client().get("/app/x");
    for name in ["Location", "Content-Location", "URI", "Destination"] {
        assert_eq!(answer.header(name), Some("http://localhost/app/x"), "{name}");
    }
    assert_eq!(answer.header("X-Other"), Some(format!("{}/x", backend.url()).as_str()));
}

#[test]
fn bytes_that_are_no_text_do_not_let_a_members_address_through() {
    // The backend sends text; é in it is two bytes, of which a member's answer may hold any part.
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _: Result<usize, _> = stream.read(&mut [0; 4096]);
            let head = format!(
                "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nConnection: close\r\nLocation: http://127.0.0.1:{port}/"
            );
            let cookie = b"\xff\xe4\r\nSet-Cookie: a=\xff; Domain=127.0.0.1\r\n\r\n";
            let _: Result<(), _> = stream.write_all(&[head.as_bytes(), cookie].concat());
        }
    });
    let httpd = Httpd::builder()
        .config(&format!("<LuaBalancerPool app>\n  LuaBalancerMember http://127.0.0.1:{port}\n</LuaBalancerPool>\nProxyPass /app lb://app"))
        .start();
    let answer = httpd.client().get("/app/x");
    assert!(location(&answer).starts_with("http://localhost/app/"), "{answer:?}");
    let cookie = answer.header("Set-Cookie").expect("a cookie");
    assert!(cookie.ends_with("Domain=localhost"), "{cookie}");
}

#[test]
fn cookies_paths_are_mapped_where_they_name_a_member() {
    let cookies = |path: &str, sent: &str| {
        let backend = Backend::new("a");
        backend.add_header("Set-Cookie", sent);
        let httpd = with_member(&backend, path).config("ProxyPass /app lb://app").start();
        httpd.client().get("/app/x").header("Set-Cookie").expect("a cookie").to_owned()
    };
    assert_eq!(cookies("/inner", "a=1; Path=/inner/x; Secure"), "a=1; Path=/app/x; Secure");
    assert_eq!(cookies("/inner", "a=1; Path=/inner"), "a=1; Path=/app");
    assert_eq!(cookies("/inner", "a=1; Path=/app"), "a=1; Path=/app");
    assert_eq!(cookies("", "a=1; Path=/"), "a=1; Path=/");
    assert_eq!(cookies("", "a=1; Domain=127.0.0.1; Path=/app"), "a=1; Domain=localhost; Path=/app");
}

#[test]
fn proxypassreverse_names_a_pool_as_it_does_a_balancer() {
    let backend = Backend::new("a");
    let members = |scheme: &str| {
        let [first, second] = if scheme == "lb" { [" name=first", " name=second"] } else { ["", ""] };
        let (open, member, close) = match scheme {
            "lb" => {
                ("LuaBalancerPool app", "LuaBalancerMember", "LuaBalancerSet reverse=off\n</LuaBalancerPool>")
            }
            _ => ("Proxy balancer://app", "BalancerMember", "</Proxy>"),
        };
        format!("<{open}>\n  {member} {0}{first}\n  {member} {0}/inner{second}\n{close}\n", backend.url())
    };
    let lines = "RewriteEngine on\nRewriteRule ^/app/(.*)$ LB://app/$1 [P]\nProxyPassReverse /none/ LB://app/none/\n\
                 ProxyPassReverse /app/deep LB://app/deep\nProxyPassReverse /app LB://app";
    let servers = ["lb", "balancer"].map(|scheme| {
        Httpd::builder()
            .module("slotmem_shm")
            .module("proxy_balancer")
            .module("lbmethod_byrequests")
            .config(&members(scheme))
            .config(&lines.replace("LB", scheme))
            .start()
    });
    for sent in ["MEMBER/x", "MEMBER", "MEMBER/deep/x?y", "/app/x", "http://other.example/", "MEMBER/none/x"]
    {
        let backend_url = backend.url();
        backend.status(302);
        backend.clear_headers();
        backend.add_header("Location", &sent.replace("MEMBER", &backend_url));
        let [ours, theirs] = [0, 1].map(|at| location(&servers[at].client().get("/app/x")).to_owned());
        assert_eq!(ours, theirs, "{sent}");
    }
}

const STICKY: &str = "LuaBalancerSticky cookie=LB";

fn sticky(lines: &str, config: &str, backend: &Backend) -> Httpd {
    Httpd::builder()
        .config(&pool("app", &[(backend, "")], lines))
        .config(&format!("ProxyPass / lb://app/\n{config}"))
        .start()
}

#[test]
fn mod_headers_edits_the_modules_own_cookie() {
    for lines in [
        "Header edit Set-Cookie ^(LB=.*)$ \"$1; Secure; Partitioned\"",
        "Header edit* Set-Cookie HttpOnly \"HttpOnly; Secure; Partitioned\"",
        "Header edit Set-Cookie \"; HttpOnly\" \"; Secure; Partitioned\"",
    ] {
        let backend = Backend::new("a");
        let httpd = sticky(STICKY, lines, &backend);
        let answer = httpd.client().get("/x");
        let cookies = answer.headers.all("Set-Cookie");
        assert_eq!(cookies.len(), 1, "{cookies:?}");
        assert!(
            cookies[0].starts_with("LB=.a; ") && cookies[0].contains("; Secure; Partitioned"),
            "{cookies:?}"
        );
    }
    let backend = Backend::new("a");
    let httpd = sticky(STICKY, "Header unset Set-Cookie", &backend);
    assert_eq!(httpd.client().get("/x").header("Set-Cookie"), None);
}

#[test]
fn an_error_page_in_place_of_an_answer_carries_the_cookie() {
    let backend = Backend::new("a");
    backend.status(404);
    let httpd = sticky(STICKY, "ProxyErrorOverride On\nErrorDocument 404 \"nothing there\"", &backend);
    let answer = httpd.client().get("/x");
    assert_eq!((answer.status, answer.text().as_str()), (404, "nothing there"));
    assert_eq!(answer.headers.all("Set-Cookie"), ["LB=.a; Path=/; HttpOnly; SameSite=Lax"]);
}

#[test]
fn the_cookie_may_be_for_a_whole_domain() {
    let backend = Backend::new("a");
    let httpd = sticky(&format!("{STICKY} domain=.example.org"), "", &backend);
    assert_eq!(
        httpd.client().get("/x").headers.all("Set-Cookie"),
        ["LB=.a; Path=/; Domain=example.org; HttpOnly; SameSite=Lax"]
    );
}
