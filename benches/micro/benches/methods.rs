// SPDX-License-Identifier: Apache-2.0
//! Nanoseconds a pick: every method at 3 to 10,000 members, idle and with requests in flight, by
//! one thread and by two; beside `pingora-load-balancing` on the same addresses. And the time that
//! a pool's rings and tables take to build.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use balance::api::{Balancer, PoolId, Query};
use balance::engine::{Engine, Handle};
use balance::member::MemberSpec;
use balance::settings::{Method, PoolSettings};
use balance::store::Store;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pingora_load_balancing::selection::{BackendIter, BackendSelection, Consistent, FNVHash, Random, RoundRobin};
use pingora_load_balancing::{Backend, LoadBalancer};
use table::{Geometry, Needs, Table};

const SIZES: [usize; 5] = [3, 10, 100, 1_000, 10_000];
const METHODS: [&str; 10] = [
    "round_robin",
    "random",
    "least_connections",
    "power_of_two",
    "least_latency",
    "first",
    "consistent_hash",
    "maglev",
    "rendezvous",
    "hash",
];

struct World {
    engine: Arc<Engine<Table>>,
    pool: PoolId,
}

fn address(index: usize) -> String {
    format!("127.{}.{}.{}:80", 1 + index / 62_500, index / 250 % 250, 1 + index % 250)
}

/// A pool in a table of 8 children; `busy` of every four members have requests of this child.
fn world(members: usize, busy: usize) -> World {
    let needs = Needs { members: members as u32, children: 8, pools: 1, ..Needs::default() };
    let table = Table::on_heap(Geometry::for_config(needs)).expect("a table");
    let specs: Vec<MemberSpec> =
        (0..members).map(|n| MemberSpec::from_line(&format!("http://{}", address(n))).expect("a member")).collect();
    let child = table.join(std::process::id() as i32, 1).expect("a lane");
    let engine = Engine::new(table, Box::new(|_| ()));
    let pool = engine.store().define("app", &PoolSettings::default(), &specs, 1).expect("a pool");
    let handle = Handle::new(engine.clone(), 1);
    for (at, member) in handle.membership(pool).expect("members").members.iter().enumerate() {
        for _ in 0..(if at % 4 < busy { at % 7 + 1 } else { 0 }) {
            engine.store().begin(&child, member.slot, member.incarnation);
        }
    }
    World { engine, pool }
}

fn keys() -> Vec<Vec<u8>> {
    (0..1024).map(|n| format!("10.1.{}.{}", n / 256, n % 256).into_bytes()).collect()
}

fn picks(c: &mut Criterion) {
    let keys = keys();
    for (load, busy) in [("idle", 0), ("busy", 3)] {
        for name in METHODS {
            let method = Method::from_name(name).expect("a method");
            let mut group = c.benchmark_group(format!("{name}/{load}"));
            for members in SIZES {
                let world = world(members, busy);
                let handle = Handle::new(world.engine.clone(), 7);
                let mut turn = 0;
                group.bench_function(BenchmarkId::from_parameter(members), |b| {
                    b.iter(|| {
                        turn = (turn + 1) % keys.len();
                        let query = Query { pool: world.pool, view: None, method: &method, key: &keys[turn], avoid: &[] };
                        black_box(handle.pick_for(query, &mut |member| { black_box(member.slot); }).is_ok())
                    });
                });
            }
            group.finish();
        }
    }
}

fn contended(c: &mut Criterion) {
    let keys = keys();
    for name in ["round_robin", "random", "least_connections", "power_of_two", "consistent_hash"] {
        let method = Method::from_name(name).expect("a method");
        let world = world(100, 3);
        let stop = Arc::new(AtomicBool::new(false));
        let other = {
            let (engine, stop, method, pool) = (world.engine.clone(), stop.clone(), method.clone(), world.pool);
            std::thread::spawn(move || {
                let handle = Handle::new(engine, 3);
                while !stop.load(Ordering::Relaxed) {
                    let query = Query { pool, view: None, method: &method, key: b"other", avoid: &[] };
                    black_box(handle.pick_for(query, &mut |member| { black_box(member.slot); }).is_ok());
                }
            })
        };
        let handle = Handle::new(world.engine.clone(), 7);
        let mut turn = 0;
        c.bench_function(&format!("{name}/contended by another thread/100"), |b| {
            b.iter(|| {
                turn = (turn + 1) % keys.len();
                let query = Query { pool: world.pool, view: None, method: &method, key: &keys[turn], avoid: &[] };
                black_box(handle.pick_for(query, &mut |member| { black_box(member.slot); }).is_ok())
            });
        });
        stop.store(true, Ordering::Relaxed);
        other.join().expect("the other thread");
    }
}

fn backends(members: usize) -> BTreeSet<Backend> {
    (0..members).map(|n| Backend::new(&address(n)).expect("a backend")).collect()
}

fn pingora_method<S>(c: &mut Criterion, name: &str)
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let keys = keys();
    // The bare algorithm over a list that never changes; and what a proxy calls, which knows health
    // and new members as ours does.
    let mut group = c.benchmark_group(format!("pingora {name}, bare/idle"));
    for members in SIZES {
        let selection = Arc::new(S::build(&backends(members)));
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(members), |b| {
            b.iter(|| {
                turn = (turn + 1) % keys.len();
                black_box(selection.iter(&keys[turn]).next().map(|backend| black_box(backend.weight)).is_some())
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group(format!("pingora {name}/idle"));
    for members in SIZES {
        let balancer = LoadBalancer::<S>::try_from_iter((0..members).map(address)).expect("a balancer");
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(members), |b| {
            b.iter(|| {
                turn = (turn + 1) % keys.len();
                black_box(balancer.select(&keys[turn], 256).map(|backend| black_box(backend.weight)).is_some())
            });
        });
    }
    group.finish();
}

fn pingora(c: &mut Criterion) {
    pingora_method::<RoundRobin>(c, "round robin");
    pingora_method::<Random>(c, "random");
    pingora_method::<FNVHash>(c, "FNV");
    pingora_method::<Consistent>(c, "ketama");
}

/// The first use of a hash method makes its ring or table.
fn builds(_: &mut Criterion) {
    for name in ["consistent_hash", "maglev", "rendezvous", "hash"] {
        let method = Method::from_name(name).expect("a method");
        for members in [100, 1_000, 10_000] {
            let world = world(members, 0);
            let handle = Handle::new(world.engine.clone(), 7);
            let plain = Query { pool: world.pool, view: None, method: &Method::RoundRobin, key: b"", avoid: &[] };
            black_box(handle.pick(plain).is_ok());
            let began = Instant::now();
            black_box(handle.pick(Query { method: &method, key: b"k", ..plain }).is_ok());
            println!("{name}, {members} members: first pick {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
        }
    }
}

criterion_group! {
    name = all;
    config = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .sample_size(30);
    targets = picks, contended, pingora, builds
}
criterion_main!(all);
