//! The background thread itself: it looks at scripts, asks for the lead, and gives the tasks of a
//! leader their turns.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use table::Lead;

use super::checks::NativeChecks;
use super::ejections::Ejections;
use super::jobs::Jobs;
use super::pools::Pools;
use super::ramps::Ramps;
use super::scripts::Scripts;
use super::stale::Stale;
use super::{Lease, Rest, TICK, Task};
use crate::app::child::{Child, Thread};
use crate::faults;
use crate::guard::guard;
use crate::httpd::log;
use crate::httpd::memory;

/// How long a lead lasts without being renewed.
const LEASE_MS: u64 = 1200;
/// Taken off it where it has to be certain: the table counts in steps of 16 ms.
const LEASE_STEP_MS: u64 = 32;
/// How long the end of a child may wait for this thread.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a task rests that has panicked.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the first turn may wait for the first states. No lead is held meanwhile.
const FIRST_STATES: Duration = Duration::from_secs(2);
/// The thread's handle.
pub struct Background {
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    stop: AtomicBool,
    done: AtomicBool,
    /// The first states are made.
    prepared: AtomicBool,
    prober: Mutex<Option<probe::Waker>>,
    /// How many threads read databases.
    walks: AtomicUsize,
    thread: OnceLock<std::thread::Thread>,
}

impl Background {
    /// Not yet started.
    pub fn new() -> Self {
        Background {
            signal: Arc::new(Signal {
                done: AtomicBool::new(true),
                prepared: AtomicBool::new(true),
                ..Signal::default()
            }),
        }
    }

    /// Has a thread of its own read a database; false when there is none to be had. It ends with
    /// this one.
    pub fn walk(&self, job: geo::Job) -> bool {
        let signal = self.signal.clone();
        signal.walks.fetch_add(1, Ordering::AcqRel);
        let body = move || {
            guard((), || job(&|| !signal.stop.load(Ordering::Acquire)));
            signal.walks.fetch_sub(1, Ordering::AcqRel);
        };
        let spawned = memory::with_signals_blocked(|| {
            std::thread::Builder::new().name("lua-balancer-db".into()).spawn(body)
        });
        if spawned.is_err() {
            self.signal.walks.fetch_sub(1, Ordering::AcqRel);
        }
        spawned.is_ok()
    }

    /// The prober that has the thread now, which [`stop`] wakes. None: none has it.
    pub fn lends_to(&self, prober: Option<probe::Waker>) {
        *self.signal.prober.lock() = prober;
    }

    /// Starts the thread; [`stop`] has to be called before the child's pool is cleared.
    pub fn start(child: &'static Child) {
        if let Some(shortest) = child.library.shortest_time_ms()
            && let Err(error) = script::watch::start(shortest)
        {
            let message = format!("no thread to watch scripts in this child, they cost more: {error}");
            log::server(log::WARNING, &message);
        }
        prepare(child);
        let signal = child.background.signal.clone();
        signal.done.store(false, Ordering::Release);
        let body = move || {
            guard((), || Worker::new(child).run());
            leave(child);
            child.background.signal.done.store(true, Ordering::Release);
        };
        let spawned = memory::with_signals_blocked(|| {
            std::thread::Builder::new().name("lua-balancer".into()).spawn(body)
        });
        match spawned {
            Ok(thread) => drop(signal.thread.set(thread.thread().clone())),
            Err(error) => {
                signal.done.store(true, Ordering::Release);
                log::server(log::CRIT, &format!("no thread for health checks in this child: {error}"));
            }
        }
    }
}

/// Makes the first Lua states, in a thread that ends then: top levels run in them.
fn prepare(child: &'static Child) {
    let prepared = || &child.background.signal.prepared;
    if child.library.ids().next().is_none() {
        return;
    }
    prepared().store(false, Ordering::Release);
    let body = move || {
        guard((), || child.seats.prepare(child));
        prepared().store(true, Ordering::Release);
        if let Some(thread) = child.background.signal.thread.get() {
            thread.unpark();
        }
    };
    let spawned = memory::with_signals_blocked(|| {
        std::thread::Builder::new().name("lua-balancer-first".into()).spawn(body)
    });
    if spawned.is_err() {
        // The first requests make them.
        prepared().store(true, Ordering::Release);
    }
}

