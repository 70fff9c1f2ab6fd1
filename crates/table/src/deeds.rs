// SPDX-License-Identifier: Apache-2.0
//! Changes of many members as one: all that may fail is prepared where nobody sees it, and then
//! written into the journal.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::SeqCst;

use balance::api::{ChangeError, PoolId};
use balance::live::Slot;
use balance::member::Member;
use balance::order::{MAX_ORDER_TEXT, Order};
use balance::settings::PoolSettings;
use balance::slow_start;
use balance::status::Status;
use balance::steps::Deed;
use balance::store::{ADDED, Store};

use crate::define::{item, start};
use crate::members::{Item, member_tag, taken_for_dead};
use crate::place::PoolRef;
use crate::primitive::{is_killed, step};
use crate::protocol::contest::{self, Rivals};
use crate::protocol::journal::{JournalEntry, StatusChange};
use crate::protocol::life::{self, Life};
use crate::protocol::text::{self, HeldChunk, MAX_ORDER};
use crate::publish::Words;
use crate::{Table, codec, config};

const UNCHANGED: Words = (Status(0), Status(0));

/// A prepared change. Unless it is committed, it is let go of.
struct Prepared<'t> {
    table: &'t Table,
    pools: HashMap<PoolId, Pool>,
    /// Where to look for a free row first.
    free: usize,
    rows: Vec<(usize, Life)>,
    chunks: Vec<Vec<HeldChunk>>,
    entries: Vec<JournalEntry>,
    /// The words of each deed.
    words: Vec<Words>,
    /// The deed of each row whose status word changes.
    statuses: HashMap<u32, usize>,
}

/// A pool that newcomers come to.
struct Pool {
    found: PoolRef,
    settings: PoolSettings,
    /// Place of the next one.
    order: u32,
}

impl Table {
    /// See [`Store::carry_out`].
    pub(crate) fn carry_out_deeds(&self, deeds: &[Deed]) -> Result<Vec<Words>, ChangeError> {
        self.map.journal().author.store(u64::from(self.pid as u32), SeqCst);
        step();
        let mut prepared = Prepared::new(self);
        let done = deeds.iter().try_for_each(|deed| prepared.deed(deed));
        let done = done.and_then(|()| prepared.contest(deeds)).and_then(|()| prepared.commit());
        self.finish_change();
        done
    }
}

impl Drop for Prepared<'_> {
    fn drop(&mut self) {
        if is_killed() {
            return;
        }
        for (row, held) in std::mem::take(&mut self.rows) {
            if life::retire(&self.table.map.keys()[row].life, held) {
                self.table.recycle_member(row);
            }
        }
        for held in std::mem::take(&mut self.chunks) {
            text::free(self.table.map.chunks(), &held);
        }
    }
}

impl<'t> Prepared<'t> {
    fn new(table: &'t Table) -> Self {
        Prepared {
            table,
            pools: HashMap::new(),
            free: 0,
            rows: Vec::new(),
            chunks: Vec::new(),
            entries: Vec::new(),
            words: Vec::new(),
            statuses: HashMap::new(),
        }
    }

    fn deed(&mut self, deed: &Deed) -> Result<(), ChangeError> {
        if let Some(member) = deed.there.as_ref().filter(|_| deed.goes) {
            self.entries.push(JournalEntry::Retire { row: member.slot, incarnation: member.incarnation });
        }
        let mut words = UNCHANGED;
        if deed.comes.is_some() {
            words = self.newcomer(deed)?;
        } else if let Some(member) = deed.stays() {
            self.status(deed, member);
            if deed.order.is_some() || deed.line.is_some() {
                self.text(deed, member)?;
            }
        }
        self.words.push(words);
        Ok(())
    }

    fn status(&mut self, deed: &Deed, member: &Member) {
        if deed.changes().next().is_some() {
            let change = status_change(deed, self.table.slow_start_ms(member));
            self.statuses.insert(member.slot, self.words.len());
            let (row, incarnation) = (member.slot, member.incarnation);
            self.entries.push(JournalEntry::Status { row, incarnation, change });
        }
    }

    /// Another line, another order beside it, or both.
    fn text(&mut self, deed: &Deed, member: &Member) -> Result<(), ChangeError> {
        let (_, row) = self.table.row(member.slot).ok_or(ChangeError::Removed)?;
        let (seen, mut record) =
            text::read(self.table.map.chunks(), &row.text).ok_or(ChangeError::Removed)?;
        if let Some(order) = &deed.order {
            record.text = codec::with_order(&record.text, order_text(order.as_ref())?.as_deref());
        }
        if let Some(spec) = &deed.line {
            let order = codec::order(&record.text).unwrap_or_default();
            record.config = config::overridden(record.config, config::of(spec), &order);
            record.text = codec::with_line(codec::line(spec)?.as_bytes(), &record.text);
        }
        let held = self.table.fill_text(&record, member_tag(member.slot as usize))?;
        let (first, counter) = *held.first().ok_or(ChangeError::Full { what: "order" })?;
        self.chunks.push(held);
        self.entries.push(JournalEntry::Text {
            row: member.slot,
            incarnation: member.incarnation,
            head: first + 1,
            counter: counter as u32,
            seen,
        });
        Ok(())
    }

