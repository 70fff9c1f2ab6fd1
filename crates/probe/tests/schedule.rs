// SPDX-License-Identifier: Apache-2.0
//! When checks run, and that members do not stand in each other's way.

mod common;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::settings::{CheckKind, HealthCheck};
use common::*;
use probe::Prober;

fn every(interval_ms: u64, kind: CheckKind) -> HealthCheck {
    HealthCheck { interval_ms, ..check(kind) }
}

#[test]
fn kept_connections_are_reused() {
    let backend = Backend::answering(ok("fine"));
    let mut prober = Prober::new().unwrap();
    let check = Arc::new(every(20, CheckKind::Http));
    prober.set_targets(vec![target(1, url("127.0.0.1", backend.address.port()), &check)]);
    assert!(observe(&mut prober, 5).iter().all(|seen| seen.ok));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn a_kept_connection_that_died_is_replaced_within_the_check() {
    let backend = Backend::new(|_, talk| {
        // Promises to keep the connection, and does not.
        talk.request();
        talk.say(ok(""));
    });
    let mut prober = Prober::new().unwrap();
    let check = Arc::new(every(50, CheckKind::Http));
    prober.set_targets(vec![target(1, url("127.0.0.1", backend.address.port()), &check)]);
    let seen = observe(&mut prober, 4);
    assert!(seen.iter().all(|seen| seen.ok), "{seen:?}");
    assert_eq!(backend.connections(), 4);
}

#[test]
fn rare_checks_keep_no_connection() {
    let backend = Backend::new(|_, talk| {
        talk.request();
        talk.say(ok(""));
        // Gone only when the check closes.
        talk.hang();
        let _ = talk.heads.take().map(|heads| heads.send("closed".into()));
    });
    let mut prober = Prober::new().unwrap();
    let check = Arc::new(every(60_000, CheckKind::Http));
    prober.set_targets(vec![target(1, url("127.0.0.1", backend.address.port()), &check)]);
    observe(&mut prober, 1);
    backend.request();
    assert_eq!(backend.request(), "closed");
}

#[test]
fn targets_that_stay_keep_their_schedule() {
    let backend = Backend::new(|_, talk| talk.hang());
    let at = || url("127.0.0.1", backend.address.port());
    let check = Arc::new(every(60_000, CheckKind::Tcp));
    let mut prober = Prober::new().unwrap();
    prober.set_targets(vec![target(1, at(), &check), target(2, at(), &check)]);
    assert_eq!(observe(&mut prober, 2).len(), 2);
    // 1 stays (an equal check behind another Arc), 2 has another check, 3 is new.
    let same = Arc::new((*check).clone());
    let other = Arc::new(HealthCheck { timeout_ms: 999, ..(*check).clone() });
    prober.set_targets(vec![target(1, at(), &same), target(2, at(), &other), target(3, at(), &check)]);
    let mut keys = Vec::new();
    prober.turn(Duration::from_millis(300), &mut |seen| keys.push(seen.key));
    keys.sort_unstable();
    assert_eq!(keys, [2, 3]);
}

#[test]
fn gone_targets_are_silent() {
    let backend = Backend::new(|_, talk| talk.hang());
    let check = Arc::new(every(5, CheckKind::Tcp));
    let targets =
        || (1..=20).map(|key| target(key, url("127.0.0.1", backend.address.port()), &check)).collect();
    let mut prober = Prober::new().unwrap();
    prober.set_targets(targets());
    observe(&mut prober, 40);
    prober.set_targets(Vec::new());
    prober.turn(Duration::from_millis(50), &mut |seen| panic!("{seen:?}"));
    prober.set_targets(targets());
    observe(&mut prober, 40);
    prober.clear();
    prober.turn(Duration::from_millis(50), &mut |seen| panic!("{seen:?}"));
}

#[test]
fn clearing_closes_connections_at_once() {
    let backend = Backend::new(|_, talk| {
        talk.hang();
        let _ = talk.heads.take().map(|heads| heads.send("closed".into()));
    });
    let mut prober = Prober::new().unwrap();
    let check = Arc::new(check(CheckKind::Agent));
    prober.set_targets(vec![target(1, url("127.0.0.1", backend.address.port()), &check)]);
    while backend.connections() == 0 {
        prober.turn(Duration::from_millis(5), &mut |seen| panic!("{seen:?}"));
    }
    prober.clear();
    assert_eq!(backend.request(), "closed");
}

#[test]
fn a_wake_ends_a_long_turn_and_one_in_advance_the_next() {
    let mut prober = Prober::new().unwrap();
    let waker = prober.waker();
    let started = Instant::now();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        waker.wake();
    });
    prober.turn(Duration::from_secs(600), &mut |_| {});
    thread.join().unwrap();
    prober.waker().wake();
    prober.turn(Duration::MAX, &mut |_| {});
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_absence_of_the_owner_fails_no_member() {
    let backend = Backend::new(|_, talk| {
        talk.request();
        std::thread::sleep(Duration::from_millis(100));
        talk.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        std::thread::sleep(Duration::from_millis(50));
        talk.say("ok");
    });
    let mut prober = Prober::new().unwrap();
    let check = Arc::new(HealthCheck { timeout_ms: 400, ..check(CheckKind::Http) });
    prober.set_targets(vec![target(1, url("127.0.0.1", backend.address.port()), &check)]);
    prober.turn(Duration::from_millis(30), &mut |seen| panic!("{seen:?}"));
    // Long after the timeout, and in two halves, so that one look at the socket is not enough.
    std::thread::sleep(Duration::from_millis(450));
    let seen = observe(&mut prober, 1);
    assert!(seen[0].ok, "{seen:?}");
}

