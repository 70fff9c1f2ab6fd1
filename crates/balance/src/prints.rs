// SPDX-License-Identifier: Apache-2.0
//! Sets and maps by fingerprints, which are hashes already.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Fingerprints.
pub type PrintSet = HashSet<u64, BuildHasherDefault<AsItIs>>;
/// Values by fingerprint.
pub type ByPrint<V> = HashMap<u64, V, BuildHasherDefault<AsItIs>>;

/// Takes a `u64` as its own hash.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, print: u64) {
        self.0 = print;
    }
}
