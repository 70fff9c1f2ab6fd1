// SPDX-License-Identifier: Apache-2.0
//! A few words with a stamp, which one process writes now and then, and all read.
//!
//! The writer takes the stamp away, writes the values, and sets the new stamp. A reader takes the
//! values only where the stamp is the same before and after, so it sees those of one writing or
//! none. No stamp comes twice. A writer that dies leaves no stamp: nothing is noted there, until
//! the next one writes. Should two write at once (a leader that was stopped, and its successor),
//! the values may be of both.

use crate::primitive::{AtomicU64, Ordering, fence};

/// See the module. A stamp of 0 says that there is nothing.
#[derive(Clone, Copy)]
pub struct Noted<'m> {
    /// The stamp.
    pub stamp: &'m AtomicU64,
    /// The values.
    pub values: &'m [AtomicU64],
}

impl Noted<'_> {
    /// Writes as many values as there are places; further places are 0.
    pub fn write(self, stamp: u64, values: impl IntoIterator<Item = u64>) {
        self.stamp.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        let mut values = values.into_iter();
        for cell in self.values {
            cell.store(values.next().unwrap_or(0), Ordering::Relaxed);
        }
        self.stamp.store(stamp, Ordering::Release);
    }

    /// The stamp.
    pub fn stamp(self) -> u64 {
        self.stamp.load(Ordering::Acquire)
    }

    /// The stamp and the values; those beyond the places are 0. None when there are none, or
    /// another writing came between.
    pub fn read<const N: usize>(self) -> Option<(u64, [u64; N])> {
        let stamp = self.stamp();
        let values =
            std::array::from_fn(|at| self.values.get(at).map_or(0, |cell| cell.load(Ordering::Relaxed)));
        fence(Ordering::Acquire);
        (stamp != 0 && self.stamp.load(Ordering::Relaxed) == stamp).then_some((stamp, values))
    }
}
