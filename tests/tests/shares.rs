// SPDX-License-Identifier: Apache-2.0
//! Exact shares: one round robin over all threads and children.

use std::collections::BTreeMap;

use server_tests::client::count;
use server_tests::{Backend, Httpd, Load, Mpm, on_every_mpm, pool};

const METHOD_SCRIPT: &str = r"
local app = lb.pool('app')
function translate(r)
  local method = r.uri:match('([a-z_]+)$')
  return app[method](app)
end
";

fn five_one_one(mpm: Mpm, backends: &[Backend; 3], method: &str) -> Httpd {
    let [a, b, c] = backends;
    let members = [(a, "weight=5"), (b, "weight=1"), (c, "weight=1")];
    Httpd::builder()
        .mpm(mpm)
        .file("pick.lua", METHOD_SCRIPT)
        .config(&pool("app", &members, &format!("LuaBalancerMethod {method}")))
        .config("ProxyPass /app lb://app")
        .config("<Location /by>\n  LuaHookTranslate pick.lua\n</Location>")
        .start()
}

/// Asks `n` times, each time through the next of two clients in different children.
fn sequence_over_children(httpd: &Httpd, target: &str, n: usize) -> Vec<String> {
    let mut clients: Vec<_> = httpd.clients_in_children(2, "/probe").into_values().collect();
    let backend = |turn: usize| clients[turn % 2].get(target).backend().to_owned();
    (0..n).map(backend).collect()
}

fn assert_sevens(sequence: &[String]) {
    for (index, seven) in sequence.chunks(7).enumerate() {
        assert_eq!(seven, ["a", "a", "b", "a", "c", "a", "a"], "seven number {index}");
    }
}

on_every_mpm!(seven_thousand_requests_at_5_1_1_are_5000_1000_1000_in_order_over_two_children);

fn seven_thousand_requests_at_5_1_1_are_5000_1000_1000_in_order_over_two_children(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let httpd = five_one_one(mpm, &backends, "round_robin");
    let sequence = sequence_over_children(&httpd, "/app/", 7000);
    assert_sevens(&sequence);
    assert_eq!(count(sequence), shares(5000, 1000, 1000));
}

#[test]
fn scripts_and_directives_share_the_exact_order() {
    for method in ["round_robin", "least_connections"] {
        let backends = Backend::named(["a", "b", "c"]);
        let httpd = five_one_one(Mpm::Event, &backends, method);
        assert_sevens(&sequence_over_children(&httpd, &format!("/by/{method}"), 700));
        assert_sevens(&sequence_over_children(&httpd, "/app/", 700));
    }
}

#[test]
fn random_methods_follow_the_weights() {
    for method in ["random", "power_of_two"] {
        let backends = Backend::named(["a", "b", "c"]);
        let httpd = five_one_one(Mpm::Event, &backends, method);
        for target in ["/app/".to_owned(), format!("/by/{method}")] {
            let shares = httpd.client().shares(&target, 1400);
            assert_eq!(shares.values().sum::<usize>(), 1400);
            assert!(shares.values().all(|share| *share > 0), "{method}: {shares:?}");
            assert!(shares["a"] > shares["b"] && shares["a"] > shares["c"], "{method}: {shares:?}");
        }
    }
}

#[test]
fn random_is_near_5_1_1() {
    let backends = Backend::named(["a", "b", "c"]);
    let httpd = five_one_one(Mpm::Event, &backends, "random");
    let shares = httpd.client().shares("/app/", 3500);
    // Five standard deviations of a binomial share.
    assert!(shares["a"].abs_diff(2500) < 135, "{shares:?}");
    assert!(shares["b"].abs_diff(500) < 105, "{shares:?}");
}

#[test]
fn first_takes_the_first() {
    let backends = Backend::named(["a", "b", "c"]);
    let httpd = five_one_one(Mpm::Event, &backends, "first");
    assert_eq!(httpd.client().shares("/app/", 50)["a"], 50);
}

#[test]
fn concurrent_requests_get_exact_shares_too() {
    let backends = Backend::named(["a", "b", "c"]);
    let httpd = five_one_one(Mpm::Event, &backends, "round_robin");
    let load = Load::start(httpd.port(), "/app/", 6);
    load.wait_for(3000);
    let tally = load.stop();
    tally.assert_all_ok();
    let total = tally.responses();
    let expected = shares(total * 5 / 7, total / 7, total / 7);
    for (name, share) in &tally.backends {
        assert!(share.abs_diff(expected[name]) <= 5, "{name}: {share} of {total}, {:?}", tally.backends);
    }
}

#[test]
fn least_connections_avoids_a_busy_member() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&a, ""), (&b, "")], "LuaBalancerMethod least_connections"))
        .config("ProxyPass /app lb://app")
        .start();
    a.hang();
    let load = Load::start(httpd.port(), "/app/", 1);
    server_tests::wait_until("a request that hangs", std::time::Duration::from_secs(10), || {
        a.in_flight() == 1
    });
    assert_eq!(httpd.client().shares("/app/", 50)["b"], 50);
    a.answer();
    load.stop().assert_all_ok();
}

fn shares(a: usize, b: usize, c: usize) -> BTreeMap<String, usize> {
    [("a", a), ("b", b), ("c", c)].map(|(name, share)| (name.to_owned(), share)).into()
}
