// SPDX-License-Identifier: Apache-2.0
//! The entries of a list by their text: one that stands in the next list again is not read again,
//! and its member is shared with the list before.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};
use std::sync::Arc;

use balance::member::MemberSpec;
use balance::prints::{ByPrint, Folding};
use xxhash_rust::xxh64::xxh64;

/// The entries of the last list that was read, by fingerprints of their texts. Each source has a
/// seed of its own: texts of one fingerprint are not found by trying elsewhere.
#[derive(Debug)]
pub struct KnownEntries {
    entries: ByPrint<Entry>,
    seed: u64,
}

impl Default for KnownEntries {
    fn default() -> Self {
        KnownEntries { entries: ByPrint::default(), seed: RandomState::new().build_hasher().finish() }
    }
}

/// An entry, as it was read.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub spec: Arc<MemberSpec>,
    /// [`MemberSpec::print`].
    pub print: u64,
    /// It has a name of its own.
    pub is_named: bool,
}

impl Entry {
    pub fn new(spec: MemberSpec, is_named: bool) -> Self {
        Entry { print: spec.print(), spec: Arc::new(spec), is_named }
    }
}

/// The entries before and now.
#[derive(Default)]
pub(super) struct Entries {
    seed: u64,
    before: ByPrint<Entry>,
    now: ByPrint<Entry>,
}

impl Entries {
    /// After this list.
    pub fn after(known: &mut KnownEntries) -> Self {
        let before = std::mem::take(&mut known.entries);
        Entries {
            seed: known.seed,
            now: ByPrint::with_capacity_and_hasher(before.len(), Folding::default()),
            before,
        }
    }

    /// How many there were before.
    pub fn len(&self) -> usize {
        self.before.len()
    }

    /// For the list after this one.
    pub fn keep(self, known: &mut KnownEntries) {
        known.entries = self.now;
    }

    /// The entry of this text (`kind`: the shape that it is read by), known or read. Its name may
    /// depend on those that are `taken`: such an entry is read each time.
    pub fn entry(
        &mut self,
        (kind, text): (u64, &[u8]),
        names: &Names,
        read: impl FnOnce(&dyn Fn(&str) -> bool) -> Result<(MemberSpec, bool), String>,
    ) -> Result<Entry, String> {
        let print = xxh64(text, self.seed ^ kind);
        if let Some(known) = self.before.remove(&print)
            && (known.is_named || !names.contains(&known.spec.name))
        {
            self.now.insert(print, known.clone());
            return Ok(known);
        }
        let has_hit = std::cell::Cell::new(false);
        let taken = |name: &str| {
            let is_taken = names.contains(name);
            has_hit.set(has_hit.get() || is_taken);
            is_taken
        };
        let (spec, is_named) = read(&taken)?;
        let entry = Entry::new(spec, is_named);
        if !has_hit.get() {
            self.now.insert(print, entry.clone());
        }
        Ok(entry)
    }
}

/// The names of a list, each with its member.
#[derive(Default)]
pub(super) struct Names(HashSet<ByName>);

impl Names {
    pub fn with_room(members: usize) -> Self {
        Names(HashSet::with_capacity(members))
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    pub fn insert(&mut self, spec: &Arc<MemberSpec>) {
        self.0.insert(ByName(spec.clone()));
    }
}

struct ByName(Arc<MemberSpec>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.as_str().hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}
