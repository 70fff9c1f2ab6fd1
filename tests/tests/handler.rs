// SPDX-License-Identifier: Apache-2.0
//! `SetHandler lua-balancer`: behind httpd's own rules, wherever httpd lets a handler stand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use server_tests::{Backend, Builder, Httpd, Mpm, Request, Response, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);
/// `alice:secret`.
const ALICE: &str = "Basic YWxpY2U6c2VjcmV0";
/// Made with `htpasswd -bns alice secret`.
const USERS: &str = "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";

fn with_a_pool(backend: &Backend) -> Builder {
    Httpd::builder().config(&pool("app", &[(backend, "")], "")).config("ProxyPass /app lb://app")
}

/// A place with users, where changes are taken.
fn with_users(builder: Builder) -> Builder {
    builder.file("users", USERS).config(
        "<Location /lb>\nSetHandler lua-balancer\nLuaBalancerAdmin on\nAuthType Basic\nAuthName lb\n\
         AuthUserFile users\nRequire valid-user\n</Location>",
    )
}

fn patch(target: &str, body: &str) -> Request {
    Request::json("PATCH", target, body)
}

fn drain(target: &str) -> Request {
    patch(target, r#"{"admin":"drain"}"#)
}

fn admin_of(response: &Response) -> Option<&'static str> {
    let text = response.text();
    let text: String = text.split_whitespace().collect();
    ["drain", "ready", "disabled"].into_iter().find(|word| text.contains(&format!("\"admin\":\"{word}\"")))
}

#[test]
fn a_script_that_takes_every_url_leaves_the_page_and_its_users_alone() {
    for hook in ["LuaHookTranslate", "LuaHookSelect", "LuaBalancerShadow"] {
        let a = Backend::new("a");
        let httpd = with_users(with_a_pool(&a))
            .file("all.lua", "function select(r) return lb.pool(\"app\") end\n")
            .config(&format!("{hook} all.lua select"))
            .config("<Location /lb/not>\nSetHandler None\n</Location>")
            .start();
        let ask = |target: &str| httpd.client().send(&Request::get(target).header("Authorization", ALICE));
        for target in ["/lb/", "/lb/api/v1/pools", "/lb/metrics", "/lb/health"] {
            let response = ask(target);
            assert_eq!((response.status, a.requests()), (200, 0), "{hook} {target}: {}", response.text());
        }
        assert_eq!(httpd.client().send(&patch("/lb/api/v1/pools/app/members/a", "{}")).status, 401, "{hook}");
        if hook != "LuaBalancerShadow" {
            assert_eq!(ask("/lb/not").text(), "a /lb/not\n", "{hook}: another handler inside of it");
            assert_eq!(ask("/other").text(), "a /other\n", "{hook}");
        }
    }
}

#[test]
fn it_stands_in_locations_directories_and_virtual_hosts() {
    let a = Backend::new("a");
    let builder = with_a_pool(&a).file("htdocs/dir/file", "");
    let dir = builder.dir().display().to_string();
    let port = builder.port();
    let httpd = builder
        .config("<Location /lb>\nSetHandler lua-balancer\n</Location>")
        .config("<LocationMatch ^/match/>\nSetHandler lua-balancer\n</LocationMatch>")
        .config(&format!(
            "<Directory {dir}/htdocs/dir>\nRequire all granted\nSetHandler lua-balancer\n</Directory>"
        ))
        .config(&format!(
            "<VirtualHost 127.0.0.1:{port}>\nServerName localhost\n</VirtualHost>\n\
             <VirtualHost 127.0.0.1:{port}>\nServerName own.test\nSetHandler lua-balancer\n</VirtualHost>"
        ))
        .start();
    let get = |target: &str| httpd.client().get(target);
    for target in ["/lb/api/v1/pools", "/match/api/v1/pools", "/dir/api/v1/pools"] {
        let response = get(target);
        assert_eq!(response.status, 200, "{target}: {}", response.text());
        assert_eq!(response.header("Content-Type"), Some("application/json"), "{target}");
        assert!(response.text().contains("\"app\""), "{target}: {}", response.text());
    }
    let own = Request::get("/api/v1/pools").header("Host", "own.test");
    assert_eq!(httpd.client().send(&own).status, 200);
    assert_eq!(get("/api/v1/pools").status, 404, "there is no handler here");
    let redirect = get("/lb");
    assert_eq!((redirect.status, redirect.header("Location")), (308, Some("./lb/")));
    assert_eq!(get("/lb/").status, 200);
    assert_eq!(get("/lb/api/v1/nothing").header("Content-Type"), Some("application/problem+json"));
}

