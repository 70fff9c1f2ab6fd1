// SPDX-License-Identifier: Apache-2.0
//! The state file at a start, and the last time that it is written at a stop.

use std::time::{Duration, Instant};

use balance::journal::EventKind;
use balance::snapshot::Extent;
use messages::Message;
use statefile::{StartPlan, StartTime, StateDocument, WriteTime};

use crate::httpd::config::pid_file;
use crate::httpd::confine::Account;
use crate::httpd::pool::MemoryPool;
use crate::httpd::process::{self, ExitStatus, OneThread};
use crate::httpd::{log, memory, mpm};
use crate::keep::events;
use crate::keep::state::{self, DefaultPlace, StateBytes, StateFile};
use crate::serve::child;
use crate::serve::generation::{Generation, generation, states};
use crate::serve::stated;

/// How long a stop may wait for the file.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines about what was dropped, of which more are only counted.
const MOST_LINES: usize = 20;

/// The state file that the configuration wants. None: none, or it cannot be had.
pub fn open(pool: MemoryPool<'_>, generation: &Generation) -> Option<StateFile> {
    let root = generation.server_root.to_string_lossy();
    let (base, instance) = (states(), instance(&root, &pid_file(pool)));
    let default = DefaultPlace { base: &base, instance };
    state::open(&generation.main_config.config.state_file, &default, &Account::of_children())
}

/// A name for this server among those of a machine: readable, and of another one for another
/// ServerRoot or PidFile.
fn instance(root: &str, pid_file: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let readable: String = root.trim_matches(['/', '.']).chars().take(64).map(plain).collect();
    let hash = xxhash_rust::xxh64::xxh64(format!("{root}\0{pid_file}").as_bytes(), 0);
    format!("{}-{hash:016x}", readable.trim_matches('-'))
}

/// A start: what the file says holds again, as far as the configuration still says what it was
/// about.
pub fn restore(generation: &Generation) {
    let Some(file) = &generation.state_file else { return };
    let document = match file.read(Some(&Account::of_children())) {
        StateBytes::Nothing => return,
        StateBytes::Bytes(bytes) => statefile::read(&bytes).map_err(|error| error.to_string()),
        StateBytes::Strange(why) => Err(why),
        StateBytes::Unreadable(why) => Err(format!("it cannot be read: {why}")),
    };
    match document {
        Ok(document) => hold(generation, file, &document),
        Err(why) => {
            let moved = match file.move_aside() {
                Ok(aside) => format!("it is {aside} now"),
                Err(error) => format!("it cannot be moved aside: {error}"),
            };
            let text = format!("the state file {} is of no use: {why}; {moved}", file.path());
            log::server(messages::statefile::USELESS, &text);
        }
    }
}

fn hold(generation: &Generation, file: &StateFile, document: &StateDocument) {
    let now = WriteTime { now_s: memory::epoch_s(), now_ms: memory::monotonic_ms() };
    let pools = balance::snapshot::pools(&generation.table, Extent::Standing);
    let plan = StartPlan::of(document, &pools, &StartTime { now_s: now.now_s, ages: file.ages });
    let written = render::time::Time(document.written.0);
    if plan.is_too_old {
        let text = format!(
            "the state file {} of {written} is older than max_age=: nothing of it holds",
            file.path()
        );
        log::server(messages::statefile::TOO_OLD, &text);
        return;
    }
    let applied = statefile::apply(&generation.table, &plan, now);
    if applied.ordered + applied.added > 0 {
        let text = format!(
            "the state file of {written}: orders of {} members hold again, {} members are back",
            applied.ordered, applied.added
        );
        events::note(&generation.table, EventKind::Order, messages::statefile::RESTORED, &text);
    }
    tell(
        messages::statefile::DROPPED,
        plan.dropped.iter().map(|dropped| format!("the state file: {dropped}")),
    );
    tell(
        messages::statefile::NOT_RESTORED,
        applied.refused.iter().map(|refused| format!("the state file: {refused}")),
    );
}

fn tell(message: &Message, lines: impl ExactSizeIterator<Item = String>) {
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.take(MOST_LINES).for_each(|line| log::server(message, &line));
    if more > 0 {
        log::server(message, &format!("the state file: and {more} members more"));
    }
}

/// Writes the file when the process ends for good, its children having ended.
struct LastWriting {
    alone: OneThread,
}

/// From now on the file is written at the end of the process. Values that the pool has kept before
/// outlive that.
pub fn write_at_end(pool: MemoryPool<'static>, alone: OneThread) {
    pool.keep(LastWriting { alone });
}

impl Drop for LastWriting {
    fn drop(&mut self) {
        // A parent that is its own child has threads, and has written what has changed.
        if self.alone.is_here() && mpm::is_exiting() && child::get().is_none() {
            leave_others(self.alone);
            write_last(self.alone);
        }
    }
}

/// The servers that share something hear at once that this one is gone.
fn leave_others(alone: OneThread) {
    let Some(fronts) = generation().and_then(|generation| generation.fronts.clone()) else { return };
    let lease = fronts.lease();
    if lease == 0 || !fronts.state().is_some_and(|(is_there, _)| is_there) {
        return;
    }
    let account = Account::of_children();
    let leave = |_: OneThread| {
        if account.assume().is_ok() {
            share::leave(fronts.place(), lease);
        }
    };
    if let Ok(pid) = process::fork(alone, leave) {
        // The lease ends by itself where it could not be ended now.
        drop(ended_well(pid));
    }
}

/// By a process that has the rights of children, for which the end waits. Lines that were told
/// before are not told again.
fn write_last(alone: OneThread) {
    let Some(generation) = generation() else { return };
    let Some(file) = &generation.state_file else { return };
    let account = Account::of_children();
    let was_in_trouble = file.trouble().is_some();
    let write = |_: OneThread| {
        let now = WriteTime { now_s: memory::epoch_s(), now_ms: memory::monotonic_ms() };
        let written = account.assume().and_then(|()| {
            let left = stated::left(&generation.table, file, now.now_s);
            let document = stated::compose(&generation.table, now, &left);
            file.write(&statefile::write(&document), &|| true)
        });
        file.note(written.err().as_ref(), now.now_s);
    };
    let failed = match process::fork(alone, write) {
        Ok(pid) => ended_well(pid).err(),
        Err(error) => Some(error.to_string()),
    };
    let trouble = file.trouble().map(|(why, _)| why);
    match failed.or_else(|| trouble.filter(|_| !was_in_trouble)) {
        Some(why) => {
            let text = format!("the last state of this server is not kept: {why}");
            log::server(messages::statefile::LAST_NOT_KEPT, &text);
        }
        None if was_in_trouble && file.trouble().is_none() => {
            let text = format!("the state file {} is written again", file.path());
            log::server(messages::statefile::WRITTEN_AGAIN, &text);
        }
        None => {}
    }
}

fn ended_well(pid: i32) -> Result<(), String> {
    let until = Instant::now() + PATIENCE;
    loop {
        match process::ended(pid) {
            Ok(Some(ExitStatus::Exit(0))) => return Ok(()),
            Ok(Some(status)) => return Err(format!("its writer has ended: {status:?}")),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
            Ok(None) => {
                process::kill(pid);
                return Err(format!("its writer has not ended within {} s", PATIENCE.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
