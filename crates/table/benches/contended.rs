// SPDX-License-Identifier: Apache-2.0
//! The cost of a request's two counts when another processor counts at the same time: on the same
//! word, on the same line of 64 bytes, or elsewhere. `cargo bench -p table --bench contended`.
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, reason = "what runs is measured")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use balance::live::{Live, Slot};
use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use balance::store::Store;
use table::{ChildLane, Geometry, Needs, Table};

const MEMBERS: u32 = 10_000;
const ROUNDS: usize = 15;
const OPERATIONS: u32 = 100_000;

struct World {
    table: Table,
    /// The first 64.
    children: Vec<ChildLane>,
    incarnation: u32,
}

fn world() -> Option<World> {
    let needs = Needs { members: MEMBERS, children: 64, pools: 1, ..Needs::default() };
    let table = Table::on_heap(Geometry::for_config(needs)).ok()?;
    let specs: Vec<MemberSpec> = (0..MEMBERS)
        .filter_map(|n| {
            MemberSpec::from_line(&format!("http://127.{}.{}.{}:80", n / 62_500, n / 250 % 250, n % 250)).ok()
        })
        .collect();
    let began = Instant::now();
    let pool = table.define("app", &PoolSettings::default(), &specs, 1).ok()?;
    println!("definition of {MEMBERS} members: {:?}", began.elapsed());
    let incarnation = table.read_pool(pool)?.membership.members.first()?.incarnation;
    let children: Vec<ChildLane> = (0..64).filter_map(|n| table.join(1000 + n, 1).ok()).collect();
    Some(World { table, children, incarnation })
}

/// A request counted in and out, nanoseconds, while another thread does `other` all the time.
fn count_beside(world: &World, slot: Slot, child: usize, other: Option<(Slot, usize)>) -> f64 {
    let stop = AtomicBool::new(false);
    let turn = |slot: Slot, child: usize| {
        let child = &world.children[child];
        black_box(world.table.begin(child, black_box(slot), world.incarnation));
        world.table.end(child, slot);
    };
    std::thread::scope(|scope| {
        if let Some((slot, child)) = other {
            let (turn, stop) = (&turn, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    turn(slot, child);
                }
            });
        }
        let mut rounds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                (0..OPERATIONS).for_each(|_| turn(slot, child));
                began.elapsed().as_nanos() as f64 / f64::from(OPERATIONS)
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        rounds.sort_by(f64::total_cmp);
        rounds[ROUNDS / 2]
    })
}

fn time(what: &str, times: u32, mut operation: impl FnMut()) {
    let began = Instant::now();
    (0..times).for_each(|_| operation());
    println!("{what}: {:.2} µs", began.elapsed().as_secs_f64() * 1e6 / f64::from(times));
}

fn main() {
    let Some(world) = world() else { return };
    let table = &world.table;
    println!("counting a request in and out, ns:");
    let cases: [(&str, Option<(Slot, usize)>); 5] = [
        ("alone", None),
        ("another child at the same member, lanes in one word", Some((800, 1))),
        ("another child at the same member, lanes in two words", Some((800, 4))),
        ("another child at the next member (the same 64 bytes)", Some((801, 1))),
        ("another child at a member far away", Some((4000, 1))),
    ];
    for (what, other) in cases {
        println!("  {what}: {:.1}", count_beside(&world, 800, 0, other));
    }
    println!("64 children, {MEMBERS} members:");
    time("  requests at one member", 100_000, || {
        black_box(table.inflight(black_box(77)));
    });
    time("  requests at each of them", 100, || {
        let mut sum = 0;
        table.each_inflight(0..MEMBERS, |inflight| {
            sum += inflight;
            true
        });
        black_box(sum);
    });
    time("  a dead child's counts given back", 20, || {
        if let Ok(child) = table.join(5000, 1) {
            black_box(table.leave(child));
        }
    });
    time("  a look whether any child is dead", 1000, || {
        black_box(table.reap_dead(&|_| true));
    });
}
