// SPDX-License-Identifier: Apache-2.0
//! Rings of the table: the last so many entries of a kind, kept over restarts and carried into a
//! bigger table. Any process writes at any time, requests included: nobody waits for anybody, and
//! nothing is allocated. [`crate::protocol::ring`] describes how.
//!
//! A ring knows bytes only. Each kind of entry has two functions that make the bytes and read them;
//! `balance::packed` has numbers and short texts for that. Bytes come from other processes, of
//! other versions of the module perhaps: a reader leaves out the entries that it cannot read.
//!
//! Another kind of entry needs
//!
//! 1. a [`RingShape`] in `layout.rs`, as [`EVENTS`]: how many, and bytes for the longest one;
//! 2. a section there (`place(SHAPE.words(), 8)`), its words in `mapping.rs`, and another
//!    `LAYOUT_VERSION`. A ring whose size the configuration says has its number of entries
//!    in `Geometry`;
//! 3. a method here that gives the [`Ring`], beside [`Table::events`], and a line in
//!    `carry_rings`.
//!
//! A writer calls [`Ring::append`]. A reader goes from [`Ring::oldest`] (or where it was) to
//! [`Ring::next`] and calls [`Ring::read`] for each number.

pub use crate::layout::EVENTS;
pub use crate::protocol::ring::{PATIENCE_MS, Ring, RingRead, RingShape};

use crate::Table;

impl Table {
    /// The last events.
    pub fn events(&self) -> Ring<'_> {
        Ring::over(self.map.events(), EVENTS)
    }

    /// The last sampled decisions, as many as the geometry says.
    pub fn decisions(&self) -> Ring<'_> {
        Ring::over(self.map.decisions(), self.map.geometry_ref().decision_ring())
    }

    /// Takes over the entries of a smaller table. Which children of it still write there is lost.
    pub(crate) fn carry_rings(&self, old: &Table) {
        // An entry that is half written has all of its patience behind it.
        self.events().carry(old.events(), u64::MAX);
        self.decisions().carry(old.decisions(), u64::MAX);
    }
}