#[test]
fn lua_checks_are_run_by_whoever_offers_to() {
    let check = Arc::new(every(10, CheckKind::Lua));
    let targets = || vec![target(1, url("127.0.0.1", 1), &check), target(2, url("127.0.0.1", 2), &check)];
    let mut prober = Prober::new().unwrap();
    prober.set_targets(targets());
    prober.turn(Duration::from_millis(50), &mut |seen| panic!("{seen:?}"));
    prober.set_script_check(Some(Rc::new(|target| {
        let key = target.key;
        Box::pin(async move { if key == 1 { Ok(()) } else { Err("too old".to_owned()) } })
    })));
    prober.set_targets(targets());
    for seen in observe(&mut prober, 6) {
        assert_eq!(
            (seen.ok, seen.why.as_str()),
            if seen.key == 1 { (true, "script") } else { (false, "script: too old") }
        );
    }
}

#[test]
fn a_thousand_members_keep_their_intervals_beside_a_hundred_that_hang() {
    let good: Vec<Backend> = (0..10).map(|_| Backend::answering(ok(""))).collect();
    let hanging = Backend::new(|_, talk| talk.hang());
    let check = Arc::new(HealthCheck {
        interval_ms: 1000,
        timeout_ms: 900,
        jitter_percent: 10,
        ..check(CheckKind::Http)
    });
    let targets = (0..1000u64).map(|key| {
        let backend = if key % 10 == 0 { &hanging } else { &good[(key % 10) as usize] };
        target(key, url("127.0.0.1", backend.address.port()), &check)
    });
    let mut prober = Prober::with_seed(42).unwrap();
    prober.set_targets(targets.collect());
    let mut counts: HashMap<u64, (u32, u32)> = HashMap::new();
    let until = Instant::now() + Duration::from_millis(4300);
    while Instant::now() < until {
        prober.turn(Duration::from_millis(200), &mut |seen| {
            let count = counts.entry(seen.key).or_default();
            if seen.ok { count.0 += 1 } else { count.1 += 1 }
        });
    }
    for key in 0..1000u64 {
        let (ok, failed) = counts.get(&key).copied().unwrap_or_default();
        // Starts at 0, 1, 2, 3 s (± 10 %), perhaps at 4 s; a hanging one reports 0.9 s later.
        match key % 10 {
            0 => assert!(ok == 0 && (3..=5).contains(&failed), "{key}: {ok} ok, {failed} failed"),
            _ => assert!(failed == 0 && (4..=6).contains(&ok), "{key}: {ok} ok, {failed} failed"),
        }
    }
}
