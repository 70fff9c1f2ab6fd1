// SPDX-License-Identifier: Apache-2.0
//! The past of a server: histories of pools, percentiles of the last ten minutes, and the finding
//! of a member's last check. The same from every child and at every door, and kept over restarts.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use server_tests::{Backend, Builder, Httpd, Mpm, on_every_mpm, patience, pool, wait_until};

const SOON: Duration = Duration::from_secs(15);

fn get(httpd: &Httpd, path: &str) -> Value {
    let response = httpd.socket().get(path);
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    serde_json::from_str(&response.text()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn history(httpd: &Httpd) -> Value {
    get(httpd, "/api/v1/pools/app/history")
}

fn member(httpd: &Httpd, name: &str) -> Value {
    get(httpd, &format!("/api/v1/pools/app/members/{name}"))
}

/// The sum of a number over all samples of the last minutes.
fn sum(history: &Value, key: &str) -> u64 {
    let samples = history["recent"]["samples"].as_array().expect("samples");
    samples.iter().map(|sample| sample[key].as_u64().unwrap_or_else(|| panic!("{key}: {sample}"))).sum()
}

fn balanced(members: &[(&Backend, &str)], lines: &str) -> Builder {
    Httpd::builder()
        .config(&pool("app", members, lines))
        .config("ProxyPass /app lb://app\n<Location /admin>\n  SetHandler lua-balancer\n</Location>")
}

fn a_history_says_how_many_requests_there_were_and_how_they_ended(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = balanced(&[(&a, ""), (&b, "")], "LuaBalancerOutlier off").mpm(mpm).start();
    (0..20).for_each(|_| assert_eq!(httpd.client().get("/app/x").status, 200));
    wait_until("the requests in the history", SOON, || sum(&history(&httpd), "requests") == 20);
    a.status(500);
    b.status(500);
    (0..5).for_each(|_| assert_eq!(httpd.client().get("/app/x").status, 500));
    wait_until("the errors in the history", SOON, || sum(&history(&httpd), "errors") == 5);
    let all = history(&httpd);
    assert_eq!(sum(&all, "requests"), 25, "{all:#}");
    assert_eq!(
        (&all["pool"], &all["recent"]["every"], &all["day"]["every"]),
        (&"app".into(), &2.into(), &300.into())
    );
    let samples = all["recent"]["samples"].as_array().expect("samples");
    for sample in samples {
        let [requests, usable] = ["requests", "usable"].map(|key| sample[key].as_u64().expect("a number"));
        assert_eq!(usable, 2, "{sample}");
        assert_eq!(requests > 0, sample["p95"].is_number(), "{sample}");
        assert!(sample["seconds"].as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{sample}");
    }
    let times: Vec<&str> = samples.iter().filter_map(|sample| sample["at"].as_str()).collect();
    assert!(times.is_sorted() && times.len() == samples.len(), "{times:?}");
    httpd.assert_no_crash();
}

on_every_mpm!(a_history_says_how_many_requests_there_were_and_how_they_ended);

#[test]
fn every_child_and_every_door_says_the_same() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = balanced(&[(&a, ""), (&b, "")], "LuaBalancerHealthCheck tcp interval=1h").children(3).start();
    (0..30).for_each(|_| assert_eq!(httpd.client().get("/app/x").status, 200));
    wait_until("the requests in the history", SOON, || sum(&history(&httpd), "requests") == 30);
    wait_until("the checks", SOON, || member(&httpd, "b")["check"]["ok"] == true);
    let mut clients = httpd.clients_in_children(3, "/probe");
    let document = |text: String| {
        let mut value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        // The next check is nearer with each look.
        for member in value["members"].as_array_mut().into_iter().flatten() {
            assert!(member["check"]["next"].as_f64().is_some_and(|next| next > 1.0), "{member}");
            member["check"]["next"] = Value::Null;
        }
        value
    };
    for path in ["/api/v1/pools/app", "/api/v1/pools/app/history"] {
        // A sample, or a check's first result, may come between two looks.
        wait_until("the same everywhere", SOON, || {
            let at_the_socket = document(httpd.socket().get(path).text());
            let others = clients.values_mut().map(|client| client.get(&format!("/admin{path}")).text());
            others.map(document).collect::<Vec<_>>().iter().all(|other| *other == at_the_socket)
        });
    }
    let pool = get(&httpd, "/api/v1/pools/app");
    for latency in [&pool["latency"], &pool["members"][0]["latency"], &pool["members"][1]["latency"]] {
        let parts =
            ["p50", "p95", "p99"].map(|key| latency[key].as_f64().unwrap_or_else(|| panic!("{latency}")));
        assert!(parts[0] > 0.0 && parts.is_sorted(), "{latency}");
    }
}

#[test]
fn nothing_is_lost_over_twenty_gracefuls_and_twenty_killed_leaders() {
    let a = Backend::new("a");
    let mut httpd = balanced(&[(&a, "")], "LuaBalancerOutlier off").children(2).start();
    let mut sent = 0;
    for turn in 0..20 {
        (0..5).for_each(|_| assert_eq!(httpd.client().get("/app/x").status, 200));
        sent += 5;
        httpd.graceful();
        let leader = || get(&httpd, "/api/v1/status")["leader"]["pid"].as_u64();
        wait_until("a lead", SOON, || leader().is_some());
        if let Some(pid) = leader() {
            httpd.signal(pid as u32, Signal::SIGKILL);
        }
        wait_until("another one", SOON, || httpd.children().len() >= 2);
        let now = sum(&history(&httpd), "requests");
        assert!(now <= sent, "turn {turn}: {now} of {sent}");
    }
    httpd.restart();
    wait_until("all of them", patience(SOON), || sum(&history(&httpd), "requests") == sent);
    let times: Vec<String> = history(&httpd)["recent"]["samples"]
        .as_array()
        .expect("samples")
        .iter()
        .map(|sample| sample["at"].to_string())
        .collect();
    assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), times.len(), "no moment twice: {times:?}");
}

