// SPDX-License-Identifier: Apache-2.0
//! How long things took in the last ten minutes: readings of a histogram, one a minute. A count is
//! kept by its lower half, since differences are small.

use std::sync::atomic::AtomicU64;

use balance::counts::Histogram;

use super::stamps::{note, pair, pair_of, stamped, step_of};
use crate::protocol::noted::Noted;

/// Time between two readings.
pub(super) const EVERY_MS: u64 = 60_000;
const READINGS: usize = 10;
/// Words of a histogram.
pub(super) const OF_HISTOGRAM: usize = 6;
/// All stamps first, so that a search for one is short.
pub(super) const WORDS: usize = READINGS * (1 + OF_HISTOGRAM);

/// A row's readings.
#[derive(Clone, Copy)]
pub(super) struct Window<'m>(pub &'m [AtomicU64]);

impl<'m> Window<'m> {
    fn reading(self, at: usize) -> Option<Noted<'m>> {
        let values = READINGS + at * OF_HISTOGRAM;
        note(self.0.get(at), self.0.get(values..values + OF_HISTOGRAM))
    }

    fn readings(self) -> impl Iterator<Item = Noted<'m>> {
        (0..READINGS).filter_map(move |at| self.reading(at))
    }

    /// Minutes of which there is a reading, with their places.
    fn minutes(self, incarnation: u32) -> impl Iterator<Item = (u64, Noted<'m>)> {
        self.readings().filter_map(move |one| Some((step_of(one.stamp(), incarnation)?, one)))
    }

    /// Takes this minute's reading. The first one of a member or pool says `first`: nothing, unless
    /// it has been there for longer than its history.
    pub fn take(self, incarnation: u32, minute: u64, now: &Histogram, first: &Histogram) {
        let stamp = stamped(minute, incarnation);
        let place = self.reading((minute % READINGS as u64) as usize);
        let Some(place) = place.filter(|place| place.stamp() != stamp) else { return };
        let is_known = self.minutes(incarnation).next().is_some();
        place.write(stamp, packed(if is_known { now } else { first }));
    }

    /// The counts since the oldest reading of ten minutes.
    pub fn since(self, incarnation: u32, now: &Histogram) -> Histogram {
        let newest = self.minutes(incarnation).map(|(minute, _)| minute).max();
        let is_recent = |minute: u64| newest.is_some_and(|newest| minute + READINGS as u64 > newest);
        let recent = self.minutes(incarnation).filter(|(minute, _)| is_recent(*minute));
        let oldest = recent.min_by_key(|(minute, _)| *minute);
        let read = oldest.and_then(|(_, place)| place.read::<OF_HISTOGRAM>());
        let before = read.filter(|(stamp, _)| step_of(*stamp, incarnation).is_some());
        before.map_or(*now, |(_, words)| grown(&packed(now), &words))
    }

    /// Takes over what another history has of the same thing.
    pub fn carry(self, from: Window<'_>, (was, is): (u32, u32)) {
        for (to, from) in self.readings().zip(from.readings()) {
            let read = from.read::<OF_HISTOGRAM>();
            if let Some((Some(minute), words)) = read.map(|(stamp, words)| (step_of(stamp, was), words)) {
                to.write(stamped(minute, is), words);
            }
        }
    }
}

/// The lower halves of a histogram's counts.
pub(super) fn packed(of: &Histogram) -> [u64; OF_HISTOGRAM] {
    std::array::from_fn(|at| {
        let lower = |at: usize| of.buckets.get(at).map_or(0, |count| *count as u32);
        pair(lower(2 * at), lower(2 * at + 1))
    })
}

/// The counts between two readings. Nobody keeps how long they took together.
pub(super) fn grown(now: &[u64], before: &[u64]) -> Histogram {
    let mut grown = Histogram::default();
    for ((two, now), before) in grown.buckets.chunks_mut(2).zip(now).zip(before) {
        let more = pair_of(*now).into_iter().zip(pair_of(*before));
        for (bucket, (now, before)) in two.iter_mut().zip(more) {
            *bucket = u64::from(now.wrapping_sub(before));
        }
    }
    grown
}
