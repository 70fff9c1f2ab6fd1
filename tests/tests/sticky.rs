// SPDX-License-Identifier: Apache-2.0
//! Sticky sessions: who serves them, who loses them, and the cookie.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use server_tests::httpd::Builder;
use server_tests::{Backend, Httpd, Mpm, Request, Response, on_every_mpm, pool, wait_until};

const STICKY: &str = "LuaBalancerSticky cookie=LB param=sid";
const SOON: Duration = Duration::from_secs(15);

/// `/--act/VERB/POOL/MEMBER` calls that method of a member, or removes it.
const ACT: &str = r#"
function act(r)
  local verb, name, member = r.uri:match("^/%-%-act/(%a+)/([%w-]+)/([%w.:-]+)$")
  local target = lb.pool(name):member(member)
  if verb == "remove" then lb.pool(name):remove(member) else target[verb](target) end
  return 204
end
"#;

fn acting() -> Builder {
    Httpd::builder()
        .file("act.lua", ACT)
        .config("<Location /--act>\n  LuaHookTranslate act.lua act\n</Location>")
}

fn serving(members: &[(&Backend, &str)], lines: &str) -> Httpd {
    acting().config(&pool("app", members, lines)).config("ProxyPass /app lb://app").start()
}

fn act(httpd: &Httpd, verb: &str, member: &str) {
    assert_eq!(httpd.client().get(&format!("/--act/{verb}/app/{member}")).status, 204);
}

fn with_cookie(httpd: &Httpd, path: &str, cookie: &str) -> Response {
    httpd.client().send(&Request::get(path).header("Cookie", cookie))
}

fn set_cookies(response: &Response) -> Vec<&str> {
    response.headers.all("Set-Cookie")
}

/// The one cookie of an answer as the client sends it back.
fn cookie(response: &Response) -> String {
    match set_cookies(response).as_slice() {
        [set] => set.split(';').next().expect("a pair").to_owned(),
        other => panic!("expected one cookie, found {other:?} in {response:?}"),
    }
}

on_every_mpm!(a_client_stays_with_the_member_that_answered_first);

fn a_client_stays_with_the_member_that_answered_first(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let members = [(&a, ""), (&b, ""), (&c, "")];
    let httpd =
        acting().mpm(mpm).config(&pool("app", &members, STICKY)).config("ProxyPass /app lb://app").start();
    let mut met = BTreeSet::new();
    for _ in 0..6 {
        let first = httpd.client().get("/app/x");
        let mine = cookie(&first);
        assert_eq!(mine, format!("LB=.{}", first.backend()));
        met.insert(first.backend().to_owned());
        for _ in 0..5 {
            let next = with_cookie(&httpd, "/app/x", &mine);
            assert_eq!(next.backend(), first.backend());
            assert_eq!(set_cookies(&next), [] as [&str; 0]);
        }
    }
    assert_eq!(met.len(), 3, "clients without a session are spread");
}

#[test]
fn the_cookie_is_as_the_directive_says() {
    let a = Backend::new("a");
    let config = |name: &str, line: &str| pool(name, &[(&a, "route=10.0.0.1:80")], line);
    let builder = Httpd::builder();
    let port = builder.port();
    let httpd = builder
        .config(&config("plain", "LuaBalancerSticky cookie=LB"))
        .config(&config("full", "LuaBalancerSticky cookie=S ttl=1h path=/full secure=on httponly=off samesite=none"))
        .config(&config("insecure", "LuaBalancerSticky cookie=LB secure=off samesite=Strict"))
        .config("ProxyPass /plain lb://plain\nProxyPass /full lb://full\nProxyPass /insecure lb://insecure")
        .config(&format!(
            "<VirtualHost *:{port}>\n</VirtualHost>\n<VirtualHost *:{port}>\n  ServerName https://secure.example\n</VirtualHost>"
        ))
        .start();
    for (path, host, want) in [
        ("/plain/", "localhost", "LB=.10.0.0.1:80; Path=/; HttpOnly; SameSite=Lax"),
        ("/plain/", "secure.example", "LB=.10.0.0.1:80; Path=/; Secure; HttpOnly; SameSite=Lax"),
        ("/full/", "localhost", "S=.10.0.0.1:80; Path=/full; Max-Age=3600; Secure; SameSite=None"),
        ("/insecure/", "secure.example", "LB=.10.0.0.1:80; Path=/; HttpOnly; SameSite=Strict"),
    ] {
        let response = httpd.client().send(&Request::get(path).header("Host", host));
        assert_eq!(set_cookies(&response), [want], "{path} of {host}");
    }
}

