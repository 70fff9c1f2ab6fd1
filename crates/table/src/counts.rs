// SPDX-License-Identifier: Apache-2.0
//! Rows of counts, which all children add to at once: words that only grow, by relaxed adds. The
//! words of one request lie together. Which word counts what is the same in every layout
//! ([`crate::outline`]): new ones take the places that are free.

use std::sync::atomic::Ordering::Relaxed;

use balance::counts::Histogram;

use crate::protocol::AtomicU64;

/// Words of a member. With a quick answer below 300 all that is counted is in the first eight.
pub(crate) mod member {
    pub const OK: usize = 0;
    /// Classes 1xx to 5xx.
    pub const RESPONSES: [usize; 5] = [17, 1, 18, 19, 20];
    pub const SENT: usize = 2;
    pub const RECEIVED: usize = 3;
    pub const SUM_US: usize = 4;
    /// The first of twelve.
    pub const BUCKETS: usize = 5;
    pub const STATUS: usize = 21;
    pub const CONNECT: usize = 22;
    pub const RESET: usize = 23;
    pub const TIMEOUT: usize = 24;
    pub const ABORTED: usize = 25;
    pub const EJECTIONS: usize = 26;
    pub const TRANSITIONS: usize = 27;
    pub const CHECKS_OK: usize = 28;
    pub const CHECKS_FAILED: usize = 29;
    /// So many words count something.
    pub const USED: usize = 30;
}

/// Words of a pool. With an answer within 0.1 s all that is counted is in the first eight.
pub(crate) mod pool {
    pub const OK: usize = 0;
    pub const SUM_US: usize = 1;
    /// The first of twelve.
    pub const BUCKETS: usize = 2;
    pub const STATUS: usize = 14;
    pub const CONNECT: usize = 15;
    pub const RESET: usize = 16;
    pub const TIMEOUT: usize = 17;
    pub const ABORTED: usize = 18;
    pub const NO_MEMBER: usize = 19;
    pub const QUEUE_TIMEOUT: usize = 20;
    pub const QUEUE_FULL: usize = 21;
    pub const SCRIPT: usize = 22;
    /// The first of three.
    pub const RETRIES: usize = 23;
    pub const KEPT: usize = 26;
    pub const MOVED: usize = 27;
    pub const NEW: usize = 28;
    pub const LOST: usize = 29;
    pub const QUEUE_SUM_US: usize = 30;
    /// The first of twelve.
    pub const QUEUE_BUCKETS: usize = 31;
    /// So many words count something.
    pub const USED: usize = 43;
}

/// Words of a script.
pub(crate) mod script {
    pub const OK: usize = 0;
    pub const DECLINED: usize = 1;
    pub const ERROR: usize = 2;
    pub const TIME_LIMIT: usize = 3;
    pub const MEMORY_LIMIT: usize = 4;
    /// Most calls take a few microseconds: their parts count.
    pub const SUM_NS: usize = 5;
    pub const RELOADED: usize = 6;
    pub const REFUSED: usize = 7;
    pub const FAILED_TRIALS: usize = 8;
    pub const AGREES: usize = 9;
    pub const DIFFERS: usize = 10;
    pub const FAILS: usize = 11;
}

/// Adds to a word.
#[inline]
pub(crate) fn add<const N: usize>(words: &[AtomicU64; N], at: usize, amount: u64) {
    if let Some(word) = words.get(at) {
        word.fetch_add(amount, Relaxed);
    }
}

/// A word.
pub(crate) fn read(words: &[AtomicU64], at: usize) -> u64 {
    words.get(at).map_or(0, |word| word.load(Relaxed))
}

/// Adds a duration to a histogram: its sum at `sum_us`, its first bucket at `buckets`.
#[inline]
pub(crate) fn observe<const N: usize>(
    words: &[AtomicU64; N],
    (sum_us, buckets): (usize, usize),
    micros: u64,
) {
    add(words, buckets + Histogram::bucket(micros), 1);
    add(words, sum_us, micros);
}

/// A histogram.
pub(crate) fn histogram(words: &[AtomicU64], sum_us: usize, buckets: usize) -> Histogram {
    Histogram { buckets: std::array::from_fn(|at| read(words, buckets + at)), sum_us: read(words, sum_us) }
}

/// A row that begins anew.
pub(crate) fn clear(words: &[AtomicU64]) {
    for word in words {
        word.store(0, Relaxed);
    }
}

/// Makes one row's counts those of another.
pub(crate) fn copy(from: &[AtomicU64], to: &[AtomicU64]) {
    for (from, to) in from.iter().zip(to) {
        to.store(from.load(Relaxed), Relaxed);
    }
}

/// Makes a row's counts those that were read of another.
pub(crate) fn fill(from: &[u64], to: &[AtomicU64]) {
    for (from, to) in from.iter().zip(to) {
        to.store(*from, Relaxed);
    }
}
