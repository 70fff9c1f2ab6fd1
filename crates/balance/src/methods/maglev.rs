// SPDX-License-Identifier: Apache-2.0
//! Maglev (Eisenbud and others, NSDI 2016) with weights, as Envoy fills the table.

use xxhash_rust::xxh64::xxh64;

/// Slots of the table, a prime.
pub const SIZE: u32 = 65_537;

/// The table for nodes (name, weight, value), sorted by name: slot → value. Empty without nodes.
///
/// offset = xxh64(name, 0) mod M, skip = xxh64(name, 1) mod (M − 1) + 1. In round i = 1, 2, … a
/// node takes its next free slot unless i × weight < target; its target, from 0, then grows by the
/// largest weight.
pub fn table(nodes: &[(String, u32, u32)], size: u32) -> Box<[u32]> {
    struct Walk {
        at: u64,
        skip: u64,
        weight: u64,
        target: u64,
        value: u32,
    }
    let size = u64::from(size);
    let largest = nodes.iter().map(|(_, weight, _)| u64::from(*weight)).max().unwrap_or(0);
    if largest == 0 || size < 2 {
        return Box::default();
    }
    let mut walks: Vec<Walk> = nodes
        .iter()
        .map(|(name, weight, value)| Walk {
            at: xxh64(name.as_bytes(), 0) % size,
            skip: xxh64(name.as_bytes(), 1) % (size - 1) + 1,
            weight: u64::from(*weight),
            target: 0,
            value: *value,
        })
        .collect();
    let mut slots = vec![u32::MAX; size as usize];
    let mut free = size;
    for round in 1u64.. {
        for walk in &mut walks {
            if round * walk.weight < walk.target {
                continue;
            }
            walk.target += largest;
            while slots[walk.at as usize] != u32::MAX {
                walk.at = (walk.at + walk.skip) % size;
            }
            slots[walk.at as usize] = walk.value;
            walk.at = (walk.at + walk.skip) % size;
            free -= 1;
            if free == 0 {
                return slots.into();
            }
        }
    }
    slots.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_envoys() {
        let nodes: Vec<_> = (90..=95u32).map(|port| (format!("127.0.0.1:{port}"), 1, port)).collect();
        assert_eq!(*table(&nodes, 7), [92, 94, 90, 91, 95, 90, 93]);
    }

    #[test]
    fn shares_follow_the_weights() {
        let nodes = [("a:1".to_owned(), 100, 0), ("b:1".to_owned(), 300, 1)];
        let table = table(&nodes, SIZE);
        let share = table.iter().filter(|value| **value == 1).count() as f64 / f64::from(SIZE);
        assert!((share - 0.75).abs() < 0.001, "{share}");
    }

    #[test]
    fn without_nodes_or_weight_it_is_empty() {
        assert!(table(&[], SIZE).is_empty());
        assert!(table(&[("a:1".to_owned(), 0, 0)], SIZE).is_empty());
    }
}
