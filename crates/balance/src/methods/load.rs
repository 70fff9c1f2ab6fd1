//! Picking by load.

use super::Picking;
use crate::compiled::Candidate;
use crate::live::Live;
use crate::rng::Rng;

impl<L: Live> Picking<'_, L> {
    /// Smallest in-flight/weight, compared crosswise as nginx does it; among equals the round robin sequence decides.
    pub(super) fn least_connections(&self) -> Option<usize> {
        let all_free = self.all_free();
        let mut best: Option<(usize, u64, u64)> = None;
        let mut tied = false;
        for (index, candidate) in self.pool.candidates.iter().enumerate() {
            if !all_free && !self.is_free(candidate) {
                continue;
            }
            let (inflight, weight) =
                (u64::from(self.live.inflight(candidate.slot)), u64::from(candidate.weight));
            let Some((_, best_inflight, best_weight)) = best else {
                best = Some((index, inflight, weight));
                continue;
            };
            let (mine, other) = (inflight * best_weight, best_inflight * weight);
            if mine < other {
                best = Some((index, inflight, weight));
                tied = false;
            } else if mine == other {
                tied = true;
            }
        }
        let (index, inflight, weight) = best?;
        if tied { Some(self.among_equals(index, inflight, weight)) } else { Some(index) }
    }

    /// The next of the round robin sequence whose load equals the best one's. `best` when none is near.
    fn among_equals(&self, best: usize, inflight: u64, weight: u64) -> usize {
        let equal = |candidate: &Candidate| {
            u64::from(self.live.inflight(candidate.slot)) * weight == inflight * u64::from(candidate.weight)
                && self.is_free(candidate)
        };
        let place = self.live.advance(self.cursor);
        (0..64)
            .filter_map(|step| self.pool.schedule.at(place.wrapping_add(step)))
            .find(|index| self.candidate(*index).is_some_and(equal))
            .unwrap_or(best)
    }

    /// Two different weighted draws, the smaller in-flight/weight; the first one when equal.
    pub(super) fn power_of_two(&self, rng: &mut Rng) -> Option<usize> {
        self.better_of_two(rng, |one, other| {
            let (a, b) = (u64::from(self.live.inflight(one.slot)), u64::from(self.live.inflight(other.slot)));
            a * u64::from(other.weight) <= b * u64::from(one.weight)
        })
    }

    /// Two different weighted draws, the smaller peak EWMA × (in-flight + 1) / weight. Members that were never measured count
    /// with the mean of the others.
    pub(super) fn least_latency(&self, rng: &mut Rng) -> Option<usize> {
        let cost = |candidate: &Candidate| {
            let measured = self.live.latency(candidate.slot).ewma_ms;
            let latency = if measured > 0.0 { measured } else { self.mean_latency() };
            f64::from(latency) * (f64::from(self.live.inflight(candidate.slot)) + 1.0)
                / f64::from(candidate.weight)
        };
        self.better_of_two(rng, |one, other| cost(one) <= cost(other))
    }

    #[cold]
    fn mean_latency(&self) -> f32 {
        let measured = self.pool.candidates.iter().map(|candidate| self.live.latency(candidate.slot).ewma_ms);
        let (sum, count) = measured
            .filter(|ewma| *ewma > 0.0)
            .fold((0.0, 0.0), |(sum, count), ewma| (sum + ewma, count + 1.0));
        if count > 0.0 { sum / count } else { 1.0 }
    }

    fn better_of_two(
        &self,
        rng: &mut Rng,
        first_wins: impl Fn(&Candidate, &Candidate) -> bool,
    ) -> Option<usize> {
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
