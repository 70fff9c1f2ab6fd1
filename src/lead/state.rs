// SPDX-License-Identifier: Apache-2.0
//! Writes the state file: within two seconds of a change, on a thread of its own, since a disk may
//! take its time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use balance::store::Store;
use statefile::{KeptPool, KeptTime, StateDocument, WriteTime};
use table::Table;

use super::{Lease, Rest, Task};
use crate::httpd::{log, memory};
use crate::keep::state::StateFile;
use crate::serve::stated;

/// How long a change waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// From one writing to the next, at least.
const SPACE: Duration = Duration::from_secs(1);
/// How long it rests after it could not be written.
const AGAIN: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub struct StateWriter {
    /// The pools' epochs when something was last seen to change.
    seen: Option<u64>,
    /// When it is to be written.
    due: Option<Instant>,
    /// Not before.
    rest: Option<Instant>,
    /// The knowledge that the last writing has left for the next.
    known: Known,
    running: Option<Receiver<Known>>,
}

/// The writer's knowledge of the file.
#[derive(Default)]
struct Known {
    /// Members that no configuration has; None: the file was not looked at.
    left: Option<Vec<KeptPool>>,
    /// As it was written last.
    written: Option<StateDocument>,
    failed: bool,
}

impl Task for StateWriter {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        let Some(file) = &lease.child.state_file else { return None };
        let now = Instant::now();
        self.collect(now);
        let mark = mark(&lease.child.table, lease);
        if self.seen.replace(mark) != Some(mark) {
            self.due.get_or_insert(now + GATHER);
        }
        if self.is_stale(file) {
            self.due.get_or_insert(now);
        }
        let prune = file.is_to_prune();
        let is_due = self.due.is_some_and(|due| due <= now) && self.rest.is_none_or(|rest| rest <= now);
        if self.running.is_none() && (is_due || prune.is_some()) {
            self.start(lease, file, prune);
        }
        None
    }

    /// Another leader may write it meanwhile.
    fn rest(&mut self, _: Rest) {
        *self = StateWriter::default();
    }
}

impl StateWriter {
    /// Takes what a writing has left, once it is over.
    fn collect(&mut self, now: Instant) {
        let Some(running) = &self.running else { return };
        let known = match running.try_recv() {
            Err(TryRecvError::Empty) => return,
            Ok(known) => known,
            // It has panicked, which was logged.
            Err(TryRecvError::Disconnected) => Known { failed: true, ..Known::default() },
        };
        self.rest = Some(now + if known.failed { AGAIN } else { SPACE });
        if known.failed {
            self.due = self.rest;
        }
        (self.known, self.running) = (known, None);
    }

    /// The words of checks and requests are good for a while only: then the file is written anew.
    fn is_stale(&self, file: &StateFile) -> bool {
        let Some(written) = &self.known.written else { return false };
        let mut members = written.pools.iter().flat_map(|pool| &pool.members);
        let half_s = (file.ages.health_age_s / 2).max(1);
        memory::epoch_s() >= written.written.0 + half_s && members.any(|member| member.health.is_some())
    }

    fn start(&mut self, lease: &Lease<'_>, file: &StateFile, prune: Option<u64>) {
        let (send, receive) = sync_channel(1);
        let (table, file, known) = (lease.child.table.clone(), file.clone(), std::mem::take(&mut self.known));
        let job = move || drop(send.send(write(&table, &file, known, prune)));
        self.due = None;
        if lease.child.background.aside("lua-balancer-st", job) {
            self.running = Some(receive);
        } else {
            (self.due, self.rest) = (Some(Instant::now()), Some(Instant::now() + AGAIN));
        }
    }
}

/// Changes with membership, orders and states.
fn mark(table: &Table, lease: &Lease<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for pool in lease.pools.memberships() {
        (pool.pool, table.version(pool.pool), table.epoch(pool.pool)).hash(&mut hasher);
    }
    hasher.finish()
}

/// Writes the file, if it would say something else.
fn write(table: &Table, file: &StateFile, known: Known, prune: Option<u64>) -> Known {
    let now = WriteTime { now_s: memory::epoch_s(), now_ms: memory::monotonic_ms() };
    let may = || table.leader() == Some(memory::pid()) && file.is_held();
    if known.left.is_none() {
        file.sweep();
    }
    let left = match known.left {
        _ if prune.is_some() => Vec::new(),
        Some(left) => left,
        None => stated::left(table, file, now.now_s),
    };
    let document = stated::compose(table, now, &left);
    let written = if is_news(known.written.as_ref(), &document, file) {
        file.write(&statefile::write(&document), &may)
    } else {
        Ok(())
    };
    let failed = written.is_err();
    if !failed && let Some(asked) = prune {
        file.has_pruned(asked);
    }
    if may() {
        tell(file, &written, now.now_s);
    }
    Known { left: Some(left), written: (!failed).then_some(document), failed }
}

/// Whether there is more in it than another time; what checks and requests say is worth that.
fn is_news(before: Option<&StateDocument>, now: &StateDocument, file: &StateFile) -> bool {
    let Some(before) = before else { return true };
    let age_s = now.written.0.saturating_sub(before.written.0);
    let has_health = now.pools.iter().flat_map(|pool| &pool.members).any(|member| member.health.is_some());
    has_health && age_s >= file.ages.health_age_s / 2
        || StateDocument { written: KeptTime(before.written.0), ..now.clone() } != *before
}

fn tell(file: &StateFile, written: &io::Result<()>, now_s: u64) {
    if !file.note(written, now_s) {
        return;
    }
    match file.trouble() {
        Some((why, _)) => {
            log::server(log::WARNING, &format!("{why}; orders are not kept over a stop until it can"))
        }
        None => log::server(log::NOTICE, &format!("the state file {} is written again", file.path())),
    }
}
