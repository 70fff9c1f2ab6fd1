// SPDX-License-Identifier: Apache-2.0
//! A request's turn in the queue of a full pool, and why a wait for it ended.

use std::ffi::CStr;

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
}

/// A place in the queue. Dropping it leaves the queue.
pub(super) struct Ticket {
    child: &'static Child,
    waiting: Option<Waiting>,
    has_place: bool,
}

impl Ticket {
    pub(super) fn new(child: &'static Child, waiting: Waiting) -> Self {
        Ticket { child, waiting: Some(waiting), has_place: false }
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
    /// The request waits no more: it has given up, or needs no place.
    pub fn leave(&mut self) {
        self.ticket = None;
    }

    /// The request waits no more: it has a place.
    pub fn is_served(&mut self) {
        if let Some(mut ticket) = self.ticket.take() {
            ticket.has_place = true;
        }
    }
}

/// Calls the queue of a pool, in which a place is free.
pub fn place_is_free(child: &Child, pool: u32) {
    child.table.call_queue(pool, memory::monotonic_ms);
}
