// SPDX-License-Identifier: Apache-2.0
//! Requests that wait for a place, see [`crate::protocol::queue`].

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use crate::Table;
use crate::futex;
use crate::protocol::AtomicU64;
use crate::protocol::queue::{self, HeldTicket, Who};

pub use crate::protocol::queue::Wants;

/// How long one sleeps before looking whether those ahead are alive, and whether there is a place
/// that nobody told of: a member that came up, a limit that was raised.
const SLICE_MS: u32 = 250;

/// A place in the queue.
#[derive(Debug)]
#[must_use = "others wait behind it until it is given to `Table::leave_queue`"]
pub struct Waiting(HeldTicket);

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitEnd {
    /// There may be a place: look for it.
    Look,
    /// Without a place.
    TimeIsUp,
    /// Nobody is left who wants a place.
    Pointless,
}

/// All times are milliseconds of a monotonic clock that all processes share.
impl Table {
    /// Whether a request that comes now has others before it that may want the same.
    #[inline]
    pub fn has_queue(&self, wants: Wants, now_ms: u64) -> bool {
        self.queued(wants.pool()).is_some_and(queue::may_wait)
            && queue::is_ahead(self.map.tickets(), None, wants, now_ms as u32)
    }

    /// Joins the queue, at its end. None when `most` wait, or as many as the table has room for.
    /// Look for a place then, if [`Table::is_first`].
    pub fn join_queue(&self, wants: Wants, most: usize) -> Option<Waiting> {
        let flag = self.queued(wants.pool())?;
        let number = &self.map.header().ticket_number;
        let tickets = self.map.tickets();
        let tickets = tickets.get(..most).unwrap_or(tickets);
        queue::join(tickets, flag, number, self.pid, wants).map(Waiting)
    }

    /// Whether nobody who may want the same came before.
    pub fn is_first(&self, waiting: &Waiting, now_ms: u64) -> bool {
        !queue::is_ahead(self.map.tickets(), Some(&waiting.0), waiting.0.wants(), now_ms as u32)
    }

    /// Waits for a call until `until_ms`. Now and then, and before a call is taken, `is_pointless`
    /// is asked, which gets the time.
    pub fn wait_in_queue(
        &self,
        waiting: &Waiting,
        until_ms: u64,
        now_ms: impl Fn() -> u64,
        mut is_pointless: impl FnMut(u64) -> bool,
    ) -> WaitEnd {
        let tickets = self.map.tickets();
        let Some(ticket) = tickets.get(waiting.0.row) else { return WaitEnd::TimeIsUp };
        let mut slice_end = now_ms() + u64::from(SLICE_MS);
        loop {
            let is_called = queue::answer(tickets, &waiting.0);
            let now = now_ms();
            if (is_called || now >= slice_end) && is_pointless(now) {
                return WaitEnd::Pointless;
            }
            if is_called {
                return WaitEnd::Look;
            }
            if now >= until_ms {
                return WaitEnd::TimeIsUp;
            }
            if now >= slice_end {
                slice_end = now + u64::from(SLICE_MS);
                // Should somebody have died who was about to put it up again.
                if let Some(flag) = self.queued(waiting.0.wants().pool()) {
                    queue::put_up(flag);
                }
                self.bury_now_and_then(now);
                if self.is_first(waiting, now) {
                    return WaitEnd::Look;
                }
                // Processes ahead may be stopped: one that does not answer is passed over.
                self.call(Who::Quiet(waiting.0.wants().pool(), SLICE_MS), now);
            }
            if let Some(word) = queue::waiting_word(ticket) {
                let time = slice_end.min(until_ms).saturating_sub(now).max(1);
                futex::wait(ticket.call_word(), word, Duration::from_millis(time));
            }
        }
    }

    /// After a look in vain: one behind may have a use for what this one had none for.
    pub fn looked_in_vain(&self, waiting: &Waiting, now_ms: u64) {
        queue::looked(self.map.tickets(), &waiting.0);
        self.call(Who::behind(&waiting.0), now_ms);
    }

    /// Leaves the queue, with a place or without.
    pub fn leave_queue(&self, waiting: Waiting, has_place: bool, now_ms: u64) {
        let pool = waiting.0.wants().pool();
        if queue::leave(self.map.tickets(), &waiting.0) || !has_place {
            self.call_queue(pool, || now_ms);
        }
    }

    /// A place of this pool has become free.
    #[inline]
    pub fn call_queue(&self, pool: u32, now_ms: impl Fn() -> u64) {
        if let Some(flag) = self.queued(pool)
            && queue::may_wait(flag)
        {
            self.call_first(pool, flag, now_ms());
        }
    }

    #[cold]
    fn call_first(&self, pool: u32, flag: &AtomicU64, now_ms: u64) {
        let row = queue::give(self.map.tickets(), flag, pool, now_ms as u32);
        self.wake(row);
    }

    /// Requests that wait for a place in a pool.
    pub fn queue_length(&self, pool: u32) -> u32 {
        let any = self.queued(pool).is_some_and(queue::may_wait);
        if any { queue::waiting(self.map.tickets(), pool).count() as u32 } else { 0 }
    }

    /// Frees the tickets of dead children: one of all who wait does it each time.
    fn bury_now_and_then(&self, now_ms: u64) {
        let last = &self.map.header().buried_ms;
        let seen = last.load(SeqCst);
        if now_ms.wrapping_sub(seen) < u64::from(SLICE_MS) / 2
            || last.compare_exchange(seen, now_ms, SeqCst, SeqCst).is_err()
        {
            return;
        }
        if queue::bury(self.map.tickets(), &|pid| !(self.alive)(pid)) {
            self.call_every_pool(now_ms);
        }
    }

    /// After the death of children, of `dead` for certain: calls that they had are others', and so
    /// are their places, if any `were_given_back`.
    pub fn rouse_queues(&self, dead: Option<i32>, were_given_back: bool, now_ms: u64) {
        let buried = queue::bury(self.map.tickets(), &|pid| dead == Some(pid) || !(self.alive)(pid));
        if buried || were_given_back {
            self.call_every_pool(now_ms);
        }
    }

    fn call_every_pool(&self, now_ms: u64) {
        for pool in 0..self.pools_used() as u32 {
            self.call_queue(pool, || now_ms);
        }
    }

    fn call(&self, who: Who, now_ms: u64) {
        self.wake(queue::call(self.map.tickets(), who, now_ms as u32));
    }

    fn wake(&self, row: Option<usize>) {
        if let Some(ticket) = row.and_then(|row| self.map.tickets().get(row)) {
            futex::wake(ticket.call_word());
        }
    }

    #[inline]
    fn queued(&self, pool: u32) -> Option<&AtomicU64> {
        Some(&self.map.pools().get(pool as usize)?.queued)
    }
}
