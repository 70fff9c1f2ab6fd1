// SPDX-License-Identifier: Apache-2.0
//! When all members of a pool are to be looked at: there may be very many, and mostly nothing has
//! changed about any.

use std::collections::HashMap;

use crate::api::{Membership, PoolId};
use crate::store::Store;

/// After so many milliseconds they are looked at in any case: the process that changed a word may
/// have died before it bumped the epoch.
const AGAIN_MS: u64 = 5000;

/// The last look at each pool.
#[derive(Debug, Default)]
pub(super) struct Looks(HashMap<PoolId, Look>);

#[derive(Debug, Clone, Copy)]
struct Look {
    version: u64,
    epoch: u64,
    at_ms: u64,
}

impl Looks {
    /// Whether something may have changed since the last look that was due: then the next one
    /// begins now.
    pub fn is_due(&mut self, store: &impl Store, pool: &Membership, now_ms: u64) -> bool {
        // The epoch is read before the members: a change in between makes the next look due.
        let now = Look { version: pool.version, epoch: store.epoch(pool.pool), at_ms: now_ms };
        let is_same = |last: &Look| (last.version, last.epoch) == (now.version, now.epoch);
        let last = self.0.get(&pool.pool);
        if last.is_some_and(|last| is_same(last) && now_ms.saturating_sub(last.at_ms) < AGAIN_MS) {
            return false;
        }
        self.0.insert(pool.pool, now);
        true
    }
}
