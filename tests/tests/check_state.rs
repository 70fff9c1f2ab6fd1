// SPDX-License-Identifier: Apache-2.0
//! The words of checks about a member, and nothing else, make it down.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use server_tests::{Backend, Builder, Httpd, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn checked(a: &Backend, b: &Backend, check: &str) -> Builder {
    let lines = format!("LuaBalancerOutlier off\nLuaBalancerHealthCheck {check}");
    Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(a, ""), (b, "")], &lines))
        .config("ProxyPass /app lb://app")
}

#[test]
fn a_member_is_up_again_when_its_pool_has_no_check_any_more() {
    let [a, b] = Backend::named(["a", "b"]);
    a.health_status(500);
    let check = "http uri=/health interval=100ms fall=1";
    let mut httpd = checked(&a, &b, check).start();
    wait_until("the member to be down", SOON, || httpd.member("app", "a").state == "down");
    httpd.edit_config(check, "none");
    httpd.graceful();
    wait_until("the member to be up", SOON, || httpd.member("app", "a").state == "up");
    httpd.edit_config("LuaBalancerHealthCheck none", "LuaBalancerHealthCheck tcp interval=1h");
    httpd.graceful();
    assert_eq!(httpd.member("app", "a").state, "up", "the last result was forgotten");
}

#[test]
fn another_initial_state_holds_for_members_whose_first_check_has_not_ended() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    b.hang();
    let check = "http uri=/health interval=100ms timeout=60s initial=";
    let mut httpd = checked(&a, &b, &format!("{check}down")).start();
    wait_until("a check", SOON, || a.health_checks() >= 1);
    assert_eq!(httpd.member("app", "a").state, "down");
    httpd.edit_config("initial=down", "initial=up");
    httpd.graceful();
    a.answer();
    wait_until("the member to be up", SOON, || httpd.member("app", "a").state == "up");
}

#[test]
fn an_added_member_waits_for_its_first_checks_where_members_start_as_down() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    c.hang();
    let add =
        format!("function translate(r) lb.pool('app'):add{{url='{}', name='c'}} return 204 end", c.url());
    let httpd = checked(&a, &b, "http uri=/health interval=100ms timeout=60s rise=1 initial=down")
        .file("add.lua", &add)
        .config("<Location /add>\n  LuaHookTranslate add.lua\n</Location>")
        .start();
    wait_until("the others to be up", SOON, || httpd.members("app").values().all(|m| m.state == "up"));
    assert_eq!(httpd.client().get("/add").status, 204);
    assert_eq!(httpd.member("app", "c").state, "down");
    wait_until("a check", SOON, || c.health_checks() >= 1);
    assert_eq!(httpd.member("app", "c").state, "down");
    c.answer();
    wait_until("the added member to be up", SOON, || httpd.member("app", "c").state == "up");
}

#[test]
fn the_last_member_that_serves_is_not_ejected() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    c.refuse();
    let lines = "LuaBalancerMethod first\nLuaBalancerOutlier on failures=1 max_percent=100\n\
                 LuaBalancerHealthCheck tcp interval=100ms fall=1";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "status=+D"), (&c, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    wait_until("one member to be left", SOON, || httpd.member("app", "c").state == "down");
    a.reset();
    assert_eq!(httpd.client().get("/app/").status, 502);
    assert_eq!(httpd.member("app", "a").state, "up");
}

/// SIGSTOP; returns when every thread has stopped.
fn stop(httpd: &Httpd, pid: u32) {
    httpd.signal(pid, Signal::SIGSTOP);
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process's threads");
    wait_until("the process to stop", SOON, || {
        threads().flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('T'))
        })
    });
}

/// The leader is stopped while a check runs, another one takes over, and the stopped one goes on.
fn a_stopped_leader_says_nothing_of_a_member(check: &str, file: &str) {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let httpd = checked(&a, &b, check).file("check.lua", file).start();
    let leads = httpd.wait_for_log(r"\bleads\b");
    let pid = leads.split("child ").nth(1).and_then(|text| text.split(' ').next());
    let pid = pid.and_then(|pid| pid.parse().ok()).expect("a pid");
    wait_until("a check that hangs", SOON, || a.in_flight() == 1);
    stop(&httpd, pid);
    a.refuse();
    a.answer();
    httpd.wait_for_log_lines(r"\bleads\b", 2);
    let before = a.health_checks();
    wait_until("checks by the new leader", SOON, || a.health_checks() >= before + 3);
    httpd.signal(pid, Signal::SIGCONT);
    let before = a.health_checks();
    wait_until("more checks", SOON, || a.health_checks() >= before + 5);
    assert_eq!(httpd.count_log("member a is down"), 0);
}

#[test]
fn a_leader_that_was_stopped_in_a_check_says_nothing_of_the_member() {
    let check = "http uri=/health interval=100ms jitter=0% timeout=30s fall=1";
    a_stopped_leader_says_nothing_of_a_member(check, "");
}

#[test]
fn a_leader_that_was_stopped_in_a_lua_check_says_nothing_of_the_member() {
    let check = "lua script=check.lua interval=100ms jitter=0% timeout=30s fall=1";
    let script = "function check(m)\n  local answer, why = lb.http{url = m.url .. '/health', timeout = 30}\n  \
                  if not answer then return false, why end\n  return answer.status == 200\nend";
    a_stopped_leader_says_nothing_of_a_member(check, script);
}

/// The only child is stopped, as by a pause of its machine, for longer than a check may take.
fn a_pause_is_no_failure_of_a_member(check: &str, file: &str) {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let check = format!("{check} interval=100ms jitter=0% timeout=1s fall=1");
    let httpd = checked(&a, &b, &check).children(1).file("check.lua", file).start();
    wait_until("a check that hangs", SOON, || a.in_flight() == 1);
    let pid = httpd.wait_for_children(1)[0];
    stop(&httpd, pid);
    let stopped = Instant::now();
    wait_until("the lease and the check's time to be over", SOON, || {
        stopped.elapsed() > Duration::from_millis(1500)
    });
    httpd.signal(pid, Signal::SIGCONT);
    wait_until("another check", SOON, || a.health_checks() >= 2);
    a.answer();
    let before = a.health_checks();
    wait_until("more checks", SOON, || a.health_checks() >= before + 3);
    assert_eq!(httpd.count_log("member a is down"), 0);
}

#[test]
fn a_pause_of_the_machine_is_no_failure_of_a_member() {
    a_pause_is_no_failure_of_a_member("http uri=/health", "");
}

#[test]
fn a_pause_of_the_machine_is_no_failure_of_a_member_with_a_lua_check() {
    let script = "function check(m)\n  local answer, why = lb.http{url = m.url .. '/health', timeout = 30}\n  \
                  if not answer then return false, why end\n  return answer.status == 200\nend";
    a_pause_is_no_failure_of_a_member("lua script=check.lua", script);
}
