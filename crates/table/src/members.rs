// SPDX-License-Identifier: Apache-2.0
//! Rows of members: building, finding, changing and recycling them.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use balance::api::ChangeError;
use balance::live::{Latency, Slot};
use balance::status::Status;

use crate::layout::{MemberKey, MemberRow, PoolRow};
use crate::place::PoolRef;
use crate::primitive::step;
use crate::protocol::contest::{self, ContestEnd, Rivals};
use crate::protocol::life::{self, Life, LifePhase};
use crate::protocol::text::{self, RowText};
use crate::protocol::{AtomicU64, lanes};
use crate::{Table, config, counts};

pub(crate) const PATIENCE: u32 = 100;
pub(crate) const TRIES: u32 = 64;

/// A member to be put into a row.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub name: u64,
    pub url: u64,
    pub record: RowText,
    pub start: Start,
}

/// The first state of a new row, beyond its definition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// Flags of [`Status`].
    pub flags: u64,
    pub ramp: u8,
}

impl Start {
    /// Serves at once, with all of its weight.
    pub const FULL: Start = Start { flags: 0, ramp: 255 };

    fn apply(self, status: u64) -> u64 {
        Status(status).with(self.flags).with_ramp(self.ramp).0
    }
}

/// How [`Table::insert`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    Live {
        slot: Slot,
        incarnation: u32,
    },
    /// The pool has a live member of that name.
    Taken,
    /// The pool is gone, or a newer definition is being applied.
    NotAllowed,
}

/// Tags of text chunks: members have even ones, pools odd ones.
pub(crate) fn member_tag(row: usize) -> u32 {
    (row as u32) << 1
}

/// Whether a tag is a member's.
pub(crate) fn is_members(tag: u32) -> bool {
    tag.is_multiple_of(2)
}

/// Another process has taken a row away from this one.
pub(crate) fn taken_for_dead() -> ChangeError {
    ChangeError::Invalid("this process is taken for dead by another".to_owned())
}

impl Table {
    pub(crate) fn row(&self, slot: Slot) -> Option<(&MemberKey, &MemberRow)> {
        self.map.keys().get(slot as usize).zip(self.map.members().get(slot as usize))
    }

    pub(crate) fn members_used(&self) -> usize {
        (self.map.header().members_used.load(SeqCst) as usize).min(self.map.keys().len())
    }

    /// Rows of a pool in these phases, with their life words.
    pub(crate) fn rows_of(&self, pool: PoolRef, phases: &[LifePhase]) -> Vec<(usize, Life)> {
        let keys = &self.map.keys()[..self.members_used()];
        let rows = keys.iter().enumerate().filter_map(|(row, key)| {
            let life = Life::load(&key.life);
            (phases.contains(&life.phase())
                && key.place.load(SeqCst) == pool.place()
                && Life::load(&key.life).same_as(life))
            .then_some((row, life))
        });
        rows.collect()
    }

    pub(crate) fn find_member(&self, pool: PoolRef, name: u64) -> Option<(usize, Life)> {
        self.map.keys()[..self.members_used()].iter().enumerate().find_map(|(row, key)| {
            let life = Life::load(&key.life);
            (life.is_live()
                && key.name.load(SeqCst) == name
                && key.place.load(SeqCst) == pool.place()
                && Life::load(&key.life).same_as(life))
            .then_some((row, life))
        })
    }

    /// Brings a member to life in a free row. `from` is where to look first.
    pub(crate) fn insert(
        &self,
        pool: PoolRef,
        item: &Item,
        from: &mut usize,
        allowed: &dyn Fn() -> bool,
    ) -> Result<Inserted, ChangeError> {
        for _ in 0..TRIES {
            let (row, building) = self.claim_member(from)?;
            step();
            self.build(row, building, pool, item)?;
            step();
            let announced =
                life::announce(&self.map.keys()[row].life, building).ok_or_else(taken_for_dead)?;
            step();
            match self.contest_member(row, announced, pool, item.name, allowed) {
                ContestEnd::Live(live) => {
                    return Ok(Inserted::Live { slot: row as Slot, incarnation: live.incarnation() });
                }
                ContestEnd::Taken(rival) => {
                    self.recycle_member(row);
                    if !self.await_held(rival) {
                        return Ok(Inserted::Taken);
                    }
                }
                ContestEnd::Retired => self.recycle_member(row),
            }
            if !allowed() {
                return Ok(Inserted::NotAllowed);
            }
        }
        Err(ChangeError::Invalid("other processes add a member of this name over and over".to_owned()))
    }

