// SPDX-License-Identifier: Apache-2.0
//! Found members over restarts, killed children and stops.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use server_tests::{Backend, Builder, FakeServer, Httpd, Load, Mpm, on_every_mpm, wait_until};

use super::{SOON, found, get, list, member, plain, pool_of, send, source, up, wait_for_state, wait_for_up};

pub fn leader(httpd: &Httpd) -> u32 {
    let status = get(httpd, "/api/v1/status");
    status["leader"]["pid"].as_u64().map_or(0, |pid| pid as u32)
}

on_every_mpm!(a_killed_leader_and_restarts_lose_nothing_and_fail_no_request);

fn a_killed_leader_and_restarts_lose_nothing_and_fail_no_request(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let mut httpd = found("").mpm(mpm).file("lists/app.json", &plain(&[&a, &b])).start();
    wait_for_up(&httpd, "a b");
    let load = Load::start(httpd.port(), "/app/", 2);
    load.wait_for(20);
    httpd.graceful();
    assert_eq!(up(&httpd), "a b");
    httpd.write("lists/app.json", &plain(&[&a, &b, &c]));
    wait_for_up(&httpd, "a b c");
    load.wait_for(20);
    load.stop().assert_all_ok();
    let killed = leader(&httpd);
    httpd.kill_child(killed);
    wait_until("another leader", SOON, || ![0, killed].contains(&leader(&httpd)));
    assert_eq!((up(&httpd).as_str(), &source(&httpd)["state"]), ("a b c", &"ok".into()));
    httpd.write("lists/app.json", &plain(&[&b, &c]));
    wait_for_up(&httpd, "b c");
    let applied = source(&httpd)["updates"]["applied"].as_u64();
    assert_eq!(applied, Some(3), "no list was put in service twice");
    httpd.restart();
    assert_eq!(up(&httpd), "b c");
}

/// A web server that gives these members once it may, and is silent until then.
fn silent_at_first(members: String) -> (FakeServer, Arc<AtomicBool>) {
    let may = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&may);
    let server = FakeServer::start(move |_, reply| {
        if reply.wait(SOON, || told.load(Ordering::SeqCst)) {
            reply.whole(200, &[], &members);
        }
    });
    (server, may)
}

fn asked_of(server: &FakeServer, keys: &str) -> Builder {
    let url = server.url();
    let pool =
        format!("<LuaBalancerPool app>\nLuaBalancerDiscovery http:{url}/ {keys}\n</LuaBalancerPool>\n");
    Httpd::builder().config(&pool).config("ProxyPass /app lb://app")
}

