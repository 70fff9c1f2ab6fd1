// SPDX-License-Identifier: Apache-2.0
//! Taking readings, and what they say.

use std::sync::Arc;

use balance::api::PoolId;
use balance::counting::Counters;
use balance::counts::{Histogram, MemberCounts, PoolCounts};
use balance::figures::PoolFigures;
use balance::history::{CheckReport, PoolHistory};
use balance::live::Slot;
use balance::store::PoolImage;

use super::checks::LastCheck;
use super::series::{PoolReading, rings};
use super::window::{EVERY_MS, Window, packed};
use super::{History, Moment, checks, window};
use crate::Table;
use crate::protocol::life::Life;

impl History {
    pub(super) fn window_of_member(&self, row: usize) -> Option<Window<'_>> {
        self.of_member(row)?.get(..window::WORDS).map(Window)
    }

    pub(super) fn window_of_pool(&self, row: usize) -> Option<Window<'_>> {
        self.of_pool(row)?.get(..window::WORDS).map(Window)
    }

    pub(super) fn check_of(&self, row: usize) -> Option<LastCheck<'_>> {
        self.of_member(row)?.get(window::WORDS..window::WORDS + checks::WORDS).map(LastCheck)
    }
}

/// Whether what a pool or member has counted so far is of the time that its first reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstReading {
    /// It is: the history is as old as the table.
    Counts,
    /// It is of an unknown time: the table is older than its history.
    Old,
}

impl Table {
    /// Has readings kept there.
    #[must_use]
    pub fn with_history(mut self, history: Option<History>) -> Self {
        self.history = history;
        self
    }

    /// The incarnation of a pool that is there.
    fn incarnation_of(&self, pool: PoolId) -> Option<u32> {
        let life = Life::load(&self.map.pools().get(pool.0 as usize)?.life);
        life.is_live().then(|| life.incarnation())
    }

    /// Takes what is due of these pools: to be called every second or two.
    pub fn note_pools(&self, pools: &[Arc<PoolImage>], at: Moment, first: FirstReading) {
        let Some(history) = &self.history else { return };
        for image in pools {
            let pool = image.membership.pool;
            let (Some(incarnation), row) = (self.incarnation_of(pool), pool.0 as usize) else { continue };
            let counts = self.pool_counts(pool);
            if let Some(window) = history.window_of_pool(row) {
                let before = if first == FirstReading::Old { counts.histogram } else { Histogram::default() };
                window.take(incarnation, at.clock_ms / EVERY_MS, &counts.histogram, &before);
            }
            let Some(series) = history.series_of(row) else { continue };
            let PoolFigures { usable, inflight, queued } = PoolFigures::of(self, image);
            let now = PoolReading {
                epoch_ms: at.epoch_ms,
                errors: counts.errors(),
                retries: counts.retries.iter().fold(0, |sum, count| sum.wrapping_add(*count)),
                inflight,
                queued,
                usable,
                is_base: false,
                histogram: packed(&counts.histogram),
            };
            let before = if first == FirstReading::Old { now } else { now.of_nothing() };
            rings(series).into_iter().for_each(|ring| ring.take(incarnation, at.clock_ms, &now, &before));
        }
    }

    /// Takes what is due of the members of these pools: to be called every minute, and when members
    /// have come.
    pub fn note_members(&self, pools: &[Arc<PoolImage>], at: Moment, first: FirstReading) {
        let Some(history) = &self.history else { return };
        for member in pools.iter().flat_map(|image| image.membership.members.iter()) {
            let Some(window) = history.window_of_member(member.slot as usize) else { continue };
            let now = self.member_histogram(member.slot);
            let before = if first == FirstReading::Old { now } else { Histogram::default() };
            window.take(member.incarnation, at.clock_ms / EVERY_MS, &now, &before);
        }
    }

    /// The history of a pool. None: there is no such pool.
    pub fn pool_history(&self, pool: PoolId) -> Option<PoolHistory> {
        let incarnation = self.incarnation_of(pool)?;
        let series = self.history.as_ref().and_then(|history| history.series_of(pool.0 as usize));
        let kept = series.map(|series| rings(series).map(|ring| ring.samples(incarnation)));
        let [recent, day] = kept.unwrap_or_default();
        Some(PoolHistory { recent, day })
    }

    pub(crate) fn recent_of_member(&self, slot: Slot, incarnation: u32, counts: &MemberCounts) -> Histogram {
        let window = self.history.as_ref().and_then(|history| history.window_of_member(slot as usize));
        window.map_or(counts.histogram, |window| window.since(incarnation, &counts.histogram))
    }

    pub(crate) fn recent_of_pool(&self, pool: PoolId, counts: &PoolCounts) -> Histogram {
        let window = self.history.as_ref().and_then(|history| history.window_of_pool(pool.0 as usize));
        let known = window.and_then(|window| Some((window, self.incarnation_of(pool)?)));
        known.map_or(counts.histogram, |(window, whose)| window.since(whose, &counts.histogram))
    }

    pub(crate) fn note_last_check(&self, slot: Slot, incarnation: u32, report: &CheckReport) {
        if let Some(place) = self.history.as_ref().and_then(|history| history.check_of(slot as usize)) {
            place.write(incarnation, report);
        }
    }

    pub(crate) fn read_last_check(&self, slot: Slot, incarnation: u32) -> Option<CheckReport> {
        self.history.as_ref()?.check_of(slot as usize)?.read(incarnation)
    }
}