    fn contest_member(
        &self,
        row: usize,
        announced: Life,
        pool: PoolRef,
        name: u64,
        allowed: &dyn Fn() -> bool,
    ) -> ContestEnd {
        let keys = self.map.keys();
        let field = Rivals {
            rows: self.members_used(),
            life: &|row| &keys[row].life,
            same_name: &|row| {
                keys[row].name.load(SeqCst) == name && keys[row].place.load(SeqCst) == pool.place()
            },
            patience: PATIENCE,
        };
        contest::run(&field, row, announced, allowed)
    }

    pub(crate) fn claim_member(&self, from: &mut usize) -> Result<(usize, Life), ChangeError> {
        if let Some(claimed) = self.try_claim_member(from) {
            return Ok(claimed);
        }
        self.sweep();
        *from = 0;
        self.try_claim_member(from).ok_or(ChangeError::Full { what: "member" })
    }

    fn try_claim_member(&self, from: &mut usize) -> Option<(usize, Life)> {
        let keys = self.map.keys();
        let start = (*from).min(keys.len());
        for phase in [LifePhase::Free, LifePhase::Removed] {
            for row in (start..keys.len()).chain(0..start) {
                let seen = Life::load(&keys[row].life);
                if seen.phase() != phase || phase == LifePhase::Removed && !self.is_idle(row) {
                    continue;
                }
                if let Some(building) = life::claim(&keys[row].life, seen, self.pid) {
                    self.map.header().members_used.fetch_max(row as u64 + 1, SeqCst);
                    *from = row + 1;
                    return Some((row, building));
                }
            }
        }
        None
    }

    /// Whether so many rows can be taken now.
    pub(crate) fn has_room_for(&self, members: usize) -> bool {
        let takable = |(row, key): (usize, &MemberKey)| match Life::load(&key.life).phase() {
            LifePhase::Free => true,
            LifePhase::Removed => self.is_idle(row),
            _ => false,
        };
        let count = || self.map.keys().iter().enumerate().filter(|&row| takable(row)).take(members).count();
        count() >= members || {
            self.sweep();
            count() >= members
        }
    }

    /// Whether nobody has a request there; exact for a row that was seen removed before.
    pub(crate) fn is_idle(&self, row: usize) -> bool {
        lanes::idle(self.lane_cells(row as Slot))
    }

    /// Fills a row that was claimed for it. A failure gives the row back.
    pub(crate) fn build(
        &self,
        row: usize,
        building: Life,
        pool: PoolRef,
        item: &Item,
    ) -> Result<(), ChangeError> {
        let (key, cells) = (&self.map.keys()[row], &self.map.members()[row]);
        key.place.store(pool.place(), SeqCst);
        key.name.store(item.name, SeqCst);
        key.url.store(item.url, SeqCst);
        let mut record = item.record.clone();
        record.config = config::begin(record.config, building.incarnation());
        cells.status.store(item.start.apply(config::initial(record.config)), SeqCst);
        #[rustfmt::skip]
        let MemberRow {
            #[cfg(feature = "moved")]
            before: _,
            text: _, status: _, latency, outlier, health, requests, failures, since,
        } = cells;
        for cell in [latency, outlier, health, requests, failures, since] {
            cell.store(0, Relaxed);
        }
        counts::clear(&self.map.member_counts()[row].words);
        self.touch(row as Slot);
        step();
        let written = self.write_text(&cells.text, &record, member_tag(row), &|_| true);
        if !matches!(written, Ok(true)) {
            life::retire(&key.life, building);
            self.recycle_member(row);
            return Err(written.err().unwrap_or(ChangeError::Full { what: "member's line" }));
        }
        Ok(())
    }

    /// Puts a record in place of the one that the text word links. `allowed` is asked with each
    /// reading of the text word before it is replaced; false leaves it as it is. False when there
    /// are too few chunks.
    pub(crate) fn write_text(
        &self,
        cell: &AtomicU64,
        record: &RowText,
        tag: u32,
        allowed: &dyn Fn(u64) -> bool,
    ) -> Result<bool, ChangeError> {
        let chunks = self.map.chunks();
        let held = self.fill_text(record, tag)?;
        if held.is_empty() {
            return Ok(false);
        }
        loop {
            let seen = cell.load(SeqCst);
            if !allowed(seen) {
                text::free(chunks, &held);
                return Ok(true);
            }
            let old = text::chain(chunks, seen);
            step();
            if text::link(cell, seen, &held) {
                step();
                text::settle(chunks, &held, self.pid);
                step();
                text::free(chunks, &old);
                return Ok(true);
            }
        }
    }

