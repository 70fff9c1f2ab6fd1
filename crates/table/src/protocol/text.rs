// SPDX-License-Identifier: Apache-2.0
//! Definitions (a member's line, a pool's settings) in chunks of 64 bytes.
//!
//! A row's *text word* holds the first chunk and a sequence number that grows with every change. A
//! writer fills fresh chunks, links them with one compare-and-swap on that word, and frees the old
//! chain: only who unlinked a chain frees it, by the chunks' own counters, so that nobody frees one
//! twice. A reader copies the chain and looks at the text word again. A chunk that no text word
//! reaches and that no living writer fills is leaked; [`reclaim`] finds it.

use xxhash_rust::xxh64::xxh64;

use crate::primitive::{AtomicU64, Ordering::*, fence, pause, step};

/// Longest text in bytes.
pub const MAX_TEXT: usize = 32 * 1024;
/// Largest order.
pub const MAX_ORDER: u32 = (1 << 24) - 1;

pub(crate) const DATA_WORDS: usize = 6;
const HEADER_WORDS: usize = 2;
const MAX_CHUNKS: usize = MAX_TEXT.div_ceil(8).div_ceil(DATA_WORDS) + 1;
const READ_TRIES: u32 = 256;

/// 64 bytes: who has it, the link, 48 bytes of data.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct TextChunk {
    /// Bits 0..=1 state, 2..=31 counter (grows when the chunk is claimed), 32..=63 pid while it is
    /// filled.
    pub owner: AtomicU64,
    /// Low half: next chunk + 1, 0 for the last. High half: the row's tag.
    pub link: AtomicU64,
    /// Text; in the first chunk two header words come first.
    pub data: [AtomicU64; DATA_WORDS],
}

impl TextChunk {
    /// A free chunk.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        TextChunk {
            owner: AtomicU64::new(0),
            link: AtomicU64::new(0),
            data: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// Chunks that a text of so many bytes takes.
pub fn chunks_for(bytes: usize) -> usize {
    (HEADER_WORDS + bytes.div_ceil(8)).div_ceil(DATA_WORDS)
}

const FREE: u64 = 0;
const FILLING: u64 = 1;
const SETTLED: u64 = 2;
const COUNTERS: u64 = (1 << 30) - 1;

fn owner(state: u64, counter: u64, pid: i32) -> u64 {
    state | (counter & COUNTERS) << 2 | u64::from(pid as u32) << 32
}

fn counter(owner: u64) -> u64 {
    owner >> 2 & COUNTERS
}

/// The text of a row, beside its fixed words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowText {
    /// Place in the pool, at most [`MAX_ORDER`].
    pub order: u32,
    /// A word of the caller's.
    pub config: u64,
    /// The text.
    pub text: Vec<u8>,
}

impl RowText {
    fn header(&self) -> u64 {
        let seed = self.config ^ u64::from(self.order) << 40;
        let check = xxh64(&self.text, seed) & 0xff_ffff;
        self.text.len() as u64 | u64::from(self.order & MAX_ORDER) << 16 | check << 40
    }
}

/// A chunk and its counter at the time.
pub type HeldChunk = (u32, u64);

/// Fills fresh chunks for the writer `pid`, looking from `hint` on. Returns the chain, first chunk
/// first; empty when there are too few chunks or the text is too long.
pub fn fill(chunks: &[TextChunk], record: &RowText, tag: u32, pid: i32, hint: &AtomicU64) -> Vec<HeldChunk> {
    if record.text.len() > MAX_TEXT || chunks.is_empty() {
        return Vec::new();
    }
    let held = claim(chunks, chunks_for(record.text.len()), pid, hint);
    let mut words = vec![record.header(), record.config];
    words.extend(record.text.chunks(8).map(|bytes| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    }));
    for (at, &(index, _)) in held.iter().enumerate() {
        let chunk = &chunks[index as usize];
        let next = held.get(at + 1).map_or(0, |next| u64::from(next.0) + 1);
        chunk.link.store(next | u64::from(tag) << 32, Release);
        for (cell, &word) in chunk.data.iter().zip(&words[at * DATA_WORDS..]) {
            cell.store(word, Release);
        }
        step();
    }
    held
}