#[test]
fn a_start_waits_for_no_source_and_requests_wait_for_its_first_list() {
    let [a] = Backend::named(["a"]);
    let (server, may) = silent_at_first(plain(&[&a]));
    let httpd = asked_of(&server, "").start();
    let asked = Instant::now();
    let response = httpd.client().get("/app/");
    assert_eq!(response.status, 503, "{}", response.text());
    assert!(asked.elapsed() >= Duration::from_millis(1900), "{:?}", asked.elapsed());
    assert_eq!(source(&httpd)["last_success"], serde_json::Value::Null);
    let port = httpd.port();
    let waiting = std::thread::spawn(move || server_tests::Client::new(port).get("/app/"));
    may.store(true, Ordering::SeqCst);
    let response = waiting.join().expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn nobody_waits_for_a_list_once_all_sources_have_failed() {
    let [a] = Backend::named(["a"]);
    let httpd = found("wait=60s").start();
    let asked = Instant::now();
    let response = httpd.client().get("/app/");
    assert_eq!(response.status, 503, "{}", response.text());
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    wait_for_state(&httpd, "stale");
    assert_eq!(httpd.client().get("/app/").status, 503);
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert_eq!(httpd.count_log("source file-1: it cannot be read: .*; it has given no list yet"), 1);
    let status = get(&httpd, "/api/v1/status").to_string();
    assert!(status.contains("source file-1 fails, it has given no list yet: it cannot be read"), "{status}");
    fs::create_dir(httpd.dir().join("lists")).expect("a folder");
    httpd.write("lists/app.json", &plain(&[&a]));
    wait_for_up(&httpd, "a");
    assert_eq!(httpd.client().get("/app/").status, 200);
    fs::remove_file(httpd.dir().join("lists/app.json")).expect("removed");
    wait_for_state(&httpd, "stale");
    assert_eq!(httpd.count_log("source file-1: it cannot be read: .*; its last list stays"), 1);
}

#[test]
fn requests_wait_while_one_of_several_sources_has_said_nothing() {
    let [a] = Backend::named(["a"]);
    let (server, may) = silent_at_first(plain(&[&a]));
    let httpd = asked_of(&server, "wait=60s\nLuaBalancerDiscovery file:lists/none.json wait=0").start();
    let failed = || get(&httpd, "/api/v1/discovery")["discovery"][1]["state"] == "stale";
    wait_until("the file to fail", SOON, failed);
    let port = httpd.port();
    let waiting = std::thread::spawn(move || server_tests::Client::new(port).get("/app/"));
    may.store(true, Ordering::SeqCst);
    let response = waiting.join().expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn requests_that_wait_for_a_first_list_leave_threads_to_other_pools() {
    let [a] = Backend::named(["a"]);
    let (server, may) = silent_at_first(plain(&[&a]));
    let other = format!("<LuaBalancerPool other>\nLuaBalancerMember {}\n</LuaBalancerPool>", a.url());
    let httpd = asked_of(&server, "wait=60s timeout=60s");
    let httpd = httpd.children(1).threads(4).config(&other).config("ProxyPass /other lb://other").start();
    let port = httpd.port();
    let asking: Vec<_> =
        (0..6).map(|_| std::thread::spawn(move || server_tests::Client::new(port).get("/app/"))).collect();
    // Two of the four threads wait; the other requests are answered.
    wait_until("four answers", SOON, || asking.iter().filter(|one| one.is_finished()).count() == 4);
    assert_eq!(httpd.client().get("/other/").status, 200);
    may.store(true, Ordering::SeqCst);
    let mut statuses: Vec<u16> =
        asking.into_iter().map(|one| one.join().expect("an answer").status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503, 503, 503]);
}

#[test]
fn a_start_without_the_source_serves_the_last_list() {
    let [a, b] = Backend::named(["a", "b"]);
    for (keys, names) in [("", "a b"), ("initial=empty wait=0", "")] {
        let mut httpd = found(keys)
            .config("LuaBalancerStateFile kept/state.json")
            .file("lists/app.json", &plain(&[&a, &b]))
            .start();
        wait_for_up(&httpd, "a b");
        let state = httpd.dir().join("kept/state.json");
        wait_until("the list in the state file", SOON, || {
            fs::read_to_string(&state).is_ok_and(|text| text.contains("discovered=file-1"))
        });
        httpd.stop();
        fs::remove_file(httpd.dir().join("lists/app.json")).expect("removed");
        httpd.start_again();
        assert_eq!(up(&httpd), names, "{keys}");
        wait_for_state(&httpd, "stale");
        let status = httpd.client().get("/app/").status;
        assert_eq!(status, if names.is_empty() { 503 } else { 200 }, "{keys}");
        httpd.write("lists/app.json", &plain(&[&b]));
        wait_for_up(&httpd, "b");
    }
}

#[test]
fn a_source_that_the_configuration_drops_takes_its_members_along_unless_another_finds_them() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = found("").file("lists/app.json", &plain(&[&a, &b])).start();
    wait_for_up(&httpd, "a b");
    let load = Load::start(httpd.port(), "/app/", 2);
    httpd.edit_config("lists/app.json", "lists/app.json name=own");
    httpd.graceful();
    wait_until("the other source's", SOON, || source(&httpd)["members"] == 2);
    load.wait_for(20);
    load.stop().assert_all_ok();
    httpd.edit_config(
        "LuaBalancerDiscovery file:lists/app.json name=own",
        &format!("LuaBalancerMember {} name=a", a.url()),
    );
    httpd.graceful();
    wait_for_up(&httpd, "a");
    assert_eq!(super::states(&httpd)["b"], "draining");
    assert_eq!(member(&httpd, "a")["source"]["kind"], "config");
}

#[test]
fn a_member_that_goes_drains_and_one_that_is_back_is_the_same() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = found("drain=3s").file("lists/app.json", &plain(&[&a, &b])).start();
    wait_for_up(&httpd, "a b");
    httpd.client().shares("/app/", 20);
    let requests = |name: &str| member(&httpd, name)["attempts"]["ok"].as_u64();
    let before = requests("b");
    assert_eq!(before, Some(10));
    httpd.write("lists/app.json", &plain(&[&a]));
    wait_for_up(&httpd, "a");
    let b_now = member(&httpd, "b");
    assert_eq!((&b_now["state"], &b_now["why"][0]["by"]), (&"draining".into(), &"file-1".into()), "{b_now}");
    assert!(b_now["why"][0]["until"].is_string() && b_now["overrides"].as_array().is_some_and(Vec::is_empty));
    httpd.write("lists/app.json", &plain(&[&a, &b]));
    wait_for_up(&httpd, "a b");
    assert_eq!(requests("b"), before);
    httpd.write("lists/app.json", &plain(&[&a]));
    wait_until("b to be gone", SOON, || super::states(&httpd).len() == 1);
    httpd.wait_for_log("notice.*pool app: member b: removed .*source file-1");
}

