// SPDX-License-Identifier: Apache-2.0
//! The past, as values: how a pool did, and the finding of a member's last check.

use crate::counts::Histogram;

/// How close samples are, and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spacing {
    /// Milliseconds from one to the next.
    pub every_ms: u64,
    /// So many.
    pub samples: usize,
}

/// Every two seconds, for ten minutes.
pub const RECENT: Spacing = Spacing { every_ms: 2_000, samples: 300 };
/// Every five minutes, for a day.
pub const DAY: Spacing = Spacing { every_ms: 300_000, samples: 288 };

/// A pool's past. Samples are those between two readings: one is missing where nobody read, and the
/// next one then spans a longer time. Oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolHistory {
    /// By [`RECENT`].
    pub recent: Vec<HistorySample>,
    /// By [`DAY`].
    pub day: Vec<HistorySample>,
}

/// A pool from one reading to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistorySample {
    /// When it ended: milliseconds since 1970.
    pub at_ms: u64,
    /// How long it was.
    pub span_ms: u64,
    /// Requests that failed in it.
    pub errors: u64,
    /// Further attempts in it.
    pub retries: u64,
    /// Requests at members, at its end.
    pub inflight: u32,
    /// Requests that waited for a place, at its end.
    pub queued: u32,
    /// Usable members, at its end.
    pub usable: u32,
    /// How long the requests took that ended in it; their sum is not known.
    pub histogram: Histogram,
}

/// The finding of a member's last check.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CheckReport {
    /// When it ended: epoch seconds.
    pub at_s: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// When the next one begins: milliseconds of the table's clock, 0 where nobody knows.
    pub due_ms: u64,
    /// The finding, in words.
    pub detail: String,
}
