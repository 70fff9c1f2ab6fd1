// SPDX-License-Identifier: Apache-2.0
//! The history of counts: beside a table, in a mapping of its own, since it is larger than the
//! words that picks need and nobody waits for it. The leading child writes, all read.
//!
//! All is kept as readings of the table's counts, which only grow: what happened in between is the
//! difference of two. So nothing but readings is lost when a leader dies, and another one goes on
//! without having to know anything. A reading has its row's incarnation in its stamp: those of a
//! member or pool that had the row before count for nobody.
//!
//! * Of each member and pool one reading a minute, of the last ten: how long attempts, or requests,
//!   took (`window`).
//! * Of each member what the last check found (`checks`).
//! * Of each of the first [`MOST_SERIES`] pools one reading every two seconds for ten minutes, and
//!   one every five minutes for a day (`series`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::Geometry;

mod carry;
mod checks;
mod memory;
mod series;
mod stamps;
mod take;
mod window;

pub(crate) use carry::Owner;
use memory::Words;
pub use take::FirstReading;

/// So many rows of pools have series.
pub const MOST_SERIES: usize = 512;

/// First word: `LBHISTO` and a zero.
const MAGIC: u64 = u64::from_le_bytes(*b"LBHISTO\0");
/// Grows with every change of the layout or the meaning of a word.
const LAYOUT: u64 = 1;
/// Magic, layout, rows of members, rows of pools, and four that are free.
const HEADER: usize = 8;
const OF_MEMBER: usize = (window::WORDS + checks::WORDS).next_multiple_of(8);
const OF_POOL: usize = window::WORDS.next_multiple_of(8);
const OF_SERIES: usize = series::WORDS.next_multiple_of(8);

// docs/ARCHITECTURE.md tells these sizes.
const _: () = assert!(OF_MEMBER == 88 && OF_POOL == 72 && OF_SERIES == 6472);

/// Two clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds of the clock that all processes share, and that never goes back.
    pub clock_ms: u64,
    /// Milliseconds since 1970.
    pub epoch_ms: u64,
}

/// A handle on a history. Cheap to clone.
#[derive(Clone)]
pub struct History(Arc<Kept>);

struct Kept {
    words: Words,
    rows: Rows,
}

/// How many rows there are.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Rows {
    members: usize,
    pools: usize,
}

impl Rows {
    fn of(geometry: &Geometry) -> Self {
        Rows { members: geometry.members as usize, pools: geometry.pools as usize }
    }

    fn words(self) -> usize {
        self.series_from() + self.pools.min(MOST_SERIES) * OF_SERIES
    }

    fn pools_from(self) -> usize {
        HEADER + self.members * OF_MEMBER
    }

    fn series_from(self) -> usize {
        self.pools_from() + self.pools * OF_POOL
    }
}

impl History {
    /// Bytes of the mapping, beside a table of this geometry.
    pub fn bytes(geometry: &Geometry) -> usize {
        Rows::of(geometry).words() * 8
    }

    /// Makes an empty one in zeroed shared memory. None: the memory is too small.
    ///
    /// # Safety
    /// `base` points to at least `len` zeroed bytes that stay mapped, readable and writable, until
    /// the last clone of the handle is dropped (in this process), and nothing but histories touches
    /// them.
    #[allow(unsafe_code)]
    pub unsafe fn create(base: *mut u8, len: usize, geometry: &Geometry) -> Option<Self> {
        // SAFETY: the caller's promise is the one asked for.
        Self::begin(unsafe { Words::over(base, len) }?, geometry)
    }

    /// Opens one that is there already, beside a table of this geometry. None: the memory holds
    /// none, or one of another layout or size.
    ///
    /// # Safety
    /// As for [`History::create`], except that the bytes may be anything.
    #[allow(unsafe_code)]
    pub unsafe fn attach(base: *mut u8, len: usize, geometry: &Geometry) -> Option<Self> {
        // SAFETY: the caller's promise is the one asked for.
        let words = unsafe { Words::over(base, len) }?;
        let rows = Rows::of(geometry);
        let wanted = [MAGIC, LAYOUT, rows.members as u64, rows.pools as u64];
        let header = words.cells().get(..rows.words())?.iter().map(|cell| cell.load(Ordering::SeqCst));
        header.take(wanted.len()).eq(wanted).then(|| History(Arc::new(Kept { words, rows })))
    }

    /// One in this process's own memory.
    pub fn on_heap(geometry: &Geometry) -> Option<Self> {
        Self::begin(Words::on_heap(Self::bytes(geometry))?, geometry)
    }

    fn begin(words: Words, geometry: &Geometry) -> Option<Self> {
        let rows = Rows::of(geometry);
        let cells = words.cells().get(..rows.words())?;
        let header = [MAGIC, LAYOUT, rows.members as u64, rows.pools as u64];
        cells.iter().zip(header).for_each(|(cell, word)| cell.store(word, Ordering::SeqCst));
        Some(History(Arc::new(Kept { words, rows })))
    }

    fn part(&self, from: usize, len: usize) -> Option<&[AtomicU64]> {
        self.0.words.cells().get(from..from.checked_add(len)?)
    }

    fn of_member(&self, row: usize) -> Option<&[AtomicU64]> {
        let rows = (row < self.0.rows.members).then_some(self.0.rows)?;
        self.part(rows.pools_from().checked_sub((rows.members - row) * OF_MEMBER)?, OF_MEMBER)
    }

    fn of_pool(&self, row: usize) -> Option<&[AtomicU64]> {
        let rows = (row < self.0.rows.pools).then_some(self.0.rows)?;
        self.part(rows.pools_from() + row * OF_POOL, OF_POOL)
    }

    fn series_of(&self, row: usize) -> Option<&[AtomicU64]> {
        let rows = (row < self.0.rows.pools.min(MOST_SERIES)).then_some(self.0.rows)?;
        self.part(rows.series_from() + row * OF_SERIES, OF_SERIES)
    }
}

#[cfg(test)]
impl History {
    /// Writes this word everywhere behind the header.
    pub fn fill_for_test(&self, word: u64) {
        self.0.words.cells()[HEADER..].iter().for_each(|cell| cell.store(word, Ordering::Relaxed));
    }
}
