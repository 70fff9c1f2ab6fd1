// SPDX-License-Identifier: Apache-2.0
//! The last good sources of a script, and who judges new ones.
//!
//! There are three copies: one is current, one may be written, and one may belong to a writer that
//! was stopped in the middle: until it goes on or dies its copy cannot be used, because it may
//! still write a word into it.

use xxhash_rust::xxh64::xxh64;

use crate::primitive::{AtomicU64, Ordering::*, fence, pause, step};

/// Copies of each script.
pub const COPIES: usize = 3;
/// How long one process may judge before another may do it as well.
pub const JUDGEMENT_MS: u64 = 15_000;

const READ_TRIES: u32 = 64;

/// A script's row.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct ScriptRow {
    /// Hash of the script's name, 0 while the row is free.
    pub key: AtomicU64,
    /// Version << 2 | copy; 0 when nothing was published.
    pub current: AtomicU64,
    /// Stamp of the sources judged last.
    pub judged: AtomicU64,
    /// Low half: start in ms, wrapping. High half: pid of the judge.
    pub claim: AtomicU64,
    /// The process that writes a copy.
    pub writer: [AtomicU64; COPIES],
    /// Bytes in a copy.
    pub size: [AtomicU64; COPIES],
    /// Hash of a copy.
    pub check: [AtomicU64; COPIES],
    /// The version that is not called any more, 0 for none.
    pub quarantined: AtomicU64,
    /// The beginning of a trial in ms << 2 | its stage, in the row of a version on trial.
    pub trial: AtomicU64,
    /// Its calls << 32 | how many of them have failed.
    pub trial_calls: AtomicU64,
}

impl ScriptRow {
    /// A free row.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let cells = || std::array::from_fn(|_| AtomicU64::new(0));
        ScriptRow {
            key: AtomicU64::new(0),
            current: AtomicU64::new(0),
            judged: AtomicU64::new(0),
            claim: AtomicU64::new(0),
            writer: cells(),
            size: cells(),
            check: cells(),
            quarantined: AtomicU64::new(0),
            trial: AtomicU64::new(0),
            trial_calls: AtomicU64::new(0),
        }
    }
}

/// Why sources were not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// They do not fit.
    #[error("the script and its modules have {found} bytes, at most {limit} fit")]
    TooLarge {
        /// Bytes there are.
        found: usize,
        /// Bytes there may be.
        limit: usize,
    },
    /// Another process judges or has published meanwhile.
    #[error("another process has taken this script over meanwhile")]
    Overtaken,
    /// All copies are being written by other processes.
    #[error("other processes are writing this script")]
    Busy,
    /// There is no such row.
    #[error("no such script row")]
    UnknownRow,
}

/// Takes the judgement of the sources with this stamp: true for one process only, until it
/// publishes, rejects, dies, or takes longer than [`JUDGEMENT_MS`].
pub fn claim(row: &ScriptRow, stamp: u64, pid: i32, now_ms: u64, alive: &dyn Fn(i32) -> bool) -> bool {
    if row.judged.load(SeqCst) == stamp {
        return false;
    }
    let seen = row.claim.load(SeqCst);
    let judge = (seen >> 32) as i32;
    let is_late = (now_ms as u32).wrapping_sub(seen as u32) > JUDGEMENT_MS as u32;
    if seen != 0 && judge != pid && alive(judge) && !is_late {
        return false;
    }
    let mine = u64::from(pid as u32) << 32 | u64::from(now_ms as u32);
    if row.claim.compare_exchange(seen, mine, SeqCst, SeqCst).is_err() {
        return false;
    }
    if row.judged.load(SeqCst) == stamp {
        release(row, pid);
        return false;
    }
    true
}

/// Takes the judgement, also of sources that were judged, and from another judge: an earlier
/// configuration may have refused the same sources for want of something that this one has.
pub fn take_over(row: &ScriptRow, pid: i32, now_ms: u64) {
    row.claim.store(u64::from(pid as u32) << 32 | u64::from(now_ms as u32), SeqCst);
}

/// Remembers that these sources are not to be taken.
pub fn reject(row: &ScriptRow, stamp: u64, pid: i32) {
    if is_judge(row, pid) {
        row.judged.store(stamp, SeqCst);
        step();
        release(row, pid);
    }
}

/// Gives a judgement back that came to no end: others may take it.
pub fn give_up(row: &ScriptRow, pid: i32) {
    release(row, pid);
}

