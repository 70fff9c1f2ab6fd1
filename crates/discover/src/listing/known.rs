// SPDX-License-Identifier: Apache-2.0
//! The entries of a list by their text: one that stands in the next list again is not read again,
//! and its member is shared with the list before.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::vec;

use balance::member::MemberSpec;
use balance::prints::{ByPrint, PrintSet};
use xxhash_rust::xxh64::xxh64;

/// How far ahead in the list before an entry is looked for: so many in a row may have gone without
/// the rest being sorted by fingerprint.
const AHEAD: usize = if cfg!(test) { 2 } else { 1024 };

/// The entries of the last list that was read, in its order, by fingerprints of their texts. Each
/// source has a seed of its own: texts of one fingerprint are not found by trying elsewhere.
#[derive(Debug)]
pub struct KnownEntries {
    entries: Vec<KnownEntry>,
    seed: u64,
}

impl Default for KnownEntries {
    fn default() -> Self {
        KnownEntries { entries: Vec::new(), seed: RandomState::new().build_hasher().finish() }
    }
}

#[derive(Debug)]
struct KnownEntry {
    text: u64,
    entry: Entry,
}

/// An entry, as it was read.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub spec: Arc<MemberSpec>,
    /// [`MemberSpec::print`].
    pub print: u64,
    /// The fingerprint of its member's name, by [`Entries::print_of`].
    pub name: u64,
    /// It has a name of its own.
    pub is_named: bool,
}

/// Where an entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The list before has its text, by this fingerprint.
    Known(u64),
    /// It was read; the next list may have its text, by this fingerprint.
    Read(u64),
    /// It was read, and is to be read each time.
    Unkept,
}

/// The entries before and now.
pub(super) struct Entries {
    seed: u64,
    /// Entries of the list before that nobody has asked for nor passed by.
    before: vec::IntoIter<KnownEntry>,
    /// Entries that were passed by.
    passed: ByPrint<Entry>,
    now: Vec<KnownEntry>,
    /// The names of the members now, as fingerprints.
    names: PrintSet,
}

impl Entries {
    /// After this list.
    pub fn after(known: &mut KnownEntries) -> Self {
        let before = std::mem::take(&mut known.entries);
        Entries {
            seed: known.seed,
            now: Vec::with_capacity(before.len()),
            names: PrintSet::with_capacity_and_hasher(before.len(), <_>::default()),
            passed: ByPrint::default(),
            before: before.into_iter(),
        }
    }

    /// How many there were before, and were not asked for since.
    pub fn len(&self) -> usize {
        self.before.len() + self.passed.len()
    }

    /// For the list after this one.
    pub fn keep(self, known: &mut KnownEntries) {
        known.entries = self.now;
    }

    fn print_of(&self, name: &str) -> u64 {
        xxh64(name.as_bytes(), self.seed)
    }

    /// An entry that was just read.
    pub fn read(&self, spec: MemberSpec, is_named: bool) -> Entry {
        Entry { print: spec.print(), name: self.print_of(&spec.name), spec: Arc::new(spec), is_named }
    }

    /// Whether a member has this name.
    pub fn is_taken(&self, name: &str) -> bool {
        self.names.contains(&self.print_of(name))
    }

    /// Whether a member has the name of this one.
    pub fn has_name_of(&self, entry: &Entry) -> bool {
        self.names.contains(&entry.name)
    }

    /// The entry of this text (`kind`: the shape that it is read by), known or read. Its name may
    /// depend on those that are taken: such an entry is read each time.
    pub fn entry(
        &mut self,
        (kind, text): (u64, &[u8]),
        read: impl FnOnce(&dyn Fn(&str) -> bool) -> Result<(MemberSpec, bool), String>,
    ) -> Result<(Entry, Origin), String> {
        let print = xxh64(text, self.seed ^ kind);
        if let Some(known) = self.known(print)
            && (known.is_named || !self.has_name_of(&known))
        {
            return Ok((known, Origin::Known(print)));
        }
        let has_hit = std::cell::Cell::new(false);
        let taken = |name: &str| {
            let is_taken = self.is_taken(name);
            has_hit.set(has_hit.get() || is_taken);
            is_taken
        };
        let (spec, is_named) = read(&taken)?;
        let origin = if has_hit.get() { Origin::Unkept } else { Origin::Read(print) };
        Ok((self.read(spec, is_named), origin))
    }

    /// Lists mostly go on as the one before does.
    fn known(&mut self, print: u64) -> Option<Entry> {
        let is_it = |known: &KnownEntry| known.text == print;
        if self.before.as_slice().first().is_some_and(is_it) {
            return self.before.next().map(|known| known.entry);
        }
        if let Some(known) = self.passed.remove(&print) {
            return Some(known);
        }
        let ahead = self.before.as_slice();
        let found = ahead.iter().take(AHEAD).position(is_it);
        let passed = self.before.by_ref().take(found.unwrap_or(usize::MAX));
        self.passed.extend(passed.map(|known| (known.text, known.entry)));
        match found {
            Some(_) => self.before.next().map(|known| known.entry),
            None => self.passed.remove(&print),
        }
    }

    /// Takes an entry into the list.
    pub fn take(&mut self, entry: &Entry, origin: Origin) {
        self.names.insert(entry.name);
        if let Origin::Known(text) | Origin::Read(text) = origin {
            self.now.push(KnownEntry { text, entry: entry.clone() });
        }
    }
}
