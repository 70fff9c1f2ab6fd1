// SPDX-License-Identifier: Apache-2.0
//! The identity of a store: a random word in the key `PREFIX/store`, made by the first server that
//! finds none. A store that was wiped has another one. So has one that went back, as by a backup:
//! the first server that sees its revisions go back gives it a new one. Revisions are compared with
//! those of the same identity alone.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use balance::order::StoreRevision;
use etcd::{Compare, EtcdClient, EtcdError, KeyValue, Operation, RangeQuery, Transaction};

use crate::place::StorePlace;

/// How often it is looked for anew when others are faster in giving one.
const TIMES: usize = 3;

impl StorePlace {
    /// The identity among these keys; 0: there is none.
    pub(crate) fn identity(&self, keys: &[KeyValue]) -> u64 {
        let is_it = |kv: &&KeyValue| kv.key == self.store.as_bytes();
        let text = keys.iter().find(is_it).and_then(|kv| std::str::from_utf8(&kv.value).ok());
        text.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or_default()
    }

    /// That the store still has this identity.
    pub(crate) fn is_store(&self, identity: u64) -> Compare {
        let key = self.store.clone();
        match identity {
            0 => Compare::Revision { key, mod_revision: 0 },
            _ => Compare::Value { key, value: text(identity) },
        }
    }

    /// The store's identity, which is made where there is none, or where the store went back since
    /// `known`; and a revision that it has had by now. 0: there is none, and it may not be written.
    ///
    /// # Errors
    /// The store does not answer, or others give identities all the time.
    pub(crate) async fn identify(
        &self,
        client: &mut EtcdClient,
        known: StoreRevision,
    ) -> Result<StoreRevision, String> {
        for _ in 0..TIMES {
            let range = client.range(&RangeQuery::One(&self.store)).await;
            let range = range.map_err(|error| error.to_string())?;
            let store = self.identity(&range.kvs);
            let found =
                StoreRevision { store, revision: u64::try_from(range.header.revision).unwrap_or_default() };
            if store != 0 && !went_back(known, found) {
                return Ok(found);
            }
            let fresh = RandomState::new().build_hasher().finish() | 1;
            let mod_revision = range.kvs.first().map_or(0, |kv| kv.mod_revision);
            let transaction = Transaction {
                compare: vec![Compare::Revision { key: self.store.clone(), mod_revision }],
                then: vec![Operation::Put { key: self.store.clone(), value: text(fresh), lease: 0 }],
                otherwise: Vec::new(),
            };
            match client.transact(&transaction).await {
                Ok(done) if done.succeeded => return Ok(StoreRevision { store: fresh, ..found }),
                Ok(_) => {}
                Err(EtcdError::Refused { .. }) => return Ok(found),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("other servers change its identity".into())
    }
}

fn text(identity: u64) -> Vec<u8> {
    format!("{identity:016x}").into_bytes()
}

/// Whether a store is now at an earlier revision than it has had.
fn went_back(known: StoreRevision, found: StoreRevision) -> bool {
    found.store == known.store && found.revision < known.revision
}
