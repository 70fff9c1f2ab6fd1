// SPDX-License-Identifier: Apache-2.0
//! Clears up after dead children, and removes pools that only children of earlier configurations
//! needed.

use std::time::{Duration, Instant};

use table::StalePool;

use super::{Lease, Rest, Task};
use crate::httpd::memory;
use crate::serve::child::Child;
use crate::serve::generation::generation;

/// How often it looks.
const OFTEN: Duration = Duration::from_secs(1);

/// See the module.
pub struct Stale {
    /// See [`crate::serve::generation::Generation`].
    pools: Vec<StalePool>,
    next: Instant,
}

impl Stale {
    /// First looks a while from now: the parent sees most dead children earlier.
    pub fn new() -> Self {
        Stale {
            pools: generation().map(|generation| generation.stale.clone()).unwrap_or_default(),
            next: Instant::now() + OFTEN,
        }
    }

    /// Removes pools that only children of earlier configurations serve by, once there are none.
    fn remove_pools(&mut self, child: &Child) {
        let (table, own) = (&child.table, child.generation);
        if !self.pools.is_empty() && table.children().iter().all(|(_, generation)| *generation >= own) {
            table.remove_stale(&std::mem::take(&mut self.pools));
        }
    }
}

impl Task for Stale {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        if Instant::now() > self.next {
            self.next = Instant::now() + OFTEN;
            let table = &lease.child.table;
            let given_back = table.reap_dead(&memory::alive);
            table.rouse_queues(None, given_back > 0, memory::monotonic_ms());
            self.remove_pools(lease.child);
        }
        Some(self.next)
    }

    fn rest(&mut self, _: Rest) {}
}
