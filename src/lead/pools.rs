// SPDX-License-Identifier: Apache-2.0
//! The pools as the leader's tasks see them: read anew when membership or settings change.

use std::collections::HashMap;
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
        let key = |image: Arc<PoolImage>| ((image.membership.pool, image.membership.version), image);
        let mut before: HashMap<(PoolId, u64), Arc<PoolImage>> = self.images.drain(..).map(key).collect();
        let mut image = |now| before.remove(now).or_else(|| table.read_pool(now.0).map(Arc::new));
        self.images = now.iter().filter_map(&mut image).collect();
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
