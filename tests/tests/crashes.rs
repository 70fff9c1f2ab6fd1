// SPDX-License-Identifier: Apache-2.0
//! Children are killed, crash and stop at random while they serve: only what was inside of them is
//! lost.
//!
//! `CRASH_SECONDS=60` makes the runs long.

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use server_tests::load::Tally;
use server_tests::{Backend, Dice, Httpd, Load, Mpm, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(20);
/// Clients of the load; each has one request at a time.
const CLIENTS: usize = 8;
const CHECK_INTERVAL: Duration = Duration::from_millis(300);

/// By default `seconds`.
fn run_time(seconds: u64) -> Duration {
    let asked = std::env::var("CRASH_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(seconds))
}

struct Stage {
    httpd: Httpd,
    backends: [Backend; 3],
}

/// Three members; one request in ten takes a fifth of a second.
fn stage(mpm: Mpm) -> Stage {
    let backends = Backend::named(["a", "b", "c"]);
    for backend in &backends {
        backend.slow_every(10, Duration::from_millis(200));
    }
    let [a, b, c] = &backends;
    let lines = "LuaBalancerMethod least_connections\nLuaBalancerOutlier off\n\
                 LuaBalancerHealthCheck http uri=/health interval=300ms jitter=0% timeout=5s";
    let httpd = Httpd::builder()
        .mpm(mpm)
        .children(3)
        .with_member_states()
        .config(&pool("app", &[(a, ""), (b, "max_inflight=100"), (c, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    Stage { httpd, backends }
}

/// The pid in front of an error log line: `[pid 123:tid 456]` or `[pid 123]`.
fn pid_of(line: &str) -> u32 {
    let digits = line.split("[pid ").nth(1).unwrap_or("").split([':', ']']).next().unwrap_or("");
    digits.parse().unwrap_or_else(|_| panic!("no pid in {line:?}"))
}

/// The child that said last that it leads.
fn leader(httpd: &Httpd) -> u32 {
    pid_of(httpd.wait_for_log_lines(r"\bleads\b", 1).last().expect("a leader"))
}

/// A child: the leader every third time, else any.
fn victim(httpd: &Httpd, nth: usize, dice: &mut Dice) -> u32 {
    let children = httpd.wait_for_children(2);
    let leader = leader(httpd);
    if nth.is_multiple_of(3) && children.contains(&leader) {
        return leader;
    }
    children[dice.below(children.len())]
}

fn nothing_in_flight(httpd: &Httpd) {
    wait_until("nothing in flight", SOON, || {
        httpd.members("app").values().all(|member| member.inflight == 0)
    });
}

/// One child leads, lives, and no other one checks: as many checks as one schedule has.
fn assert_one_leader(stage: &Stage) {
    wait_until("a leader that lives", SOON, || stage.httpd.children().contains(&leader(&stage.httpd)));
    let a = &stage.backends[0];
    let before = a.health_checks();
    wait_until("a check by it", SOON, || a.health_checks() > before);
    let (before, start) = (a.health_checks(), Instant::now());
    wait_until("six more checks", SOON, || a.health_checks() >= before + 6);
    assert!(start.elapsed() > CHECK_INTERVAL * 4, "six checks took {:?}", start.elapsed());
}

/// After everything: counts are exact, the table can be used, everybody serves.
fn assert_all_is_well(stage: &Stage) {
    let httpd = &stage.httpd;
    nothing_in_flight(httpd);
    assert_one_leader(stage);
    for (name, member) in httpd.members("app") {
        assert_eq!((member.state.as_str(), member.weight, member.inflight), ("up", 1, 0), "{name}");
    }
    let shares = httpd.client().shares("/app/", 30);
    assert_eq!(shares.len(), 3, "{shares:?}");
    nothing_in_flight(httpd);
}

/// Requests that were not answered with 200 by a member.
fn failures(tally: &Tally) -> usize {
    let bad = tally.statuses.iter().filter(|(status, _)| **status != 200).map(|(_, n)| n).sum::<usize>();
    bad + tally.errors.len()
}

/// Ends a child every half second or so in this way; returns how often, and what the clients saw.
fn end_children(stage: &Stage, signal: Signal, time: Duration) -> (usize, Tally) {
    let httpd = &stage.httpd;
    let load = Load::start(httpd.port(), "/app/", CLIENTS);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (start, mut ended) = (Instant::now(), 0);
    while start.elapsed() < time {
        load.wait_for(50);
        let victim = victim(httpd, ended, &mut dice);
        httpd.signal(victim, signal);
        wait_until("the child to end", SOON, || !httpd.children().contains(&victim));
        ended += 1;
        // Children come back at httpd's pace: at most one a second, more when many are missing.
        sleep(Duration::from_millis(300));
    }
    load.wait_for(100);
    (ended, load.stop())
}

on_every_mpm!(killed_children_cost_only_what_was_inside_of_them);

fn killed_children_cost_only_what_was_inside_of_them(mpm: Mpm) {
    let stage = stage(mpm);
    let (ended, tally) =
        end_children(&stage, Signal::SIGKILL, run_time(if mpm == Mpm::Event { 8 } else { 4 }));
    // Clients repeat a request once when a kept-alive connection ends, so most of those do not even
    // show.
    let inside = ended * if mpm == Mpm::Prefork { 1 } else { CLIENTS };
    assert!(ended > 3, "only {ended} children were killed");
    assert!(failures(&tally) <= inside, "{} failed, {inside} can have: {tally:?}", failures(&tally));
    assert!(tally.statuses.keys().all(|status| *status == 200), "an answer, but not a member's: {tally:?}");
    assert_all_is_well(&stage);
}

#[test]
fn crashed_children_cost_only_what_was_inside_of_them() {
    let stage = stage(Mpm::Event);
    let (ended, tally) = end_children(&stage, Signal::SIGSEGV, run_time(4));
    assert!(ended > 3, "only {ended} children crashed");
    assert!(failures(&tally) <= ended * CLIENTS, "{} failed of {ended} crashes: {tally:?}", failures(&tally));
    assert!(tally.statuses.keys().all(|status| *status == 200), "an answer, but not a member's: {tally:?}");
    assert_all_is_well(&stage);
}

#[test]
fn stopped_children_delay_requests_and_lose_none() {
    let stage = stage(Mpm::Event);
    let httpd = &stage.httpd;
    let load = Load::start(httpd.port(), "/app/", CLIENTS);
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let (start, mut stops) = (Instant::now(), 0);
    while start.elapsed() < run_time(4) {
        // Longer than a lease when it is the leader, so that another one takes the lead.
        let victim = victim(httpd, stops, &mut dice);
        let leads = victim == leader(httpd);
        httpd.signal(victim, Signal::SIGSTOP);
        if leads {
            wait_until("another leader", SOON, || leader(httpd) != victim);
        } else {
            sleep(Duration::from_millis(400));
        }
        httpd.signal(victim, Signal::SIGCONT);
        load.wait_for(50);
        stops += 1;
    }
    let tally = load.stop();
    assert!(stops > 1, "{stops} stops");
    tally.assert_all_ok();
    httpd.assert_no_crash();
    assert_all_is_well(&stage);
}

#[test]
fn the_table_is_right_after_children_died_while_they_changed_it() {
    let backends = Backend::named(["a", "b", "c"]);
    let [a, b, c] = &backends;
    let Some(builder) = Httpd::builder().with_faults() else {
        eprintln!("SKIPPED: LUA_BALANCER_FAULTS_SO names no module with faults (scripts/test builds it)");
        return;
    };
    // Every request changes members, or their weight and state, and is sent on.
    let script = format!(
        "local n = 0\n\
         function translate(r)\n\
           local app = lb.pool('app')\n\
           n = n + 1\n\
           pcall(app.add, app, {{url = 'http://127.0.0.1:{}', name = 'x' .. n % 7, weight = n % 5, meta = {{t = ('t'):rep(n % 200)}}}})\n\
           pcall(app.remove, app, 'x' .. (n * 3) % 7)\n\
           app:member('b'):set_weight(1 + n % 3)\n\
           if n % 2 == 0 then app:member('c'):drain() else app:member('c'):enable() end\n\
           return app\n\
         end",
        c.port()
    );
    let httpd = builder
        .children(3)
        .with_member_states()
        .file("change.lua", &script)
        .config(&pool("app", &[(a, ""), (b, "max_inflight=100"), (c, "")], "LuaBalancerOutlier off"))
        .config("<Location /app>\n  LuaHookTranslate change.lua\n</Location>\nLuaBalancerMaxMembers 16")
        .start();
    let stage = Stage { httpd, backends };
    let (mut ended, mut looks) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < run_time(6) {
        ended += end_children(&stage, Signal::SIGKILL, Duration::from_secs(1)).0;
        nothing_in_flight(&stage.httpd);
        stage.httpd.fault("check_table");
        looks += 1;
        // The remains of the last one are cleared by the leader, or the parent, before the look: it
        // leads or has been reaped.
        let lines = stage.httpd.wait_for_log_lines("the table is (right|wrong)", looks);
        assert!(lines[looks - 1].contains("the table is right"), "{} after {ended} kills", lines[looks - 1]);
        stage.httpd.fault("");
        sleep(Duration::from_millis(500));
    }
    assert!(ended > 3, "only {ended} children were killed");
}
