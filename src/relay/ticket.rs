// SPDX-License-Identifier: Apache-2.0
//! A request's ticket in the queue of a full pool, and why a wait for it ended.

use std::ffi::CStr;

use balance::counting::Ending;
use table::Waiting;

use crate::httpd::memory;
use crate::serve::child::Child;

/// Why a wait ended without a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InVain {
    /// The request has waited as long as `queue=` allows.
    TimeIsUp,
    /// As many requests wait as may.
    TooMany,
    /// The client has gone.
    ClientGone,
    /// The child ends at once, and has closed its clients' connections.
    Stopping,
}

impl InVain {
    /// The word in `LB_REASON`.
    pub fn word(self) -> &'static CStr {
        match self {
            InVain::TimeIsUp => c"queue timeout",
            InVain::TooMany => c"queue full",
            InVain::ClientGone | InVain::Stopping => c"aborted",
        }
    }

    /// The ending that the request counts for.
    pub fn ending(self) -> Ending {
        match self {
            InVain::TimeIsUp => Ending::QueueTimeout,
            InVain::TooMany => Ending::QueueFull,
            InVain::ClientGone | InVain::Stopping => Ending::Aborted,
        }
    }

    /// Whether no client is left to be answered.
    pub fn is_nobody(self) -> bool {
        matches!(self, InVain::ClientGone | InVain::Stopping)
    }

    /// The words in the log.
    pub fn explain(self) -> &'static str {
        match self {
            InVain::TimeIsUp => "all members were at max_inflight as long as queue= allows to wait",
            InVain::TooMany => {
                "all members are at max_inflight, and as many requests wait for a place as may"
            }
            InVain::ClientGone => "its client has gone",
            InVain::Stopping => "this child ends at once",
        }
    }
}

/// All waits of a request together: the time allowed is for all of them.
#[derive(Default)]
pub struct Wait {
    pub(super) until_ms: Option<u64>,
    pub(super) ticket: Option<Ticket>,
    /// Why the last wait ended without a place.
    pub in_vain: Option<InVain>,
    pub(super) nudged: bool,
    /// When it began to wait first.
    since_ms: Option<u64>,
    /// How long it has waited, all in all.
    waited_ms: u64,
}

/// A place in the queue. Dropping it leaves the queue.
pub(super) struct Ticket {
    child: &'static Child,
    waiting: Option<Waiting>,
    has_place: bool,
    since_ms: u64,
}

impl Ticket {
    fn new(child: &'static Child, waiting: Waiting, since_ms: u64) -> Self {
        Ticket { child, waiting: Some(waiting), has_place: false, since_ms }
    }

    pub(super) fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.child.table.leave_queue(waiting, self.has_place, memory::monotonic_ms());
            self.child.room.left();
        }
    }
}

impl Wait {
    /// The request waits from now on.
    pub(super) fn begin(&mut self, child: &'static Child, waiting: Waiting, now_ms: u64) {
        self.since_ms.get_or_insert(now_ms);
        self.ticket = Some(Ticket::new(child, waiting, now_ms));
    }

    /// The request waits no more: it has given up, or needs no place.
    pub fn leave(&mut self) {
        self.end(false);
    }

    /// The request waits no more: it has a place.
    #[inline]
    pub fn is_served(&mut self) {
        if self.ticket.is_some() {
            self.end(true);
        }
    }

    #[cold]
    fn end(&mut self, has_place: bool) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.has_place = has_place;
            let waited_ms = memory::monotonic_ms().saturating_sub(ticket.since_ms);
            self.waited_ms = self.waited_ms.saturating_add(waited_ms);
        }
    }

    /// When it began to wait, microseconds of the monotonic clock. None: it never did.
    pub fn since_us(&self) -> Option<u64> {
        self.since_ms.map(|since_ms| since_ms * 1000)
    }

    /// How long it has waited, microseconds. None: it never did.
    pub fn waited_us(&self) -> Option<u64> {
        self.since_ms.map(|_| self.waited_ms * 1000)
    }
}

/// Calls the queue of a pool, in which a place is free.
pub fn place_is_free(child: &Child, pool: u32) {
    child.table.call_queue(pool, memory::monotonic_ms);
}
