// SPDX-License-Identifier: Apache-2.0
//! Weighted random in constant time: Vose's alias method ("A linear algorithm for generating random
//! numbers with a given distribution", 1991).

use crate::rng::Rng;

/// Draws an index with a probability proportional to its weight.
#[derive(Debug, Clone, Default)]
pub struct AliasTable {
    /// For each index: keep it below this threshold of 2³², else take the other one.
    slots: Box<[(u32, u32)]>,
}

impl AliasTable {
    /// For these weights. Empty weights, or all 0: every draw gives 0.
    pub fn new(weights: &[u32]) -> Self {
        let count = weights.len() as u64;
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        if total == 0 {
            return AliasTable::default();
        }
        let mut left: Vec<u128> =
            weights.iter().map(|weight| u128::from(*weight) * u128::from(count)).collect();
        let average = u128::from(total);
        let mut slots: Vec<(u32, u32)> = (0..weights.len() as u32).map(|index| (u32::MAX, index)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|index| left[*index] < average);
        while let (Some(less), Some(more)) = (small.pop(), large.last().copied()) {
            slots[less] = (((left[less] << 32) / average).min(u128::from(u32::MAX)) as u32, more as u32);
            left[more] -= average - left[less];
            if left[more] < average {
                large.pop();
                small.push(more);
            }
        }
        AliasTable { slots: slots.into() }
    }

    /// One draw.
    #[inline]
    pub fn draw(&self, rng: &Rng) -> usize {
        let random = rng.next_u64();
        let index = (((random >> 32) * self.slots.len() as u64) >> 32) as usize;
        match self.slots.get(index) {
            Some((threshold, other)) if random as u32 >= *threshold => *other as usize,
            _ => index,
        }
    }
}
