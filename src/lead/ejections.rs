// SPDX-License-Identifier: Apache-2.0
//! Gives ejected members their chance when their time is over.

use std::time::Instant;

use balance::lifecycle;

use super::{Lease, Rest, Task};
use crate::faults;
use crate::httpd::memory;
use crate::keep::events;

/// See the module.
pub struct Ejections;

impl Task for Ejections {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        faults::point("ejections");
        let now_ms = memory::monotonic_ms();
        for pool in lease.pools.memberships() {
            let table = &lease.child.table;
            events::tell_all(table, lifecycle::expire(table, pool, now_ms));
        }
        None
    }

    fn rest(&mut self, _: Rest) {}
}
