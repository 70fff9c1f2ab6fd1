// SPDX-License-Identifier: Apache-2.0
//! Time of the calls that a pick and a request make: `cargo bench -p table`.
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, reason = "what runs is measured")]

use std::hint::black_box;
use std::time::Instant;

use balance::live::Live;
use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use balance::store::Store;
use table::{Geometry, Needs, Table};

fn measure(what: &str, per_round: u64, mut round: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        for _ in 0..200 {
            round();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (200 * per_round) as f64);
    }
    println!("{what}: {best:.2} ns");
}

fn define(members: u16) {
    let needs = Needs { members: u32::from(members), children: 32, pools: 1, ..Needs::default() };
    let Ok(table) = Table::on_heap(Geometry::for_config(needs)) else { return };
    let specs = |weight: u32| -> Vec<MemberSpec> {
        (1..=members)
            .filter_map(|port| {
                MemberSpec::from_line(&format!("http://10.0.0.1:{port} name=app-{port} loadfactor={weight}"))
                    .ok()
            })
            .collect()
    };
    let start = Instant::now();
    let _ = table.define("app", &PoolSettings::default(), &specs(1), 1);
    println!("definition of {members} members: {:?}", start.elapsed());
    let start = Instant::now();
    let _ = table.define("app", &PoolSettings::default(), &specs(2), 2);
    println!("their redefinition: {:?}", start.elapsed());
    let start = Instant::now();
    let read = table.find_pool("app").and_then(|pool| table.read_pool(pool));
    let count = read.map_or(0, |image| image.membership.members.len());
    println!("reading {count} members: {:?}", start.elapsed());
}

fn main() {
    define(1000);
    define(10_000);
    for children in [4, 8, 16, 64] {
        let needs = Needs { members: 1000, children: 32, pools: 1, ..Needs::default() };
        let Ok(table) = Table::on_heap(Geometry::for_config(needs)) else { return };
        let _ = table.define("app", &PoolSettings::default(), &[], 1);
        let mut child = None;
        for pid in 0..children {
            child = table.join(1000 + pid, 1).ok();
        }
        measure(&format!("in-flight of one member, {children} children"), 1000, || {
            black_box((0..1000).map(|slot| u64::from(table.inflight(slot))).sum::<u64>());
        });
        if let Some(child) = child {
            measure("begin and end (refused)", 1, || {
                black_box(table.begin(&child, black_box(5), 1));
                table.end(&child, black_box(5));
            });
        }
    }
}
