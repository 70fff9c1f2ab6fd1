// SPDX-License-Identifier: Apache-2.0
//! Smooth weighted round robin as a precomputed sequence.
//!
//! nginx's algorithm (each pick: every current weight grows by the weight, the largest wins, the
//! first among equals, and loses the total) comes back to its start after total / gcd picks, so
//! that the sequence can be written down once and a pick is one look-up by a shared counter: one
//! sequence for all threads and children, whatever the number of members.

/// Most steps (members × period) that are spent on writing a sequence down.
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

fn smooth(weights: &[u64], period: u64) -> Box<[u32]> {
    let mut current = vec![0i64; weights.len()];
    (0..period)
        .map(|_| {
            let mut best = 0;
            for (index, weight) in weights.iter().enumerate() {
                current[index] += *weight as i64;
                if current[index] > current[best] {
                    best = index;
                }
            }
            current[best] -= period as i64;
            best as u32
        })
        .collect()
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

    proptest! {
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
