// SPDX-License-Identifier: Apache-2.0
//! How shadows compare with what is decided: counts, and the last differences.

use balance::shadow::{ShadowCounts, ShadowDifference, ShadowEnd};

use crate::Table;
use crate::counts::{add, read, script};
use crate::layout::DIFFERENCES;
use crate::ring::{Ring, RingRead};

impl Table {
    fn differences_of(&self, row: u32) -> Option<Ring<'_>> {
        let words = DIFFERENCES.words();
        let words = self.map.differences().chunks_exact(words).nth(row as usize)?;
        Some(Ring::over(words, DIFFERENCES))
    }

    /// Counts a decision of the shadow in a script's row, whatever else is counted.
    pub fn count_shadow(&self, row: u32, end: ShadowEnd) {
        let Some(row) = self.map.script_counts().get(row as usize) else { return };
        let word = match end {
            ShadowEnd::Agree => script::AGREES,
            ShadowEnd::Differ => script::DIFFERS,
            ShadowEnd::Failed => script::FAILS,
        };
        add(&row.words, word, 1);
    }

    /// The counts of its decisions.
    pub fn shadow_counts(&self, row: u32) -> ShadowCounts {
        let Some(row) = self.map.script_counts().get(row as usize) else { return ShadowCounts::default() };
        let word = |at: usize| read(&row.words, at);
        ShadowCounts {
            agree: word(script::AGREES),
            differ: word(script::DIFFERS),
            failed: word(script::FAILS),
        }
    }

    /// Keeps a difference. `now_ms` is the monotonic clock.
    pub fn note_difference(&self, row: u32, difference: &ShadowDifference, now_ms: u64) {
        let mut room = [0; ShadowDifference::BYTES];
        let packed = difference.pack(&mut room);
        if let Some(ring) = self.differences_of(row) {
            ring.append(packed, now_ms);
        }
    }

    /// The last differences, oldest first, but for entries that are being written.
    pub fn differences(&self, row: u32, now_ms: u64) -> Vec<ShadowDifference> {
        let Some(ring) = self.differences_of(row) else { return Vec::new() };
        let entry = |number: u64| match ring.read(number, now_ms) {
            RingRead::Entry(bytes) => ShadowDifference::unpack(&bytes),
            _ => None,
        };
        (ring.oldest()..ring.next()).filter_map(entry).collect()
    }

    /// Takes a script's differences over from another table.
    pub(crate) fn carry_differences(&self, old: &Table, was: u32, is: u32) {
        if let (Some(from), Some(to)) = (old.differences_of(was), self.differences_of(is)) {
            to.carry(from, u64::MAX);
        }
    }
}