#[test]
fn sessions_are_read_from_cookies_paths_and_queries() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, ""), (&b, "route=node.1")], STICKY);
    for (path, cookie, want) in [
        ("/app/x", "LB=.a", "a"),
        ("/app/x", "LB=a", "a"),
        ("/app/x", "LB=0123abcd.a", "a"),
        ("/app/x", "other=1; LB=\"0123abcd.node.1\"; more=2", "b"),
        ("/app/x", "LB=.node.1", "b"),
        ("/app/x;sid=0123abcd.a", "", "a"),
        ("/app/x;v=1;sid=0123abcd.node.1/y?sid=z.a", "", "b"),
        ("/app/x?v=1&sid=0123abcd.node.1", "", "b"),
        ("/app/x;sid=1.a", "LB=.node.1", "a"),
    ] {
        for _ in 0..4 {
            let response = with_cookie(&httpd, path, cookie);
            assert_eq!(response.backend(), want, "{path} {cookie}");
            assert_eq!(set_cookies(&response), [] as [&str; 0], "{path} {cookie}");
        }
    }
}

#[test]
fn a_draining_member_keeps_its_sessions_and_gets_no_new_ones() {
    for (how, keys) in [("drain", ""), ("status", "status=+N"), ("weight", "weight=0")] {
        let [a, b] = Backend::named(["a", "b"]);
        let httpd = serving(&[(&a, keys), (&b, "")], STICKY);
        if how == "drain" {
            act(&httpd, "drain", "a");
        }
        assert_eq!(httpd.client().shares("/app/", 10)["b"], 10, "{how}");
        for _ in 0..5 {
            let response = with_cookie(&httpd, "/app/", "LB=.a");
            assert_eq!((response.backend(), set_cookies(&response).len()), ("a", 0), "{how}");
        }
        act(&httpd, "disable", "a");
        let response = with_cookie(&httpd, "/app/", "LB=.a");
        assert_eq!((response.backend(), cookie(&response).as_str()), ("b", "LB=.b"), "{how}");
    }
}

#[test]
fn members_that_are_out_lose_their_sessions_for_good() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, ""), (&b, "")], STICKY);
    for verb in ["disable", "remove"] {
        act(&httpd, verb, "a");
        let moved = with_cookie(&httpd, "/app/", "LB=.a");
        assert_eq!((moved.backend(), cookie(&moved).as_str()), ("b", "LB=.b"), "{verb}");
        if verb == "disable" {
            act(&httpd, "enable", "a");
        }
        for _ in 0..4 {
            assert_eq!(with_cookie(&httpd, "/app/", "LB=.b").backend(), "b", "{verb}");
        }
    }
}

on_every_mpm!(a_session_moves_when_its_member_fails_during_the_request);

fn a_session_moves_when_its_member_fails_during_the_request(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let lines = format!("{STICKY}\nLuaBalancerOutlier off");
    let config = pool("app", &[(&a, ""), (&b, "")], &lines);
    let httpd = acting().mpm(mpm).config(&config).config("ProxyPass /app lb://app").start();
    for manner in [Backend::refuse, Backend::reset] {
        manner(&a);
        let response = with_cookie(&httpd, "/app/", "LB=.a");
        assert_eq!((response.status, response.backend()), (200, "b"));
        assert_eq!(cookie(&response), "LB=.b");
        a.answer();
        assert_eq!(with_cookie(&httpd, "/app/", "LB=.a").backend(), "a");
    }
}

