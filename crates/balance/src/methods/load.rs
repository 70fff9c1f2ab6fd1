// SPDX-License-Identifier: Apache-2.0
//! Picking by load.

use std::sync::atomic::Ordering::Relaxed;

use super::Picking;
use crate::compiled::Candidate;
use crate::live::Live;
use crate::rng::Rng;

impl<L: Live> Picking<'_, '_, L> {
    /// Smallest in-flight/weight, compared crosswise as nginx does it; among equals the round robin
    /// sequence decides. Two idle members end the search: nobody has less.
    #[inline(never)]
    pub(super) fn least_connections(&self) -> Option<usize> {
        let candidates = &*self.pool.candidates;
        if self.pool.even && !self.pool.limited && self.avoid.is_empty() {
            return self.least_of_even();
        }
        let (mut best, mut best_inflight, mut best_weight) = (usize::MAX, u64::MAX, 0);
        let mut tied = false;
        let mut index = 0;
        self.live.each_inflight(candidates.iter().map(|candidate| candidate.slot), |inflight| {
            let (at, candidate) = (index, candidates[index]);
            index += 1;
            if !self.is_free_with(&candidate, inflight) {
                return true;
            }
            let (inflight, weight) = (u64::from(inflight), u64::from(candidate.weight));
            if best == usize::MAX {
                (best, best_inflight, best_weight) = (at, inflight, weight);
                return true;
            }
            let (mine, other) = (inflight * best_weight, best_inflight * weight);
            if mine < other {
                (best, best_inflight, best_weight, tied) = (at, inflight, weight, false);
            } else if mine == other {
                tied = true;
                return inflight > 0;
            }
            true
        });
        match best {
            usize::MAX => None,
            _ if tied => Some(self.among_equals(best, best_inflight, best_weight)),
            _ => Some(best),
        }
    }

    /// The same where all weights are equal and nobody is left out.
    fn least_of_even(&self) -> Option<usize> {
        let candidates = &*self.pool.candidates;
        let (mut index, mut best, mut least, mut tied) = (0, 0, u32::MAX, false);
        self.live.each_inflight(candidates.iter().map(|candidate| candidate.slot), |inflight| {
            if inflight < least {
                (best, least, tied) = (index, inflight, false);
            } else if inflight == least {
                tied = true;
                if least == 0 {
                    return false;
                }
            }
            index += 1;
            true
        });
        let weight = u64::from(self.candidate(best)?.weight);
        Some(if tied { self.among_equals(best, u64::from(least), weight) } else { best })
    }

    /// The next of the round robin sequence whose load equals the best one's. `best` when none is
    /// near.
    fn among_equals(&self, best: usize, inflight: u64, weight: u64) -> usize {
        let equal = |candidate: &Candidate| {
            u64::from(self.live.inflight(candidate.slot)) * weight == inflight * u64::from(candidate.weight)
                && self.is_free(candidate)
        };
        let place = self.live.advance(self.cursor);
        (0..64)
            .filter_map(|step| self.pool.schedule().at(place.wrapping_add(step)))
            .find(|index| self.candidate(*index).is_some_and(equal))
            .unwrap_or(best)
    }

    /// Two different weighted draws, the smaller in-flight/weight; the first one when equal.
    #[inline(never)]
    pub(super) fn power_of_two(&self, rng: &Rng) -> Option<usize> {
        self.better_of_two(rng, |one, other| {
            let (a, b) = (u64::from(self.live.inflight(one.slot)), u64::from(self.live.inflight(other.slot)));
            a * u64::from(other.weight) <= b * u64::from(one.weight)
        })
    }

    /// Two different weighted draws, the smaller peak EWMA × (in-flight + 1) / weight. Members that
    /// were never measured count with the mean of the others.
    #[inline(never)]
    pub(super) fn least_latency(&self, rng: &Rng) -> Option<usize> {
        let cost = |candidate: &Candidate| {
            let measured = self.live.latency(candidate.slot).ewma_ms;
            let latency = if measured > 0.0 { measured } else { self.mean_latency() };
            f64::from(latency) * (f64::from(self.live.inflight(candidate.slot)) + 1.0)
        };
        self.better_of_two(rng, |one, other| {
            cost(one) * f64::from(other.weight) <= cost(other) * f64::from(one.weight)
        })
    }

    /// The mean of those that were measured, taken anew after as many uses as there are candidates:
    /// a use costs the same however many they are.
    #[cold]
    fn mean_latency(&self) -> f32 {
        let kept = self.pool.mean_latency.load(Relaxed);
        let (mean, uses) = (f32::from_bits(kept as u32), kept >> 32);
        if uses > 0 {
            // When two do this at once, one is not counted.
            self.pool.mean_latency.store((uses - 1) << 32 | u64::from(mean.to_bits()), Relaxed);
            return mean;
        }
        let mean = self.take_mean_latency();
        let uses = self.pool.candidates.len() as u64;
        self.pool.mean_latency.store(uses << 32 | u64::from(mean.to_bits()), Relaxed);
        mean
    }

    fn take_mean_latency(&self) -> f32 {
        let measured = self.pool.candidates.iter().map(|candidate| self.live.latency(candidate.slot).ewma_ms);
        let (sum, count) = measured
            .filter(|ewma| *ewma > 0.0)
            .fold((0.0, 0.0), |(sum, count), ewma| (sum + ewma, count + 1.0));
        if count > 0.0 { sum / count } else { 1.0 }
    }

    fn better_of_two(&self, rng: &Rng, first_wins: impl Fn(&Candidate, &Candidate) -> bool) -> Option<usize> {
        let one = self.draw(rng, usize::MAX)?;
        if self.pool.candidates.len() == 1 {
            return Some(one);
        }
        let Some(other) = self.draw(rng, one) else { return Some(one) };
        match (self.candidate(one), self.candidate(other)) {
            (Some(a), Some(b)) if !first_wins(a, b) => Some(other),
            _ => Some(one),
        }
    }
}
