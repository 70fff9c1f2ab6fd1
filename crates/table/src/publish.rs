// SPDX-License-Identifier: Apache-2.0
//! Entries of the journal, written down and carried out. Nothing of it may fail, and all of it may
//! be done again, by another process.

use std::collections::HashSet;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use balance::api::ChangeError;
use balance::lifecycle;
use balance::live::Slot;
use balance::status::Status;
use balance::store::Store;

use crate::members::member_tag;
use crate::place::PoolRef;
use crate::primitive::step;
use crate::protocol::journal::{JournalEntry, StatusChange, WORDS};
use crate::protocol::life::{self, Life};
use crate::protocol::text;
use crate::{Table, codec, config};

/// The status word before and after.
pub(crate) type Words = (Status, Status);

impl StatusChange {
    /// The word that it makes of another.
    pub(crate) fn apply(self, status: Status) -> Status {
        use balance::api::Change;
        let changes = [
            self.recount.then_some(Change::Recount),
            self.flags.map(Change::Switch),
            self.weight.map(Change::SetWeight),
        ];
        let changes = changes.into_iter().flatten();
        changes.fold(status, |status, change| lifecycle::changed(status, change, self.slow_start_ms))
    }
}

impl Table {
    /// Makes the change that these entries are: from the odd sequence on it is made, whatever
    /// becomes of this process. More than there is room for are left out.
    pub(crate) fn commit(&self, entries: &[JournalEntry], seen: &mut dyn FnMut(JournalEntry, Words)) {
        let (journal, cells) = (self.map.journal(), self.map.entries());
        for (entry, cells) in entries.iter().zip(cells.chunks_exact(WORDS)) {
            for (word, cell) in entry.to_words().into_iter().zip(cells) {
                cell.store(word, Relaxed);
            }
        }
        journal.length.store(entries.len() as u64, SeqCst);
        step();
        journal.sequence.fetch_or(1, SeqCst);
        step();
        self.publish(seen);
    }

    /// Carries all entries out, and makes the sequence even. `seen` is told what status words have
    /// become. Pools are told once, at the end: each time, all children make them ready anew.
    pub(crate) fn publish(&self, seen: &mut dyn FnMut(JournalEntry, Words)) {
        let journal = self.map.journal();
        let length = journal.length.load(SeqCst) as usize;
        let (mut changed, mut told) = (HashSet::new(), HashSet::new());
        for cells in self.map.entries().chunks_exact(WORDS).take(length) {
            let words = std::array::from_fn(|at| cells[at].load(Relaxed));
            if let Some(entry) = JournalEntry::from_words(words) {
                self.carry_out_entry(entry, seen);
                match entry {
                    JournalEntry::Status { row, .. } => changed.extend(self.place_of(row)),
                    JournalEntry::Pool { row } => told.extend([row as usize]),
                    _ => {}
                }
            }
            step();
        }
        // Words that are changed already, by a process that has died, are told all the same.
        for pool in changed.difference(&told).filter_map(|row| self.map.pools().get(*row)) {
            pool.epoch.fetch_add(1, SeqCst);
            step();
        }
        // Two more than the last even one, and even.
        let now = journal.sequence.load(SeqCst);
        journal.sequence.store((now | 1).wrapping_add(1), SeqCst);
        step();
    }

    fn carry_out_entry(&self, entry: JournalEntry, seen: &mut dyn FnMut(JournalEntry, Words)) {
        match entry {
            JournalEntry::Pool { row } => {
                if let Some(pool) = self.pool_ref(row as usize) {
                    self.bump_pool(pool);
                }
            }
            JournalEntry::Retire { row, incarnation } => {
                if let Some((key, _)) = self.row(row) {
                    life::retire_live(&key.life, incarnation);
                    step();
                    self.recycle_member(row as usize);
                }
            }
            JournalEntry::Raise { row, held } => self.raise(row, held),
            JournalEntry::Text { row, incarnation, head, counter, seen } => {
                self.relink((row, incarnation), (head, counter), seen);
                // A source's line may say another weight.
                if self.row(row).is_some_and(|(key, _)| Life::load(&key.life).is_live_as(incarnation)) {
                    self.apply_config(row as usize);
                }
            }
            JournalEntry::Status { row, incarnation, change } => {
                if change.recount {
                    self.recount(row, incarnation);
                }
                // Removed by somebody meanwhile: there is nothing to be changed.
                let words = self.update_quietly(row, incarnation, &mut |status| change.apply(status));
                if let Ok(words) = words {
                    seen(entry, words);
                }
            }
        }
    }

