// SPDX-License-Identifier: Apache-2.0
//! Time of a dictionary's operations, alone and with a second thread on the same key or on others:
//! `cargo bench -p table --bench dict`.
#![cfg(not(loom))]
#![allow(clippy::disallowed_methods, reason = "what runs is measured")]

use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use table::dict::{Condition, Dict, Process, Processes, Store, Value};

const ROUND: u64 = 20_000;

fn now_us() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

fn dict(size: usize) -> Option<Dict> {
    let me = Process::new(std::process::id() as i32, None);
    Dict::on_heap(size, 7, Processes { me, condition: |_| Condition::Running, now_us }).ok()
}

/// The median of some rounds, in ns.
fn time(mut operation: impl FnMut(u64)) -> f64 {
    let mut rounds: Vec<f64> = (0..25)
        .map(|_| {
            let start = Instant::now();
            (0..ROUND).for_each(&mut operation);
            start.elapsed().as_nanos() as f64 / ROUND as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Times an operation alone, and with one other thread that does the same with another seed all the
/// time.
fn measure(what: &str, operation: impl Fn(u64, u64) + Sync) {
    let alone = time(|round| operation(1, round));
    let stop = AtomicBool::new(false);
    let contended = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !stop.load(Relaxed) {
                operation(2, round);
                round += 1;
            }
        });
        let contended = time(|round| operation(1, round));
        stop.store(true, Relaxed);
        contended
    });
    println!("{what}: {alone:.0} ns alone, {contended:.0} ns with a second thread");
}

fn main() {
    let Some(dict) = dict(4 << 20) else { return };
    let store = |key: &[u8], value: &Value| {
        let _ = black_box(dict.store(Store::Set, key, value, 0.0));
    };
    let text = Value::Text(vec![b'x'; 32]);
    let long = Value::Text(vec![b'x'; 16 << 10]);
    (0..1000u64).for_each(|number| store(&number.to_le_bytes(), &text));
    store(b"number", &Value::Integer(1));
    store(b"text", &text);
    store(b"long", &long);
    measure("get of a number, one key", |_, _| {
        black_box(dict.get(black_box(b"number"))).ok();
    });
    measure("get of 32 bytes, one key", |_, _| {
        black_box(dict.get(black_box(b"text"))).ok();
    });
    measure("get of 32 bytes, 1000 keys", |seed, round| {
        {
            black_box(dict.get(&((seed * 7919 + round * 31) % 1000).to_le_bytes())).ok();
        };
    });
    measure("get of an absent key", |_, _| {
        black_box(dict.get(black_box(b"absent"))).ok();
    });
    measure("get of 16 KiB", |_, _| {
        black_box(dict.get(black_box(b"long"))).ok();
    });
    measure("set of a number, one key", |seed, _| store(b"number", &Value::Integer(seed as i64)));
    measure("set of 32 bytes, one key", |_, _| store(b"text", &text));
    measure("set of 32 bytes, 1000 keys", |seed, round| {
        store(&((seed * 7919 + round * 31) % 1000).to_le_bytes(), &text);
    });
    measure("set of 16 KiB", |_, _| store(b"long", &long));
    measure("incr, one key", |_, _| {
        black_box(dict.incr(b"number", 1.0, Some(0.0), 0.0)).ok();
    });
    measure("incr, a key for each thread", |seed, _| {
        {
            black_box(dict.incr(&seed.to_le_bytes(), 1.0, Some(0.0), 0.0)).ok();
        };
    });
    measure("set of new keys in a full dictionary", |seed, round| {
        store(&(seed << 32 | round | 1 << 40 | (now_us() << 41)).to_le_bytes(), &text);
    });
    println!(
        "clock: {:.0} ns of it",
        time(|_| {
            black_box(now_us());
        })
    );
}
