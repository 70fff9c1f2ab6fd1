// SPDX-License-Identifier: Apache-2.0
//! Children of an older configuration serve what they have; what they need stays while they do.

use std::thread;
use std::time::Duration;

use server_tests::{Backend, Httpd, Mpm, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(15);

/// The parent gives an old child's place away when a thread of it has ended after its listener.
/// Threads without work may end before the listener, so there is one that certainly does not: the
/// one that answers for `b`.
#[test]
fn a_child_that_lost_its_place_to_a_new_one_keeps_its_counts() {
    const MAIN: usize = 1;
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = Httpd::builder()
        .mpm(Mpm::Worker)
        .children(1)
        .with_member_states()
        .config("ServerLimit 1")
        .config(&pool("app", &[(&a, ""), (&b, "")], ""))
        .config("ProxyPass /app lb://app")
        .log_level("debug proxy:error")
        .start();
    a.hang();
    b.hang();
    let [for_a, for_b] = [&a, &b].map(|backend| {
        let client = httpd.client().timeout(Duration::from_secs(60));
        let request = thread::spawn(move || client.strict().get("/app/"));
        wait_until("the request to hang", SOON, || backend.in_flight() == 1);
        request
    });
    let old = httpd.wait_for_children(1)[0];
    httpd.graceful();
    wait_until("the old child to have no other threads", SOON, || httpd.threads_of(old) == MAIN + 2);
    b.answer();
    assert_eq!(for_b.join().expect("the client").backend(), "b");
    httpd.wait_for_log("taking over scoreboard slot from");
    wait_until("the new child to answer", SOON, || httpd.client().get("/nothing").status == 404);
    assert_eq!(httpd.inflight("app"), 1);
    assert!(httpd.children().contains(&old));
    a.answer();
    assert_eq!(for_a.join().expect("the client").backend(), "a");
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}

on_every_mpm!(old_children_finish_with_pools_that_a_new_configuration_has_no_more);

fn old_children_finish_with_pools_that_a_new_configuration_has_no_more(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "")], "LuaBalancerMethod first\nLuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app")
        .start();
    a.hang();
    let client = httpd.client().timeout(Duration::from_secs(60));
    let request = thread::spawn(move || client.strict().get("/app/").backend().to_owned());
    wait_until("the request to hang", SOON, || a.in_flight() == 1);
    httpd.edit_config("<LuaBalancerPool app>", "<LuaBalancerPool renamed>");
    httpd.edit_config("lb://app", "lb://renamed");
    httpd.graceful();
    b.answer();
    assert_eq!(httpd.inflight("app"), 1);
    a.reset();
    assert_eq!(request.join().expect("the client"), "b");
    wait_until("the old pool to go", SOON, || !httpd.has_pool("app"));
    assert_eq!(httpd.client().get("/app/").backend(), "b");
}
