// SPDX-License-Identifier: Apache-2.0
//! Members that serve when not all can: lbsets, spares, standbys, zones, panic, and places that are
//! taken.

use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, Load, Mpm, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn serving(members: &[(&Backend, &str)], lines: &str) -> Builder {
    let lines = format!("LuaBalancerOutlier off\n{lines}");
    Httpd::builder()
        .with_member_states()
        .with_acts()
        .config(&pool("app", members, &lines))
        .config("ProxyPass /app lb://app")
}

/// The backends that answer twelve requests, each with its share.
fn shares(httpd: &Httpd) -> Vec<(String, usize)> {
    httpd.client().shares("/app/", 12).into_iter().collect()
}

fn share(name: &str, requests: usize) -> (String, usize) {
    (name.to_owned(), requests)
}

fn fail_checks(httpd: &Httpd, backend: &Backend) {
    backend.health_status(500);
    wait_until("a member to be down", SOON, || httpd.member("app", backend.name()).state == "down");
}

fn pass_checks(httpd: &Httpd, backend: &Backend) {
    backend.health_status(200);
    wait_until("a member to be up", SOON, || httpd.member("app", backend.name()).state == "up");
}

#[test]
fn the_lowest_lbset_with_a_usable_member_serves_alone() {
    let [a, b, c, d] = Backend::named(["a", "b", "c", "d"]);
    let members = [(&c, "lbset=1"), (&a, ""), (&b, "lbset=0"), (&d, "lbset=7")];
    let httpd = serving(&members, "").start();
    assert_eq!(shares(&httpd), [share("a", 6), share("b", 6)]);
    httpd.act("app/disable/a");
    assert_eq!(shares(&httpd), [share("b", 12)]);
    httpd.act("app/disable/b");
    assert_eq!(shares(&httpd), [share("c", 12)]);
    httpd.act("app/disable/c");
    assert_eq!(shares(&httpd), [share("d", 12)]);
    httpd.act("app/enable/b");
    assert_eq!(shares(&httpd), [share("b", 12)]);
}

#[test]
fn a_request_whose_whole_lbset_fails_is_served_by_the_next_one() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    a.refuse();
    b.refuse();
    let httpd = serving(&[(&a, ""), (&b, ""), (&c, "lbset=1")], "").start();
    assert_eq!(shares(&httpd), [share("c", 12)]);
}

#[test]
fn hot_spares_stand_in_one_for_one() {
    let [a, b, x, y] = Backend::named(["a", "b", "x", "y"]);
    let httpd = serving(&[(&a, ""), (&b, ""), (&x, "status=+R"), (&y, "status=+R")], "").start();
    assert_eq!(shares(&httpd), [share("a", 6), share("b", 6)]);
    httpd.act("app/disable/a");
    assert_eq!(shares(&httpd), [share("b", 6), share("x", 6)]);
    httpd.act("app/disable/b");
    assert_eq!(shares(&httpd), [share("x", 6), share("y", 6)]);
    httpd.act("app/disable/x");
    assert_eq!(shares(&httpd), [share("y", 12)]);
    httpd.act("app/enable/a");
    httpd.act("app/enable/b");
    assert_eq!(shares(&httpd), [share("a", 6), share("b", 6)]);
}

#[test]
fn a_standby_serves_when_nobody_else_can() {
    let [a, b, s] = Backend::named(["a", "b", "s"]);
    let httpd = serving(&[(&s, "status=+H"), (&a, ""), (&b, "")], "").start();
    assert_eq!(shares(&httpd), [share("a", 6), share("b", 6)]);
    httpd.act("app/disable/a");
    assert_eq!(shares(&httpd), [share("b", 12)]);
    httpd.act("app/disable/b");
    assert_eq!(shares(&httpd), [share("s", 12)]);
    httpd.act("app/enable/a");
    assert_eq!(shares(&httpd), [share("a", 12)]);
}

#[test]
fn checks_bring_spares_in_and_send_them_home() {
    let [a, b, x] = Backend::named(["a", "b", "x"]);
    let lines = "LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1";
    let httpd = serving(&[(&a, ""), (&b, ""), (&x, "status=+R")], lines).start();
    fail_checks(&httpd, &b);
    assert_eq!(shares(&httpd), [share("a", 6), share("x", 6)]);
    pass_checks(&httpd, &b);
    assert_eq!(shares(&httpd), [share("a", 6), share("b", 6)]);
}

#[test]
fn the_zone_of_the_pool_is_preferred_while_any_of_it_is_usable() {
    let [a, b, c, d] = Backend::named(["a", "b", "c", "d"]);
    let members = [(&a, "zone=eu"), (&b, "zone=us"), (&c, "zone=eu"), (&d, "")];
    let httpd = serving(&members, "LuaBalancerSet zone=eu").start();
    assert_eq!(shares(&httpd), [share("a", 6), share("c", 6)]);
    httpd.act("app/disable/a");
    assert_eq!(shares(&httpd), [share("c", 12)]);
    httpd.act("app/disable/c");
    assert_eq!(shares(&httpd), [share("b", 6), share("d", 6)]);
    httpd.act("app/enable/a");
    assert_eq!(shares(&httpd), [share("a", 12)]);
}

#[test]
fn a_request_that_fails_in_its_zone_leaves_it() {
    let [a, b] = Backend::named(["a", "b"]);
    a.refuse();
    let httpd = serving(&[(&a, "zone=eu"), (&b, "zone=us")], "LuaBalancerSet zone=eu").start();
    assert_eq!(shares(&httpd), [share("b", 12)]);
}

