// SPDX-License-Identifier: Apache-2.0
//! Children die and generations pass; what the pools know stays right.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use server_tests::httpd::Builder;
use server_tests::{Backend, Httpd, Load, Mpm, on_every_mpm, patience, pool, wait_until};

const SOON: Duration = Duration::from_secs(15);

fn two_members(mpm: Mpm, a: &Backend, b: &Backend, lines: &str) -> Builder {
    Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .config(&pool("app", &[(a, ""), (b, "")], lines))
        .config("ProxyPass /app lb://app")
}

on_every_mpm!(a_killed_childs_requests_in_flight_are_given_back);

fn a_killed_childs_requests_in_flight_are_given_back(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = two_members(mpm, &a, &b, "LuaBalancerOutlier off").start();
    let clients = httpd.clients_in_children(2, "/probe");
    let victim = *clients.keys().next().expect("a child");
    a.hang();
    b.hang();
    let requests: Vec<_> =
        clients.into_values().map(|client| thread::spawn(move || client.strict().try_get("/app/"))).collect();
    wait_until("two requests in flight", SOON, || a.in_flight() + b.in_flight() == 2);
    assert_eq!(httpd.inflight("app"), 2);
    httpd.kill_child(victim);
    wait_until("the killed child's request to be given back", SOON, || httpd.inflight("app") == 1);
    a.answer();
    b.answer();
    let answered = requests.into_iter().map(|thread| thread.join().expect("a client thread"));
    assert_eq!(answered.filter(Result::is_ok).count(), 1);
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
    httpd.client().shares("/app/", 20);
    assert_eq!(httpd.inflight("app"), 0);
}

#[test]
fn kills_under_load_leave_nothing_in_flight() {
    let [a, b] = Backend::named(["a", "b"]);
    a.slow(Duration::from_millis(5));
    let httpd = two_members(Mpm::Event, &a, &b, "LuaBalancerMethod least_connections").start();
    let load = Load::start(httpd.port(), "/app/", 8);
    for _ in 0..5 {
        load.wait_for(50);
        let victim = httpd.wait_for_children(2)[0];
        httpd.kill_child(victim);
        httpd.wait_for_children(2);
    }
    load.wait_for(100);
    drop(load.stop());
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
    assert_eq!(httpd.client().get("/app/").status, 200);
}

#[test]
fn aborted_clients_leave_nothing_in_flight() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = two_members(Mpm::Event, &a, &b, "").start();
    a.slow(Duration::from_millis(300));
    b.half_body();
    for _ in 0..6 {
        let _ = httpd.client().timeout(Duration::from_millis(50)).try_get("/app/");
    }
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}

const SET_WEIGHT: &str = "function translate(r)\n  local m = lb.pool('app'):member('a')\n  \
                          m:set_weight(7)\n  lb.pool('app'):member('b'):drain()\n  return 204\nend";

on_every_mpm!(health_and_weights_survive_graceful_and_restart);

fn health_and_weights_survive_graceful_and_restart(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    a.health_status(500);
    // One failed check is enough to go down; each new leader checks at once, so that more good ones
    // than there are leaders would be needed to come up.
    let check = "LuaBalancerHealthCheck http uri=/health interval=10m fall=1 rise=20";
    let mut httpd = two_members(mpm, &a, &b, check)
        .file("set.lua", SET_WEIGHT)
        .config("<Location /set>\n  LuaHookTranslate set.lua\n</Location>")
        .start();
    wait_until("the failing member to be down", SOON, || httpd.member("app", "a").state == "down");
    assert_eq!(httpd.client().get("/set").status, 204);
    a.health_status(200);
    let kept = |httpd: &Httpd, when: &str| {
        let (a, b) = (httpd.member("app", "a"), httpd.member("app", "b"));
        assert_eq!((a.state.as_str(), a.weight, b.state.as_str()), ("down", 7, "draining"), "{when}");
    };
    kept(&httpd, "before");
    httpd.graceful();
    kept(&httpd, "after graceful");
    httpd.restart();
    kept(&httpd, "after restart");
}

#[test]
fn a_reload_adds_and_removes_members_and_keeps_the_others() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let mut httpd = two_members(Mpm::Event, &a, &b, "")
        .file("set.lua", "function translate(r) lb.pool('app'):member('a'):set_weight(3) return 204 end")
        .config("<Location /set>\n  LuaHookTranslate set.lua\n</Location>")
        .start();
    httpd.client().get("/set");
    let line = |backend: &Backend| format!("LuaBalancerMember {} name={}", backend.url(), backend.name());
    httpd.edit_config(&line(&b), &line(&c));
    httpd.graceful();
    let names: Vec<String> = httpd.members("app").into_keys().collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(httpd.member("app", "a").weight, 3);
    let shares = httpd.client().shares("/app/", 8);
    assert_eq!((shares.get("a"), shares.get("b"), shares.get("c")), (Some(&6), None, Some(&2)));
}

#[test]
fn changes_by_a_script_are_seen_by_all_children_at_once() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = "function translate(r)\n  local m = lb.pool('app'):member('a')\n  \
                  m[r.uri:match('[^/]+$')](m)\n  return 204\nend";
    let httpd = two_members(Mpm::Event, &a, &b, "")
        .file("change.lua", script)
        .config("<Location /change>\n  LuaHookTranslate change.lua\n</Location>")
        .start();
    let mut clients = httpd.clients_in_children(2, "/probe");
    for (change, usable) in [("disable", false), ("enable", true), ("drain", false), ("enable", true)] {
        assert_eq!(httpd.client().get(&format!("/change/{change}")).status, 204);
        for client in clients.values_mut() {
            let shares = client.shares("/app/", 4);
            assert_eq!(shares.contains_key("a"), usable, "{change}: {shares:?}");
        }
        httpd.wait_for_log("lua_balancer:notice");
    }
}

