// SPDX-License-Identifier: Apache-2.0
//! Picking by a key.

use xxhash_rust::xxh64::xxh64;

use super::{MISSES, Picking};
use crate::live::Live;

/// Spreads the bits of a word over all of it (the finalizer of MurmurHash3, Appleby).
fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

impl<L: Live> Picking<'_, '_, L> {
    /// The member of the first point ≥ crc32(key), and on along the ring past members that cannot
    /// be picked. With a balance factor (> 1) members whose load would exceed ⌈factor × (all
    /// requests + 1) × weight share⌉ are passed as well (Mirrokni and others, "Consistent hashing
    /// with bounded loads"), unless all are.
    #[inline(never)]
    pub(super) fn consistent_hash(&self, key: &[u8], balance_factor: Option<f64>) -> Option<usize> {
        let (ring, start) = self.pool.rings().ketama_from(crc32fast::hash(key));
        let along = || ring[start..].iter().chain(&ring[..start]).map(|(_, member)| *member);
        let bound = balance_factor.map(|factor| self.bound(factor));
        let within = |index: &usize| bound.as_ref().is_none_or(|bound| self.is_within(*index, bound));
        along()
            .find_map(|member| self.free_member(member).filter(within))
            .or_else(|| along().find_map(|member| self.free_member(member)))
            .or_else(|| self.scan(0))
    }

    /// Factor × (requests at all candidates + 1) / total weight.
    fn bound(&self, factor: f64) -> f64 {
        let (requests, weight) =
            self.pool.candidates.iter().fold((1.0, 0.0), |(requests, weight), candidate| {
                (
                    requests + f64::from(self.live.inflight(candidate.slot)),
                    weight + f64::from(candidate.weight),
                )
            });
        factor.max(1.0) * requests / weight
    }

    fn is_within(&self, index: usize, bound: &f64) -> bool {
        self.candidate(index).is_some_and(|candidate| {
            f64::from(self.live.inflight(candidate.slot)) < (bound * f64::from(candidate.weight)).ceil()
        })
    }

    /// slot = xxh64(key, 0) mod M; for a member that cannot be picked xxh64(key, n) mod M, n = 1,
    /// 2, …
    #[inline(never)]
    pub(super) fn maglev(&self, key: &[u8]) -> Option<usize> {
        let table = self.pool.rings().maglev();
        if table.is_empty() {
            return self.scan(0);
        }
        let size = table.len() as u64;
        (0..64)
            .find_map(|n| self.free_member(table[(xxh64(key, n) % size) as usize]))
            .or_else(|| {
                let start = (xxh64(key, 0) % size) as usize;
                table[start..].iter().chain(&table[..start]).find_map(|member| self.free_member(*member))
            })
            .or_else(|| self.scan(0))
    }

    /// Weighted highest random weight (Schindelhauer and Schomaker 2005): the largest −weight /
    /// ln(h), h in (0, 1) from key and member. Among members of one weight that is the largest h,
    /// so that a logarithm is taken only where the weight changes.
    #[inline(never)]
    pub(super) fn rendezvous(&self, key: &[u8]) -> Option<usize> {
        let key = xxh64(key, 0);
        let mut best: Option<(usize, f64)> = None;
        // The best of those of the same weight in a row.
        let mut row: Option<(usize, u64, u32)> = None;
        let mut close = |row: Option<(usize, u64, u32)>| {
            if let Some((index, hash, weight)) = row {
                let uniform = (hash as f64 + 0.5) / (1u64 << 53) as f64;
                let score = -f64::from(weight) / uniform.ln();
                if best.is_none_or(|(_, highest)| score > highest) {
                    best = Some((index, score));
                }
            }
        };
        for node in self.pool.rings().nodes() {
            let hash = mix(key ^ node.seed) >> 11;
            match row {
                Some((_, highest, weight)) if weight == node.weight && hash <= highest => {}
                Some((_, _, weight)) if weight == node.weight => {
                    if let Some(index) = self.free_member(node.member) {
                        row = Some((index, hash, weight));
                    }
                }
                _ => {
                    if let Some(index) = self.free_member(node.member) {
                        close(row.replace((index, hash, node.weight)));
                    }
                }
            }
        }
        close(row);
        best.map(|(index, _)| index).or_else(|| self.scan(0))
    }

    /// nginx's `hash`: ((crc32(key) >> 16) & 0x7fff) mod total weight, walking the weights. For a
    /// member that cannot be picked crc32 of the number of the try before the key is added, 20
    /// times; then, and for an empty key, round robin.
    #[inline(never)]
    pub(super) fn hash(&self, key: &[u8]) -> Option<usize> {
        let rings = self.pool.rings();
        if key.is_empty() || rings.total == 0 {
            return self.round_robin();
        }
        // nginx counts whole weights; a total below 1 cannot be.
        let total = (rings.total / 100).max(1);
        let mut sum = 0u64;
        for rehash in 0..=MISSES as u32 {
            let mut crc = crc32fast::Hasher::new();
            if rehash > 0 {
                crc.update(rehash.to_string().as_bytes());
            }
            crc.update(key);
            sum = sum.wrapping_add(u64::from(crc.finalize() >> 16 & 0x7fff));
            let node = rings.node_at((sum % total) * 100);
            if let Some(index) = node.and_then(|node| self.free_member(node.member)) {
                return Some(index);
            }
        }
        self.round_robin()
    }
}
