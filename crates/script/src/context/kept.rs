// SPDX-License-Identifier: Apache-2.0
//! The notes of a state about the jobs that it runs.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mlua::{Function, MultiValue};

use super::wait::Io;
use crate::error::Halt;
use crate::limits::budget::Budget;
use crate::source::library::ScriptId;

/// Most jobs of timers at the same time (OpenResty's limit); further timers are late.
pub(crate) const MOST_RUNNING: usize = 256;
/// How many times the memory limit of one run the state may hold, with all runs and what scripts
/// keep.
pub(crate) const STATE_SHARE: usize = 4;
/// Bytes that all sockets of a state may have received and not handed on.
pub(crate) const MOST_RECEIVED: usize = 16 << 20;
/// Bytes that all jobs of a state may be sending.
const MOST_SENDING: usize = 16 << 20;

/// A timer that a script asked for.
pub(crate) struct Timer {
    pub(crate) script: ScriptId,
    pub(crate) version: u64,
    pub(crate) due: f64,
    pub(crate) every: Option<f64>,
    pub(crate) function: Function,
    pub(crate) args: MultiValue,
    /// Shared with the job that runs it.
    pub(crate) running: Rc<()>,
}

/// The notes of a state about the jobs that it runs.
pub(crate) struct Jobs {
    pub(crate) timers: RefCell<Vec<Timer>>,
    /// The version of each script whose timers run.
    pub(crate) serving: RefCell<HashMap<ScriptId, u64>>,
    /// The thing that the job waits for which is about to yield.
    pub(crate) wanted: RefCell<Option<Io>>,
    /// When the hook interrupted the job. Until that has come up through all of its coroutines, the
    /// hook leaves it alone: one of those further out has a count of its own.
    pub(crate) interrupted: Cell<Option<Instant>>,
    stop: Arc<AtomicBool>,
    pub(crate) outgrown: Cell<bool>,
    /// Held by each socket that is open.
    pub(crate) sockets: Rc<()>,
    pub(crate) shared: Rc<Shared>,
}

/// The counts that all jobs of a state share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) running: Cell<usize>,
    /// A job was dropped before its end.
    pub(crate) abandoned: Cell<bool>,
    /// Bytes of what jobs send, while they wait for that.
    pub(crate) sending: Cell<usize>,
    /// Bytes that sockets have received and scripts have not asked for.
    pub(crate) received: Cell<usize>,
}

/// How long an interruption may be on its way. Where nothing could be interrupted it is forgotten
/// after that.
const ON_ITS_WAY: Duration = Duration::from_millis(5);

impl Jobs {
    pub(crate) fn new(stop: Arc<AtomicBool>) -> Self {
        Jobs {
            timers: RefCell::default(),
            serving: RefCell::default(),
            wanted: RefCell::default(),
            interrupted: Cell::default(),
            stop,
            outgrown: Cell::default(),
            sockets: Rc::default(),
            shared: Rc::default(),
        }
    }

    /// Called with the bytes that are left when a run was stopped for memory and everything it held
    /// is gone.
    pub(crate) fn note_size(&self, kept: usize, limit: usize) {
        if kept > limit.saturating_mul(STATE_SHARE) / 2 {
            self.outgrown.set(true);
        }
    }

    /// Drops the timers of all versions of a script but this one.
    pub(crate) fn keep_timers(&self, id: ScriptId, version: Option<u64>) {
        self.timers.borrow_mut().retain(|timer| timer.script != id || Some(timer.version) == version);
        let mut serving = self.serving.borrow_mut();
        match version {
            Some(version) => drop(serving.insert(id, version)),
            None => drop(serving.remove(&id)),
        }
    }

    /// Why a job may not send so many bytes now, if it may not.
    pub(crate) fn full(&self, bytes: usize) -> Option<String> {
        let all = self.shared.sending.get().saturating_add(bytes);
        (all > MOST_SENDING)
            .then(|| format!("timers and checks send more than {} MiB at once", MOST_SENDING >> 20))
    }

    /// For the hook: ends the running call when all are to end.
    pub(crate) fn note_stop(&self, budget: &Budget) {
        if self.stop.load(Ordering::Relaxed) && budget.depth.get() > 0 {
            budget.end(Halt::Stopped);
        }
    }

    /// For the hook: whether the running job is to make room for others now.
    pub(crate) fn turn_is_over(&self, budget: &Budget) -> bool {
        let now = Instant::now();
        let on_its_way = |since: Instant| now.duration_since(since) < ON_ITS_WAY;
        if budget.turn.get().is_none_or(|end| now < end) || self.interrupted.get().is_some_and(on_its_way) {
            return false;
        }
        self.interrupted.set(Some(now));
        true
    }
}