#[test]
fn force_answers_503_rather_than_to_move_a_session() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let lines = format!("{STICKY} force=on\nLuaBalancerSet on_empty=504\nLuaBalancerOutlier off");
    let httpd = serving(&[(&a, ""), (&b, "status=+D"), (&c, "")], &lines);
    a.refuse();
    for cookie in ["LB=.a", "LB=.b", "LB=id.b"] {
        let response = with_cookie(&httpd, "/app/", cookie);
        assert_eq!(response.status, 503, "{cookie}");
        assert_eq!(set_cookies(&response), [] as [&str; 0], "{cookie}");
    }
    assert!(with_cookie(&httpd, "/app/", "LB=.b").header("Retry-After").is_some());
    for cookie in ["LB=.nobody", "LB=nobody", "", "LB=.c"] {
        assert_eq!(with_cookie(&httpd, "/app/", cookie).backend(), "c", "{cookie}");
    }
    a.answer();
    assert_eq!(with_cookie(&httpd, "/app/", "LB=.a").backend(), "a");
}

#[test]
fn redirect_names_who_takes_the_sessions_over() {
    let [a, b, c, d] = Backend::named(["a", "b", "c", "d"]);
    let lines = format!("{STICKY}\nLuaBalancerOutlier off");
    let members = [(&a, "redirect=cc"), (&b, "redirect=nobody"), (&c, "route=cc lbset=1"), (&d, "")];
    let httpd = serving(&members, &lines);
    a.refuse();
    for _ in 0..3 {
        let response = with_cookie(&httpd, "/app/", "LB=.a");
        assert_eq!((response.backend(), cookie(&response).as_str()), ("c", "LB=.cc"));
    }
    act(&httpd, "disable", "a");
    assert_eq!(with_cookie(&httpd, "/app/", "LB=id.a").backend(), "c");
    act(&httpd, "disable", "b");
    assert_eq!(with_cookie(&httpd, "/app/", "LB=.b").backend(), "d");
}

#[test]
fn sessions_reach_every_tier_and_standbys() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = serving(&[(&a, ""), (&b, "lbset=2"), (&c, "status=+H route=standby")], STICKY);
    for (cookie, want) in [("LB=.b", "b"), ("LB=.standby", "c"), ("LB=.c", "a"), ("", "a")] {
        assert_eq!(with_cookie(&httpd, "/app/", cookie).backend(), want, "{cookie}");
    }
}

#[test]
fn members_that_share_a_route_stand_in_for_each_other() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = serving(&[(&a, "route=left"), (&b, "route=left"), (&c, "")], STICKY);
    assert_eq!(with_cookie(&httpd, "/app/", "LB=.left").backend(), "a");
    act(&httpd, "disable", "a");
    let response = with_cookie(&httpd, "/app/", "LB=.left");
    assert_eq!((response.backend(), set_cookies(&response).len()), ("b", 0));
}

#[test]
fn the_applications_own_cookie_is_left_alone() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines = "LuaBalancerSticky cookie=JSESSIONID param=jsessionid\nLuaBalancerOutlier off";
    let httpd = serving(&[(&a, ""), (&b, "")], lines);
    // An identifier stands before the route: to replace it would end the application's session.
    a.refuse();
    for (path, cookie) in [("/app/", "JSESSIONID=0123.a"), ("/app/;jsessionid=0123.a", "")] {
        let response = with_cookie(&httpd, path, cookie);
        assert_eq!((response.backend(), set_cookies(&response).len()), ("b", 0), "{path} {cookie}");
    }
    a.answer();
    assert_eq!(with_cookie(&httpd, "/app/", "JSESSIONID=0123.a").backend(), "a");
    // The application sets it: with a route, or without one.
    for value in ["JSESSIONID=4567.b; Path=/", "JSESSIONID=4567"] {
        let c = Backend::new("c");
        c.add_header("Set-Cookie", "other=1");
        c.add_header("Set-Cookie", value);
        let httpd = serving(&[(&c, "")], lines);
        assert_eq!(set_cookies(&httpd.client().get("/app/")), ["other=1", value]);
    }
    let c = Backend::new("c");
    c.add_header("Set-Cookie", "other=1");
    let httpd = serving(&[(&c, "")], lines);
    let response = httpd.client().get("/app/");
    let mut all = set_cookies(&response);
    all.sort_unstable();
    assert_eq!(all, ["JSESSIONID=.c; Path=/; HttpOnly; SameSite=Lax", "other=1"]);
}

