// SPDX-License-Identifier: Apache-2.0
//! Writes the state file: within two seconds of a change, on a thread of its own, since a disk may
//! take its time. It is written again when it has been removed, and before it gets too old.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use balance::store::Store;
use statefile::{Ages, KeptPool, StateDocument, WriteTime};
use table::Table;

use super::{Lease, Rest, Task};
use crate::httpd::{log, memory};
use crate::keep::state::{FileMark, StateFile};
use crate::serve::stated;

/// How long a change waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// From one writing to the next, at least.
const SPACE: Duration = Duration::from_secs(1);
/// How long it rests after it could not be written.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it is looked at whether the file is still the one that was written.
const LOOK: Duration = Duration::from_secs(5);
/// A file whose content stays the same is written anew after this part of `max_age=`, or a day.
const PART_OF_MAX_AGE: u64 = 4;
const DAY_S: u64 = 86_400;

/// See the module.
#[derive(Default)]
pub struct StateWriter {
    /// The pools' epochs when something was last seen to change.
    seen: Option<u64>,
    /// When it is to be written.
    due: Option<Instant>,
    /// Not before.
    rest: Option<Instant>,
    /// When the file was looked at last, or written.
    looked: Option<Instant>,
    /// The knowledge that the last writing has left for the next.
    known: Known,
    /// Since when a thread is at it.
    running: Option<(Instant, Receiver<Known>)>,
}

/// The writer's knowledge of the file.
#[derive(Default)]
struct Known {
    /// Members that no configuration has; None: the file was not looked at.
    left: Option<Vec<KeptPool>>,
    /// As it was written last.
    written: Option<Written>,
    failed: bool,
}

/// The file as this child has written it.
struct Written {
    document: StateDocument,
    mark: FileMark,
    /// Epoch seconds from which on it is too old to stay. None: it says nothing that could age.
    renew_at: Option<u64>,
}

/// Why a thread is to look at the file.
#[derive(Clone, Copy)]
struct Errand {
    /// See [`StateFile::is_to_prune`].
    prune: Option<u64>,
    /// Nothing has changed, but the file may have been removed.
    is_look: bool,
}

impl Task for StateWriter {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        let Some(file) = &lease.child.state_file else { return None };
        let now = Instant::now();
        self.collect(now, file);
        let mark = mark(&lease.child.table, lease);
        if self.seen.replace(mark) != Some(mark) {
            self.due.get_or_insert(now + GATHER);
        }
        if self.known.written.as_ref().is_some_and(Written::is_old) {
            self.due.get_or_insert(now);
        }
        let prune = file.is_to_prune();
        let is_due = self.due.is_some_and(|due| due <= now) && self.rest.is_none_or(|rest| rest <= now);
        let is_look = !is_due && prune.is_none();
        let is_look_due = self.looked.is_some_and(|looked| looked + LOOK <= now);
        if self.running.is_none() && (!is_look || is_look_due) {
            self.start(lease, file, Errand { prune, is_look });
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
    fn collect(&mut self, now: Instant, file: &StateFile) {
        let Some((since, running)) = &self.running else { return };
        let known = match running.try_recv() {
            Err(TryRecvError::Empty) => {
                if file.note_under_way(*since, memory::epoch_s()) {
                    tell_news(file);
                }
                return;
            }
            Ok(known) => known,
            // It has panicked, which was logged.
            Err(TryRecvError::Disconnected) => Known { failed: true, ..Known::default() },
        };
        self.rest = Some(now + if known.failed { AGAIN } else { SPACE });
        if known.written.is_none() {
            self.due = self.rest;
        }
        (self.known, self.running, self.looked) = (known, None, Some(now));
    }

    fn start(&mut self, lease: &Lease<'_>, file: &StateFile, errand: Errand) {
        let (send, receive) = sync_channel(1);
        let (table, file, known) = (lease.child.table.clone(), file.clone(), std::mem::take(&mut self.known));
        let job = move || drop(send.send(write(&table, &file, known, errand)));
        let now = Instant::now();
        self.due = self.due.filter(|_| errand.is_look);
        if lease.child.background.aside("lua-balancer-st", job) {
            self.running = Some((now, receive));
        } else {
            (self.due, self.rest) = (Some(now), Some(now + AGAIN));
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

/// Writes the file, if it would say something else, or is not the one that was written.
fn write(table: &Table, file: &StateFile, known: Known, errand: Errand) -> Known {
    if errand.is_look && known.written.as_ref().is_some_and(|written| file.mark() == Some(written.mark)) {
        return known;
    }
    let now = WriteTime { now_s: memory::epoch_s(), now_ms: memory::monotonic_ms() };
    let may = || table.leader() == Some(memory::pid()) && file.is_held();
    if known.left.is_none() {
        file.sweep();
    }
    let left = match known.left {
        _ if errand.prune.is_some() => Vec::new(),
        Some(left) => left,
        None => stated::left(table, file, now.now_s),
    };
    let document = stated::compose(table, now, &left);
    let is_the_same = |written: &Written| !errand.is_look && !written.is_old() && written.says(&document);
    let known = match known.written.filter(is_the_same) {
        Some(written) => Ok(Some(written)),
        None => {
            let mark = file.write(&statefile::write(&document), &may);
            mark.map(|mark| mark.map(|mark| Written::of(document, mark, file)))
        }
    };
    if matches!(known, Ok(Some(_))) {
        done(file, errand);
    }
    // Where the lead is another's by now so is the file, and nothing has failed.
    let failed = known.as_ref().err().filter(|_| may());
    if failed.is_some() || matches!(known, Ok(Some(_))) {
        tell(file, failed, now.now_s);
    }
    let failed = known.is_err();
    Known { left: Some(left), written: known.ok().flatten(), failed }
}

fn done(file: &StateFile, errand: Errand) {
    if let Some(asked) = errand.prune {
        file.has_pruned(asked);
    }
}

impl Written {
    /// The words of checks and requests are good for a while only, and all of it for a longer one.
    fn of(document: StateDocument, mark: FileMark, file: &StateFile) -> Self {
        let mut members = document.pools.iter().flat_map(|pool| &pool.members);
        let has_health = members.any(|member| member.health.is_some());
        let Ages { max_age_s, health_age_s } = file.ages;
        let all_s = (max_age_s / PART_OF_MAX_AGE).min(DAY_S);
        let renew_s = if has_health { all_s.min(health_age_s / 2) } else { all_s };
        let renew_at = (!document.pools.is_empty()).then(|| document.written.0 + renew_s.max(1));
        Written { document, mark, renew_at }
    }

    fn is_old(&self) -> bool {
        self.renew_at.is_some_and(|at| at <= memory::epoch_s())
    }

    /// Whether nothing but the time is another.
    fn says(&self, now: &StateDocument) -> bool {
        (&self.document.by, &self.document.pools) == (&now.by, &now.pools)
    }
}

fn tell(file: &StateFile, failed: Option<&io::Error>, now_s: u64) {
    if file.note(failed, now_s) {
        tell_news(file);
    }
}

fn tell_news(file: &StateFile) {
    match file.trouble() {
        Some((why, _)) => {
            let text = format!("{why}; orders are not kept over a stop until it can");
            log::server(messages::statefile::NOT_WRITTEN, &text);
        }
        None => {
            let text = format!("the state file {} is written again", file.path());
            log::server(messages::statefile::WRITTEN_AGAIN, &text);
        }
    }
}