#[test]
fn a_restart_that_makes_the_table_larger_takes_the_history_along() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = balanced(&[(&a, "")], "LuaBalancerHealthCheck http uri=/health interval=1h")
        .config("LuaBalancerMaxMembers 10")
        .start();
    (0..9).for_each(|_| assert_eq!(httpd.client().get("/app/x").status, 200));
    wait_until("the requests in the history", SOON, || sum(&history(&httpd), "requests") == 9);
    wait_until("a check", SOON, || member(&httpd, "a")["check"]["detail"] == "status 200");
    let before = member(&httpd, "a");
    let more: String = (0..900)
        .map(|at| format!("  LuaBalancerMember http://127.0.0.1:{}/{at} name=m{at} status=+D\n", b.port()))
        .collect();
    httpd.edit_config(
        "LuaBalancerMaxMembers 10",
        &format!("<LuaBalancerPool many>\n{more}</LuaBalancerPool>"),
    );
    httpd.graceful();
    wait_until("the new pool", SOON, || {
        get(&httpd, "/api/v1/pools?fields=name")["pools"].as_array().is_some_and(|all| all.len() == 2)
    });
    assert_eq!(sum(&history(&httpd), "requests"), 9);
    let now = member(&httpd, "a");
    assert_eq!(now["latency"]["p99"], before["latency"]["p99"]);
    assert_eq!(now["check"]["detail"], "status 200");
}

#[test]
fn a_check_says_what_it_found_when_and_when_the_next_one_is() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    b.health_status(503);
    c.refuse();
    let lines = "LuaBalancerHealthCheck http uri=/health interval=30s jitter=0%";
    let httpd = balanced(&[(&a, ""), (&b, ""), (&c, "")], lines).start();
    let check = |name: &str| member(&httpd, name)["check"].clone();
    for name in ["a", "b", "c"] {
        wait_until("a check", SOON, || check(name)["ok"].is_boolean());
    }
    let found = ["a", "b", "c"].map(|name| check(name)["detail"].as_str().unwrap_or_default().to_owned());
    assert_eq!(found[0], "status 200");
    assert!(found[1].contains("503"), "{found:?}");
    assert!(found[2].contains("refused"), "{found:?}");
    let one = check("a");
    assert_eq!((&one["type"], &one["ok"], &one["row"]), (&"http".into(), &true.into(), &1.into()));
    assert!(one["seconds"].as_f64().is_some_and(|took| took > 0.0 && took < 5.0), "{one}");
    assert!(one["next"].as_f64().is_some_and(|next| next > 10.0 && next <= 30.0), "{one}");
    let at = one["at"].as_str().unwrap_or_default().to_owned();
    assert!(at.ends_with('Z') && at.len() == 20, "{one}");
    let metrics = httpd.socket().get("/metrics").text();
    for line in [
        "luabalancer_member_checks_total{pool=\"app\",member=\"a\",result=\"ok\"} 1\n",
        "luabalancer_member_checks_total{pool=\"app\",member=\"b\",result=\"failed\"} 1\n",
        "luabalancer_member_check_duration_seconds{pool=\"app\",member=\"c\"} ",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    httpd.assert_no_crash();
}

#[test]
fn a_check_that_times_out_says_so() {
    let a = Backend::new("a");
    a.hang();
    let httpd =
        balanced(&[(&a, "")], "LuaBalancerHealthCheck http uri=/health interval=1h timeout=200ms").start();
    wait_until("a check", SOON, || member(&httpd, "a")["check"]["ok"] == false);
    let check = member(&httpd, "a")["check"].clone();
    assert!(check["detail"].as_str().is_some_and(|detail| detail.contains("timed out")), "{check}");
    assert!(check["seconds"].as_f64().is_some_and(|took| took >= 0.2), "{check}");
}

#[test]
fn a_check_in_lua_says_what_its_script_says() {
    let a = Backend::new("a");
    let script = "function check(m) return false, 'too tired: ' .. ('z'):rep(200) end";
    let httpd = balanced(&[(&a, "")], "LuaBalancerHealthCheck lua script=check.lua interval=1h")
        .file("check.lua", script)
        .start();
    wait_until("a check", SOON, || member(&httpd, "a")["check"]["ok"] == false);
    let check = member(&httpd, "a")["check"].clone();
    let detail = check["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("too tired") && detail.len() <= 96, "{check}");
}

#[test]
fn where_nothing_is_counted_there_is_no_history() {
    let a = Backend::new("a");
    let httpd = balanced(&[(&a, "")], "LuaBalancerHealthCheck tcp interval=100ms")
        .config("LuaBalancerMetrics off")
        .start();
    (0..3).for_each(|_| assert_eq!(httpd.client().get("/app/x").status, 200));
    wait_until("a check", SOON, || member(&httpd, "a")["check"]["row"].as_u64() > Some(30));
    let all = history(&httpd);
    assert_eq!(
        (&all["recent"]["samples"], &all["day"]["samples"]),
        (&Value::Array(Vec::new()), &Value::Array(Vec::new()))
    );
    assert_eq!(httpd.socket().get("/api/v1/pools/none/history").status, 404);
}
