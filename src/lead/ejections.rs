// SPDX-License-Identifier: Apache-2.0
//! Gives ejected members their chance when their time is over.

use std::time::Instant;

use balance::lifecycle;

use super::{Lease, Rest, Task};
use crate::faults;
use crate::httpd::memory;
use crate::keep::events;

/// See the module.
#[derive(Default)]
pub struct Ejections(lifecycle::EjectedMembers);

impl Task for Ejections {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        faults::point("ejections");
        let (table, now_ms) = (&lease.child.table, memory::monotonic_ms());
        events::tell_all(table, self.0.advance(table, lease.pools.memberships(), now_ms));
        None
    }

    fn rest(&mut self, _: Rest) {}
}