#[test]
fn hostile_values_are_no_sessions_and_are_never_sent_back() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, ""), (&b, "status=+D")], STICKY);
    let long = format!("LB={}.nobody", "x".repeat(7000));
    let dots = format!("LB={}", ".".repeat(7000));
    let many = "LB=.nobody; ".repeat(500);
    for cookie in [
        "LB=.nobody",
        "LB=",
        "LB=.",
        "LB=..",
        "LB==",
        "LB=%00.a%0d%0aX-Evil:1",
        "LB=.a%",
        "LB=.nobody%0d%0aSet-Cookie:evil=1",
        "LB=\"",
        "LB=\"\"",
        "LB=\u{e9}\u{fffd}",
        "LB=.b\tX",
        ";;;===,,,",
        "LB",
        long.as_str(),
        dots.as_str(),
        many.as_str(),
    ] {
        let response = with_cookie(&httpd, "/app/", cookie);
        assert_eq!((response.status, response.backend()), (200, "a"), "{cookie}");
        assert_eq!(set_cookies(&response), ["LB=.a; Path=/; HttpOnly; SameSite=Lax"], "{cookie}");
        assert_eq!(response.header("X-Evil"), None);
    }
    let raw = b"GET /app/ HTTP/1.1\r\nHost: localhost\r\nCookie: LB=.nobody\r\nCookie: LB=.\xff\xfe\r\n\r\n";
    let response = httpd.client().try_send_raw(raw).expect("an answer");
    assert_eq!((response.status, cookie(&response).as_str()), (200, "LB=.a"));
    for path in ["/app/;sid=", "/app/;sid=%00.a", "/app/?sid=%0d%0a.nobody", "/app/;;;sid;=?&&sid&sid=.b%"] {
        let response = httpd.client().get(path);
        assert!(matches!(response.status, 200 | 404), "{path}: {}", response.status);
    }
    httpd.assert_no_crash();
}

#[test]
fn a_stale_cookie_does_not_hide_the_right_one() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, ""), (&b, "")], STICKY);
    for _ in 0..4 {
        let response = with_cookie(&httpd, "/app/", "LB=.gone; LB=.b");
        assert_eq!((response.backend(), set_cookies(&response).len()), ("b", 0));
    }
}

#[test]
fn a_full_member_lends_a_request_and_keeps_the_session() {
    let [a, b] = Backend::named(["a", "b"]);
    let members = [(&a, "max_inflight=1"), (&b, "")];
    let httpd = acting()
        .with_member_states()
        .config(&pool("app", &members, STICKY))
        .config(&pool("forced", &members, &format!("{STICKY} force=on")))
        .config("ProxyPass /app lb://app\nProxyPass /forced lb://forced")
        .start();
    for (path, pool) in [("/app/", "app"), ("/forced/", "forced")] {
        a.hang();
        let mut client = httpd.client();
        let held = thread::spawn(move || client.send(&Request::get(path).header("Cookie", "LB=.a")).status);
        wait_until("a request at a", SOON, || httpd.member(pool, "a").inflight == 1);
        let response = with_cookie(&httpd, path, "LB=.a");
        let want = if pool == "app" { (200, "b") } else { (503, "") };
        assert_eq!((response.status, response.backend()), want, "{path}");
        assert_eq!(set_cookies(&response), [] as [&str; 0], "{path}");
        a.answer();
        assert_eq!(held.join().expect("a client"), 200);
        wait_until("a place at a", SOON, || httpd.member(pool, "a").inflight == 0);
        assert_eq!(with_cookie(&httpd, path, "LB=.a").backend(), "a", "{path}");
    }
}

#[test]
fn error_pages_carry_the_cookie_of_a_member_that_answered() {
    let [a, b] = Backend::named(["a", "b"]);
    a.status(500);
    b.refuse();
    let httpd = acting()
        .file("htdocs/sorry.html", "sorry\n")
        .config(&pool("app", &[(&a, "")], STICKY))
        .config(&pool("dead", &[(&b, "")], STICKY))
        .config("ProxyPass /app lb://app\nProxyPass /local lb://app\nProxyPass /dead lb://dead\nProxyErrorOverride on")
        .config("<Location /local>\n  ErrorDocument 500 /sorry.html\n</Location>")
        .start();
    for path in ["/app/", "/local/"] {
        let response = httpd.client().get(path);
        assert_eq!(
            (response.status, response.backend(), cookie(&response).as_str()),
            (500, "", "LB=.a"),
            "{path}"
        );
    }
    assert_eq!(httpd.client().get("/local/").text(), "sorry\n");
    let response = httpd.client().get("/dead/");
    assert_eq!((response.status, set_cookies(&response).len()), (503, 0), "nobody has answered");
    a.status(304);
    assert_eq!(cookie(&httpd.client().get("/app/")), "LB=.a");
    a.answer();
    let head = httpd.client().send(&Request::new("HEAD", "/app/"));
    assert_eq!((head.status, cookie(&head).as_str()), (200, "LB=.a"));
}

