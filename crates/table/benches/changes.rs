// SPDX-License-Identifier: Apache-2.0
//! The cost of a change for those who read the pool after it: the first pick of a child, and a
//! reading of the members; with a weight, an order and a state that change.
//! `cargo bench -p table --bench changes`.
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, reason = "what runs is measured")]

use std::collections::HashSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::api::{Balancer, Change, PoolId, Query};
use balance::engine::{Engine, Handle};
use balance::event::By;
use balance::member::{Member, MemberSpec};
use balance::order::Order;
use balance::reconcile::{ListDifference, Listing};
use balance::settings::{Method, PoolSettings};
use balance::snapshot::Extent;
use balance::store::Store;
use table::{Geometry, Needs, Table};

const ROUNDS: usize = 41;

fn specs(members: u32, weight: impl Fn(u32) -> u32) -> Vec<MemberSpec> {
    let line =
        |n: u32| format!("http://127.{}.{}.{}:80 weight={}", n / 62_500, n / 250 % 250, n % 250, weight(n));
    let specs = (0..members).filter_map(|n| MemberSpec::from_line(&line(n)).ok());
    specs.map(|spec| MemberSpec { discovered: Some("list".to_owned()), ..spec }).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The time of that which follows a change, in the median of many.
fn time(name: &str, mut change: impl FnMut(usize), mut follow: impl FnMut()) {
    let times = (0..ROUNDS).map(|round| {
        change(round);
        let began = Instant::now();
        follow();
        began.elapsed()
    });
    println!("  {name}: {:?}", median(times.collect()));
}

fn changes(table: &Table, pool: PoolId, method: &Method) {
    let handle = Handle::new(Engine::new(table.clone(), Box::new(|_| {})), 7);
    let members: Arc<[Arc<Member>]> =
        table.read_pool(pool).map(|image| image.membership.members).unwrap_or_default();
    let of = |round: usize| &members[round * 7919 % members.len()];
    let query = Query { pool, view: None, method, key: b"", avoid: &[] };
    let pick = || drop(black_box(handle.pick(query)));
    pick();
    let weigh = |round: usize| {
        let weight = 100 + (round as u32 % 7) * 100;
        let _ = handle.change(of(round), Change::SetWeight(weight), &By::Somebody);
    };
    time("a pick after a weight", weigh, pick);
    let order = |round: usize| {
        let order = Order { note: Some(format!("round {round}")), ..Order::default() };
        let _ = table.set_order(of(round), Some(&order));
    };
    time("a pick after an order", order, pick);
    time("a reading after an order", order, || drop(black_box(table.read_pool(pool))));
    let list: Vec<Arc<MemberSpec>> = members.iter().map(|member| Arc::new(member.spec.clone())).collect();
    let prints: Vec<u64> = list.iter().map(|spec| spec.print()).collect();
    let (absent, known) = (HashSet::new(), ["list"]);
    let listing = Listing {
        source: "list",
        known: &known,
        members: &list,
        prints: &prints,
        absent: &absent,
        drain_ms: 30_000,
    };
    let image = table.read_pool(pool);
    let compare = || {
        drop(black_box(image.as_ref().map(|image| ListDifference::of(table, &image.membership, listing, 1))))
    };
    time("a source's list, compared", |_| {}, compare);
    let last = members.last().map_or("", |member| &member.spec.name);
    let extents = [
        ("all that can be shown", Extent::All),
        ("the standing of all", Extent::Standing),
        ("one of them", Extent::Member("app", last)),
    ];
    for (name, extent) in extents {
        time(name, |_| {}, || drop(black_box(table.snapshot(0, extent))));
    }
}

fn main() {
    for members in [10, 1_000, 10_000] {
        for (name, weight) in [("alike", 0), ("of three weights", 2)] {
            let needs = Needs { members, children: 16, pools: 1, ..Needs::default() };
            let Ok(table) = Table::on_heap(Geometry::for_config(needs)) else { return };
            let specs = specs(members, |n| 1 + n % 3 * weight);
            let Ok(pool) = table.define("app", &PoolSettings::default(), &specs, 1) else { return };
            println!("{members} members, {name}");
            changes(&table, pool, &Method::RoundRobin);
        }
    }
}
