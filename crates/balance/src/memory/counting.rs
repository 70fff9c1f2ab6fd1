// SPDX-License-Identifier: Apache-2.0
//! Counts, in the store on the heap.

use super::MemoryStore;
use crate::api::PoolId;
use crate::counting::{AttemptEnd, Counters, RequestEnd};
use crate::counts::{Histogram, MemberCounts, PoolCounts};
use crate::history::CheckReport;
use crate::live::Slot;

impl Counters for MemoryStore {
    fn count_attempt(&self, slot: Slot, incarnation: u32, attempt: &AttemptEnd) {
        self.with_row(slot, incarnation, |row| row.counts.add(attempt));
    }

    fn count_request(&self, pool: PoolId, request: &RequestEnd) {
        if let Some(pool) = self.state().pools.get_mut(pool.0 as usize) {
            pool.counts.add(request);
        }
    }

    fn count_check(&self, slot: Slot, incarnation: u32, passed: bool) {
        self.with_row(slot, incarnation, |row| match passed {
            true => row.counts.checks_ok += 1,
            false => row.counts.checks_failed += 1,
        });
    }

    fn count_ejection(&self, slot: Slot, incarnation: u32) {
        self.with_row(slot, incarnation, |row| row.counts.ejections += 1);
    }

    fn member_counts(&self, slot: Slot) -> MemberCounts {
        self.state().rows.get(slot as usize).map_or_else(MemberCounts::default, |row| row.counts)
    }

    fn pool_counts(&self, pool: PoolId) -> PoolCounts {
        self.state().pools.get(pool.0 as usize).map_or_else(PoolCounts::default, |pool| pool.counts)
    }

    /// All of them: nobody reads here now and then.
    fn member_recent(&self, _: Slot, _: u32, counts: &MemberCounts) -> Histogram {
        counts.histogram
    }

    fn pool_recent(&self, _: PoolId, counts: &PoolCounts) -> Histogram {
        counts.histogram
    }

    fn note_check(&self, slot: Slot, incarnation: u32, report: &CheckReport) {
        self.with_row(slot, incarnation, |row| row.check = Some(report.clone()));
    }

    fn last_check(&self, slot: Slot, _: u32) -> Option<CheckReport> {
        self.state().rows.get(slot as usize)?.check.clone()
    }
}
