// SPDX-License-Identifier: Apache-2.0
//! The members that a process has read last. A row whose incarnation and text word are still the
//! same holds the same member.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use balance::member::Member;

use crate::place::PoolRef;
use crate::protocol::life::Life;

/// A member as it was read, and the words by which it is known again.
#[derive(Clone)]
pub(crate) struct SeenMember {
    pub row: usize,
    pub life: Life,
    /// See [`crate::protocol::text`].
    pub text_word: u64,
    /// [`Member::order`].
    pub order: u32,
    pub member: Arc<Member>,
}

/// The members that were read last, by the rows of their pools, in the order of their own.
#[derive(Default)]
pub(crate) struct SeenPools(Mutex<HashMap<usize, Arc<Vec<SeenMember>>>>);

impl SeenPools {
    /// The members of a pool. Nobody waits here: a thread that comes while another one is at it
    /// gets none.
    pub(crate) fn of(&self, pool: PoolRef) -> Arc<Vec<SeenMember>> {
        let seen = self.0.try_lock().ok();
        seen.and_then(|seen| seen.get(&pool.row).cloned()).unwrap_or_default()
    }

    /// Remembers these.
    pub(crate) fn keep(&self, pool: PoolRef, members: Vec<SeenMember>) {
        if let Ok(mut seen) = self.0.try_lock() {
            seen.insert(pool.row, Arc::new(members));
        }
    }

    /// Forgets the members of a pool that is gone.
    pub(crate) fn forget(&self, pool_row: usize) {
        if let Ok(mut seen) = self.0.try_lock() {
            seen.remove(&pool_row);
        }
    }
}
