// SPDX-License-Identifier: Apache-2.0
//! Where the orders are: `PREFIX/orders/POOL/MEMBER`, and the servers: `PREFIX/fronts/ID`.

use std::path::Path;
use std::time::Duration;

use balance::settings::EtcdPlace;
use etcd::EtcdPlaces;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePlace {
    pub(crate) etcd: EtcdPlaces,
    /// With a slash at its end.
    pub(crate) prefix: String,
    /// Of the servers that are alive, with a slash at its end.
    pub(crate) fronts: String,
    /// Of what they say of members, with a slash at its end.
    pub(crate) health: String,
    /// The key of its identity.
    pub(crate) store: String,
}

impl StorePlace {
    /// The place of a directive; relative paths are below `root`.
    pub fn of(place: &EtcdPlace, root: &Path) -> Self {
        StorePlace {
            etcd: EtcdPlaces::of(place, root),
            prefix: format!("{}/orders/", place.prefix()),
            fronts: format!("{}/fronts/", place.prefix()),
            health: format!("{}/health/", place.prefix()),
            store: format!("{}/store", place.prefix()),
        }
    }

    /// For an answer.
    pub fn timeout(&self) -> Duration {
        self.etcd.timeout
    }

    /// The begin of all keys of orders.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn key(&self, pool: &str, member: &str) -> String {
        format!("{}{pool}/{member}", self.prefix)
    }
}
