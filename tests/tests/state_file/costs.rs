// SPDX-License-Identifier: Apache-2.0
//! Ten thousand members: what it costs to write them and to read them again.

use std::fs;
use std::time::{Duration, Instant};

use server_tests::{Backend, Httpd, assert_says, patience, pool};

use super::{file, patch, read, wait_for_file};

const MEMBERS: usize = 10_000;

/// So many members, added in one change.
fn many(httpd: &Httpd, backends: [&Backend; 2], members: usize) {
    let configured =
        backends.map(|backend| format!(r#"{{"url":"{}","name":"{}"}}"#, backend.url(), backend.name()));
    let added =
        (0..members).map(|n| format!(r#"{{"url":"http://127.0.0.1:9/{n}","name":"x{n}","weight":2}}"#));
    let all: Vec<String> = configured.into_iter().chain(added).collect();
    let put = httpd.order("PUT", "/api/v1/pools/app/members", &format!("[{}]", all.join(",")));
    assert_eq!(put.status, 200, "{}", put.text().chars().take(400).collect::<String>());
}

#[test]
fn ten_thousand_members_come_back_soon_and_hold_up_no_request() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = Httpd::builder()
        .config("LuaBalancerMaxMembers 10100\nLuaBalancerStateFile kept/state.json")
        .config(&pool("app", &[(&a, ""), (&b, "")], ""))
        .config("<Location /one>\n  ProxyPass lb://one\n</Location>")
        .config(&pool("one", &[(&a, "")], ""))
        .start();
    many(&httpd, [&a, &b], MEMBERS);
    wait_for_file(&httpd, "\"x9999\"");
    let mut client = httpd.client();
    let mut slowest = Vec::new();
    for round in 0..5 {
        let note = format!("round {round}");
        patch(&httpd, &format!(r#"{{"admin":"drain","note":"{note}"}}"#));
        let (start, mut times) = (Instant::now(), Vec::new());
        while !fs::read_to_string(file(&httpd)).is_ok_and(|text| text.contains(&note)) {
            for _ in 0..20 {
                let sent = Instant::now();
                assert_eq!(client.get("/one/").status, 200);
                times.push(sent.elapsed());
            }
            assert!(start.elapsed() < patience(Duration::from_secs(20)), "{note} is not written");
        }
        times.sort_unstable();
        let (middle, last) = (times[times.len() / 2], times[times.len() - 1]);
        eprintln!(
            "{} requests in {:?}: {middle:?} in the middle, {last:?} at most",
            times.len(),
            start.elapsed()
        );
        slowest.push(last);
    }
    // Nobody waits for the file: the best of the rounds has no request that did.
    let best = slowest.iter().min().expect("rounds");
    assert!(*best < patience(Duration::from_millis(400)), "{slowest:?}");
    let bytes = fs::metadata(file(&httpd)).expect("the file").len();
    let (stop, _) = httpd.stop();
    let start = Instant::now();
    httpd.start_again();
    let start = start.elapsed();
    eprintln!("{bytes} bytes, {stop:?} to stop, {start:?} to start");
    httpd.wait_for_log("the state file of .*: orders of 1 members hold again, 10000 members are back");
    assert_says(&read(&httpd), &["draining", "round 4"]);
    let all = httpd.socket().get("/api/v1/pools/app/members").text();
    let all: serde_json::Value = serde_json::from_str(&all).expect("JSON");
    let names: Vec<&str> =
        all.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    let expected: Vec<String> =
        ["a", "b"].map(str::to_owned).into_iter().chain((0..MEMBERS).map(|n| format!("x{n}"))).collect();
    assert_eq!(names, expected, "in the order in which they came");
    assert!(start < patience(Duration::from_secs(20)), "{start:?}");
}

#[test]
fn members_that_find_no_room_are_named_and_the_rest_comes_back() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = Httpd::builder()
        .config("LuaBalancerMaxMembers 3300\nLuaBalancerStateFile kept/state.json")
        .config(&pool("app", &[(&a, ""), (&b, "")], ""))
        .start();
    many(&httpd, [&a, &b], 3000);
    patch(&httpd, r#"{"admin":"drain","note":"stays"}"#);
    httpd.stop();
    httpd.edit_config("LuaBalancerMaxMembers 3300", "LuaBalancerMaxMembers 3");
    httpd.start_again();
    assert_says(&read(&httpd), &["draining", "stays"]);
    let line = httpd.wait_for_log("orders of 1 members hold again, [0-9]+ members are back");
    let back: usize =
        line.split(", ").last().and_then(|text| text.split(' ').next()?.parse().ok()).expect("a number");
    let there = httpd.socket().get("/api/v1/pools/app").text().matches("\"name\":\"x").count();
    assert_eq!(there, back, "{line}");
    assert!((3..3000).contains(&back), "{line}");
    httpd.wait_for_log(
        "lua_balancer:error.*the state file: pool app: member x[0-9]+: no room for another member",
    );
    httpd.wait_for_log(&format!("lua_balancer:error.*the state file: and {} members more", 3000 - back - 20));
}
