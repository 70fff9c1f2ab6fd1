// SPDX-License-Identifier: Apache-2.0
//! The last error of something, which any process may write and all read.
//!
//! A writer claims the row, writes the words and the hash of them, and lets go. One that finds the
//! row claimed leaves it: the other's error is as new as its own. The claim of a dead process, and
//! one that is older than [`LATE_MS`], is taken over. A claim that was taken from a process that
//! goes on all the same may leave words of both; their hash says so, and the row has nothing then
//! until the next error.

use xxhash_rust::xxh64::xxh64;

use crate::primitive::{AtomicU64, Ordering::*, fence, step};

/// Words of a text.
pub const TEXT: usize = 58;
/// How long a claim may last.
pub const LATE_MS: u32 = 1_000;

/// A row. All zero: there was no error.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct TroubleRow {
    /// Low half: start in ms, wrapping. High half: pid of the writer.
    claim: AtomicU64,
    /// Grows with each writing; 0 for none.
    stamp: AtomicU64,
    /// Hash of all that follows.
    check: AtomicU64,
    /// The writer's number for that which the error is about.
    key: AtomicU64,
    /// Epoch seconds.
    at_s: AtomicU64,
    /// Bytes of the text.
    length: AtomicU64,
    text: [AtomicU64; TEXT],
}

impl TroubleRow {
    /// A row without an error.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let cell = || AtomicU64::new(0);
        TroubleRow {
            claim: cell(),
            stamp: cell(),
            check: cell(),
            key: cell(),
            at_s: cell(),
            length: cell(),
            text: std::array::from_fn(|_| cell()),
        }
    }
}

/// The words of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroubleWords {
    /// The writer's number for that which the error is about.
    pub key: u64,
    /// Epoch seconds.
    pub at_s: u64,
    /// At most `TEXT * 8` bytes; more are left out.
    pub text: Vec<u8>,
}

fn hash(key: u64, at_s: u64, text: &[u8]) -> u64 {
    let head = [key, at_s].map(u64::to_le_bytes).concat();
    xxh64(text, xxh64(&head, 0))
}

/// Writes an error, unless somebody else does so at this moment. `now_ms`: a clock that all
/// processes share.
pub fn write(row: &TroubleRow, said: &TroubleWords, pid: i32, now_ms: u64, alive: &dyn Fn(i32) -> bool) {
    let seen = row.claim.load(SeqCst);
    let is_late = (now_ms as u32).wrapping_sub(seen as u32) > LATE_MS;
    if seen != 0 && !is_late && alive((seen >> 32) as i32) {
        return;
    }
    let mine = u64::from(pid as u32) << 32 | u64::from(now_ms as u32);
    if row.claim.compare_exchange(seen, mine, SeqCst, SeqCst).is_err() {
        return;
    }
    step();
    row.stamp.fetch_add(1, Relaxed);
    fence(Release);
    let text = &said.text[..said.text.len().min(TEXT * 8)];
    row.key.store(said.key, Relaxed);
    row.at_s.store(said.at_s, Relaxed);
    row.length.store(text.len() as u64, Relaxed);
    for (cell, bytes) in row.text.iter().zip(text.chunks(8)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        cell.store(u64::from_le_bytes(word), Relaxed);
        step();
    }
    row.check.store(hash(said.key, said.at_s, text), Relaxed);
    row.stamp.fetch_add(1, Release);
    step();
    // Failing means that it was taken over.
    let _ = row.claim.compare_exchange(mine, 0, SeqCst, SeqCst);
}

/// The last error. None: there was none, or it is half written.
pub fn read(row: &TroubleRow) -> Option<TroubleWords> {
    const TRIES: u32 = if cfg!(loom) { 1 } else { 8 };
    (0..TRIES).find_map(|_| read_once(row)).filter(|said| said.at_s != 0)
}

fn read_once(row: &TroubleRow) -> Option<TroubleWords> {
    let stamp = row.stamp.load(Acquire);
    let length = usize::try_from(row.length.load(Relaxed)).ok().filter(|length| *length <= TEXT * 8)?;
    let mut text = Vec::with_capacity(length.next_multiple_of(8));
    for cell in &row.text[..length.div_ceil(8)] {
        text.extend_from_slice(&cell.load(Relaxed).to_le_bytes());
    }
    text.truncate(length);
    let [key, at_s, check] = [&row.key, &row.at_s, &row.check].map(|cell| cell.load(Relaxed));
    fence(Acquire);
    let is_whole = row.stamp.load(Relaxed) == stamp && stamp != 0 && hash(key, at_s, &text) == check;
    is_whole.then_some(TroubleWords { key, at_s, text })
}

/// Makes one row what another one is; nobody uses it yet.
pub fn copy(from: &TroubleRow, to: &TroubleRow) {
    if let Some(said) = read(from) {
        write(to, &said, 0, 0, &|_| false);
    }
}
