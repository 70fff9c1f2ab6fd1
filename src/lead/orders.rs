// SPDX-License-Identifier: Apache-2.0
//! Sees to the ends of orders: what one says for then holds when its time is over.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use balance::lifecycle::Deadlines;

use super::{Lease, Rest, Task};
use crate::keep::events;

/// See the module.
#[derive(Default)]
pub struct Orders(Deadlines);

impl Task for Orders {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let table = &lease.child.table;
        events::tell_all(table, self.0.advance(table, lease.pools.memberships(), now_s));
        None
    }

    fn rest(&mut self, _: Rest) {
        self.0 = Deadlines::default();
    }
}