#[test]
fn pools_without_the_directive_set_and_read_no_cookie() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, ""), (&b, "")], "");
    let backends: BTreeSet<String> = (0..4)
        .map(|_| {
            let response = with_cookie(&httpd, "/app/;sid=.a", "LB=.a");
            assert_eq!(set_cookies(&response), [] as [&str; 0]);
            response.backend().to_owned()
        })
        .collect();
    assert_eq!(backends.len(), 2);
}

const SCRIPT: &str = r#"
local app, plain = lb.pool("app"), lb.pool("plain")
local kinds = {}
function kinds.pick(r) return app:pick(r) end
function kinds.sticky(r) return app:sticky(r) or app:member("c") end
function kinds.view(r) return app:where{tier = "new"} end
function kinds.view_pick(r) return app:where{tier = "new"}:pick(r) end
function kinds.view_sticky(r) return app:where{tier = "new"}:sticky(r) or 404 end
function kinds.member(r) return app:member("c") end
function kinds.list(r) return { app:member("b"), app:member("a") } end
function kinds.plain(r) return plain:member("a") end
function kinds.forced(r) return lb.pool("forced"):pick(r) end
function kinds.by_method(r) return lb.pool("scripted") end
function translate(r)
  local kind = kinds[r.uri:match("^/s/([a-z_]+)")]
  if kind then return kind(r) end
end
function method(pool, r) return pool:member("c") end
"#;

#[test]
fn scripts_find_sessions_and_narrow_them() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let members = [(&a, "meta.tier=old"), (&b, "meta.tier=new"), (&c, "meta.tier=new")];
    let httpd = acting()
        .file("s.lua", SCRIPT)
        .config(&pool("app", &members, STICKY))
        .config(&pool("plain", &members, ""))
        .config(&pool("forced", &[(&a, "status=+D"), (&b, "")], &format!("{STICKY} force=on")))
        .config(&pool("scripted", &members, &format!("{STICKY}\nLuaBalancerMethod lua s.lua method")))
        .config("LuaHookTranslate s.lua")
        .start();
    for (path, sent, backend, set) in [
        ("/s/pick", "LB=.b", "b", None),
        ("/s/sticky", "LB=id.b", "b", None),
        ("/s/sticky", "LB=.nobody", "c", Some("LB=.c")),
        ("/s/sticky", "", "c", Some("LB=.c")),
        ("/s/view", "LB=.b", "b", None),
        ("/s/view_pick", "LB=.b", "b", None),
        ("/s/view_sticky", "LB=.b", "b", None),
        ("/s/member", "LB=.c", "c", None),
        ("/s/member", "LB=.a", "c", Some("LB=.c")),
        ("/s/list", "LB=.b", "b", None),
        ("/s/list", "", "b", Some("LB=.b")),
        ("/s/plain", "LB=.b", "a", None),
        ("/s/by_method", "LB=.b", "b", None),
        ("/s/by_method", "", "c", Some("LB=.c")),
    ] {
        for _ in 0..3 {
            let response = with_cookie(&httpd, path, sent);
            assert_eq!(response.backend(), backend, "{path} {sent}");
            let found =
                set_cookies(&response).first().and_then(|set| set.split(';').next()).map(str::to_owned);
            assert_eq!(found.as_deref(), set, "{path} {sent}");
        }
    }
    for path in ["/s/view", "/s/view_pick"] {
        let response = with_cookie(&httpd, path, "LB=.a");
        assert_ne!(response.backend(), "a", "{path}: a is not in the view");
        assert_eq!(cookie(&response), format!("LB=.{}", response.backend()), "{path}");
    }
    assert_eq!(with_cookie(&httpd, "/s/view_sticky", "LB=.a").status, 404);
    assert_eq!(with_cookie(&httpd, "/s/forced", "LB=.a").status, 503);
    assert_eq!(with_cookie(&httpd, "/s/forced", "LB=.nobody").backend(), "b");
    let picked: BTreeSet<String> =
        (0..6).map(|_| httpd.client().get("/s/pick").backend().to_owned()).collect();
    assert_eq!(picked.len(), 3, "without a session the method picks");
}

