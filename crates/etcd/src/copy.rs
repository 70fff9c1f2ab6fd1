// SPDX-License-Identifier: Apache-2.0
//! A copy of the keys below a prefix, as a range and the changes since then make it. It is whole at
//! each revision, or it says that it has to be made again.

use std::collections::BTreeMap;

use crate::client::EtcdClient;
use crate::wire::{Range, RangeQuery, WatchAnswer};

/// Most keys of a part.
const PART: usize = 2000;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyCopy {
    prefix: String,
    cluster: u64,
    revision: i64,
    /// By the part of their names behind the prefix.
    keys: BTreeMap<Vec<u8>, Kept>,
    bytes: usize,
    /// Most keys, and most bytes of them.
    limits: (usize, usize),
}

/// A key, but for its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    /// Of its last change.
    revision: i64,
    /// 0: none.
    lease: i64,
    value: Vec<u8>,
}

/// The changes of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copied {
    /// Nothing.
    Same,
    /// Some keys.
    Changed,
    /// The copy is not to be trusted any more, for this reason: it has to be made again.
    Again(String),
}

impl KeyCopy {
    /// The copy that a range makes, which has asked for all keys below this prefix.
    /// `limits`: most keys, and most bytes of them.
    ///
    /// # Errors
    /// There are more, or it holds other keys.
    pub fn of(prefix: &str, range: Range, limits: (usize, usize)) -> Result<Self, String> {
        let mut copy = KeyCopy {
            prefix: prefix.to_owned(),
            cluster: range.header.cluster_id,
            revision: range.header.revision,
            limits,
            ..KeyCopy::default()
        };
        if range.more || range.kvs.len() > limits.0 {
            return Err(format!("there are more than {} keys below {prefix}", limits.0));
        }
        if range.header.revision < 1 {
            return Err("the answer is not etcd's: it has no revision".into());
        }
        for kv in range.kvs {
            let Some(name) = copy.name_of(&kv.key) else { return Err(foreign()) };
            copy.put(name, Kept { revision: kv.mod_revision, lease: kv.lease, value: kv.value });
        }
        if copy.bytes > limits.1 { Err(copy.too_long()) } else { Ok(copy) }
    }

    /// A copy of all keys below this prefix as they are now. They are asked for in parts, of one
    /// revision: each of them has the time of a question. `limits`: most keys, and most bytes of
    /// them.
    ///
    /// # Errors
    /// As [`KeyCopy::of`], or a part was not to be had, in words.
    pub async fn fetch(
        client: &mut EtcdClient,
        prefix: &str,
        limits: (usize, usize),
    ) -> Result<Self, String> {
        let ask = client.range(&RangeQuery::Below(prefix, PART)).await;
        let mut range = ask.map_err(|error| error.to_string())?;
        let (revision, cluster) = (range.header.revision, range.header.cluster_id);
        while range.more && range.kvs.len() <= limits.0 {
            let last = range.kvs.last().map(|kv| kv.key.clone()).unwrap_or_default();
            let part = client.range(&RangeQuery::Behind(prefix, &last, PART, revision)).await;
            let part = part.map_err(|error| error.to_string())?;
            if part.header.cluster_id != cluster || part.kvs.first().is_some_and(|kv| kv.key <= last) {
                return Err(foreign());
            }
            range.more = part.more && !part.kvs.is_empty();
            range.kvs.extend(part.kvs);
            let bytes: usize = range.kvs.iter().map(|kv| kv.key.len() + kv.value.len()).sum();
            if bytes > limits.1.saturating_add(prefix.len().saturating_mul(range.kvs.len())) {
                // It is refused for them.
                range.more = false;
                break;
            }
        }
        Self::of(prefix, range, limits)
    }

    /// Takes the changes of an answer of the watch from the next revision on.
    pub fn take(&mut self, answer: WatchAnswer) -> Copied {
        if answer.compact_revision > 0 {
            return Copied::Again(format!(
                "the revisions before {} are gone (compacted)",
                answer.compact_revision
            ));
        }
        if answer.canceled {
            let reason = net::printable(&answer.cancel_reason, 200);
            return Copied::Again(format!("etcd has ended the watch: \"{reason}\""));
        }
        if answer.header.cluster_id != self.cluster {
            return Copied::Again("another cluster answers".into());
        }
        let before = self.revision;
        let mut changed = false;
        for event in answer.events {
            let revision = event.kv.mod_revision;
            if revision <= before {
                // It is in the copy.
                continue;
            }
            if revision < self.revision {
                return Copied::Again("the changes are not in their order".into());
            }
            let Some(name) = self.name_of(&event.kv.key) else { return Copied::Again(foreign()) };
            changed |= match event.is_delete() {
                true => self.remove(&name),
                false => self.put(name, Kept { revision, lease: event.kv.lease, value: event.kv.value }),
            };
            self.revision = revision;
        }
        if self.keys.len() > self.limits.0 || self.bytes > self.limits.1 {
            return Copied::Again(self.too_long());
        }
        if changed { Copied::Changed } else { Copied::Same }
    }

    /// The revision that it is of.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The cluster that it is of.
    pub fn cluster(&self) -> u64 {
        self.cluster
    }

    /// All keys by their names behind the prefix, with the revisions of their last changes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], i64, &[u8])> {
        self.keys.iter().map(|(name, kept)| (name.as_slice(), kept.revision, kept.value.as_slice()))
    }

    /// The lease of the key with this name behind the prefix; 0: it has none, or is not there.
    pub fn lease_of(&self, name: &[u8]) -> i64 {
        self.keys.get(name).map_or(0, |kept| kept.lease)
    }

    /// The revision of the last change of the key with this name behind the prefix; 0: there is
    /// none.
    pub fn revision_of(&self, name: &[u8]) -> i64 {
        self.keys.get(name).map_or(0, |kept| kept.revision)
    }

    /// Whether it has the same names and values, of whatever revisions.
    pub fn says_the_same(&self, other: &KeyCopy) -> bool {
        self.keys.len() == other.keys.len()
            && self.iter().zip(other.iter()).all(|(one, two)| (one.0, one.2) == (two.0, two.2))
    }

    fn name_of(&self, key: &[u8]) -> Option<Vec<u8>> {
        key.strip_prefix(self.prefix.as_bytes()).map(<[u8]>::to_vec)
    }

    fn put(&mut self, name: Vec<u8>, kept: Kept) -> bool {
        self.bytes += name.len() + kept.value.len();
        let size = name.len();
        if let Some(old) = self.keys.insert(name, kept) {
            self.bytes -= size + old.value.len();
        }
        true
    }

    fn remove(&mut self, name: &[u8]) -> bool {
        let removed = self.keys.remove(name);
        self.bytes -= removed.as_ref().map_or(0, |kept| name.len() + kept.value.len());
        removed.is_some()
    }

    fn too_long(&self) -> String {
        let (keys, bytes) = self.limits;
        format!("there are more than {keys} keys or {} MiB below {}", bytes >> 20, self.prefix)
    }
}

fn foreign() -> String {
    "the answer has keys that were not asked for".into()
}

#[cfg(test)]
mod tests;
