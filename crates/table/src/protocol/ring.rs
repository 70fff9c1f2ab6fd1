// SPDX-License-Identifier: Apache-2.0
//! The last entries of some kind, which many processes write without waiting for each other.
//!
//! An entry has a number, its place is that number modulo the ring's size, and its *tag* says how
//! often the ring went round. Every word of a place carries the tag of the entry that it belongs to
//! beside six bytes of that entry, and no word ever goes back to an older tag. So a reader takes an
//! entry where all of its words have its tag, and none where a single one differs: entries are seen
//! whole or not at all, however slow a writer is.
//!
//! A writer takes the next number by changing the first word of its place, moves `next` on (or
//! another one does, who finds the place taken), fills the other words, and marks the first word
//! as done. One that dies before that costs its own entry. One that was stopped while the ring
//! went round finds newer tags and leaves them.
//!
//! The first word of an entry that is being written says since when. A reader that wants every
//! entry waits for it while that is not long ago ([`PATIENCE_MS`]), then takes it for lost.

use crate::primitive::{AtomicU64, Ordering::*, step};

/// How long an entry is waited for that is being written.
pub const PATIENCE_MS: u64 = 1000;

/// Bytes of an entry in each word; the others are its tag.
const BYTES: usize = 6;
const TAG_SHIFT: u32 = 48;
/// In an entry's first word: all others are there.
const DONE: u64 = 1 << 47;
/// Words before the first entry.
const BEFORE: usize = 8;

/// How large a ring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingShape {
    /// How many entries it has; with 0 nothing is kept.
    pub entries: usize,
    /// Bytes that an entry has room for, at most 65,535.
    pub bytes: usize,
}

impl RingShape {
    /// Words of all of it.
    pub const fn words(self) -> usize {
        BEFORE + self.entries * self.entry_words()
    }

    const fn entry_words(self) -> usize {
        1 + self.bytes.div_ceil(BYTES)
    }
}

/// A ring in memory that is zero at first.
#[derive(Clone, Copy)]
pub struct Ring<'m> {
    words: &'m [AtomicU64],
    shape: RingShape,
}

/// The finding under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RingRead {
    /// The entry's bytes.
    Entry(Vec<u8>),
    /// It is being written.
    Pending,
    /// It has made room for a newer one, or its writer died.
    Lost,
    /// Nobody has taken the number yet.
    Ahead,
}

impl RingRead {
    /// The entry's bytes, if it is there.
    pub fn entry(self) -> Option<Vec<u8>> {
        match self {
            RingRead::Entry(bytes) => Some(bytes),
            _ => None,
        }
    }
}

impl<'m> Ring<'m> {
    /// A ring of this shape; `words` are as many as [`RingShape::words`] says.
    pub fn over(words: &'m [AtomicU64], shape: RingShape) -> Self {
        Ring { words, shape }
    }

    /// The number that the next entry gets; the first one has 0.
    pub fn next(self) -> u64 {
        self.words.first().map_or(0, |next| next.load(Acquire))
    }

    /// The lowest number whose entry may still be there.
    pub fn oldest(self) -> u64 {
        self.next().saturating_sub(self.shape.entries as u64)
    }

