// SPDX-License-Identifier: Apache-2.0
//! Takes the steps of members whose weight is coming back.

use std::time::Instant;

use balance::lifecycle;

use super::{Lease, Rest, Task};
use crate::httpd::memory;
use crate::keep::events;

/// See the module.
#[derive(Default)]
pub struct Ramps {
    running: lifecycle::Ramps,
}

impl Task for Ramps {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        let (table, now_ms) = (&lease.child.table, memory::monotonic_ms());
        events::tell_all(table, self.running.advance(table, lease.pools.memberships(), now_ms));
        None
    }

    /// Another leader's steps are told from this one's by where they are.
    fn rest(&mut self, _: Rest) {}
}
