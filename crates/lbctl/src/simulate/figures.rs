// SPDX-License-Identifier: Apache-2.0
//! The counts, in memory that does not grow with the log.

use std::collections::BTreeMap;

use crate::world::given_up::GivenUp;

/// How often scripts failed.
#[derive(Debug, Clone, Default)]
pub struct Failures {
    /// Errors, and how often each came.
    pub errors: BTreeMap<String, u64>,
    /// Scripts that were not called any more.
    pub given_up: Vec<GivenUp>,
}

/// Times by their size, each bound 2 % above the last.
#[derive(Debug, Clone, Default)]
pub struct Times {
    counts: Vec<u64>,
    all: u64,
}

/// Bounds from one power of two to the next.
const STEPS: f64 = 32.0;

impl Times {
    /// Counts one, in seconds.
    pub fn add(&mut self, seconds: f64) {
        let us = (seconds * 1e6).max(1.0);
        let at = (us.log2() * STEPS).round().clamp(0.0, 64.0 * STEPS) as usize;
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.all += 1;
    }

    /// Seconds that this part of all takes at most.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let wanted = (self.all as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some((at as f64 / STEPS).exp2() / 1e6)
    }
}

/// Requests by member over time: slots that become wider as they become many.
#[derive(Debug, Clone)]
pub struct Series {
    /// Seconds of a slot.
    pub width: f64,
    /// Requests of each member, in each slot.
    pub slots: Vec<Vec<u32>>,
    begin: Option<f64>,
}

/// Most slots.
const MOST: usize = 120;

impl Default for Series {
    fn default() -> Self {
        Series { width: 1.0, slots: Vec::new(), begin: None }
    }
}

impl Series {
    /// Counts a request of the member with this number.
    pub fn add(&mut self, at: f64, member: usize) {
        let since = (at - *self.begin.get_or_insert(at)).max(0.0);
        while since / self.width >= MOST as f64 {
            self.widen();
        }
        let slot = (since / self.width) as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, Vec::new());
        }
        let counts = &mut self.slots[slot];
        if counts.len() <= member {
            counts.resize(member + 1, 0);
        }
        counts[member] += 1;
    }

    fn widen(&mut self) {
        self.width *= 2.0;
        let pairs = std::mem::take(&mut self.slots);
        for pair in pairs.chunks(2) {
            let mut sum = pair[0].clone();
            for (member, count) in pair.get(1).into_iter().flatten().enumerate() {
                if sum.len() <= member {
                    sum.resize(member + 1, 0);
                }
                sum[member] += count;
            }
            self.slots.push(sum);
        }
    }

    /// The share of a member in each slot; None where nobody asked.
    pub fn shares(&self, member: usize) -> impl Iterator<Item = Option<f64>> {
        self.slots.iter().map(move |counts| {
            let all: u32 = counts.iter().sum();
            let own = counts.get(member).copied().unwrap_or(0);
            (all > 0).then(|| f64::from(own) / f64::from(all))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_two_percent() {
        let mut times = Times::default();
        (1..=10_000).for_each(|n| times.add(f64::from(n) / 1000.0));
        for (percent, seconds) in [(50.0, 5.0), (95.0, 9.5), (99.0, 9.9), (100.0, 10.0)] {
            let found = times.percentile(percent).unwrap();
            assert!((found / seconds - 1.0).abs() < 0.02, "p{percent}: {found}");
        }
        assert_eq!(Times::default().percentile(50.0), None);
    }

    #[test]
    fn slots_become_wider_and_lose_nothing() {
        let mut series = Series::default();
        (0..100_000).for_each(|n| series.add(f64::from(n), n as usize % 3));
        assert!(series.slots.len() <= MOST);
        assert_eq!(series.slots.iter().flatten().sum::<u32>(), 100_000);
        assert!(series.shares(0).flatten().all(|share| (share - 1.0 / 3.0).abs() < 0.01));
    }
}
