// SPDX-License-Identifier: Apache-2.0
//! Searching a sorted row in about as many steps whatever its length: a first look at where values
//! of that size begin, then a binary search among the few of about that size.

use std::ops::Range;

/// Where each of as many equal parts of the values' span as there are values begins in the row; 4
/// bytes a value.
#[derive(Debug)]
pub struct Index {
    /// For each part the number of values before it; one more at the end.
    starts: Box<[u32]>,
    /// Parts for each unit, in 2^-32.
    factor: u64,
}

impl Index {
    /// For this sorted row of values of at most `span`. `span` is at most 2^40, the row has at most
    /// 2^24 values.
    pub fn new(values: impl ExactSizeIterator<Item = u64>, span: u64) -> Self {
        let parts = values.len().max(1) as u64;
        let mut index = Index { starts: Box::default(), factor: (parts << 32) / span.max(1) };
        let mut starts = vec![0u32; parts as usize + 3];
        for value in values {
            // How many values are in the part; the sums follow.
            starts[index.part(value).min(parts as usize + 1) + 1] += 1;
        }
        for part in 1..starts.len() {
            starts[part] += starts[part - 1];
        }
        index.starts = starts.into();
        index
    }

    /// It never falls while the value grows, which is all that the search needs.
    fn part(&self, value: u64) -> usize {
        ((u128::from(value) * u128::from(self.factor)) >> 32) as usize
    }

    /// Where in the row the first value that is not below this one is, and the first above it. The
    /// end of the range is included.
    pub fn around(&self, value: u64) -> Range<usize> {
        let last = self.starts.len() - 2;
        let part = self.part(value).min(last);
        self.starts[part] as usize..self.starts[part + 1] as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_finds_what_a_search_of_the_whole_row_finds(
            mut row in prop::collection::vec(0u64..1 << 40, 0..300),
            more in prop::collection::vec(0u64..1 << 40, 1..50),
            narrow in 0u32..40,
        ) {
            row.iter_mut().for_each(|value| *value >>= narrow);
            row.sort_unstable();
            let span = row.last().copied().unwrap_or(0);
            let index = Index::new(row.iter().copied(), span);
            let near = row.iter().flat_map(|value| [value.saturating_sub(1), *value, value + 1]);
            for value in near.chain(more.iter().map(|value| value >> narrow)).chain([0]) {
                let around = index.around(value);
                let (from, part) = (around.start, &row[around]);
                prop_assert_eq!(from + part.partition_point(|x| *x < value), row.partition_point(|x| *x < value));
                prop_assert_eq!(from + part.partition_point(|x| *x <= value), row.partition_point(|x| *x <= value));
            }
        }
    }
}
