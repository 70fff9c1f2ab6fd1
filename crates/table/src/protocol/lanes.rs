// SPDX-License-Identifier: Apache-2.0
//! In-flight counts. Each child owns a lane of 8 or 16 bits in one word per member; the word is
//! shared with other children's lanes. A lane never overflows into its neighbour and never goes
//! below zero: both are checked in the same compare-and-swap that changes it.

use super::life::{Life, LifePhase};
use crate::primitive::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst, total_order};

/// Where a child's lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// The index of the member's word.
    pub word: u32,
    shift: u32,
    max: u64,
}

impl Lane {
    /// The lane of child number `child` with lanes of `bits` (8 or 16).
    pub fn of(child: u32, bits: u8) -> Self {
        let per_word = 64 / u32::from(bits);
        Lane { word: child / per_word, shift: child % per_word * u32::from(bits), max: (1 << bits) - 1 }
    }

    fn read(self, word: u64) -> u64 {
        word >> self.shift & self.max
    }
}

/// Adds one. False when the lane is full.
#[inline]
pub fn add(cell: &AtomicU64, lane: Lane) -> bool {
    let mut seen = cell.load(Relaxed);
    while lane.read(seen) < lane.max {
        match cell.compare_exchange_weak(seen, seen + (1 << lane.shift), SeqCst, Relaxed) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}

/// Takes one away. False when there is none.
#[inline]
pub fn subtract(cell: &AtomicU64, lane: Lane) -> bool {
    let mut seen = cell.load(Relaxed);
    while lane.read(seen) > 0 {
        match cell.compare_exchange_weak(seen, seen - (1 << lane.shift), SeqCst, Relaxed) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}

/// Empties a lane and says what was in it. Two may do it at once: what was there is counted once.
pub fn clear(cell: &AtomicU64, lane: Lane) -> u32 {
    let mut seen = cell.load(SeqCst);
    loop {
        let held = lane.read(seen);
        if held == 0 {
            return 0;
        }
        match cell.compare_exchange(seen, seen & !(lane.max << lane.shift), SeqCst, SeqCst) {
            Ok(_) => return held as u32,
            Err(now) => seen = now,
        }
    }
}

/// The count of a lane.
pub fn held(cell: &AtomicU64, lane: Lane) -> u32 {
    lane.read(cell.load(SeqCst)) as u32
}

/// Counts a request in, if the row is still that incarnation: first the count, then the look at the
/// row. A reclaimer of the row changes it first and looks at the count then ([`idle`]), so one of
/// the two sees the other.
#[inline]
pub fn begin(cell: &AtomicU64, lane: Lane, life: &AtomicU64, incarnation: u32) -> bool {
    if !add(cell, lane) {
        return false;
    }
    total_order();
    if Life::load(life).is_live_as(incarnation) {
        return true;
    }
    subtract(cell, lane);
    false
}

/// Whether no request is counted in these words. Exact for a row that was seen removed before.
pub fn idle<'a>(cells: impl IntoIterator<Item = &'a AtomicU64>) -> bool {
    total_order();
    cells.into_iter().all(|cell| cell.load(SeqCst) == 0)
}

/// Whether nobody of this lane is at that incarnation of a row, and nobody of it comes there any
/// more. It goes by the order of [`begin`] and [`idle`].
pub fn is_over(cell: &AtomicU64, lane: Lane, life: &AtomicU64, incarnation: u32) -> bool {
    let seen = Life::load(life);
    if seen.incarnation() == incarnation {
        return false;
    }
    total_order();
    // In every other phase the row was found idle since.
    seen.phase() != LifePhase::Removed || held(cell, lane) == 0
}

/// The sum of all lanes of a word.
#[inline]
pub fn sum(word: u64, bits: u8) -> u32 {
    whole_sum(partial_sums(word, bits))
}

/// Two sums of 32 bits, each of half of the lanes: those of many words can be added up before they
/// are made one.
#[inline]
pub fn partial_sums(word: u64, bits: u8) -> u64 {
    const HALVES: u64 = 0x0000_ffff_0000_ffff;
    let lanes = if bits == 8 {
        const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
        (word & PAIRS) + (word >> 8 & PAIRS)
    } else {
        word
    };
    (lanes & HALVES) + (lanes >> 16 & HALVES)
}

/// See [`partial_sums`].
#[inline]
pub fn whole_sum(sums: u64) -> u32 {
    (sums as u32).wrapping_add((sums >> 32) as u32)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_full_lane_refuses_and_leaves_its_neighbours_alone() {
        for bits in [8, 16] {
            let cell = AtomicU64::new(0);
            let lane = Lane::of(1, bits);
            for _ in 0..(1u32 << bits) - 1 {
                assert!(add(&cell, lane));
            }
            assert!(!add(&cell, lane));
            assert_eq!(sum(cell.load(SeqCst), bits), (1 << bits) - 1);
            assert_eq!(clear(&cell, Lane::of(0, bits)), 0);
            assert_eq!(clear(&cell, Lane::of(2, bits)), 0);
            assert_eq!(clear(&cell, lane), (1 << bits) - 1);
            assert!(!subtract(&cell, lane));
            assert_eq!(cell.load(SeqCst), 0);
        }
    }

    #[test]
    fn the_sum_is_that_of_all_lanes() {
        assert_eq!(sum(u64::MAX, 8), 8 * 255);
        assert_eq!(sum(u64::MAX, 16), 4 * 65_535);
        assert_eq!(sum(0x0001_0002_0003_0004, 16), 10);
        assert_eq!(sum(0x0102_0304_0506_0708, 8), 36);
    }
}
