// SPDX-License-Identifier: Apache-2.0
//! The state of a pool at a moment, in a few numbers.

use crate::api::Membership;
use crate::status::Status;
use crate::store::{PoolImage, Store};
use crate::tier;

/// The state of a pool at a moment.
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
