// SPDX-License-Identifier: Apache-2.0
//! The background thread of a child, and what the leading child does in it for all children: a list
//! of tasks.

use std::time::{Duration, Instant};

use crate::httpd::memory;
use crate::serve::child::Child;

pub mod checks;
mod discovery;
mod ejections;
mod fronts;
mod history;
mod jobs;
mod opinions;
mod orders;
pub mod perform;
mod pools;
mod ramps;
pub mod saved;
mod scripts;
mod sharing;
mod source;
mod stale;
mod state;
mod stuck;
mod taking;
pub mod thread;
mod timers;
mod trials;

/// How often scripts, the lead and ejections are looked at.
pub const TICK: Duration = Duration::from_millis(200);

/// The lead, as a turn of the tasks has it.
pub struct Lease<'t> {
    /// This child.
    pub child: &'static Child,
    /// The pools as they are in this turn.
    pub pools: &'t pools::PoolImages,
    /// Until when the lead is certain.
    pub until_ms: u64,
}

impl Lease<'_> {
    /// Whether this child leads still: a process that was stopped finds another one leading.
    pub fn holds(&self) -> bool {
        memory::monotonic_ms() < self.until_ms && self.child.table.leader() == Some(memory::pid())
    }
}

/// Why tasks are to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The lead may have been another's for a while, or a turn has panicked.
    Lapsed,
    /// The lead is another's.
    Lost,
    /// The thread ends.
    Ended,
}

/// Something that the leader does.
pub trait Task {
    /// Does what is due. Returns when it wants its next turn; None: with the next tick.
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant>;

    /// Lets go of what only a leader may have. Told as long as there is no lead.
    fn rest(&mut self, why: Rest);
}
