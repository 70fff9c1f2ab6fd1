// SPDX-License-Identifier: Apache-2.0
//! A member that fails costs no client an answer, and no request is sent twice that must not be.

use std::time::{Duration, Instant};

use server_tests::client::BodyEncoding;
use server_tests::message::body_hash;
use server_tests::{Backend, Httpd, Mpm, Request, on_every_mpm, patience, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// `a` first, then `b`; health comes from nothing but the attempts themselves.
fn a_then_b(mpm: Mpm, a: &Backend, b: &Backend, set: &str) -> Httpd {
    let lines = format!("LuaBalancerMethod first\nLuaBalancerOutlier off\n{set}");
    Httpd::builder()
        .mpm(mpm)
        .file("first.lua", "function translate(r) return lb.pool('app'):member('a') end")
        .config(&pool("app", &[(a, "timeout=1"), (b, "timeout=1")], &lines))
        .config("ProxyPass /app lb://app")
        .config("<Location /member>\n  LuaHookTranslate first.lua\n</Location>")
        .start()
}

on_every_mpm!(
    a_refused_connection_moves_on_with_the_body_intact,
    a_reset_get_is_retried_on_fresh_and_kept_alive_clients,
    a_post_is_not_repeated_after_a_reset,
);

fn a_refused_connection_moves_on_with_the_body_intact(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    a.refuse();
    let httpd = a_then_b(mpm, &a, &b, "");
    let body: Vec<u8> = (0..10_000_000_u32).map(|i| (i % 251) as u8).collect();
    let hash = body_hash(&body);
    for encoding in [BodyEncoding::Length, BodyEncoding::Chunked] {
        for target in ["/app/up", "/member/up"] {
            let mut client = httpd.client().timeout(Duration::from_secs(60));
            let response = client.send(&Request::post(target, body.clone()).encoding(encoding));
            assert_eq!((response.status, response.backend()), (200, "b"));
            assert_eq!(response.header("X-Body-Length"), Some("10000000"));
            assert_eq!(response.header("X-Body-Hash"), Some(hash.as_str()));
        }
    }
    assert_eq!((a.requests(), b.requests()), (0, 4));
}

fn a_reset_get_is_retried_on_fresh_and_kept_alive_clients(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(mpm, &a, &b, "");
    for manner in [Backend::reset, Backend::close_after_accept] {
        manner(&a);
        let mut client = httpd.client().strict();
        for nth in 1..=4 {
            let response = client.get("/app/x");
            assert_eq!((response.status, response.backend()), (200, "b"), "request {nth}");
            assert!(client.is_connected(), "the client's connection was dropped");
        }
    }
    assert_eq!(b.requests(), 8);
}

fn a_post_is_not_repeated_after_a_reset(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(mpm, &a, &b, "");
    a.reset();
    let mut client = httpd.client().strict();
    for nth in 1..=2 {
        let response = client.send(&Request::post("/app/x", "once"));
        assert_eq!(response.status, 502, "request {nth}");
        assert_eq!((a.requests(), b.requests()), (nth, 0));
    }
}

#[test]
fn a_connection_that_dies_idle_costs_nobody_an_answer() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "");
    a.reset_kept_alive();
    let mut client = httpd.client().strict();
    for nth in 1..=20 {
        assert_eq!(client.get("/app/x").status, 200, "request {nth}");
    }
}

#[test]
fn idempotent_methods_are_retried_and_others_not() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "");
    a.reset();
    for method in ["GET", "HEAD", "OPTIONS", "DELETE"] {
        assert_eq!(httpd.client().send(&Request::new(method, "/app/x")).status, 200, "{method}");
    }
    for method in ["POST", "PATCH"] {
        let empty = Request::new(method, "/app/x").header("Content-Length", "0");
        let status = match method {
            "POST" => httpd.client().send(&Request::post("/app/x", "")).status,
            _ => httpd.client().send(&empty).status,
        };
        assert_eq!(status, 502, "{method}");
    }
}

#[test]
fn no_more_than_retries_further_members_are_tried() {
    for (retries, expected) in [(0, 503), (1, 503), (2, 200)] {
        let [a, b, c] = Backend::named(["a", "b", "c"]);
        a.refuse();
        b.refuse();
        let lines =
            format!("LuaBalancerMethod first\nLuaBalancerOutlier off\nLuaBalancerSet retries={retries}");
        let httpd = Httpd::builder()
            .config(&pool("app", &[(&a, ""), (&b, ""), (&c, "")], &lines))
            .config("ProxyPass /app lb://app")
            .start();
        assert_eq!(httpd.client().get("/app/x").status, expected, "retries={retries}");
        let attempts = httpd.wait_for_access("/app/x").env["LB_ATTEMPTS"].clone();
        assert_eq!(attempts, (retries + 1).to_string());
    }
}

#[test]
fn retry_on_names_what_is_retried() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "LuaBalancerSet retry_on=connect");
    a.reset();
    assert_eq!(httpd.client().get("/app/x").status, 502);
    a.refuse();
    assert_eq!(httpd.client().get("/app/x").backend(), "b");
}

