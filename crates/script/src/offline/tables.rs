// SPDX-License-Identifier: Apache-2.0
//! A table of a request, as APR's are: pairs in order, keys without case, a key as often as it was
//! added.

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Pairs(Vec<(Vec<u8>, Vec<u8>)>);

impl Pairs {
    /// The first value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, value)| value.as_slice())
    }

    /// Puts a value in the place of the first one, whose key stays as it was written, and drops the
    /// others.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) {
        let mut pending = Some(value.to_vec());
        self.0.retain_mut(|(known, value)| {
            if !known.eq_ignore_ascii_case(key) {
                return true;
            }
            pending.take().map(|new| *value = new).is_some()
        });
        if let Some(value) = pending {
            self.0.push((key.to_vec(), value));
        }
    }

    /// Drops all values of a key.
    pub(super) fn unset(&mut self, key: &[u8]) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(key));
    }

    /// Adds a further value.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0.push((key.to_vec(), value.to_vec()));
    }

    /// All pairs.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Vec<u8>, Vec<u8>)> {
        self.0.iter()
    }
}