#[test]
fn another_weight_keeps_the_member_and_its_counts() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = found("").file("lists/app.json", &plain(&[&a, &b])).start();
    wait_for_up(&httpd, "a b");
    httpd.client().shares("/app/", 20);
    httpd.write("lists/app.json", &list(&[(&a, r#","weight":"3","version":"2""#), (&b, "")]));
    wait_until("the weight", SOON, || member(&httpd, "a")["weight"] == 3);
    let now = member(&httpd, "a");
    assert_eq!((&now["attempts"]["ok"], &now["meta"]["version"]), (&10.into(), &"2".into()), "{now}");
    assert_eq!(now["overrides"].as_array().map(Vec::len), Some(0), "{now}");
    let shares = httpd.client().shares("/app/", 40);
    assert_eq!((shares["a"], shares["b"]), (30, 10), "{shares:?}");
    httpd.wait_for_log("notice.*pool app: member a: weight 1 -> 3 \\(by source file-1\\)");
}

#[test]
fn an_operators_drain_and_weight_outlive_lists() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = found("").file("lists/app.json", &plain(&[&a, &b, &c])).start();
    wait_for_up(&httpd, "a b c");
    let patch = |name: &str, body: &str| {
        let response = send(&httpd, "PATCH", &format!("/api/v1/pools/app/members/{name}"), body);
        assert_eq!(response.status, 200, "{}", response.text());
    };
    patch("a", r#"{"admin":"drain","note":"deploy 42"}"#);
    patch("b", r#"{"weight":7}"#);
    httpd.write("lists/app.json", &list(&[(&a, r#","weight":"2""#), (&b, r#","weight":"2""#), (&c, "")]));
    wait_until("the list", SOON, || member(&httpd, "b")["weights"]["configured"] == 2);
    let of = |name: &str| {
        let now = member(&httpd, name);
        (now["state"].clone(), now["weight"].clone(), now["note"].clone())
    };
    assert_eq!(of("a"), ("draining".into(), 2.into(), "deploy 42".into()));
    assert_eq!(of("b"), ("up".into(), 7.into(), serde_json::Value::Null));
    httpd.write("lists/app.json", &plain(&[&b, &c]));
    wait_until("a to leave", SOON, || source(&httpd)["members"] == 2);
    httpd.write("lists/app.json", &plain(&[&a, &b, &c]));
    wait_until("a to be back", SOON, || source(&httpd)["members"] == 3);
    assert_eq!((of("a").0, of("a").2), ("draining".into(), "deploy 42".into()));
    patch("b", r#"{"weight":null}"#);
    assert_eq!(of("b").1, 1);
}

#[test]
fn a_pool_that_a_script_defines_may_have_a_source() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = r#"
        lb.define_pool("made", { discovery = { source = "file:lists/app.json", drain = "5s" } })
        function translate(r) return lb.pool("made") end"#;
    let httpd = Httpd::builder()
        .file("made.lua", script)
        .file("lists/app.json", &plain(&[&a, &b]))
        .config("<Location /made>\n  LuaHookTranslate made.lua\n</Location>")
        .start();
    wait_until("the source", SOON, || source(&httpd)["members"] == 2);
    assert_eq!(httpd.client().get("/made/").status, 200);
    // Its list of members is not the source's.
    httpd.write("made.lua", &script.replace("5s", "6s"));
    httpd.wait_for_log("notice.*made.lua.*");
    wait_until("the source", SOON, || source(&httpd)["members"] == 2);
    let removed = httpd.count_log("pool made: member . removed|pool made: member .: removed");
    assert_eq!(removed, 0, "{}", httpd.error_log());
}

#[test]
fn configtest_knows_sources_and_waits_for_none() {
    let tested = found("").configtest();
    assert!(tested.says("Syntax OK"), "{tested:?}");
    let tested = Httpd::builder().config(&pool_of("every=30s", "")).configtest();
    tested.assert_error_at("LuaBalancerDiscovery", &["unknown key every"]);
    let pool = |source: &str| {
        format!("<LuaBalancerPool app>\n  LuaBalancerDiscovery {source}\n</LuaBalancerPool>\n")
    };
    let tested = Httpd::builder().config(&pool("dns:app.invalid:80 resolver=127.0.0.1:1")).configtest();
    assert!(tested.says("Syntax OK"), "{tested:?}");
    for source in ["consul:http://127.0.0.1:1/app", "kubernetes:shop/app:http server=https://127.0.0.1:1"] {
        let tested = Httpd::builder().config(&pool(source)).configtest();
        assert!(tested.says("Syntax OK"), "{tested:?}");
    }
}