    /// Changes a status word, of which the pool's epoch tells nobody yet.
    pub(crate) fn update_quietly(
        &self,
        slot: Slot,
        incarnation: u32,
        change: &mut dyn FnMut(Status) -> Status,
    ) -> Result<Words, ChangeError> {
        let mut change = |word| change(config::visible(word)).0 & !config::COUNTERS | word & config::COUNTERS;
        let changed = self.change_word(slot, incarnation, |row| &row.status, &mut change);
        let (before, after) = changed.ok_or(ChangeError::Removed)?;
        let (before, after) = (config::visible(before), config::visible(after));
        if before.with_ramp(0) != after.with_ramp(0) {
            self.touch(slot);
        }
        if before.state() != after.state() {
            self.count_transition(slot, incarnation);
        }
        if before.weight() != after.weight()
            && let Some(pool) = self.pool_row(slot)
        {
            pool.cursor.store(0, SeqCst);
        }
        Ok((before, after))
    }

    fn raise(&self, row: Slot, held: Life) {
        let Some((key, cells)) = self.row(row) else { return };
        let chain = text::chain(self.map.chunks(), cells.text.load(SeqCst));
        if let Some(writer) = held.writer() {
            text::settle(self.map.chunks(), &chain, writer);
        }
        step();
        life::go_live(&key.life, held);
        // The pool has gone meanwhile, and has not seen this row.
        let live = Life::load(&key.life);
        if live.is_live_as(held.incarnation())
            && !self.is_pool(PoolRef::of_place(key.place.load(SeqCst)))
            && life::retire(&key.life, live)
        {
            self.recycle_member(row as usize);
        }
    }

    /// Links a text that was filled when the text word was as `seen`. A quicker writer has changed
    /// the line: then the order goes beside that one.
    fn relink(&self, (row, incarnation): (Slot, u32), (head, counter): (u32, u32), seen: u64) {
        let Some((key, cells)) = self.row(row) else { return };
        let chunks = self.map.chunks();
        let first = (head as usize).checked_sub(1).and_then(|first| chunks.get(first));
        let is_filled = || first.is_some_and(|first| text::is_filled(first, u64::from(counter)));
        let author = self.map.journal().author.load(SeqCst) as i32;
        loop {
            let now = cells.text.load(SeqCst);
            let filled = text::chain(chunks, u64::from(head));
            if now as u32 == head {
                text::settle(chunks, &filled, author);
                return;
            }
            if !is_filled() {
                // It was linked, and others have come in its place.
                return;
            }
            if !Life::load(&key.life).is_live_as(incarnation) {
                text::free(chunks, &filled);
                return;
            }
            if now == seen {
                let old = text::chain(chunks, now);
                step();
                if text::link(&cells.text, now, &filled) {
                    step();
                    text::settle(chunks, &filled, author);
                    step();
                    text::free(chunks, &old);
                    return;
                }
                continue;
            }
            self.reorder(row, head);
            text::free(chunks, &filled);
            return;
        }
    }

    /// Puts the order of a filled text beside the line that a row has now. Without room for it the
    /// order before stays.
    fn reorder(&self, row: Slot, head: u32) {
        let Some((_, cells)) = self.row(row) else { return };
        let chunks = self.map.chunks();
        let Some(filled) = text::read_chain(chunks, u64::from(head)) else { return };
        while let Some((seen, mut record)) = text::read(chunks, &cells.text) {
            record.text = codec::with_order_of(&record.text, &filled.text);
            let linked = std::cell::Cell::new(false);
            let allowed = |now| {
                linked.set(now == seen);
                linked.get()
            };
            let written = self.write_text(&cells.text, &record, member_tag(row as usize), &allowed);
            if linked.get() || !matches!(written, Ok(true)) {
                return;
            }
        }
    }
}