    /// Fills chunks with a record. None when there are too few.
    pub(crate) fn fill_text(&self, record: &RowText, tag: u32) -> Result<Vec<text::HeldChunk>, ChangeError> {
        if record.text.len() > text::MAX_TEXT {
            return Err(ChangeError::Invalid(format!(
                "the definition has {} bytes, at most {} fit",
                record.text.len(),
                text::MAX_TEXT
            )));
        }
        let (chunks, hint) = (self.map.chunks(), &self.map.header().chunk_hint);
        let held = text::fill(chunks, record, tag, self.pid, hint);
        if !held.is_empty() {
            return Ok(held);
        }
        self.sweep();
        Ok(text::fill(chunks, record, tag, self.pid, hint))
    }

    /// Empties and frees a removed row, if nobody has a request there.
    pub(crate) fn recycle_member(&self, row: usize) {
        let (key, cells) = (&self.map.keys()[row], &self.map.members()[row]);
        let text_word = cells.text.load(SeqCst);
        let seen = Life::load(&key.life);
        if seen.phase() != LifePhase::Removed {
            return;
        }
        if text_word as u32 != 0 {
            text::unlink(self.map.chunks(), &cells.text, text_word);
        }
        step();
        if self.is_idle(row) {
            life::free(&key.life, seen);
        }
    }

    /// Applies what the definition says of weight and flags, if that was not done yet. True when it
    /// changed something.
    pub(crate) fn apply_config(&self, row: usize) -> bool {
        let cells = &self.map.members()[row];
        for _ in 0..TRIES {
            let seen = cells.status.load(SeqCst);
            let Some((_, record)) = text::read(self.map.chunks(), &cells.text) else {
                return false;
            };
            let now = config::apply(seen, record.config);
            step();
            if now == seen || cells.status.compare_exchange(seen, now, SeqCst, SeqCst).is_ok() {
                let (before, after) = (config::visible(seen), config::visible(now));
                if before != after {
                    self.touch(row as Slot);
                }
                if before.state() != after.state() {
                    self.count_transition(row as Slot, Life::load(&self.map.keys()[row].life).incarnation());
                }
                return now != seen;
            }
        }
        false
    }

    /// Changes a word by compare-and-swap while the row is that incarnation. Returns the values
    /// before and after; None when the row is another one's.
    #[inline]
    pub(crate) fn change_word(
        &self,
        slot: Slot,
        incarnation: u32,
        word: impl Fn(&MemberRow) -> &AtomicU64,
        mut change: impl FnMut(u64) -> u64,
    ) -> Option<(u64, u64)> {
        let (key, cells) = self.row(slot)?;
        let cell = word(cells);
        loop {
            let seen = cell.load(SeqCst);
            if !Life::load(&key.life).is_live_as(incarnation) {
                return None;
            }
            let now = change(seen);
            step();
            if now == seen || cell.compare_exchange(seen, now, SeqCst, SeqCst).is_ok() {
                return Some((seen, now));
            }
        }
    }

    /// The pool of a row.
    pub(crate) fn pool_row(&self, slot: Slot) -> Option<&PoolRow> {
        self.map.pools().get(self.place_of(slot)?)
    }

    /// The row of the pool that a member is in.
    pub(crate) fn place_of(&self, slot: Slot) -> Option<usize> {
        let (key, _) = self.row(slot)?;
        Some(PoolRef::of_place(key.place.load(SeqCst)).row)
    }

    /// Notes that a member has changed just now.
    pub(crate) fn touch(&self, slot: Slot) {
        if let Some(clock) = self.clock {
            self.touch_since(slot, clock());
        }
    }

    /// Notes when a member's state changed, in epoch seconds.
    fn touch_since(&self, slot: Slot, epoch_s: u64) {
        if let Some((_, row)) = self.row(slot) {
            row.since.store(epoch_s, Relaxed);
        }
    }

    pub(crate) fn live_status(&self, slot: Slot) -> Status {
        let Some((key, row)) = self.row(slot) else { return Status(0) };
        let status = config::visible(row.status.load(Relaxed));
        if Life::load(&key.life).is_live() { status } else { status.without(Status::LIVE) }
    }
}

pub(crate) fn pack_latency(latency: Latency) -> u64 {
    u64::from(latency.ewma_ms.to_bits()) << 32 | u64::from(latency.stamp_ms)
}

pub(crate) fn unpack_latency(word: u64) -> Latency {
    Latency { ewma_ms: f32::from_bits((word >> 32) as u32), stamp_ms: word as u32 }
}
