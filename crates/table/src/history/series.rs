// SPDX-License-Identifier: Apache-2.0
//! Series of readings of a pool, in two rings: close ones of the last minutes, and far ones of a
//! day. The place of a reading in its ring is the number of its step, so that every leader writes
//! to the same places.

use std::sync::atomic::AtomicU64;

use balance::history::{DAY, HistorySample, RECENT, Spacing};

use super::stamps::{note, pair, pair_of, stamped, step_of};
use super::window::{OF_HISTOGRAM, grown};
use crate::protocol::noted::Noted;

/// When it was, errors and retries, requests in flight and queued, members and whether it is the
/// first one.
const NUMBERS: usize = 4;
const VALUES: usize = NUMBERS + OF_HISTOGRAM;
const OF_SAMPLE: usize = 1 + VALUES;
pub(super) const WORDS: usize = (RECENT.samples + DAY.samples) * OF_SAMPLE;

/// A pool at a moment. Counts only grow.
#[derive(Clone, Copy)]
pub(super) struct PoolReading {
    pub epoch_ms: u64,
    pub errors: u64,
    pub retries: u64,
    pub inflight: u32,
    pub queued: u32,
    pub usable: u32,
    /// It says what was before; nothing is told of it.
    pub is_base: bool,
    pub histogram: [u64; OF_HISTOGRAM],
}

impl PoolReading {
    fn packed(&self) -> impl Iterator<Item = u64> {
        let numbers: [u64; NUMBERS] = [
            self.epoch_ms,
            pair(self.errors as u32, self.retries as u32),
            pair(self.inflight, self.queued),
            pair(self.usable, u32::from(self.is_base)),
        ];
        numbers.into_iter().chain(self.histogram)
    }

    /// Before anything was counted.
    pub fn of_nothing(self) -> Self {
        PoolReading { errors: 0, retries: 0, histogram: [0; OF_HISTOGRAM], ..self }
    }
}

/// One of a pool's rings.
#[derive(Clone, Copy)]
pub(super) struct Ring<'m> {
    words: &'m [AtomicU64],
    spacing: Spacing,
}

/// Both rings of a row.
pub(super) fn rings(words: &[AtomicU64]) -> [Ring<'_>; 2] {
    let (recent, day) = words.split_at((RECENT.samples * OF_SAMPLE).min(words.len()));
    [Ring { words: recent, spacing: RECENT }, Ring { words: day, spacing: DAY }]
}

impl<'m> Ring<'m> {
    fn place(self, step: u64) -> Option<Noted<'m>> {
        let at = (step % self.spacing.samples as u64) as usize * OF_SAMPLE;
        note(self.words.get(at), self.words.get(at + 1..at + OF_SAMPLE))
    }

    fn is_known(self, incarnation: u32, step: u64) -> bool {
        let is_there = |step| self.place(step).is_some_and(|one| step_of(one.stamp(), incarnation).is_some());
        is_there(step.wrapping_sub(1)) || (0..self.spacing.samples as u64).any(is_there)
    }

    /// Notes what is read at this time of the clock, once in a step. `first` stands before all
    /// readings of a pool.
    pub fn take(self, incarnation: u32, clock_ms: u64, now: &PoolReading, first: &PoolReading) {
        let step = clock_ms / self.spacing.every_ms;
        let stamp = stamped(step, incarnation);
        let Some(place) = self.place(step).filter(|place| place.stamp() != stamp) else { return };
        let reading =
            if self.is_known(incarnation, step) { *now } else { PoolReading { is_base: true, ..*first } };
        place.write(stamp, reading.packed());
    }

    /// The samples between each reading and the one before, oldest first.
    pub fn samples(self, incarnation: u32) -> Vec<HistorySample> {
        let all = (0..self.spacing.samples as u64).filter_map(|at| {
            let (stamp, values) = self.place(at)?.read::<VALUES>()?;
            Some((step_of(stamp, incarnation)?, values))
        });
        let mut all: Vec<(u64, [u64; VALUES])> = all.collect();
        all.sort_unstable_by_key(|(step, _)| *step);
        let newest = all.last().map_or(0, |(step, _)| *step);
        all.retain(|(step, _)| step + self.spacing.samples as u64 > newest);
        all.windows(2).filter_map(|two| self.between(&two[0], &two[1])).collect()
    }

    fn between(self, before: &(u64, [u64; VALUES]), now: &(u64, [u64; VALUES])) -> Option<HistorySample> {
        let ((step_before, before), (step, now)) = (before, now);
        let [usable, is_base] = pair_of(now[3]);
        let [errors_before, retries_before] = pair_of(before[1]);
        let [errors, retries] = pair_of(now[1]);
        let [inflight, queued] = pair_of(now[2]);
        let steps_ms = step.saturating_sub(*step_before).saturating_mul(self.spacing.every_ms);
        let span_ms = now[0].saturating_sub(before[0]);
        (is_base == 0).then(|| HistorySample {
            at_ms: now[0],
            // The calendar may have been set meanwhile.
            span_ms: if span_ms.abs_diff(steps_ms) >= self.spacing.every_ms { steps_ms } else { span_ms },
            errors: u64::from(errors.wrapping_sub(errors_before)),
            retries: u64::from(retries.wrapping_sub(retries_before)),
            inflight,
            queued,
            usable,
            histogram: grown(&now[NUMBERS..], &before[NUMBERS..]),
        })
    }

    /// Takes over what another history has of the same pool.
    pub fn carry(self, from: Ring<'_>, (was, is): (u32, u32)) {
        for at in 0..self.spacing.samples as u64 {
            let read = from.place(at).and_then(|place| place.read::<VALUES>());
            let step = read.and_then(|(stamp, values)| Some((step_of(stamp, was)?, values)));
            if let (Some((step, values)), Some(to)) = (step, self.place(at)) {
                to.write(stamped(step, is), values);
            }
        }
    }
}