fn claim(chunks: &[TextChunk], wanted: usize, pid: i32, hint: &AtomicU64) -> Vec<HeldChunk> {
    let mut held = Vec::with_capacity(wanted);
    let start = hint.load(Relaxed) as usize % chunks.len();
    for index in (start..chunks.len()).chain(0..start) {
        let cell = &chunks[index].owner;
        let seen = cell.load(Acquire);
        let mine = owner(FILLING, counter(seen) + 1, pid);
        if seen & 3 == FREE && cell.compare_exchange(seen, mine, SeqCst, Relaxed).is_ok() {
            held.push((index as u32, counter(mine)));
            step();
            if held.len() == wanted {
                hint.store(index as u64 + 1, Relaxed);
                return held;
            }
        }
    }
    free(chunks, &held);
    Vec::new()
}

/// Marks a linked chain as no longer being filled.
pub fn settle(chunks: &[TextChunk], held: &[HeldChunk], pid: i32) {
    for &(index, count) in held {
        let from = owner(FILLING, count, pid);
        // Failing means that the chain was unlinked and freed already.
        let _ =
            chunks[index as usize].owner.compare_exchange(from, owner(SETTLED, count, 0), SeqCst, Relaxed);
    }
}

/// Whether a chunk with this counter is filled and was never linked, or not settled since.
pub fn is_filled(chunk: &TextChunk, count: u64) -> bool {
    let seen = chunk.owner.load(SeqCst);
    seen & 3 == FILLING && counter(seen) == count
}

/// Frees chunks that still have these counters.
pub fn free(chunks: &[TextChunk], held: &[HeldChunk]) {
    for &(index, count) in held {
        let cell = &chunks[index as usize].owner;
        loop {
            let seen = cell.load(Acquire);
            if seen & 3 == FREE || counter(seen) != count {
                break;
            }
            if cell.compare_exchange(seen, owner(FREE, count, 0), SeqCst, Relaxed).is_ok() {
                break;
            }
        }
        step();
    }
}

/// Puts another chain (or none) into a text word that still is as seen.
pub fn link(cell: &AtomicU64, seen: u64, chain: &[HeldChunk]) -> bool {
    let head = chain.first().map_or(0, |head| u64::from(head.0) + 1);
    cell.compare_exchange(seen, succeed(seen) | head, SeqCst, SeqCst).is_ok()
}

/// Confirms a text word that still is as seen: a process that means to replace it on an older
/// reading will fail.
pub fn confirm(cell: &AtomicU64, seen: u64) -> bool {
    cell.compare_exchange(seen, succeed(seen) | u64::from(seen as u32), SeqCst, SeqCst).is_ok()
}

fn succeed(text_word: u64) -> u64 {
    u64::from(((text_word >> 32) as u32).wrapping_add(1)) << 32
}

/// Unlinks and frees what `seen` linked, if the text word still is that.
pub fn unlink(chunks: &[TextChunk], cell: &AtomicU64, seen: u64) -> bool {
    let held = chain(chunks, seen);
    let unlinked = link(cell, seen, &[]);
    if unlinked {
        step();
        free(chunks, &held);
    }
    unlinked
}

/// The chunks that a text word links; as far as they go when the words are damaged.
pub fn chain(chunks: &[TextChunk], text_word: u64) -> Vec<HeldChunk> {
    let mut held = Vec::new();
    let mut next = u64::from(text_word as u32);
    while next != 0 && next <= chunks.len() as u64 && held.len() < MAX_CHUNKS {
        let chunk = &chunks[next as usize - 1];
        held.push((next as u32 - 1, counter(chunk.owner.load(Acquire))));
        next = u64::from(chunk.link.load(Relaxed) as u32);
    }
    held
}

/// Reads the record that a text word links, and the text word's value then. None when there is
/// none, it is damaged, or it changed too often meanwhile.
pub fn read(chunks: &[TextChunk], cell: &AtomicU64) -> Option<(u64, RowText)> {
    let mut seen = cell.load(SeqCst);
    for _ in 0..READ_TRIES {
        let record = copy(chunks, seen);
        fence(Acquire);
        let now = cell.load(SeqCst);
        if now == seen {
            return record.map(|record| (seen, record));
        }
        seen = now;
        pause();
    }
    None
}

/// Reads the record of a chain that nobody changes.
pub fn read_chain(chunks: &[TextChunk], text_word: u64) -> Option<RowText> {
    copy(chunks, text_word)
}

fn copy(chunks: &[TextChunk], text_word: u64) -> Option<RowText> {
    decode(&mut Words { chunks, chunk: text_word as u32, at: 0 })
}

/// Reads a record from the words of its chain; None when they are damaged.
pub(crate) fn decode(words: &mut dyn Iterator<Item = u64>) -> Option<RowText> {
    let header = words.next()?;
    let config = words.next()?;
    let length = (header & 0xffff) as usize;
    if length > MAX_TEXT {
        return None;
    }
    let mut text = Vec::with_capacity(length.next_multiple_of(8));
    while text.len() < length {
        text.extend_from_slice(&words.next()?.to_le_bytes());
    }
    text.truncate(length);
    let record = RowText { order: (header >> 16) as u32 & MAX_ORDER, config, text };
    (record.header() == header).then_some(record)
}