#[test]
fn with_too_few_healthy_members_health_is_ignored() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let lines = "LuaBalancerSet panic=50\n\
                 LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1";
    let httpd = serving(&[(&a, ""), (&b, ""), (&c, "")], lines).start();
    fail_checks(&httpd, &a);
    assert_eq!(shares(&httpd), [share("b", 6), share("c", 6)], "two of three are enough");
    fail_checks(&httpd, &b);
    assert_eq!(shares(&httpd), [share("a", 4), share("b", 4), share("c", 4)], "one of three is not");
    httpd.act("app/disable/b");
    assert!(!httpd.client().shares("/app/", 12).contains_key("b"), "panic does not enable what is disabled");
    httpd.act("app/enable/b");
    pass_checks(&httpd, &b);
    assert_eq!(shares(&httpd), [share("b", 6), share("c", 6)], "and it ends");
}

#[test]
fn members_that_are_full_or_were_tried_are_no_reason_to_panic() {
    let [a, b] = Backend::named(["a", "b"]);
    // One check of each, so that none meets what happens to `a` below.
    let lines = "LuaBalancerSet panic=50\n\
                 LuaBalancerHealthCheck http uri=/health interval=1h rise=1 fall=1";
    b.health_status(500);
    let httpd = serving(&[(&a, "max_inflight=1"), (&b, "")], lines).start();
    wait_until("b to be down", SOON, || httpd.member("app", "b").state == "down");
    wait_until("a to be checked", SOON, || a.health_checks() == 1 && a.in_flight() == 0);
    a.hang();
    let client = httpd.client().timeout(Duration::from_secs(60));
    let request = std::thread::spawn(move || client.strict().get("/app/").backend().to_owned());
    wait_until("the request to hang", SOON, || a.in_flight() == 1);
    assert_eq!(httpd.client().get("/app/").status, 503, "the only healthy member is full");
    assert_eq!(b.requests(), 0);
    a.answer();
    assert_eq!(request.join().expect("the client"), "a");
    a.refuse();
    assert_eq!(httpd.client().get("/app/").status, 503, "the only healthy member was tried");
    assert_eq!(b.requests(), 0);
}

#[test]
fn without_panic_one_healthy_member_serves_alone() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let lines = "LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1";
    let httpd = serving(&[(&a, ""), (&b, ""), (&c, "")], lines).start();
    fail_checks(&httpd, &a);
    fail_checks(&httpd, &b);
    assert_eq!(shares(&httpd), [share("c", 12)]);
    fail_checks(&httpd, &c);
    assert_eq!(httpd.client().get("/app/").status, 503);
}

on_every_mpm!(max_inflight_holds_over_all_children);

/// Sixteen clients, two members of three places each: whatever is answered, no backend ever sees a
/// fourth request.
fn max_inflight_holds_over_all_children(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    a.slow(Duration::from_millis(3));
    b.slow(Duration::from_millis(3));
    let lines = "LuaBalancerMethod least_connections\nLuaBalancerSet on_empty=429";
    let httpd =
        serving(&[(&a, "max_inflight=3"), (&b, "max_inflight=3")], lines).mpm(mpm).threads(16).start();
    let load = Load::start(httpd.port(), "/app/", 16);
    wait_until("three hundred requests served", SOON, || a.requests() + b.requests() >= 300);
    let tally = load.stop();
    assert!(tally.errors.is_empty(), "{tally:?}");
    assert!(tally.statuses.keys().all(|status| [200, 429].contains(status)), "{tally:?}");
    assert!(a.most_at_work() <= 3 && b.most_at_work() <= 3, "{} {}", a.most_at_work(), b.most_at_work());
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
    assert_eq!(shares(&httpd), [share("a", 6), share("b", 6)]);
}

#[test]
fn a_full_pool_answers_on_empty_with_retry_after() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "LuaBalancerSet on_empty=429").start();
    let mut patient = httpd.client();
    let waiting = std::thread::spawn(move || patient.get("/app/first"));
    wait_until("the first request", SOON, || a.in_flight() == 1);
    for _ in 0..3 {
        let response = httpd.client().get("/app/second");
        assert_eq!(response.status, 429);
        let seconds = response.header("Retry-After").unwrap_or_default();
        assert!(seconds.parse::<u32>().is_ok_and(|s| s > 0), "Retry-After: {seconds:?}");
    }
    assert_eq!(httpd.wait_for_access("/app/second").env["LB_REASON"], "no member");
    a.answer();
    assert_eq!(waiting.join().expect("the first client").status, 200);
    wait_until("a free place", SOON, || httpd.inflight("app") == 0);
    assert_eq!(httpd.client().get("/app/third").status, 200);
    assert_eq!(a.requests(), 2);
}

#[test]
fn a_full_member_lends_its_requests_to_the_others() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let lines = "LuaBalancerMethod first";
    let httpd = serving(&[(&a, "max_inflight=1"), (&b, "")], lines).start();
    let mut patient = httpd.client();
    let waiting = std::thread::spawn(move || patient.get("/app/first"));
    wait_until("the first request", SOON, || a.in_flight() == 1);
    assert_eq!(shares(&httpd), [share("b", 12)]);
    a.answer();
    assert_eq!(waiting.join().expect("the first client").backend(), "a");
}
