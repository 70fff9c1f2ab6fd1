// SPDX-License-Identifier: Apache-2.0
//! The words of checks and requests about members, in the store on the heap.

use std::sync::Arc;

use super::{MemoryStore, Row};
use crate::counting::AttemptEnd;
use crate::ejection::{self, FailedAttempt};
use crate::health::HealthState;
use crate::live::{Latency, Slot};
use crate::member::Member;
use crate::settings::Outlier;
use crate::store::{Store, Vitals};

impl MemoryStore {
    /// Runs `body` with a row, while it holds that incarnation.
    pub(super) fn with_row<T>(
        &self,
        slot: Slot,
        incarnation: u32,
        body: impl FnOnce(&mut Row) -> T,
    ) -> Option<T> {
        let mut state = self.state();
        state.rows.get_mut(slot as usize).filter(|row| row.live && incarnation == 1).map(body)
    }
}

fn change(word: &mut u64, mut change: impl FnMut(u64) -> u64) -> (u64, u64) {
    let before = *word;
    *word = change(before);
    (before, *word)
}

impl Vitals for MemoryStore {
    fn health(&self, slot: Slot) -> u64 {
        self.state().rows.get(slot as usize).map_or(0, |row| row.health)
    }

    fn update_health(&self, slot: Slot, incarnation: u32, by: impl FnMut(u64) -> u64) -> Option<(u64, u64)> {
        let now_s = self.now_s();
        let (pool, changed) = self.with_row(slot, incarnation, |row| {
            let changed = change(&mut row.health, by);
            if (changed.0 ^ changed.1) & HealthState::AGENT != 0 {
                row.since = now_s;
            }
            (row.pool, changed)
        })?;
        if (changed.0 ^ changed.1) & HealthState::AGENT != 0 {
            self.state().pools[pool].epoch += 1;
        }
        Some(changed)
    }

    fn outlier(&self, slot: Slot) -> u64 {
        self.state().rows.get(slot as usize).map_or(0, |row| row.outlier)
    }

    fn update_outlier(&self, slot: Slot, incarnation: u32, by: impl FnMut(u64) -> u64) -> Option<(u64, u64)> {
        self.with_row(slot, incarnation, |row| change(&mut row.outlier, by))
    }

    fn count_failure(
        &self,
        members: &[Arc<Member>],
        member: &Member,
        settings: &Outlier,
        now_ms: u64,
    ) -> Option<u64> {
        let may_eject = ejection::may_eject(self, members, member.slot, settings);
        let (_, verdict) = FailedAttempt { member, settings, now_ms }.count(self, may_eject)?;
        let millis = verdict.ejected_for_ms()?;
        ejection::hold(self, member).then_some(millis)
    }

    fn record(&self, slot: Slot, incarnation: u32, failed: bool, ended: Option<&AttemptEnd>) {
        self.with_row(slot, incarnation, |row| {
            row.requests += 1;
            row.failures += u64::from(failed);
            if let Some(ended) = ended {
                row.counts.add(ended);
            }
        });
    }

    fn sample_latency(
        &self,
        slot: Slot,
        incarnation: u32,
        mut fold: impl FnMut(Latency) -> Latency,
    ) -> Option<Latency> {
        self.with_row(slot, incarnation, |row| {
            row.latency = fold(row.latency);
            row.latency
        })
    }
}