/// What mod_proxy_balancer tells of a request, in its order.
const VARIABLES: [&str; 6] = [
    "BALANCER_NAME",
    "BALANCER_WORKER_NAME",
    "BALANCER_WORKER_ROUTE",
    "BALANCER_SESSION_STICKY",
    "BALANCER_SESSION_ROUTE",
    "BALANCER_ROUTE_CHANGED",
];

/// Adds a log of [`VARIABLES`] to a server; [`variables`] reads it.
fn logging(builder: Builder) -> Builder {
    let fields: Vec<String> = VARIABLES.iter().map(|name| format!("%{{{name}}}e")).collect();
    let file = builder.dir().join("variables.log");
    builder.config(&format!("CustomLog \"{}\" \"%{{X-Id}}i|{}\"", file.display(), fields.join("|")))
}

/// Sends one request and returns its backend's name and what the log says of it.
fn variables(httpd: &Httpd, path: &str, cookie: &str) -> (String, Vec<String>) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let id = format!("id{}", NEXT.fetch_add(1, Ordering::SeqCst));
    let request = Request::get(path).header("Cookie", cookie).header("X-Id", &id);
    let backend = httpd.client().send(&request).backend().to_owned();
    let line = server_tests::eventually("a line of the log", SOON, || {
        let log = std::fs::read_to_string(httpd.dir().join("variables.log")).ok()?;
        let line = log.lines().find(|line| line.starts_with(&format!("{id}|")))?;
        Some(line.split('|').skip(1).map(str::to_owned).collect())
    });
    (backend, line)
}