#[test]
fn a_timeout_is_retried_only_when_asked_for() {
    for (set, expected) in [("", ""), ("LuaBalancerSet retry_on=connect,reset,timeout", "b")] {
        let [a, b] = Backend::named(["a", "b"]);
        let httpd = a_then_b(Mpm::Event, &a, &b, set);
        a.hang();
        let response = httpd.client().get("/app/x");
        assert_eq!(response.backend(), expected, "{set:?}: {}", response.status);
    }
}

#[test]
fn an_answer_of_5xx_is_passed_on() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "");
    for status in [500, 502, 503, 504] {
        a.status(status);
        let response = httpd.client().get("/app/x");
        assert_eq!((response.status, response.backend()), (status, "a"));
    }
    assert_eq!(b.requests(), 0);
}

#[test]
fn half_a_header_is_no_answer() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "");
    a.half_header();
    let mut client = httpd.client().strict();
    for nth in 1..=3 {
        assert_eq!(client.get("/app/x").backend(), "b", "request {nth}");
    }
}

#[test]
fn half_a_body_is_never_mixed_with_another_members() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "");
    a.half_body();
    assert!(httpd.client().try_get("/app/x").is_err());
    assert_eq!(b.requests(), 0);
    a.answer();
    assert_eq!(httpd.client().get("/app/x").backend(), "a");
}

#[test]
fn an_empty_pool_answers_on_empty_with_retry_after() {
    let a = Backend::new("a");
    let off = |name: &str, set: &str| pool(name, &[(&a, "status=+D")], set);
    let httpd = Httpd::builder()
        .config(&[off("default", ""), off("teapot", "LuaBalancerSet on_empty=504")].concat())
        .config("<LuaBalancerPool none>\n</LuaBalancerPool>")
        .config("ProxyPass /default lb://default\nProxyPass /teapot lb://teapot\nProxyPass /none lb://none")
        .start();
    for (path, status) in [("/default/", 503), ("/teapot/", 504), ("/none/", 503)] {
        let response = httpd.client().get(path);
        assert_eq!(response.status, status, "{path}");
        let retry_after = response.header("Retry-After").unwrap_or_default();
        assert!(retry_after.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{path}: {retry_after:?}");
    }
    assert_eq!(a.requests(), 0);
}

#[test]
fn failing_members_are_ejected_and_come_back() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines = "LuaBalancerMethod first\nLuaBalancerOutlier on failures=3 ejection=1s";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    a.reset();
    let mut client = httpd.client();
    assert_eq!(client.shares("/app/", 3)["b"], 3);
    assert_eq!(a.requests(), 3);
    assert_eq!(httpd.member("app", "a").state, "ejected");
    assert_eq!(client.shares("/app/", 5)["b"], 5);
    assert_eq!(a.requests(), 3, "an ejected member is not asked");
    a.answer();
    let ejected = Instant::now();
    server_tests::wait_until("the ejected member to return", Duration::from_secs(5), || {
        client.get("/app/").backend() == "a"
    });
    assert!(
        ejected.elapsed() < patience(Duration::from_millis(2500)),
        "returned after {:?}",
        ejected.elapsed()
    );
    assert_eq!(httpd.member("app", "a").state, "up");
}

#[test]
fn the_last_member_is_never_ejected() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "")], "LuaBalancerOutlier on failures=1 max_percent=100"))
        .config("ProxyPass /app lb://app")
        .start();
    a.reset();
    for _ in 0..5 {
        assert_eq!(httpd.client().get("/app/").status, 502);
    }
    assert_eq!(httpd.member("app", "a").state, "up");
    a.answer();
    assert_eq!(httpd.client().get("/app/").status, 200);
}

#[test]
fn outlier_counts_the_statuses_it_is_told() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines = "LuaBalancerMethod first\nLuaBalancerOutlier on failures=2 count=connect,5xx,429";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    a.status(404);
    httpd.client().shares("/app/", 5);
    assert_eq!(httpd.member("app", "a").state, "up");
    a.status(429);
    httpd.client().shares("/app/", 2);
    assert_eq!(httpd.member("app", "a").state, "ejected");
}

#[test]
fn without_outlier_a_failing_member_stays() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(Mpm::Event, &a, &b, "");
    a.reset();
    assert_eq!(httpd.client().shares("/app/", 10)["b"], 10);
    assert_eq!(a.requests(), 10);
}

#[test]
fn one_that_is_ejected_is_asked_before_a_request_fails() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    c.refuse();
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, ""), (&c, "")], "LuaBalancerOutlier on failures=1 ejection=5m"))
        .config("ProxyPass /app lb://app")
        .start();
    let mut client = httpd.client();
    wait_until("c to be ejected", SOON, || {
        assert_eq!(client.get("/app/").status, 200);
        httpd.member("app", "c").state == "ejected"
    });
    c.answer();
    assert!(!client.shares("/app/", 12).contains_key("c"), "an ejected member is asked while others serve");
    a.refuse();
    b.refuse();
    for _ in 0..5 {
        assert_eq!(client.get("/app/").backend(), "c");
    }
    assert_eq!(httpd.member("app", "c").state, "ejected", "one answer proves nothing");
}
