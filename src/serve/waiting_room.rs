// SPDX-License-Identifier: Apache-2.0
//! How many requests of a child may wait for places (`queue=`).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use table::{Table, Waiting, Wants};

use crate::httpd::mpm;

/// How many requests may wait: at most half of the server's threads, and half of this child's, so
/// that the rest goes on with requests that have a place.
pub struct WaitingRoom {
    most: usize,
    most_here: u32,
    here: AtomicU32,
    is_closed: AtomicBool,
}

impl WaitingRoom {
    /// A room of the size that the MPM's configuration asks for.
    pub fn new() -> Self {
        let (children, threads) = (mpm::children(), mpm::threads());
        WaitingRoom {
            most: (children.saturating_mul(threads) / 2).max(1) as usize,
            most_here: (threads / 2).max(1),
            here: AtomicU32::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Lets no request wait any more: those that do give up at their next look.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Joins the queue; None when as many wait as may.
    pub fn join(&self, table: &Table, wants: Wants) -> Option<Waiting> {
        let more = |here: u32| (here < self.most_here).then_some(here + 1);
        self.here.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let waiting = table.join_queue(wants, self.most);
        if waiting.is_none() {
            self.left();
        }
        waiting
    }

    /// A request has left the queue.
    pub fn left(&self) {
        self.here.fetch_sub(1, Ordering::Relaxed);
    }
}