#[test]
fn the_balancer_variables_are_mod_proxy_balancers() {
    let [a, b, c, d, e] = Backend::named(["a", "b", "c", "d", "e"]);
    let keys = [
        "route=ra",
        "route=rb status=+D redirect=rc",
        "route=rc",
        "route=10.0.0.4:80 status=+N",
        "route=rh status=+H",
    ];
    let members: Vec<(&Backend, &str)> = [&a, &b, &c, &d, &e].into_iter().zip(keys).collect();
    let theirs: String = members
        .iter()
        .map(|(backend, keys)| format!("  BalancerMember {} {keys}\n", backend.url()))
        .collect();
    let builder = ["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]
        .into_iter()
        .fold(Httpd::builder(), |builder, name| builder.module(name));
    let httpd = logging(builder)
        .config(&pool("ours", &members, "LuaBalancerSticky cookie=SID param=sid"))
        .config(&format!(
            "<Proxy balancer://theirs>\n{theirs}  ProxySet stickysession=SID|sid scolonpathdelim=On\n</Proxy>"
        ))
        .config("ProxyPass /ours lb://ours\nProxyPass /theirs balancer://theirs")
        .start();
    for (tail, cookie) in [
        ("/", ""),
        ("/", "SID=.ra"),
        ("/", "SID=id.ra"),
        ("/", "x=1; SID=id.ra; y=2"),
        ("/", "SID=id.rb"),
        ("/", "SID=id.rc"),
        ("/", "SID=.10.0.0.4:80"),
        ("/", "SID=id.10.0.0.4:80"),
        ("/", "SID=id.rh"),
        ("/", "SID=id.nobody"),
        ("/", "SID=id.no.body"),
        ("/", "SID=nobody"),
        ("/", "XSID=id.ra"),
        ("/x;sid=id.ra", ""),
        ("/x;sid=id.ra;v=1/y", ""),
        ("/x;sid=id.rc", "SID=id.ra"),
    ] {
        let (own_backend, own) = variables(&httpd, &format!("/ours{tail}"), cookie);
        let (their_backend, mut their) = variables(&httpd, &format!("/theirs{tail}"), cookie);
        assert_eq!(own[0], "lb://ours");
        their[0] = "lb://ours".into();
        if own[4] == "-" || own[4].starts_with("no") {
            // Nobody's session: each picks in its own turn.
            assert_eq!(own[3..], their[3..], "{tail} {cookie}");
            assert_eq!(own[5], "1", "{tail} {cookie}");
        } else {
            assert_eq!((own_backend, own), (their_backend, their), "{tail} {cookie}");
        }
    }
}

#[test]
fn a_session_that_fails_over_is_told_as_mod_proxy_balancer_tells_it() {
    let [a, b] = Backend::named(["a", "b"]);
    let builder = ["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]
        .into_iter()
        .fold(Httpd::builder(), |builder, name| builder.module(name));
    let httpd = logging(builder)
        .config(&pool("ours", &[(&a, ""), (&b, "")], "LuaBalancerSticky cookie=SID"))
        .config(&format!(
            "<Proxy balancer://theirs>\n  BalancerMember {} route=a\n  BalancerMember {} route=b\n  \
             ProxySet stickysession=SID\n</Proxy>",
            a.url(),
            b.url()
        ))
        .config("ProxyPass /ours lb://ours\nProxyPass /theirs balancer://theirs")
        .start();
    a.refuse();
    let (_, own) = variables(&httpd, "/ours/", "SID=id.a");
    let (_, their) = variables(&httpd, "/theirs/", "SID=id.a");
    assert_eq!(own[1..], their[1..]);
    assert_eq!(own[1..], [b.url().as_str(), "b", "SID", "a", "1"].map(str::to_owned));
}

#[test]
fn mod_proxy_balancer_reads_the_cookie_and_its_own_recipe_works_here() {
    let [a, b] = Backend::named(["a", "10.0.0.1:80"]);
    let members = [(&a, ""), (&b, "")];
    let builder = ["slotmem_shm", "proxy_balancer", "lbmethod_byrequests"]
        .into_iter()
        .fold(Httpd::builder(), |builder, name| builder.module(name));
    let httpd = builder
        .config(&pool("ours", &members, "LuaBalancerSticky cookie=ROUTEID"))
        .config(&format!(
            "<Proxy balancer://theirs>\n  BalancerMember {} route=a\n  BalancerMember {} route=10.0.0.1:80\n  \
             ProxySet stickysession=ROUTEID\n</Proxy>",
            a.url(),
            b.url()
        ))
        .config("ProxyPass /ours lb://ours\nProxyPass /theirs balancer://theirs")
        .config(
            "<Location /theirs>\n  Header add Set-Cookie \"ROUTEID=.%{BALANCER_WORKER_ROUTE}e; path=/\" \
             env=BALANCER_ROUTE_CHANGED\n</Location>",
        )
        .config(
            "<Location /ours/recipe>\n  Header add Set-Cookie \"R=.%{BALANCER_WORKER_ROUTE}e; path=/\" \
             env=BALANCER_ROUTE_CHANGED\n  Header set X-Member \"%{LB_MEMBER}e\"\n</Location>",
        )
        .start();
    for _ in 0..4 {
        let ours = httpd.client().get("/ours/");
        assert_eq!(with_cookie(&httpd, "/theirs/", &cookie(&ours)).backend(), ours.backend());
        let theirs = httpd.client().get("/theirs/");
        let response = with_cookie(&httpd, "/ours/recipe", &cookie(&theirs));
        assert_eq!((response.backend(), set_cookies(&response).len()), (theirs.backend(), 0));
        assert_eq!(response.header("X-Member"), Some(theirs.backend()));
    }
    let response = httpd.client().get("/ours/recipe");
    let recipe = format!("R=.{}; path=/", response.backend());
    assert!(set_cookies(&response).contains(&recipe.as_str()), "{response:?}");
}

#[test]
fn force_sends_a_session_nowhere_else_even_as_a_last_resort() {
    let [a, b] = Backend::named(["a", "b"]);
    b.refuse();
    let lines = "LuaBalancerSticky cookie=SID force=on\nLuaBalancerOutlier on failures=1 ejection=5m\nLuaBalancerMethod first";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&b, ""), (&a, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    let mut client = httpd.client();
    assert_eq!(client.get("/app/").backend(), "a");
    assert_eq!(httpd.member("app", "b").state, "ejected");
    b.answer();
    a.refuse();
    let response = httpd.client().send(&Request::get("/app/").header("Cookie", "SID=x.a"));
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(b.requests(), 0);
}