    /// The entry's words; the first one is about it, the others have its bytes.
    fn place(self, number: u64) -> Option<&'m [AtomicU64]> {
        let at = number.checked_rem(self.shape.entries as u64)? as usize;
        let words = self.shape.entry_words();
        self.words.get(BEFORE + at * words..BEFORE + (at + 1) * words)
    }

    /// Places of new memory have the tag 0, so that the first round has 1.
    fn tag(self, number: u64) -> u16 {
        number.checked_div(self.shape.entries as u64).map_or(0, |round| (round as u16).wrapping_add(1))
    }

    /// Adds an entry and returns its number. Bytes beyond the room for them are left out. None: it
    /// was not kept, since the ring has no room or went round meanwhile. `now_ms` is the monotonic
    /// clock. No call into the system, no allocation, no waiting.
    pub fn append(self, bytes: &[u8], now_ms: u64) -> Option<u64> {
        loop {
            let number = self.next();
            let (first, cells) = self.place(number)?.split_first()?;
            let taken = self.take(number, first, now_ms);
            step();
            self.move_on(number);
            if let Some(taken) = taken {
                step();
                return self.fill(first, cells, taken, bytes).then_some(number);
            }
        }
    }

    /// Makes the number the caller's and returns the word that says so. None: it is another's.
    fn take(self, number: u64, first: &AtomicU64, now_ms: u64) -> Option<u64> {
        let mine = tagged(self.tag(number), now_ms & (DONE - 1));
        let mut seen = first.load(Acquire);
        // The word may also change since the writer of an older entry is done.
        while is_older(tag_of(seen), tag_of(mine)) {
            match first.compare_exchange(seen, mine, AcqRel, Acquire) {
                Ok(_) => return Some(mine),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// The number has been taken.
    fn move_on(self, number: u64) {
        if let Some(next) = self.words.first() {
            let _ = next.compare_exchange(number, number + 1, AcqRel, Relaxed);
        }
    }

    fn fill(self, first: &AtomicU64, cells: &[AtomicU64], taken: u64, bytes: &[u8]) -> bool {
        let tag = tag_of(taken);
        let bytes = bytes.get(..self.shape.bytes).unwrap_or(bytes);
        let mut parts = bytes.chunks(BYTES);
        for cell in cells {
            let part = parts.next().unwrap_or_default();
            let value = part.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            if !raise(cell, tagged(tag, value)) {
                return false;
            }
            step();
        }
        let done = tagged(tag, DONE | bytes.len() as u64);
        first.compare_exchange(taken, done, Release, Relaxed).is_ok()
    }

    /// The entry of a number, `now_ms` after the same clock as its writer's.
    pub fn read(self, number: u64, now_ms: u64) -> RingRead {
        if number >= self.next() {
            return RingRead::Ahead;
        }
        let Some((first, cells)) = self.place(number).and_then(<[AtomicU64]>::split_first) else {
            return RingRead::Lost;
        };
        let (tag, seen) = (self.tag(number), first.load(Acquire));
        if tag_of(seen) != tag {
            return RingRead::Lost;
        }
        if seen & DONE == 0 {
            let age_ms = (now_ms & (DONE - 1)).saturating_sub(seen & (DONE - 1));
            return if age_ms < PATIENCE_MS { RingRead::Pending } else { RingRead::Lost };
        }
        let length = ((seen & (DONE - 1)) as usize).min(self.shape.bytes);
        let mut bytes = Vec::with_capacity(length + BYTES);
        for cell in &cells[..length.div_ceil(BYTES).min(cells.len())] {
            let word = cell.load(Relaxed);
            if tag_of(word) != tag {
                return RingRead::Lost;
            }
            bytes.extend_from_slice(&word.to_le_bytes()[..BYTES]);
        }
        bytes.truncate(length);
        RingRead::Entry(bytes)
    }

    /// Takes over the entries of another ring, under their numbers. Nobody else writes here yet.
    pub fn carry(self, from: Ring<'_>, now_ms: u64) {
        let next = from.next();
        // Tags compare within half of their range: new memory counts as of the round before.
        for number in next.saturating_sub(self.shape.entries as u64)..next {
            let before = tagged(self.tag(number).wrapping_sub(1), 0);
            self.place(number).into_iter().flatten().for_each(|word| word.store(before, Relaxed));
        }
        let kept = next.saturating_sub((self.shape.entries as u64).min(from.shape.entries as u64));
        for number in kept..next {
            let place = self.place(number).and_then(<[AtomicU64]>::split_first);
            if let (Some((first, cells)), RingRead::Entry(bytes)) = (place, from.read(number, now_ms))
                && let Some(taken) = self.take(number, first, now_ms)
            {
                self.fill(first, cells, taken, &bytes);
            }
        }
        if let Some(cell) = self.words.first() {
            cell.store(next, Release);
        }
    }
}

fn tagged(tag: u16, value: u64) -> u64 {
    u64::from(tag) << TAG_SHIFT | value
}

fn tag_of(word: u64) -> u16 {
    (word >> TAG_SHIFT) as u16
}

/// Whether a tag is of an earlier round than another.
fn is_older(tag: u16, than: u16) -> bool {
    than.wrapping_sub(tag) as i16 > 0
}

/// Writes a word in place of one with an older tag. False: it has a newer one.
fn raise(cell: &AtomicU64, word: u64) -> bool {
    let mut seen = cell.load(Relaxed);
    while is_older(tag_of(seen), tag_of(word)) {
        match cell.compare_exchange(seen, word, Relaxed, Relaxed) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}
