// SPDX-License-Identifier: Apache-2.0
//! The words of checks and requests about members.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use balance::counting::AttemptEnd;
use balance::health::HealthState;
use balance::live::{Latency, Slot};
use balance::member::Member;
use balance::settings::Outlier;
use balance::store::Vitals;

use crate::Table;
use crate::members::{pack_latency, unpack_latency};
use crate::primitive::step;
use crate::protocol::life::Life;

impl Vitals for Table {
    #[inline]
    fn health(&self, slot: Slot) -> u64 {
        self.row(slot).map_or(0, |(_, row)| row.health.load(SeqCst))
    }

    fn update_health(
        &self,
        slot: Slot,
        incarnation: u32,
        mut change: impl FnMut(u64) -> u64,
    ) -> Option<(u64, u64)> {
        let changed = self.change_word(slot, incarnation, |row| &row.health, &mut change);
        if let Some((before, after)) = changed
            && (before ^ after) & HealthState::AGENT != 0
        {
            self.touch(slot);
            step();
            if let Some(pool) = self.pool_row(slot) {
                pool.epoch.fetch_add(1, SeqCst);
            }
        }
        changed
    }

    #[inline]
    fn outlier(&self, slot: Slot) -> u64 {
        self.row(slot).map_or(0, |(_, row)| row.outlier.load(SeqCst))
    }

    fn update_outlier(
        &self,
        slot: Slot,
        incarnation: u32,
        mut change: impl FnMut(u64) -> u64,
    ) -> Option<(u64, u64)> {
        self.change_word(slot, incarnation, |row| &row.outlier, &mut change)
    }

    fn count_failure(
        &self,
        members: &[Arc<Member>],
        member: &Member,
        settings: &Outlier,
        now_ms: u64,
    ) -> Option<u64> {
        self.eject_maybe(members, member, settings, now_ms)
    }

    #[inline]
    fn record(&self, slot: Slot, incarnation: u32, failed: bool, ended: Option<&AttemptEnd>) {
        if let Some((key, row)) = self.row(slot)
            && Life::load(&key.life).is_live_as(incarnation)
        {
            row.requests.fetch_add(1, Relaxed);
            if failed {
                row.failures.fetch_add(1, Relaxed);
            }
            if let Some(ended) = ended {
                self.count_attempt_of_live(slot, ended);
            }
        }
    }

    #[inline]
    fn sample_latency(
        &self,
        slot: Slot,
        incarnation: u32,
        mut fold: impl FnMut(Latency) -> Latency,
    ) -> Option<Latency> {
        let change = |word| pack_latency(fold(unpack_latency(word)));
        let (_, now) = self.change_word(slot, incarnation, |row| &row.latency, change)?;
        Some(unpack_latency(now))
    }
}
