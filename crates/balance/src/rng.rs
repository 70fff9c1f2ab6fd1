// SPDX-License-Identifier: Apache-2.0
//! A small seedable generator (SplitMix64, Steele, Lea and Flood 2014): good enough to spread
//! requests, never for secrets.

use std::cell::Cell;

/// The generator. One a thread.
#[derive(Debug, Clone)]
pub struct Rng(Cell<u64>);

impl Rng {
    /// From any seed.
    pub fn new(seed: u64) -> Self {
        Rng(Cell::new(seed))
    }

    /// Goes on as if it were made of this seed. Returns a number that is the last such seed until
    /// something is drawn.
    pub fn restart(&self, seed: u64) -> u64 {
        self.0.replace(seed)
    }

    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&self) -> u64 {
        let mut z = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound` (0 when the bound is 0). Lemire's multiplication; the bias is below
    /// bound / 2⁶⁴.
    #[inline]
    pub fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}
