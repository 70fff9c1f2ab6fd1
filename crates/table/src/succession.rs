// SPDX-License-Identifier: Apache-2.0
//! The end of a table in whose place a larger one comes: its children leave the doors of the
//! control plane to those with the larger one, and nothing is changed with the pen any more.

use std::sync::atomic::Ordering::SeqCst;

use crate::Table;
use crate::inflight::ChildLane;
use crate::pen::PATIENCE;
use crate::protocol::children::{LanePhase, Owner};

/// A larger table is being made.
const ANNOUNCED: u64 = 1;
/// It is there.
const SUPERSEDED: u64 = 2;

impl Table {
    /// Tells the children that a larger table is being made.
    pub fn announce_successor(&self) {
        self.map.journal().succession.fetch_max(ANNOUNCED, SeqCst);
    }

    /// Whether a larger table is being made, or there.
    pub fn has_successor(&self) -> bool {
        self.map.journal().succession.load(SeqCst) >= ANNOUNCED
    }

    /// Whether a larger table has taken this one's place: changes that are made here are lost, and
    /// the pen makes none.
    pub fn is_superseded(&self) -> bool {
        self.map.journal().succession.load(SeqCst) >= SUPERSEDED
    }

    /// Ends the changes with the pen: each one is whole by now, or is not made. A process that is
    /// stopped in the middle of one is not waited for longer than others wait for the pen.
    pub(crate) fn supersede(&self) {
        let mark = || {
            self.map.journal().succession.fetch_max(SUPERSEDED, SeqCst);
        };
        if !self.with_pen_within(PATIENCE, &self.alive, &mut || mark()) {
            mark();
        }
    }

    /// Notes that a child takes no connections any more. Safe in a signal handler.
    pub fn note_closed(&self, child: &ChildLane) {
        if let Some(row) = self.map.children().get(child.index() as usize) {
            row.closed.store(child.owner().0, SeqCst);
        }
    }

    /// Whether a child takes connections still, of any generation. A killed one seems to, until
    /// somebody reaps it.
    pub fn has_open_children(&self) -> bool {
        self.map.children().iter().any(|row| {
            let owner = Owner::load(&row.owner);
            owner.phase() == LanePhase::Joined && row.closed.load(SeqCst) != owner.0
        })
    }
}
