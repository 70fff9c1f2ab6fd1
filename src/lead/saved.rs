// SPDX-License-Identifier: Apache-2.0
//! Saved scripts: a child's background thread notices them, has one of them vetted by the server,
//! and goes on with its own work until the answer is there.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use balance::api::Balancer;
use balance::counting::ReloadEnd;
use balance::journal::EventKind;
use balance::lifecycle;
use script::report::{Findings, ProcessEnd};
use script::{GoodVersion, ScriptError, ScriptId, Stamp};

use super::trials;
use crate::httpd::{log, memory, process};
use crate::keep::events;
use crate::serve::child::Child;
use crate::serve::scripts;
use crate::serve::troubles::note_refused;
use crate::vetting::WORKERS;
use crate::vetting::client::{Pending, Progress, settle};

/// How long a turn waits for the answers to what it has asked: most come within a few milliseconds.
/// Later turns wait for nothing.
const A_MOMENT: Duration = Duration::from_millis(300);
/// How often a state of the files is given to a server that does not answer.
const TRIES: u32 = 3;

struct Running {
    id: ScriptId,
    row: u32,
    stamp: Stamp,
    pending: Pending,
}

/// Scripts that are being vetted for this child.
#[derive(Default)]
pub struct Saved {
    running: Vec<Running>,
    /// By script: the state of files that was asked about without an answer, and how often.
    unanswered: HashMap<u32, (Stamp, u32)>,
}

impl Saved {
    /// Takes versions that others have vetted, has changed files vetted (one child does), and takes
    /// what has come of it.
    pub fn turn(&mut self, child: &Child, balancer: &dyn Balancer) {
        let mut has_asked = false;
        for id in child.library.ids().filter(|id| child.library.is_watched(*id)) {
            if let Some(row) = child.script_rows.get(id.0 as usize).copied().flatten() {
                scripts::install_newer(&child.table, &child.library, id, row);
                has_asked |= self.look(child, id, row);
            }
        }
        let until = Instant::now() + if has_asked { A_MOMENT } else { Duration::ZERO };
        if let Some(client) = &child.vetting {
            client.end_if_stopped(self.running.iter().map(|job| &job.pending));
        }
        loop {
            self.collect(child, balancer);
            let left = until.saturating_duration_since(Instant::now());
            if self.running.is_empty() || left.is_zero() {
                return;
            }
            let descriptors: Vec<RawFd> = self.running.iter().map(|job| job.pending.descriptor()).collect();
            process::wait_for(&descriptors, left);
        }
    }

    /// Has a changed script vetted; true when it was asked for.
    fn look(&mut self, child: &Child, id: ScriptId, row: u32) -> bool {
        let Some(client) = &child.vetting else { return false };
        // A question that the server would not begin yet is asked later, so that few descriptors
        // are taken however many files have changed.
        if self.running.len() >= WORKERS || self.running.iter().any(|job| job.id == id) {
            return false;
        }
        let Some(stamp) = child.library.changed(id) else { return false };
        let pid = memory::pid();
        if !child.table.claim_judgement(row, stamp.0, pid, memory::monotonic_ms(), &memory::alive) {
            return false;
        }
        match client.ask(id) {
            Ok(pending) => self.running.push(Running { id, row, stamp, pending }),
            // The server of an earlier configuration is gone: children of the next one look after
            // the files.
            Err(_) => {
                child.table.give_up_judgement(row, pid);
                return false;
            }
        }
        true
    }

    fn collect(&mut self, child: &Child, balancer: &dyn Balancer) {
        let mut done = Vec::new();
        self.running.retain_mut(|job| {
            let answer = match job.pending.look() {
                Progress::Awaited => return true,
                Progress::Lost => (Findings::default(), ProcessEnd::Unknown),
                Progress::Told(report, ended) => (*report, ended),
            };
            done.push((job.id, job.row, job.stamp, answer));
            false
        });
        for (id, row, stamp, (report, ended)) in done {
            if report.verdict.is_none() && ended == ProcessEnd::Unknown && self.may_ask_again(id, stamp) {
                child.table.give_up_judgement(row, memory::pid());
                continue;
            }
            self.unanswered.remove(&id.0);
            finish(child, balancer, (id, row, stamp), (report, ended));
        }
    }

    /// Without any answer the server itself has ended, for which the script may not be to blame.
    fn may_ask_again(&mut self, id: ScriptId, stamp: Stamp) -> bool {
        let entry = self.unanswered.entry(id.0).or_insert((stamp, 0));
        if entry.0 != stamp {
            *entry = (stamp, 0);
        }
        entry.1 += 1;
        entry.1 < TRIES
    }
}

fn finish(
    child: &Child,
    balancer: &dyn Balancer,
    (id, row, stamp): (ScriptId, u32, Stamp),
    (report, ended): (Findings, ProcessEnd),
) {
    let found = settle(&child.library, id, report, ended);
    let found = found.and_then(|good| scripts::check_room(&child.table, &child.library, id, good));
    match found {
        Ok(good) => take(child, balancer, (id, row, stamp), good),
        Err(error) => refuse(child, row, stamp, &error),
    }
}

fn take(child: &Child, balancer: &dyn Balancer, (id, row, stamp): (ScriptId, u32, Stamp), good: GoodVersion) {
    let (table, library) = (&child.table, &child.library);
    if trials::begin(child, id, (row, stamp), &good.bundle) {
        return;
    }
    let version = scripts::publish_judged((table, library), id, row, stamp.0, &good.bundle);
    if let Err(error) = good.apply(balancer, version) {
        let text = format!("{}: {error}", library.label(id));
        log::server(messages::scripts::POOLS_NOT_DEFINED, &text);
    }
    table.count_reload(row, ReloadEnd::Ok);
    events::tell_all(table, lifecycle::forget_checks(table));
    library.install(id, good.bundle, version);
    let text = format!("{}: version {version} is in service", library.label(id));
    events::note(table, EventKind::Script, messages::scripts::IN_SERVICE, &text);
}

fn refuse(child: &Child, row: u32, stamp: Stamp, error: &ScriptError) {
    // Before others see that it is refused.
    note_refused(&child.table, row, stamp.0, &error.message);
    child.table.count_reload(row, ReloadEnd::Refused);
    child.table.reject_script(row, memory::pid(), stamp.0);
    let text = format!("{error} (not taken, the last good version goes on serving)");
    events::note(&child.table, EventKind::Script, messages::scripts::NOT_TAKEN, &text);
}
