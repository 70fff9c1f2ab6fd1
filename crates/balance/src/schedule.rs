// SPDX-License-Identifier: Apache-2.0
//! Smooth weighted round robin as a precomputed sequence.
//!
//! nginx's algorithm (each pick: every current weight grows by the weight, the largest wins, the
//! first among equals, and loses the total) comes back to its start after total / gcd picks, so
//! that the sequence can be written down once and a pick is one look-up by a shared counter: one
//! sequence for all threads and children, whatever the number of members.

use std::cmp::Reverse;

/// Longest sequence that is written down, as candidates × period.
const MAX_WORK: u64 = 1 << 20;

/// A round robin sequence over candidates 0 … n − 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// No candidate.
    Empty,
    /// All weights equal: in order.
    Equal(u32),
    /// Written down.
    Written(Box<[u32]>),
    /// Too long to write down: exact shares in each period by walking through the cumulative
    /// weights in strides.
    Strides {
        /// Cumulative weights, divided by their greatest common divisor.
        cumulative: Box<[u64]>,
        /// Coprime to the total, near total / golden ratio.
        stride: u64,
    },
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Schedule {
    /// For these weights, all > 0.
    pub fn new(weights: &[u32]) -> Self {
        let Some(first) = weights.first() else { return Schedule::Empty };
        if weights.iter().all(|weight| weight == first) {
            return Schedule::Equal(weights.len() as u32);
        }
        let divisor = weights.iter().fold(0, |divisor, weight| gcd(divisor, u64::from(*weight))).max(1);
        let parts: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) / divisor).collect();
        let period: u64 = parts.iter().sum();
        if period.saturating_mul(parts.len() as u64) <= MAX_WORK {
            return Schedule::Written(smooth(&parts, period));
        }
        let mut sum = 0;
        let cumulative = parts
            .iter()
            .map(|part| {
                sum += part;
                sum
            })
            .collect();
        Schedule::Strides { cumulative, stride: stride(period) }
    }

    /// The candidate at a place of the sequence. None when there is none.
    #[inline]
    pub fn at(&self, place: u64) -> Option<usize> {
        match self {
            Schedule::Empty => None,
            Schedule::Equal(count) => Some((place % u64::from(*count)) as usize),
            Schedule::Written(order) => {
                order.get((place % order.len() as u64) as usize).map(|index| *index as usize)
            }
            Schedule::Strides { cumulative, stride } => {
                let total = *cumulative.last()?;
                let at = (u128::from(place % total) * u128::from(*stride) % u128::from(total)) as u64;
                Some(cumulative.partition_point(|upper| *upper <= at))
            }
        }
    }
}

/// The sequence itself. Candidates of one weight take turns in their order, so that each pick only
/// looks at the next one of each weight: after k picks a candidate's current weight is k × weight −
/// its picks × total.
fn smooth(weights: &[u64], period: u64) -> Box<[u32]> {
    let mut turns: Vec<Turn> = Vec::new();
    for (index, weight) in (0..).zip(weights) {
        match turns.iter_mut().find(|turn| turn.weight == *weight) {
            Some(turn) => turn.candidates.push(index),
            None => turns.push(Turn { weight: *weight, candidates: vec![index], at: 0, current: 0 }),
        }
    }
    let next = |turns: &mut Vec<Turn>| {
        turns.iter_mut().for_each(|turn| turn.current += turn.weight as i64);
        let best = turns.iter_mut().max_by_key(|turn| (turn.current, Reverse(turn.candidates[turn.at])));
        best.map_or(0, |turn| turn.take(period as i64))
    };
    (0..period).map(|_| next(&mut turns)).collect()
}

/// The candidates of one weight.
struct Turn {
    weight: u64,
    candidates: Vec<u32>,
    /// The next one: it has been picked as often as those behind it, and once less than those
    /// before it.
    at: usize,
    /// Its current weight.
    current: i64,
}

impl Turn {
    fn take(&mut self, total: i64) -> u32 {
        let taken = self.candidates[self.at];
        self.at += 1;
        // By now each of them has lost the total.
        if self.at == self.candidates.len() {
            self.at = 0;
            self.current -= total;
        }
        taken
    }
}

fn stride(total: u64) -> u64 {
    let near = (total as f64 / 1.618_033_988_749_895) as u64;
    (near.max(1)..).find(|candidate| gcd(*candidate, total) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn letters(weights: &[u32], count: u64) -> String {
        let schedule = Schedule::new(weights);
        (0..count).map(|place| char::from(b'a' + schedule.at(place).unwrap() as u8)).collect()
    }

    #[test]
    fn known_sequences() {
        assert_eq!(letters(&[500, 100, 100], 14), "aabacaaaabacaa");
        assert_eq!(letters(&[400, 200, 100], 7), "abacaba");
        assert_eq!(letters(&[1100, 300], 14), "aabaaaabaaabaa");
        assert_eq!(letters(&[7, 7, 7], 6), "abcabc");
        assert_eq!(Schedule::new(&[]).at(3), None);
    }

    #[test]
    fn the_counter_may_overflow() {
        for weights in [&[3, 3][..], &[5, 1, 1], &[6_553_500, 6_553_499, 1]] {
            assert!(Schedule::new(weights).at(u64::MAX).is_some());
        }
    }

    /// nginx's own loop.
    fn nginx(weights: &[u32]) -> Vec<usize> {
        let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
        let mut current = vec![0i64; weights.len()];
        let mut pick = || {
            let mut best = 0;
            for (index, weight) in weights.iter().enumerate() {
                current[index] += i64::from(*weight);
                if current[index] > current[best] {
                    best = index;
                }
            }
            current[best] -= total;
            best
        };
        (0..total).map(|_| pick()).collect()
    }

    proptest! {
        #[test]
        fn the_sequence_is_that_of_nginx(weights in proptest::collection::vec(prop_oneof![1u32..8, 1u32..200, Just(50)], 1..40)) {
            let schedule = Schedule::new(&weights);
            let picks: Vec<usize> = (0..weights.iter().map(|w| u64::from(*w)).sum()).map(|place| schedule.at(place).unwrap()).collect();
            prop_assert_eq!(picks, nginx(&weights));
        }

        #[test]
        fn share_matches_weight(weights in proptest::collection::vec(1u32..200, 1..12)) {
            let schedule = Schedule::new(&weights);
            let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            let mut seen = vec![0u32; weights.len()];
            for place in 0..total {
                seen[schedule.at(place + 12_345 * total).unwrap()] += 1;
            }
            prop_assert_eq!(seen, weights);
        }

        #[test]
        fn share_matches_weight_when_the_sequence_is_not_written(weights in proptest::collection::vec(20_000u32..40_000, 100..120)) {
            let divisor = weights.iter().fold(0, |d, w| gcd(d, u64::from(*w)));
            prop_assume!(divisor == 1);
            let schedule = Schedule::new(&weights);
            let written = matches!(schedule, Schedule::Written(_));
            prop_assert!(!written);
            let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
            let mut seen = vec![0u32; weights.len()];
            for place in 0..total {
                seen[schedule.at(place).unwrap()] += 1;
            }
            prop_assert_eq!(seen, weights);
        }
    }
}