fn a_change_is_told_with_user_and_address_and_read_at_every_door(mpm: Mpm) {
    let a = Backend::new("a");
    let httpd = with_users(with_a_pool(&a)).mpm(mpm).children(3).start();
    let member = "/lb/api/v1/pools/app/members/a";
    let change = drain(member).header("Authorization", ALICE);
    assert_eq!(httpd.client().send(&drain(member)).status, 401, "httpd's own rule holds");
    let changed = httpd.client().send(&change);
    assert_eq!((changed.status, admin_of(&changed)), (200, Some("drain")), "{}", changed.text());
    let line = httpd.wait_for_log("lua_balancer:notice.*member a:.*alice");
    assert!(line.contains("127.0.0.1"), "{line}");
    let etag = changed.header("ETag").expect("an ETag").to_owned();
    for round in 0..10 {
        let by_handler = httpd.client().send(&Request::get(member).header("Authorization", ALICE));
        let by_socket = httpd.socket().get("/api/v1/pools/app/members/a");
        for seen in [&by_handler, &by_socket] {
            assert_eq!(admin_of(seen), Some("drain"), "{round}: {}", seen.text());
            assert_eq!(seen.header("ETag"), Some(etag.as_str()), "{round}");
        }
        assert_eq!(by_handler.text(), by_socket.text(), "{round}");
    }
    // The socket's callers are those of the system.
    let mut socket = httpd.socket();
    let ready = socket.send(&patch("/api/v1/pools/app/members/a", r#"{"admin":"ready"}"#));
    assert_eq!((ready.status, admin_of(&ready)), (200, Some("ready")), "{}", ready.text());
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).expect("users").expect("a user").name;
    httpd.wait_for_log(&format!("lua_balancer:notice.*member a:.*{own}"));
    httpd.assert_no_crash();
}

on_every_mpm!(a_change_is_told_with_user_and_address_and_read_at_every_door);

#[test]
fn readers_without_the_right_to_change_are_told_why() {
    let a = Backend::new("a");
    let builder = with_a_pool(&a);
    let port = builder.port();
    let httpd = builder
        .config("<Location /off>\nSetHandler lua-balancer\n</Location>")
        .config("<Location /on>\nSetHandler lua-balancer\nLuaBalancerAdmin on\n</Location>")
        .config(
            "<Location /anyone>\nSetHandler lua-balancer\n\
             LuaBalancerAdmin on anonymous=on origin=https://ops.test\n</Location>",
        )
        .config(&format!(
            "<VirtualHost 127.0.0.1:{port}>\nServerName main.test\nServerAlias other.test *.wild.test\n</VirtualHost>"
        ))
        .start();
    let send = |place: &str, host: &str, extra: &[(&str, &str)]| {
        let request = drain(&format!("/{place}/api/v1/pools/app/members/a")).header("Host", host);
        let request = extra.iter().fold(request, |request, (name, value)| request.header(name, value));
        httpd.client().send(&request)
    };
    let told = |response: &Response, status: u16, words: &str| {
        assert_eq!(response.status, status, "{words}: {}", response.text());
        assert!(response.text().contains(words), "{words}: {}", response.text());
    };
    told(&send("off", "main.test", &[]), 403, "LuaBalancerAdmin on");
    told(&send("on", "main.test", &[]), 403, "needs a user");
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    told(&send("anyone", "main.test", &foreign), 403, "Sec-Fetch-Site");
    told(&send("anyone", "main.test", &[("Origin", "http://evil.test")]), 403, "Origin");
    told(&send("anyone", "evil.test", &[]), 421, "ServerAlias");
    let own = format!("http://main.test:{port}");
    for (host, extra) in [
        (format!("main.test:{port}"), vec![("Origin", own.as_str())]),
        ("other.test".to_owned(), vec![]),
        ("a.wild.test".to_owned(), vec![("Sec-Fetch-Site", "same-origin")]),
        ("localhost".to_owned(), vec![]),
        ("127.0.0.1".to_owned(), vec![]),
        ("main.test".to_owned(), vec![("Origin", "https://ops.test")]),
    ] {
        let response = send("anyone", &host, &extra);
        assert_eq!(response.status, 200, "{host} {extra:?}: {}", response.text());
    }
    let form = Request::post("/anyone/api/v1/pools/app/members", "url=x")
        .header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(httpd.client().send(&form).status, 415);
    // A page of the allowed place asks first.
    let ask = |origin: &str| {
        let request = Request::new("OPTIONS", "/anyone/api/v1/pools/app/members/a").header("Origin", origin);
        httpd.client().send(&request.header("Access-Control-Request-Method", "PATCH"))
    };
    assert_eq!(ask("https://ops.test").header("Access-Control-Allow-Origin"), Some("https://ops.test"));
    assert_eq!(ask("https://evil.test").header("Access-Control-Allow-Origin"), None);
}

#[test]
fn options_and_trace_are_httpds() {
    let a = Backend::new("a");
    let config = "<Location /lb>\nSetHandler lua-balancer\n</Location>";
    let httpd = with_a_pool(&a).config(config).start();
    let stock =
        Httpd::builder().stock().config("<Location /lb>\nSetHandler server-status\n</Location>").start();
    let ask = |httpd: &Httpd, method: &str| httpd.client().send(&Request::new(method, "/lb/api/v1/pools"));
    let (own, other) = (ask(&httpd, "OPTIONS"), ask(&stock, "OPTIONS"));
    assert_eq!((own.status, own.body.len()), (other.status, other.body.len()));
    let allowed = own.header("Allow").expect("Allow").to_owned();
    for method in other.header("Allow").expect("Allow").split(',').chain(["PUT", "PATCH", "DELETE"]) {
        assert!(allowed.split(',').any(|word| word.trim() == method.trim()), "{method} in {allowed}");
    }
    let (own, other) = (ask(&httpd, "TRACE"), ask(&stock, "TRACE"));
    assert_eq!((own.status, own.header("Content-Type")), (other.status, other.header("Content-Type")));
    assert_eq!(ask(&httpd, "BREW").status, 405);
}

#[test]
fn a_body_has_its_limit_and_its_connection_goes_on() {
    let a = Backend::new("a");
    let httpd = with_a_pool(&a)
        .config("<Location /lb>\nSetHandler lua-balancer\nLuaBalancerAdmin on anonymous=on\n</Location>")
        .config("<Location /less>\nSetHandler lua-balancer\nLuaBalancerAdmin on anonymous=on\nLimitRequestBody 100\n</Location>")
        .start();
    let mut client = httpd.client();
    let large = format!("{{\"note\":\"{}\"}}", "x".repeat(1 << 20));
    let response = client.send(&patch("/lb/api/v1/pools/app/members/a", &large));
    assert_eq!(response.status, 413, "{}", response.text());
    let small = patch("/lb/api/v1/pools/app/members/a", r#"{"admin":"drain"}"#);
    let chunked = small.encoding(server_tests::client::BodyEncoding::Chunked);
    assert_eq!(client.send(&chunked).status, 200);
    let response = client.send(&patch("/less/api/v1/pools/app/members/a", &"x".repeat(200)));
    assert_eq!(response.status, 413, "{}", response.text());
    assert_eq!(httpd.socket().send(&patch("/api/v1/pools/app/members/a", &large)).status, 413);
    assert_eq!(admin_of(&httpd.socket().get("/api/v1/pools/app/members/a")), Some("drain"));
}

#[test]
fn head_is_get_without_its_body_at_every_door() {
    let a = Backend::new("a");
    let httpd = with_a_pool(&a).config("<Location /lb>\nSetHandler lua-balancer\n</Location>").start();
    let full = httpd.client().get("/lb/api/v1/pools/app");
    let head = httpd.client().send(&Request::new("HEAD", "/lb/api/v1/pools/app"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    let length = full.body.len().to_string();
    assert_eq!(head.header("Content-Length"), Some(length.as_str()));
    let head = httpd.socket().send(&Request::new("HEAD", "/api/v1/pools/app"));
    assert_eq!(head.header("Content-Length"), Some(length.as_str()));
    let etag = full.header("ETag").expect("an ETag");
    let again = Request::get("/lb/api/v1/pools/app").header("If-None-Match", etag);
    let again = httpd.client().send(&again);
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[test]
fn a_name_may_be_encoded_whatever_httpd_does_with_paths() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .config(&format!(
            "<LuaBalancerPool app>\nLuaBalancerMember {} name=a@b:[1]~\n</LuaBalancerPool>",
            a.url()
        ))
        .config("<Location /lb>\nSetHandler lua-balancer\n</Location>")
        .config(
            "AllowEncodedSlashes NoDecode\nRewriteEngine on\nRewriteRule ^/short/(.*)$ /lb/api/v1/$1 [PT]",
        )
        .start();
    let status = |target: &str| httpd.client().get(target).status;
    for target in [
        "/lb/api/v1/pools/app/members/a@b:[1]~",
        "/lb/api/v1/pools/app/members/a%40b%3A%5B1%5D%7E",
        "//lb/./api/v1/pools/app/members/a%40b:[1]~?fields=name",
        "/short/pools/app/members/a%40b%3A%5B1%5D~",
    ] {
        assert_eq!(status(target), 200, "{target}");
    }
    assert_eq!(status("/lb/api/v1/pools/app/members/a%2Fb"), 404);
    assert_eq!(status("/lb/api/v1/pools/app%2Fmembers"), 404);
    // httpd refuses this itself.
    assert_eq!(status("/lb/api/v1/pools/app/members/a%00"), 404);
}

#[test]
fn every_answer_has_the_headers_of_a_page_that_nobody_else_may_use() {
    let a = Backend::new("a");
    let httpd = with_a_pool(&a).config("<Location /lb>\nSetHandler lua-balancer\n</Location>").start();
    for target in ["/lb/", "/lb/api/v1/pools", "/lb/api/v1/nothing", "/lb/metrics"] {
        let response = httpd.client().get(target);
        for (name, word) in [
            ("Content-Security-Policy", "frame-ancestors 'none'"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        ] {
            assert!(response.header(name).is_some_and(|value| value.contains(word)), "{target}: {name}");
        }
        assert_eq!(response.header("Access-Control-Allow-Origin"), None, "{target}");
    }
}

#[test]
fn places_of_members_are_file_and_line() {
    let a = Backend::new("a");
    let builder = Httpd::builder();
    let dir = builder.dir().to_owned();
    fs::create_dir(dir.join("sites")).expect("a folder");
    let text =
        format!("# one\n<LuaBalancerPool app>\nLuaBalancerMember {} name=a\n</LuaBalancerPool>\n", a.url());
    fs::write(dir.join("sites/x.conf"), text).expect("a file");
    fs::set_permissions(dir.join("sites"), fs::Permissions::from_mode(0o755)).expect("open the folder");
    let httpd = builder.config("Include sites/x.conf").start();
    wait_until("the place", SOON, || {
        let text = httpd.socket().get("/api/v1/pools/app/members/a").text();
        text.contains("sites/x.conf:3") && !text.contains(&format!("{}/sites", dir.display()))
    });
}

#[test]
fn more_changes_than_two_hundred_a_second_are_too_many_over_all_children() {
    let a = Backend::new("a");
    let httpd = with_a_pool(&a)
        .children(3)
        .config("<Location /lb>\nSetHandler lua-balancer\nLuaBalancerAdmin on anonymous=on\n</Location>")
        .start();
    // A body that cannot be read counts as well.
    let change = |target: &str| patch(target, "no JSON");
    let until = Instant::now() + SOON * 2;
    let refused = thread::scope(|scope| {
        let ask = || {
            let mut client = httpd.client();
            while Instant::now() < until {
                let response = client.send(&change("/lb/api/v1/pools/app/members/a"));
                match response.status {
                    429 => return response.header("Retry-After").map(str::to_owned),
                    status => assert_eq!(status, 400, "{}", response.text()),
                }
            }
            None
        };
        let all = [(); 4].map(|()| scope.spawn(ask));
        all.map(|one| one.join().expect("a client"))
    });
    assert!(refused.contains(&Some("1".to_owned())), "{refused:?}");
    let mut socket = httpd.socket();
    for _ in 0..300 {
        assert_eq!(socket.send(&change("/api/v1/pools/app/members/a")).status, 400);
    }
}
