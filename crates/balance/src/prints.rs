// SPDX-License-Identifier: Apache-2.0
//! Sets and maps by fingerprints. These are hashes already, of texts that others have written: one
//! multiplication with a number of this process keeps them apart whatever those choose.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

/// Fingerprints.
pub type PrintSet = HashSet<u64, Folding>;
/// Values by fingerprint.
pub type ByPrint<V> = HashMap<u64, V, Folding>;

/// Hashes fingerprints with the process's own number.
#[derive(Debug, Clone, Copy)]
pub struct Folding(u64);

impl Default for Folding {
    fn default() -> Self {
        // As the maps of std have it: no result depends on it.
        static NUMBER: OnceLock<u64> = OnceLock::new();
        Folding(*NUMBER.get_or_init(|| RandomState::default().build_hasher().finish() | 1))
    }
}

impl BuildHasher for Folding {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded { number: self.0, hash: 0 }
    }
}

/// See [`Folding`].
#[derive(Debug, Clone, Copy)]
pub struct Folded {
    number: u64,
    hash: u64,
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, print: u64) {
        let wide = u128::from(self.hash ^ print ^ self.number) * u128::from(self.number);
        self.hash = wide as u64 ^ (wide >> 64) as u64;
    }
}
