// SPDX-License-Identifier: Apache-2.0
//! The pools as the leader's tasks see them: read anew when membership or settings change.

use std::sync::Arc;

use balance::api::{Membership, PoolId};
use balance::store::{PoolImage, Store};
use table::Table;

/// See the module.
#[derive(Default)]
pub struct PoolImages {
    /// Versions by which they were read.
    seen: Vec<(PoolId, u64)>,
    images: Vec<Arc<PoolImage>>,
    number: u64,
}

impl PoolImages {
    /// Reads what has changed.
    pub fn refresh(&mut self, table: &Table) {
        let found = table.pool_names().into_iter().filter_map(|name| table.find_pool(&name));
        let now: Vec<(PoolId, u64)> = found.map(|pool| (pool, table.version(pool))).collect();
        if now == self.seen {
            return;
        }
        self.images = now.iter().filter_map(|(pool, _)| table.read_pool(*pool)).map(Arc::new).collect();
        self.seen = now;
        self.number += 1;
    }

    /// Grows whenever something was read; 0 before.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// All of them.
    pub fn images(&self) -> &[Arc<PoolImage>] {
        &self.images
    }

    /// Their members.
    pub fn memberships(&self) -> impl Iterator<Item = &Membership> {
        self.images.iter().map(|image| &image.membership)
    }
}