    fn pool(&mut self, id: PoolId) -> Result<&mut Pool, ChangeError> {
        if !self.pools.contains_key(&id) {
            let found = self.table.live_pool(id)?;
            let settings = self.table.read_settings(found);
            let order = self.table.next_order(found);
            self.pools.insert(id, Pool { found, settings, order });
        }
        self.pools.get_mut(&id).ok_or(ChangeError::UnknownPool)
    }

    /// Fills a row for a member that comes, and holds it.
    fn newcomer(&mut self, deed: &Deed) -> Result<Words, ChangeError> {
        let (found, item, slow_start_ms) = self.item(deed)?;
        let (row, building) = self.table.claim_member(&mut self.free)?;
        step();
        self.table.build(row, building, found, &item)?;
        let cell = &self.table.map.members()[row].status;
        let before = cell.load(SeqCst);
        let after = status_change(deed, slow_start_ms).apply(config::visible(before));
        cell.store(after.0 | before & config::COUNTERS, SeqCst);
        step();
        let held = life::hold(&self.table.map.keys()[row].life, building).ok_or_else(taken_for_dead)?;
        step();
        self.rows.push((row, held));
        self.entries.push(JournalEntry::Raise { row: row as Slot, held });
        Ok((config::visible(before), after))
    }

    fn item(&mut self, deed: &Deed) -> Result<(PoolRef, Item, u64), ChangeError> {
        let spec = deed.comes.as_ref().ok_or(ChangeError::Removed)?;
        let pool = self.pool(deed.pool)?;
        let mut item = item(spec, pool.order, start(&pool.settings, spec, true))?;
        pool.order = (pool.order + 1).min(MAX_ORDER);
        let order = order_text(deed.order.as_ref().and_then(Option::as_ref))?;
        item.record.text = codec::with_order(&item.record.text, order.as_deref());
        Ok((pool.found, item, slow_start::of(spec, &pool.settings)))
    }

    /// Whether nobody else has come with a name of those that are held.
    fn contest(&self, deeds: &[Deed]) -> Result<(), ChangeError> {
        let keys = self.table.map.keys();
        let identity = |row: usize| (keys[row].place.load(SeqCst), keys[row].name.load(SeqCst));
        let held: HashMap<(u64, u64), usize> =
            self.rows.iter().map(|(row, _)| (identity(*row), *row)).collect();
        if held.len() < self.rows.len() {
            return Err(ChangeError::Invalid("two members have names of one hash".to_owned()));
        }
        let going = deeds.iter().filter(|deed| deed.goes).filter_map(|deed| deed.there.as_ref());
        let going: HashSet<u32> = going.map(|member| member.slot).collect();
        let field = Rivals {
            rows: if held.is_empty() { 0 } else { self.table.members_used() },
            life: &|row| &keys[row].life,
            same_name: &|row| {
                held.get(&identity(row)).is_some_and(|own| *own != row) && !going.contains(&(row as u32))
            },
            patience: 0,
        };
        let Some(rival) = contest::rival_of_held(&field) else { return Ok(()) };
        let (place, name) = identity(rival);
        let pool = PoolRef::of_place(place);
        let deed = deeds
            .iter()
            .find(|deed| deed.pool.0 as usize == pool.row && crate::pools::hash(&deed.name) == name);
        let name = deed.map(|deed| deed.name.clone()).unwrap_or_default();
        Err(ChangeError::Duplicate { pool: self.table.pool_name(pool).unwrap_or_default(), name })
    }

    fn commit(mut self) -> Result<Vec<Words>, ChangeError> {
        let mut pools = HashSet::new();
        for entry in &self.entries {
            let (JournalEntry::Retire { row, .. }
            | JournalEntry::Raise { row, .. }
            | JournalEntry::Text { row, .. }) = entry
            else {
                continue;
            };
            let place = self.table.row(*row).map(|(key, _)| key.place.load(SeqCst));
            pools.extend(place.map(|place| PoolRef::of_place(place).row as u32));
        }
        self.entries.extend(pools.into_iter().map(|row| JournalEntry::Pool { row }));
        if self.entries.len() > self.table.geometry().journal_entries() {
            return Err(ChangeError::Full { what: "entry of the journal" });
        }
        if self.entries.is_empty() {
            return Ok(std::mem::take(&mut self.words));
        }
        let (entries, statuses) = (std::mem::take(&mut self.entries), std::mem::take(&mut self.statuses));
        let mut words = std::mem::take(&mut self.words);
        let mut seen = |entry, changed| {
            if let JournalEntry::Status { row, .. } = entry
                && let Some(words) = statuses.get(&row).and_then(|at| words.get_mut(*at))
            {
                *words = changed;
            }
        };
        // They are the table's from now on.
        self.rows.clear();
        self.chunks.clear();
        self.table.commit(&entries, &mut seen);
        Ok(words)
    }
}

fn status_change(deed: &Deed, slow_start_ms: u64) -> StatusChange {
    StatusChange { recount: deed.recount, flags: deed.flags, weight: deed.weight, slow_start_ms }
}

fn order_text(order: Option<&Order>) -> Result<Option<String>, ChangeError> {
    let order = order.map(Order::to_text);
    if order.as_ref().is_some_and(|order| order.len() > MAX_ORDER_TEXT) {
        return Err(ChangeError::Invalid(format!("an order has at most {MAX_ORDER_TEXT} bytes")));
    }
    Ok(order)
}

const _: () = assert!(ADDED < MAX_ORDER);
