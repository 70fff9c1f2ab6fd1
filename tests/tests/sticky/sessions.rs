// SPDX-License-Identifier: Apache-2.0
//! Where sessions lead.

use super::*;

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