struct Words<'a> {
    chunks: &'a [TextChunk],
    chunk: u32,
    at: usize,
}

impl Iterator for Words<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let chunk = self.chunks.get((self.chunk as usize).checked_sub(1)?)?;
        let word = chunk.data[self.at].load(Relaxed);
        self.at += 1;
        if self.at == DATA_WORDS {
            self.at = 0;
            self.chunk = chunk.link.load(Relaxed) as u32;
        }
        Some(word)
    }
}

/// Frees chunk number `index` when it is leaked; says whether it is in use without being so.
/// `text_word` finds the text word of a tag's row.
pub fn reclaim<'a>(
    chunks: &[TextChunk],
    index: u32,
    text_word: &dyn Fn(u32) -> Option<&'a AtomicU64>,
    alive: &dyn Fn(i32) -> bool,
) -> bool {
    let chunk = &chunks[index as usize];
    let seen = chunk.owner.load(SeqCst);
    let filling = seen & 3 == FILLING;
    if seen & 3 == FREE {
        return false;
    }
    if filling && alive((seen >> 32) as i32) {
        return true;
    }
    let tag = (chunk.link.load(Acquire) >> 32) as u32;
    if let Some(cell) = text_word(tag) {
        let before = cell.load(SeqCst);
        let reached = chain(chunks, before).iter().any(|held| held.0 == index);
        fence(Acquire);
        if cell.load(SeqCst) != before {
            return true;
        }
        if reached {
            if filling {
                settle(chunks, &[(index, counter(seen))], (seen >> 32) as i32);
            }
            return true;
        }
    }
    // A settled chunk is never linked again, and the writer of this one is dead.
    chunk.owner.compare_exchange(seen, owner(FREE, counter(seen), 0), SeqCst, Relaxed).is_err()
}

/// Whether a chunk is in use.
pub fn is_used(chunk: &TextChunk) -> bool {
    chunk.owner.load(SeqCst) & 3 != FREE
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn record(letter: u8) -> RowText {
        RowText { order: 3, config: 4, text: vec![letter; 100] }
    }

    #[test]
    fn a_late_free_does_not_touch_the_chunks_next_user() {
        let chunks: Vec<TextChunk> = (0..3).map(|_| TextChunk::new()).collect();
        let (cell, hint) = (AtomicU64::new(0), AtomicU64::new(0));
        let first = fill(&chunks, &record(b'a'), 0, 1, &hint);
        assert_eq!(first.len(), 3);
        assert!(fill(&chunks, &record(b'x'), 0, 1, &hint).is_empty(), "all are taken");
        settle(&chunks, &first, 1);
        for index in 0..3 {
            assert!(!reclaim(&chunks, index, &|_| Some(&cell), &|_| true), "nothing links it");
        }
        let second = fill(&chunks, &record(b'b'), 0, 2, &hint);
        assert!(link(&cell, 0, &second));
        free(&chunks, &first);
        settle(&chunks, &second, 2);
        assert_eq!(read(&chunks, &cell).map(|read| read.1), Some(record(b'b')));
        assert!(chunks.iter().all(is_used));
        assert!(!link(&cell, 0, &[]), "a late writer fails");
    }

    #[test]
    fn texts_of_all_lengths_come_back() {
        let chunks: Vec<TextChunk> = (0..chunks_for(MAX_TEXT)).map(|_| TextChunk::new()).collect();
        let hint = AtomicU64::new(0);
        for length in [0, 1, 7, 8, 31, 32, 33, 48, 79, 80, 81, 4095, MAX_TEXT - 1, MAX_TEXT] {
            let cell = AtomicU64::new(0);
            let record = RowText { order: MAX_ORDER, config: u64::MAX, text: vec![b'z'; length] };
            let held = fill(&chunks, &record, 0, 1, &hint);
            assert_eq!(held.len(), chunks_for(length));
            assert!(link(&cell, 0, &held));
            assert_eq!(read(&chunks, &cell).map(|read| read.1), Some(record));
            assert!(unlink(&chunks, &cell, cell.load(SeqCst)));
            assert!(!chunks.iter().any(is_used));
        }
        let long = RowText { text: vec![0; MAX_TEXT + 1], ..RowText::default() };
        assert!(fill(&chunks, &long, 0, 1, &hint).is_empty());
    }
}
