// SPDX-License-Identifier: Apache-2.0
//! The background thread itself: it looks at scripts, asks for the lead, and gives the tasks of a
//! leader their turns.

use std::time::{Duration, Instant};

use balance::journal::EventKind;
use table::Lead;

use super::checks::NativeChecks;
use super::discovery::Finder;
use super::ejections::Ejections;
use super::fronts::Fronts;
use super::history::Readings;
use super::jobs::Jobs;
use super::orders::Orders;
use super::pools::PoolImages;
use super::ramps::Ramps;
use super::scripts::Scripts;
use super::sharing::OrderSharing;
use super::stale::Stale;
use super::state::StateWriter;
use super::{Lease, Rest, TICK, Task};
use crate::faults;
use crate::guard::guard;
use crate::httpd::log;
use crate::httpd::memory;
use crate::keep::events;
use crate::serve::child::{Child, Thread};

/// How long a lead lasts without being renewed.
const LEASE_MS: u64 = 1200;
/// Taken off it where it has to be certain: the table counts in steps of 16 ms.
const LEASE_STEP_MS: u64 = 32;
/// Most workers that are freed in a turn. To close the connections of one takes some hundredths of
/// a millisecond, for which requests may wait.
const FREED: usize = 16;
/// How long a task rests that has panicked.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the first turn may wait for the first states. No lead is held meanwhile.
const FIRST_STATES: Duration = Duration::from_secs(2);

/// Starts the threads of a child. Their ends are the child's affair.
pub fn start(child: &'static Child) {
    if let Some(shortest) = child.library.shortest_time_ms()
        && let Err(error) = script::watch::start(shortest)
    {
        let message = format!("no thread to watch scripts in this child, they cost more: {error}");
        log::server(messages::background::NO_WATCH, &message);
    }
    prepare(child);
    child.background.runs(true);
    let body = move || {
        guard((), || Worker::new(child).run());
        child.hand_over();
        child.background.runs(false);
    };
    let spawned =
        memory::with_signals_blocked(|| std::thread::Builder::new().name("lua-balancer".into()).spawn(body));
    match spawned {
        Ok(thread) => child.background.is_thread(thread.thread()),
        Err(error) => {
            child.background.runs(false);
            let text = format!("no thread for health checks in this child: {error}");
            log::server(messages::background::NO_BACKGROUND, &text);
        }
    }
}

/// Makes the first Lua states, in a thread that ends then: top levels run in them.
fn prepare(child: &'static Child) {
    if child.library.ids().next().is_none() {
        return;
    }
    child.background.prepares(true);
    let body = move || {
        guard((), || child.lua.prepare());
        child.background.prepares(false);
        child.background.wake();
    };
    let spawned = memory::with_signals_blocked(|| {
        std::thread::Builder::new().name("lua-balancer-first".into()).spawn(body)
    });
    if spawned.is_err() {
        // The first requests make them.
        child.background.prepares(false);
    }
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
    pools: PoolImages,
    /// The last one lends the thread to checks.
    tasks: [(Option<Instant>, Box<dyn Task>); 11],
    /// Until when this child's lead was certain, by its last turn.
    until_ms: u64,
    leads: bool,
}

impl Worker {
    fn new(child: &'static Child) -> Self {
        let tasks: [Box<dyn Task>; 11] = [
            Box::new(Jobs::default()),
            Box::new(Stale::new()),
            Box::new(Ejections::default()),
            Box::new(Orders::default()),
            Box::new(Finder::new(child)),
            Box::new(OrderSharing::new(child)),
            Box::new(Fronts::default()),
            Box::new(Ramps::default()),
            Box::new(Readings::default()),
            Box::new(StateWriter::default()),
            Box::new(NativeChecks::new(child)),
        ];
        Worker {
            child,
            thread: Thread::new(child),
            scripts: Scripts::default(),
            pools: PoolImages::default(),
            tasks: tasks.map(|task| (None, task)),
            until_ms: 0,
            leads: false,
        }
    }

    fn stopping(&self) -> bool {
        self.child.background.is_stopping()
    }

    /// Waits a moment for the first states: what comes after the first turn may reckon with them.
    fn await_states(&self) {
        let until = Instant::now() + FIRST_STATES;
        while !self.child.background.is_prepared() && !self.stopping() && Instant::now() < until {
            self.leave_answering_to_others();
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
        self.leave_answering_to_others();
        (0..FREED).all(|_| self.child.workers.tidy());
        self.scripts.turn(self.child, self.thread.balancer.as_ref());
        if let Some(databases) = self.child.geo.as_deref() {
            let run = &mut |job| self.child.background.walk(job);
            crate::keep::geoip::refresh(databases, run, self.leads);
        }
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
                table.note_lead(memory::epoch_s());
                let text = format!("child {pid} leads: it runs checks and timers for all children");
                events::note(table, EventKind::Lead, messages::background::LEADS, &text);
                self.lead(until_ms);
            }
            Lead::Kept => self.lead(until_ms),
            Lead::Other(_) => {
                self.rest(Rest::Lost);
                self.pause(TICK);
            }
        }
    }

    /// Once there are children of a later configuration, those are asked at the control plane's
    /// sockets. Children with a larger table are not seen in this one: calls wait at the sockets
    /// until they are there.
    fn leave_answering_to_others(&self) {
        let (table, own) = (&self.child.table, self.child.generation);
        let are_there = || table.children().iter().any(|(_, generation)| *generation != own);
        let are_others = || table.has_successor() || table.generation() != own && are_there();
        if !self.child.answering.is_closed() && are_others() {
            self.child.answering.close();
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

    fn pause(&self, mut time: Duration) {
        if self.child.answering.is_leaving() {
            // Others may take over at the sockets at any moment.
            time = time.min(TICK / 10);
        }
        if !time.is_zero() && !self.stopping() {
            std::thread::park_timeout(time);
        }
    }
}
