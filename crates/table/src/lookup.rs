// SPDX-License-Identifier: Apache-2.0
//! The pool that a member is in.

use std::sync::atomic::Ordering::SeqCst;

use balance::api::PoolId;
use balance::live::Slot;

use crate::Table;
use crate::place::PoolRef;
use crate::protocol::life::Life;

impl Table {
    /// The pool of a member; None once the row holds another incarnation, or its pool is gone.
    pub fn pool_of(&self, slot: Slot, incarnation: u32) -> Option<PoolId> {
        let (key, _) = self.row(slot)?;
        let pool = PoolRef::of_place(key.place.load(SeqCst));
        (Life::load(&key.life).is_live_as(incarnation) && self.is_pool(pool))
            .then_some(PoolId(pool.row as u32))
    }
}