/// The pid in front of an error log line: `[pid 123:tid 456]` or `[pid 123]`.
fn pid_of(line: &str) -> u32 {
    let digits = line.split("[pid ").nth(1).unwrap_or("").split([':', ']']).next().unwrap_or("");
    digits.parse().unwrap_or_else(|_| panic!("no pid in {line:?}"))
}

on_every_mpm!(another_child_leads_within_two_seconds_of_the_leaders_death);

fn another_child_leads_within_two_seconds_of_the_leaders_death(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd =
        two_members(mpm, &a, &b, "LuaBalancerHealthCheck http uri=/health interval=200ms fall=2").start();
    for round in 1..=3 {
        let leaders = httpd.wait_for_log_lines(r"\bleads\b", round);
        assert_eq!(leaders.len(), round, "more than one leader a round: {leaders:#?}");
        let leader = pid_of(&leaders[round - 1]);
        let start = Instant::now();
        httpd.kill_child(leader);
        httpd.wait_for_log_lines(r"\bleads\b", round + 1);
        assert!(start.elapsed() < patience(Duration::from_secs(2)), "takeover took {:?}", start.elapsed());
        let before = a.health_checks();
        wait_until("checks by the new leader", SOON, || a.health_checks() > before + 1);
        httpd.wait_for_children(2);
    }
}

#[test]
fn a_new_generation_leads_after_graceful() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd =
        two_members(Mpm::Event, &a, &b, "LuaBalancerHealthCheck http uri=/health interval=100ms").start();
    httpd.wait_for_log(r"\bleads\b");
    httpd.graceful();
    httpd.wait_for_log_lines(r"\bleads\b", 2);
    let before = a.health_checks();
    wait_until("checks by the new generation", SOON, || a.health_checks() > before + 2);
    httpd.edit_config("interval=100ms", "interval=100ms fall=1");
    httpd.graceful();
    a.health_status(500);
    wait_until("the new generation's settings", SOON, || httpd.member("app", "a").state == "down");
}

on_every_mpm!(shutdown_is_not_delayed_by_hanging_checks);

fn shutdown_is_not_delayed_by_hanging_checks(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    b.hang();
    let check = "LuaBalancerHealthCheck http uri=/health interval=100ms timeout=60s";
    let mut httpd = two_members(mpm, &a, &b, check).start();
    wait_until("a check that hangs", SOON, || a.in_flight() >= 1);
    let (time, status) = httpd.stop();
    assert!(time < patience(Duration::from_millis(2500)), "httpd took {time:?} to stop");
    assert!(status.success(), "{status}");
    httpd.assert_no_crash();
}

fn graceful_under_load(mpm: Mpm, restarts: usize) {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = two_members(mpm, &a, &b, "LuaBalancerHealthCheck http uri=/health interval=200ms")
        .threads(16)
        .file("pick.lua", "function translate(r) return lb.pool('app'):least_connections() end")
        .config("<Location /script>\n  LuaHookTranslate pick.lua\n</Location>\nKeepAliveTimeout 1")
        .start();
    let direct = Load::start(httpd.port(), "/app/", 2);
    let scripted = Load::start(httpd.port(), "/script/", 2);
    for _ in 0..restarts {
        direct.wait_for(50);
        scripted.wait_for(50);
        httpd.graceful();
    }
    direct.wait_for(100);
    direct.stop().assert_all_ok();
    scripted.stop().assert_all_ok();
    httpd.assert_no_crash();
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}

#[test]
fn twenty_graceful_restarts_under_load_fail_no_request() {
    graceful_under_load(Mpm::Event, 20);
}

#[test]
fn graceful_restarts_of_worker_fail_no_request() {
    graceful_under_load(Mpm::Worker, 6);
}

#[test]
fn graceful_restarts_of_prefork_fail_no_request() {
    graceful_under_load(Mpm::Prefork, 6);
}

#[test]
fn a_child_with_one_thread_keeps_one_lua_state_on_whatever_processor_it_runs() {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if processors < 2 {
        println!("SKIPPED: there is one processor only");
        return;
    }
    const COUNTS: &str = "function translate(r)\n  calls = (calls or 0) + 1\n  r.err_headers_out['X-Calls'] = tostring(calls)\n  return 404\nend";
    let httpd = Httpd::builder()
        .mpm(Mpm::Prefork)
        .children(1)
        .threads(1)
        .file("counts.lua", COUNTS)
        .config("LuaHookTranslate counts.lua")
        .start();
    let child = httpd.wait_for_children(1)[0].to_string();
    // Its background thread makes the state first; a request that comes before would make one more.
    httpd.wait_for_log(r"\bleads\b");
    let mut client = httpd.client();
    for call in 1..=10 {
        let processor = (call % processors).to_string();
        let moved =
            Command::new("taskset").args(["-p", "-c", &processor, &child]).output().expect("run taskset");
        assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
        let response = client.get("/");
        assert_eq!(response.header("X-Calls"), Some(&*call.to_string()), "on processor {processor}");
    }
}
