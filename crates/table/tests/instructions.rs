// SPDX-License-Identifier: Apache-2.0
//! The cost of a pick, in instructions: they are the same in every run, where nanoseconds are not.
//! Callgrind counts them over a fixed loop, and they are held against stored bounds, some 15 %
//! above the counts of the day when they were set (x86-64; other processors have other numbers, and
//! are not asked).
#![cfg(all(not(loom), target_arch = "x86_64"))]

use std::hint::black_box;
use std::process::Command;

use balance::api::{Balancer, PoolId, Query};
use balance::engine::{Engine, Handle};
use balance::member::MemberSpec;
use balance::settings::{Method, PoolSettings};
use balance::store::Store;
use table::{Geometry, Needs, Table};

struct Bound {
    method: &'static str,
    members: usize,
    /// So many of every four members have requests in flight.
    busy: usize,
    instructions: u64,
}

const fn bound(method: &'static str, members: usize, busy: usize, instructions: u64) -> Bound {
    Bound { method, members, busy, instructions }
}

const BOUNDS: [Bound; 15] = [
    bound("round_robin", 100, 3, 245),
    bound("round_robin", 10_000, 3, 245),
    bound("random", 100, 3, 245),
    bound("random", 10_000, 3, 245),
    bound("power_of_two", 100, 3, 465),
    bound("power_of_two", 10_000, 3, 465),
    bound("least_latency", 100, 3, 780),
    bound("least_connections", 3, 3, 370),
    bound("least_connections", 100, 3, 780),
    bound("least_connections", 1000, 4, 25_400),
    bound("first", 100, 3, 210),
    bound("consistent_hash", 100, 3, 530),
    bound("maglev", 100, 3, 360),
    bound("rendezvous", 100, 3, 3600),
    bound("hash", 100, 3, 480),
];

const PICKS: u64 = 2000;

#[test]
fn a_pick_takes_no_more_instructions_than_it_did() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: nothing is counted");
        return;
    }
    let mut over = Vec::new();
    for bound in BOUNDS {
        let Bound { method, members, busy, instructions } = bound;
        let counted = instructions_a_pick(&bound);
        let line = format!(
            "{method}, {members} members, {busy}/4 of them busy: {counted} instructions, at most {instructions}"
        );
        println!("{line}");
        if counted > instructions {
            over.push(line);
        }
    }
    assert!(over.is_empty(), "{}", over.join("\n"));
}

fn instructions_a_pick(of: &Bound) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*measured_picks*"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "picks_for_the_counter", "--ignored", "--nocapture", "--test-threads=1"])
        .env("PICK_METHOD", of.method)
        .env("PICK_MEMBERS", of.members.to_string())
        .env("PICK_BUSY", of.busy.to_string())
        .output()
        .expect("run valgrind");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected =
        text.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse::<u64>().ok());
    collected.unwrap_or_else(|| panic!("callgrind collected nothing:\n{text}")) / PICKS
}

#[test]
#[ignore = "runs under callgrind, for the test above"]
fn picks_for_the_counter() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let (Ok(method), Some(members), Some(busy)) =
        (std::env::var("PICK_METHOD"), number("PICK_MEMBERS"), number("PICK_BUSY"))
    else {
        return;
    };
    let method = Method::from_name(&method).expect("a method");
    let (engine, pool) = busy_pool(members, busy);
    let handle = Handle::new(engine, 7);
    let keys: Vec<String> = (0..64).map(|n| format!("10.1.2.{n}")).collect();
    // Values that are built at first use are not counted.
    pick(&handle, pool, &method, b"10.1.1.1");
    measured_picks(&handle, pool, &method, &keys);
}

#[inline(never)]
fn measured_picks(handle: &Handle<Table>, pool: PoolId, method: &Method, keys: &[String]) {
    for key in keys.iter().cycle().take(PICKS as usize) {
        pick(handle, pool, method, key.as_bytes());
    }
}

#[inline(never)]
fn pick(handle: &Handle<Table>, pool: PoolId, method: &Method, key: &[u8]) {
    let query = Query { pool, view: None, method, key, avoid: &[] };
    let picked = handle.pick_for(query, &mut |member| {
        black_box(member.slot);
    });
    assert!(black_box(picked).is_ok());
}

/// A pool in a table of 8 children; `busy` of every four members have requests in flight.
fn busy_pool(members: usize, busy: usize) -> (std::sync::Arc<Engine<Table>>, PoolId) {
    let needs = Needs { members: members as u32, children: 8, pools: 1, ..Needs::default() };
    let table = Table::on_heap(Geometry::for_config(needs)).expect("a table");
    let line = |n: usize| format!("http://127.{}.{}.{}:80", 1 + n / 62_500, n / 250 % 250, 1 + n % 250);
    let specs: Vec<MemberSpec> =
        (0..members).map(|n| MemberSpec::from_line(&line(n)).expect("a member")).collect();
    let child = table.join(std::process::id() as i32, 1).expect("a lane");
    let engine = Engine::new(table, Box::new(|_| ()));
    let pool = engine.store().define("app", &PoolSettings::default(), &specs, 1).expect("a pool");
    let membership = Handle::new(engine.clone(), 1).membership(pool).expect("members");
    for (at, member) in membership.members.iter().enumerate().filter(|(at, _)| at % 4 < busy) {
        for _ in 0..=at % 7 {
            engine.store().begin(&child, member.slot, member.incarnation);
        }
    }
    (engine, pool)
}
