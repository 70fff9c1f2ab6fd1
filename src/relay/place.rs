// SPDX-License-Identifier: Apache-2.0
//! A place at a member: a request counted in, and counted out again however its attempt ends.

use balance::api::PoolId;
use balance::live::{Live, Slot, UNBOUNDED, room};
use balance::member::Member;

use super::journey::Journey;
use super::ticket;
use crate::serve::child::Child;

/// How often a request races for the last place of a member before it takes the member for full.
const MOST_RACES: u32 = 8;

/// One request at one member. Dropping it gives the place back, and calls who waits for one.
pub struct Place {
    child: &'static Child,
    slot: Slot,
    /// The pool, if requests wait for places in it.
    queue: Option<PoolId>,
}

/// Why a member has no place for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// The member is at `max_inflight`.
    Full,
    /// The member went away between pick and count.
    Gone,
    /// Other requests were as fast to the last place: none of them has it, and asking again may
    /// help.
    Raced,
}

impl Place {
    /// Counts a request in. `queue`: the pool, if it has a queue.
    pub fn take(
        child: &'static Child,
        member: &Member,
        queue: Option<PoolId>,
        journey: &mut Journey,
    ) -> Result<Place, NoPlace> {
        let limit = room(&child.table, member);
        let inflight = || child.table.inflight(member.slot);
        if limit != UNBOUNDED && inflight() >= limit {
            return Err(NoPlace::Full);
        }
        if !child.table.begin(&child.lane, member.slot, member.incarnation) {
            return Err(NoPlace::Gone);
        }
        let mut place = Place { child, slot: member.slot, queue };
        if limit == UNBOUNDED || inflight() <= limit {
            return Ok(place);
        }
        journey.races += 1;
        if journey.races >= MOST_RACES {
            return Err(NoPlace::Full);
        }
        // A request from the queue would find the place taken by the requests that race.
        place.queue = None;
        drop(place);
        std::thread::yield_now();
        Err(NoPlace::Raced)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.child.table.end(&self.child.lane, self.slot);
        if let Some(pool) = self.queue {
            ticket::place_is_free(self.child, pool.0);
        }
    }
}
