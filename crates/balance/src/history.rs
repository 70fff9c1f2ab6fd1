// SPDX-License-Identifier: Apache-2.0
//! What is remembered of the time that has passed, as values: how a pool did, and what the last
//! check of a member found.

use crate::api::Membership;
use crate::counts::Histogram;
use crate::status::Status;
use crate::store::{PoolImage, Store};
use crate::tier;

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

/// What the last check of a member found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CheckReport {
    /// When it ended: epoch seconds.
    pub at_s: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// When the next one begins: milliseconds of the table's clock, 0 where nobody knows.
    pub due_ms: u64,
    /// What it found, in words.
    pub detail: String,
}

/// What a pool is like at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolFigures {
    /// Members that picks choose among.
    pub usable: u32,
    /// Requests at its members.
    pub inflight: u32,
    /// Requests that wait for a place.
    pub queued: u32,
}

impl PoolFigures {
    /// As they are in this store.
    pub fn of(store: &impl Store, pool: &PoolImage) -> Self {
        let Membership { pool: id, members, .. } = &pool.membership;
        let states: Vec<Status> = members.iter().map(|member| store.status(member.slot)).collect();
        let panic = tier::is_panic(&states, &pool.settings.set);
        let mut inflight = 0_u32;
        store.each_inflight(members.iter().map(|member| member.slot), |count| {
            inflight = inflight.saturating_add(count);
            true
        });
        let usable = tier::active(members, &states, &pool.settings.set, panic).len();
        let usable = u32::try_from(usable).unwrap_or(u32::MAX);
        PoolFigures { usable, inflight, queued: store.queued(*id) }
    }
}