/// Ends the threads. Under prefork this runs inside a signal handler, which may have interrupted
/// anything: flags, and a bounded wait, but no lock.
pub fn stop(child: &'static Child) {
    let signal = &child.background.signal;
    signal.stop.store(true, Ordering::Release);
    script::watch::stop();
    if let Some(guard) = signal.prober.try_lock()
        && let Some(waker) = guard.as_ref()
    {
        waker.wake();
    }
    if let Some(thread) = signal.thread.get() {
        // An atomic and a system call.
        thread.unpark();
    }
    let until = Instant::now() + PATIENCE;
    let has_ended = || {
        signal.done.load(Ordering::Acquire)
            && signal.prepared.load(Ordering::Acquire)
            && script::watch::has_stopped()
            && signal.walks.load(Ordering::Acquire) == 0
    };
    while !has_ended() && Instant::now() < until {
        std::thread::sleep(Duration::from_micros(200));
    }
    if !signal.done.load(Ordering::Acquire) {
        leave(child);
    }
}

/// Hands the lead over at once. The lane of in-flight counts is given back by the parent, when the
/// last request is gone.
fn leave(child: &Child) {
    child.table.resign(memory::pid());
}

/// A task's turn. A panic is logged by the panic hook, and costs this task a while; the others go
/// on.
fn turn(task: &mut dyn Task, lease: &Lease<'_>) -> Option<Instant> {
    guard(None, || Some(task.turn(lease))).unwrap_or_else(|| {
        task.rest(Rest::Lapsed);
        Some(Instant::now() + AGAIN)
    })
}

struct Worker {
    child: &'static Child,
    thread: Thread,
    scripts: Scripts,
    pools: Pools,
    /// The last one lends the thread to checks.
    tasks: [(Option<Instant>, Box<dyn Task>); 5],
    /// Until when this child's lead was certain, by its last turn.
    until_ms: u64,
    leads: bool,
}

impl Worker {
    fn new(child: &'static Child) -> Self {
        let tasks: [Box<dyn Task>; 5] = [
            Box::new(Jobs::default()),
            Box::new(Stale::new()),
            Box::new(Ejections),
            Box::new(Ramps::default()),
            Box::new(NativeChecks::new(child)),
        ];
        Worker {
            child,
            thread: Thread::new(child),
            scripts: Scripts::default(),
            pools: Pools::default(),
            tasks: tasks.map(|task| (None, task)),
            until_ms: 0,
            leads: false,
        }
    }

    fn stopping(&self) -> bool {
        self.child.background.signal.stop.load(Ordering::Acquire)
    }

    /// Waits a moment for the first states: what comes after the first turn may reckon with them.
    fn await_states(&self) {
        let until = Instant::now() + FIRST_STATES;
        let prepared = || self.child.background.signal.prepared.load(Ordering::Acquire);
        while !prepared() && !self.stopping() && Instant::now() < until {
            std::thread::park_timeout(TICK / 10);
        }
    }

    fn run(&mut self) {
        self.await_states();
        while !self.stopping() {
            // A panic in one turn is logged by the panic hook and does not end the thread.
            if !guard(false, || {
                faults::once("background");
                self.turn();
                true
            }) {
                self.rest(Rest::Lapsed);
                self.pause(TICK);
            }
        }
        self.rest(Rest::Ended);
    }

    fn turn(&mut self) {
        self.scripts.turn(self.child, self.thread.balancer.as_ref());
        crate::app::places::refresh(self.child, self.leads);
        let (table, pid) = (&self.child.table, memory::pid());
        let now_ms = memory::monotonic_ms();
        if now_ms >= self.until_ms {
            // It was stopped for so long that checks which run since then have timed out for that
            // reason.
            self.rest(Rest::Lapsed);
        }
        let until_ms = now_ms + LEASE_MS - LEASE_STEP_MS;
        match table.lead(pid, self.child.generation, now_ms, LEASE_MS, &memory::alive) {
            Lead::Taken => {
                log::server(
                    log::NOTICE,
                    &format!("child {pid} leads: it runs checks and timers for all children"),
                );
                self.lead(until_ms);
            }
            Lead::Kept => self.lead(until_ms),
            Lead::Other(_) => {
                self.rest(Rest::Lost);
                self.pause(TICK);
            }
        }
    }

    /// One turn of all tasks that want one, and a pause until the next.
    fn lead(&mut self, until_ms: u64) {
        (self.until_ms, self.leads) = (until_ms, true);
        self.pools.refresh(&self.child.table);
        let lease = Lease { child: self.child, pools: &self.pools, until_ms };
        let mut next = Instant::now() + TICK;
        for (due, task) in &mut self.tasks {
            if due.is_none_or(|due| due <= Instant::now()) {
                *due = turn(task.as_mut(), &lease);
            }
            next = due.map_or(next, |due| due.min(next));
        }
        faults::check_table(&self.child.table);
        self.pause(next.saturating_duration_since(Instant::now()));
    }

    fn rest(&mut self, why: Rest) {
        self.leads = false;
        self.tasks.iter_mut().for_each(|(_, task)| task.rest(why));
    }

    fn pause(&self, time: Duration) {
        if !time.is_zero() && !self.stopping() {
            std::thread::park_timeout(time);
        }
    }
}
