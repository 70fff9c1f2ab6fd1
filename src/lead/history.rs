// SPDX-License-Identifier: Apache-2.0
//! Takes readings of the counts, for histories and for the percentiles of the last minutes. All is
//! kept in shared memory, so that the next leader goes on.

use std::time::{Duration, Instant};

use balance::history::RECENT;
use table::history::{FirstReading, Moment};

use super::{Lease, Rest, Task};
use crate::faults;
use crate::httpd::memory;

/// How often members are looked at, beside when there are new ones.
const MEMBERS_MS: u64 = 60_000;

/// See the module.
#[derive(Default)]
pub struct Readings {
    /// The number of the pools, and the minute, when members were looked at last.
    seen: (u64, u64),
}

impl Task for Readings {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        faults::point("readings");
        let (table, pools) = (&lease.child.table, lease.pools);
        let now = Moment { clock_ms: memory::monotonic_ms(), epoch_ms: memory::epoch_ms() };
        let next = Instant::now() + Duration::from_millis(RECENT.every_ms - now.clock_ms % RECENT.every_ms);
        if !table.has_counts() || !lease.holds() {
            return Some(next);
        }
        table.note_pools(pools.images(), now, FirstReading::Counts);
        let seen = (pools.number(), now.clock_ms / MEMBERS_MS);
        if self.seen != seen {
            table.note_members(pools.images(), now, FirstReading::Counts);
            self.seen = seen;
        }
        Some(next)
    }

    fn rest(&mut self, _: Rest) {}
}