fn is_judge(row: &ScriptRow, pid: i32) -> bool {
    (row.claim.load(SeqCst) >> 32) as i32 == pid
}

fn release(row: &ScriptRow, pid: i32) {
    let seen = row.claim.load(SeqCst);
    if (seen >> 32) as i32 == pid {
        // Failing means that another has taken it over.
        let _ = row.claim.compare_exchange(seen, 0, SeqCst, SeqCst);
    }
}

/// The current version, 0 for none.
pub fn version(row: &ScriptRow) -> u64 {
    row.current.load(SeqCst) >> 2
}

/// Has a version not called any more. True for the first who does so.
pub fn quarantine(row: &ScriptRow, version: u64) -> bool {
    row.quarantined.swap(version, SeqCst) != version
}

/// Publishes sources. `copies` are the words of the copies. Returns the new version.
pub fn publish(
    row: &ScriptRow,
    copies: [&[AtomicU64]; COPIES],
    sources: (u64, &[u8]),
    pid: i32,
    alive: &dyn Fn(i32) -> bool,
) -> Result<u64, PublishError> {
    let (stamp, bytes) = sources;
    let limit = copies[0].len() * 8;
    if bytes.len() > limit {
        return Err(PublishError::TooLarge { found: bytes.len(), limit });
    }
    let (copy, current) = take_copy(row, pid, alive).ok_or(PublishError::Busy)?;
    step();
    write(row, copy, copies[copy], bytes);
    step();
    let version = (current >> 2) + 1;
    let published = is_judge(row, pid)
        && row.current.compare_exchange(current, version << 2 | copy as u64, SeqCst, SeqCst).is_ok();
    step();
    // Failing means that this process was taken for dead.
    let _ = row.writer[copy].compare_exchange(u64::from(pid as u32), 0, SeqCst, SeqCst);
    if !published {
        return Err(PublishError::Overtaken);
    }
    row.judged.store(stamp, SeqCst);
    step();
    release(row, pid);
    Ok(version)
}

fn take_copy(row: &ScriptRow, pid: i32, alive: &dyn Fn(i32) -> bool) -> Option<(usize, u64)> {
    for copy in 0..COPIES {
        let writer = &row.writer[copy];
        let seen = writer.load(SeqCst);
        if seen != 0 && alive(seen as i32) {
            continue;
        }
        if is_current(row.current.load(SeqCst), copy)
            || writer.compare_exchange(seen, u64::from(pid as u32), SeqCst, SeqCst).is_err()
        {
            continue;
        }
        let current = row.current.load(SeqCst);
        if !is_current(current, copy) {
            return Some((copy, current));
        }
        // Failing means that this process was taken for dead.
        let _ = writer.compare_exchange(u64::from(pid as u32), 0, SeqCst, SeqCst);
    }
    None
}

fn is_current(current: u64, copy: usize) -> bool {
    current != 0 && current & 3 == copy as u64
}

fn write(row: &ScriptRow, copy: usize, words: &[AtomicU64], bytes: &[u8]) {
    for (cell, bytes) in words.iter().zip(bytes.chunks(8)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        cell.store(u64::from_le_bytes(word), Release);
    }
    row.size[copy].store(bytes.len() as u64, Release);
    row.check[copy].store(xxh64(bytes, 0), Release);
}

/// Reads the current sources and their version. None when there are none, or they are damaged.
pub fn read(row: &ScriptRow, copies: [&[AtomicU64]; COPIES]) -> Option<(u64, Vec<u8>)> {
    for _ in 0..READ_TRIES {
        let current = row.current.load(SeqCst);
        if current == 0 {
            return None;
        }
        let copy = (current & 3) as usize;
        let bytes = copies.get(copy).and_then(|words| copy_out(row, copy, words));
        fence(Acquire);
        if row.current.load(SeqCst) == current {
            return bytes.map(|bytes| (current >> 2, bytes));
        }
        pause();
    }
    None
}

fn copy_out(row: &ScriptRow, copy: usize, words: &[AtomicU64]) -> Option<Vec<u8>> {
    let size = usize::try_from(row.size[copy].load(Relaxed)).ok()?;
    if size > words.len() * 8 {
        return None;
    }
    let mut bytes = Vec::with_capacity(size.next_multiple_of(8));
    for cell in &words[..size.div_ceil(8)] {
        bytes.extend_from_slice(&cell.load(Relaxed).to_le_bytes());
    }
    bytes.truncate(size);
    (xxh64(&bytes, 0) == row.check[copy].load(Relaxed)).then_some(bytes)
}
