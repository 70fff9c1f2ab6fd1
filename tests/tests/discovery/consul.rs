// SPDX-License-Identifier: Apache-2.0
//! Members by a service of Consul (`consul:`), whose agent behaves well and badly.

use std::time::Duration;

use server_tests::fake::{ConsulManner, FakeConsul};
use server_tests::{Backend, Builder, Httpd, Load, Mpm, on_every_mpm, patience, wait_until};

use super::writing::pass_a_second;
use super::{SOON, get, member, source, states, up, wait_for_state, wait_for_up};

/// A pool `app` with the instances that an agent knows.
fn found(consul: &FakeConsul, keys: &str) -> Builder {
    let url = consul.server.url();
    let pool =
        format!("<LuaBalancerPool app>\nLuaBalancerDiscovery consul:{url}/app {keys}\n</LuaBalancerPool>\n");
    Httpd::builder().config(&pool).config("ProxyPass /app lb://app")
}

fn names(backends: &[&Backend]) -> String {
    let mut names: Vec<String> =
        backends.iter().map(|backend| format!("127.0.0.1:{}", backend.port())).collect();
    names.sort();
    names.join(" ")
}

fn wait_for_error(httpd: &Httpd, begins: &str) {
    let error = || source(httpd)["last_error"].as_str().unwrap_or_default().to_owned();
    wait_until(begins, SOON, || error().starts_with(begins));
    wait_for_state(httpd, "stale");
}

on_every_mpm!(a_change_of_a_service_is_in_service_within_a_second);

fn a_change_of_a_service_is_in_service_within_a_second(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let passing = |backend, weight| FakeConsul::instance(backend, weight, "passing");
    let consul = FakeConsul::new(vec![passing(&a, 1), passing(&b, 1)]);
    let httpd = found(&consul, "").mpm(mpm).start();
    wait_for_up(&httpd, &names(&[&a, &b]));
    let load = Load::start(httpd.port(), "/app/", 4);
    load.wait_for(20);
    pass_a_second();
    consul.set(vec![passing(&a, 1), passing(&b, 1), passing(&c, 5)]);
    let added = wait_for_up(&httpd, &names(&[&a, &b, &c]));
    assert!(added <= patience(Duration::from_secs(1)), "{added:?}");
    let row = member(&httpd, &format!("127.0.0.1:{}", c.port()));
    assert_eq!((&row["weight"], &row["meta"]["version"]), (&5.into(), &"7".into()), "{row}");
    assert_eq!(row["source"]["kind"], "consul");
    // One whose check fails drains.
    consul.set(vec![passing(&a, 1), FakeConsul::instance(&b, 1, "critical"), passing(&c, 5)]);
    wait_for_up(&httpd, &names(&[&a, &c]));
    load.wait_for(20);
    load.stop().assert_all_ok();
    assert_eq!(source(&httpd)["updates"]["failed"], 0);
    httpd.assert_no_crash();
}

#[test]
fn an_agent_that_fails_in_every_way_leaves_its_last_list_and_fails_no_request() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let passing = |backend| FakeConsul::instance(backend, 1, "passing");
    let consul = FakeConsul::new(vec![passing(&a), passing(&b)]);
    let httpd = found(&consul, "every=1s timeout=1s token_file=token").file("token", "t-secret\n").start();
    let both = names(&[&a, &b]);
    wait_for_up(&httpd, &both);
    let load = Load::start(httpd.port(), "/app/", 2);
    for (manner, begins) in [
        (ConsulManner::NoLeader, "HTTP 500: No cluster leader"),
        (ConsulManner::Denied, "HTTP 403: Permission denied: token *** lacks"),
        (ConsulManner::Filtered, "the token may not read all instances"),
        (ConsulManner::Half, "the connection was closed before the answer was complete"),
        (ConsulManner::Silent, "timed out after"),
    ] {
        consul.behave(manner);
        wait_for_error(&httpd, begins);
        assert_eq!(up(&httpd), both, "{begins}");
        consul.behave(ConsulManner::Well);
        wait_for_state(&httpd, "ok");
    }
    let applied = || source(&httpd)["updates"]["applied"].as_u64();
    assert_eq!(applied(), Some(1), "nothing has changed");
    load.wait_for(20);
    load.stop().assert_all_ok();
    for shown in [httpd.error_log(), source(&httpd).to_string(), get(&httpd, "/api/v1/pools/app").to_string()]
    {
        assert!(!shown.contains("t-secret"), "{shown}");
    }
    // After a restored snapshot, and without a usable index.
    consul.go_back(vec![passing(&a), passing(&b), passing(&c)]);
    wait_for_up(&httpd, &names(&[&a, &b, &c]));
    consul.behave(ConsulManner::ZeroIndex);
    consul.set(vec![passing(&a), passing(&c)]);
    wait_for_up(&httpd, &names(&[&a, &c]));
    let asked = consul.server.questions().len();
    let took = wait_until("four questions", SOON, || consul.server.questions().len() >= asked + 4);
    assert!(took >= Duration::from_secs(2), "{took:?}: it is asked in a circle");
    httpd.assert_no_crash();
}

#[test]
fn instances_in_maintenance_drain_and_failing_ones_stay_where_that_is_wanted() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut taken_out = FakeConsul::instance(&b, 1, "critical");
    taken_out["Checks"][1]["CheckID"] = "_service_maintenance:app".into();
    let failing = FakeConsul::instance(&a, 1, "critical");
    let consul = FakeConsul::new(vec![failing.clone(), FakeConsul::instance(&b, 1, "passing")]);
    let httpd = found(&consul, "passing=off").start();
    wait_for_up(&httpd, &names(&[&a, &b]));
    consul.set(vec![failing.clone(), taken_out]);
    let name = format!("127.0.0.1:{}", b.port());
    wait_until("it to drain", SOON, || states(&httpd)[&name] == "draining");
    consul.set(vec![failing, FakeConsul::instance(&b, 1, "passing")]);
    wait_for_up(&httpd, &names(&[&a, &b]));
}
