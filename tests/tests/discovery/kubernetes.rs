// SPDX-License-Identifier: Apache-2.0
//! Members by the EndpointSlices of a service of Kubernetes (`kubernetes:`), whose API server
//! behaves well and badly.

use std::time::Duration;

use serde_json::json;
use server_tests::fake::{FakeKubernetes, KubernetesManner};
use server_tests::{Backend, Builder, Httpd, Load, Mpm, on_every_mpm, patience, wait_until};

use super::writing::pass_a_second;
use super::{SOON, get, source, states, up, wait_for_state, wait_for_up};

/// A pool `app` with the endpoints that an API server knows.
fn found(api: &FakeKubernetes, keys: &str) -> Builder {
    let url = api.server.url();
    let source = format!("kubernetes:shop/app:http server={url} token_file=token {keys}");
    let pool = format!("<LuaBalancerPool app>\nLuaBalancerDiscovery {source}\n</LuaBalancerPool>\n");
    Httpd::builder().config(&pool).config("ProxyPass /app lb://app").file("token", "t-first\n")
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

fn lists(api: &FakeKubernetes) -> usize {
    let is_list = |question: &server_tests::fake::Question| {
        question.value("watch").is_none() && question.value("continue").is_none()
    };
    api.server.questions().iter().filter(|question| is_list(question)).count()
}

on_every_mpm!(a_change_of_endpoints_is_in_service_within_a_second);

fn a_change_of_endpoints_is_in_service_within_a_second(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let api = FakeKubernetes::new("t-first");
    api.set(&a, json!({"ready": true}));
    api.set(&b, json!({}));
    let httpd = found(&api, "").mpm(mpm).start();
    wait_for_up(&httpd, &names(&[&a, &b]));
    let load = Load::start(httpd.port(), "/app/", 4);
    load.wait_for(20);
    pass_a_second();
    api.set(&c, json!({"ready": true, "serving": true, "terminating": false}));
    let added = wait_for_up(&httpd, &names(&[&a, &b, &c]));
    assert!(added <= patience(Duration::from_secs(1)), "{added:?}");
    // A pod that ends: it drains, and goes.
    api.set(&b, json!({"ready": false, "serving": true, "terminating": true}));
    let name = format!("127.0.0.1:{}", b.port());
    wait_until("it to drain", SOON, || states(&httpd)[&name] == "draining");
    load.wait_for(20);
    api.remove(&b);
    wait_until("the list without it", SOON, || source(&httpd)["listed"] == 2);
    load.wait_for(20);
    load.stop().assert_all_ok();
    assert_eq!((lists(&api), &source(&httpd)["updates"]["failed"]), (1, &0.into()), "a list, and a watch");
    httpd.assert_no_crash();
}

#[test]
fn a_server_that_fails_in_every_way_leaves_its_last_list_and_fails_no_request() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let api = FakeKubernetes::new("t-first");
    api.set(&a, json!({}));
    api.set(&b, json!({}));
    let httpd = found(&api, "every=1s timeout=1s").start();
    let both = names(&[&a, &b]);
    wait_for_up(&httpd, &both);
    let load = Load::start(httpd.port(), "/app/", 2);
    // A watch ends in its time, is cut, and its version goes: no failure, and nothing changes.
    let asked = api.server.questions().len();
    wait_until("three watches", SOON, || api.server.questions().len() >= asked + 3);
    assert_eq!(lists(&api), 1, "a watch that has ended goes on from its version");
    api.behave(KubernetesManner::CutsWatches);
    let asked = api.server.questions().len();
    wait_until("three watches", SOON, || api.server.questions().len() >= asked + 3);
    api.behave(KubernetesManner::Well);
    let before = lists(&api);
    api.compact();
    wait_until("another list", SOON, || lists(&api) > before);
    let row = source(&httpd);
    assert_eq!(
        (&row["state"], &row["updates"]["failed"], &row["updates"]["applied"]),
        (&"ok".into(), &0.into(), &1.into())
    );
    // Silence, and a token that expires.
    api.behave(KubernetesManner::Silent);
    wait_for_error(&httpd, "timed out after");
    assert_eq!(up(&httpd), both);
    api.behave(KubernetesManner::Well);
    wait_for_state(&httpd, "ok");
    api.set_token("t-second");
    wait_for_error(&httpd, "HTTP 401: Unauthorized: Bearer ***");
    assert_eq!(up(&httpd), both);
    httpd.write("token", "t-second\n");
    wait_for_state(&httpd, "ok");
    // Half a list is an error, though its first page is whole.
    api.behave(KubernetesManner::HalfLists);
    api.compact();
    wait_for_error(&httpd, "the connection was closed before the answer was complete");
    assert_eq!(up(&httpd), both);
    api.set(&c, json!({}));
    api.behave(KubernetesManner::Well);
    wait_for_up(&httpd, &names(&[&a, &b, &c]));
    load.wait_for(20);
    load.stop().assert_all_ok();
    for shown in [httpd.error_log(), source(&httpd).to_string(), get(&httpd, "/api/v1/pools/app").to_string()]
    {
        assert!(!shown.contains("t-first") && !shown.contains("t-second"), "{shown}");
    }
    httpd.assert_no_crash();
}

#[test]
fn a_refresh_lists_the_slices_though_a_watch_is_open() {
    let [a] = Backend::named(["a"]);
    let api = FakeKubernetes::new("t-first");
    api.set(&a, json!({}));
    let httpd = found(&api, "").start();
    wait_for_up(&httpd, &names(&[&a]));
    let watches = || api.server.questions().iter().any(|question| question.value("watch").is_some());
    wait_until("a watch", SOON, watches);
    let answer = super::send(&httpd, "POST", "/api/v1/discovery/app/kubernetes-1/refresh", "");
    assert_eq!((answer.status, lists(&api)), (200, 2), "{}", answer.text());
}

#[test]
fn an_account_that_may_not_watch_fails_once_and_has_changes_by_seldom_lists() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let api = FakeKubernetes::new("t-first");
    api.set(&a, json!({}));
    api.behave(KubernetesManner::DeniesWatches);
    let httpd = found(&api, "").start();
    wait_for_up(&httpd, &names(&[&a]));
    httpd
        .wait_for_log("it may be listed and not watched, and is listed every 10s: HTTP 403: it cannot watch");
    wait_for_state(&httpd, "ok");
    let before = lists(&api);
    api.set(&b, json!({}));
    wait_for_up(&httpd, &names(&[&a, &b]));
    assert!(lists(&api) <= before + 2, "{} lists", lists(&api) - before);
    assert_eq!(source(&httpd)["updates"]["failed"], 1);
    // It may by now.
    api.behave(KubernetesManner::Well);
    let watched = || api.server.questions().last().is_some_and(|question| question.value("watch").is_some());
    let listed = lists(&api);
    wait_until("a watch", SOON, || lists(&api) > listed && watched());
    api.set(&c, json!({}));
    let added = wait_for_up(&httpd, &names(&[&a, &b, &c]));
    assert!(added <= patience(Duration::from_secs(1)), "{added:?}");
    assert_eq!(httpd.count_log("may be listed and not watched"), 1);
}
