// SPDX-License-Identifier: Apache-2.0
//! `time=` is what a call may use of the processor: others' work costs it nothing, and what it
//! waits is bounded all the same.
#![allow(missing_docs, unsafe_code)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::World;
use script::{Answer, ErrorKind, Limits, Phase, longest};

const LIMITS: Limits = Limits { time_ms: 60, memory_bytes: 16 << 20, timer_time_ms: 5000 };

/// Everything of this process runs on one processor from here on: threads that are made later as
/// well.
fn on_one_processor() {
    // SAFETY: plain system calls with a set of this frame.
    unsafe {
        let mut all: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut all);
        let first = (0..1024).find(|nth| libc::CPU_ISSET(*nth, &all)).expect("a processor");
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &one), 0);
    }
}

fn used() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is of this frame.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Ends the others' work however `f` ends.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn overloaded<T>(threads: usize, f: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ends = Ends(&over);
        for _ in 0..threads {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
        }
        f()
    })
}

/// How many rounds of a loop take about this long of the processor here.
fn rounds_in(time: Duration) -> u64 {
    let world = World::with(
        "function f(r) local x = 0 for i = 1, 1e6 do x = x + i end return 204 end",
        &["f"],
        |b| b,
    );
    let state = world.started();
    let before = used();
    state.select(world.id, "f", Phase::Translate).expect("a loop");
    let one = (used() - before).as_secs_f64();
    (1e6 * time.as_secs_f64() / one) as u64
}

#[test]
fn time_that_others_use_of_a_busy_processor_is_not_the_calls() {
    on_one_processor();
    let rounds = rounds_in(Duration::from_millis(12));
    let text = format!(
        "function short(r) local x = 0 for i = 1, {rounds} do x = x + i end return 204 end\n\
         function long(r) while true do end end"
    );
    let world = World::with(&text, &["short", "long"], |builder| builder.limits(LIMITS));
    let state = world.started();
    overloaded(10, || {
        for nth in 0..5 {
            let start = Instant::now();
            let answer = state.select(world.id, "short", Phase::Translate);
            assert_eq!(answer, Ok(Answer::Status(204)), "call {nth}, after {:?}", start.elapsed());
        }
        let (start, before) = (Instant::now(), used());
        let error = state.select(world.id, "long", Phase::Translate).expect_err("stopped");
        assert_eq!(error.kind, ErrorKind::Time, "{error}");
        let took = used() - before;
        assert!(took <= Duration::from_millis(2 * LIMITS.time_ms + 60), "{took:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    });
}

#[test]
fn a_call_that_waits_again_and_again_is_ended() {
    let text = "function f(r) while true do os.execute('sleep 0.02') end end";
    let world = World::with(text, &["f"], |builder| builder.limits(LIMITS).sandbox(false));
    let state = world.started();
    let start = Instant::now();
    let error = state.select(world.id, "f", Phase::Translate).expect_err("stopped");
    let took = start.elapsed();
    assert_eq!(error.kind, ErrorKind::Time, "{error}");
    assert!(error.message.contains("most of them waiting"), "{error}");
    let most = longest(Duration::from_millis(LIMITS.time_ms));
    assert!(took >= most && took < most + Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_wait_is_ended_after_ten_times_the_limit_a_second_at_least_and_five_more_at_most() {
    let ms = Duration::from_millis;
    for (limit, most) in
        [(1, 1000), (50, 1000), (100, 1000), (200, 2000), (500, 5000), (1000, 6000), (5000, 10_000)]
    {
        assert_eq!(longest(ms(limit)), ms(most), "{limit}");
    }
}
