// SPDX-License-Identifier: Apache-2.0
//! Definitions: making a pool be like a list of members, while others do the same, or an older or a
//! newer one.
//!
//! A definer raises the pool's `wanted` version first. Each of its changes is a compare-and-swap on
//! a word that it read before it made sure that `wanted` is still its own. A newer definer touches
//! the same words even where nothing changes (it *confirms* them), so the compare-and-swaps of an
//! older one, however late, fail. `done` remembers the fingerprint of what was applied to the end:
//! the same definition is applied once, by as many as there are, and what was changed while running
//! stays. Members that were added while running stay in a pool of the configuration's until it
//! names them or somebody removes them; a script's list of members is the whole list.

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

use balance::api::{ChangeError, PoolId};
use balance::member::MemberSpec;
use balance::settings::PoolSettings;
use balance::slow_start;
use balance::status::Status;
use balance::store::{ADDED, Origin, SOURCE_SHIFT, Store};
use xxhash_rust::xxh64::Xxh64;

use crate::members::{Inserted, Item, Start, TRIES, is_members, member_tag};
use crate::place::PoolRef;
use crate::pools::{hash, pool_tag};
use crate::primitive::step;
use crate::protocol::AtomicU64;
use crate::protocol::life::{self, Life, LifePhase};
use crate::protocol::text::{self, MAX_ORDER, RowText};
use crate::{Table, codec, config};

const _: () = assert!(ADDED < MAX_ORDER);

/// A pool that its origin no longer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StalePool {
    pool: PoolRef,
    wanted: u64,
}

fn word_of(origin: Origin) -> u64 {
    match origin {
        Origin::Configuration => 1,
        Origin::Script => 2,
    }
}

/// The other way round; None for words that no definer writes.
pub(crate) fn origin_of(word: u64) -> Option<Origin> {
    [Origin::Configuration, Origin::Script].into_iter().find(|origin| word_of(*origin) == word)
}

/// The first state of a new member of a pool with these settings: checks that start from
/// `initial=down` hold it back, and `slow_start=` where it comes `late`, to a pool that serves
/// already.
pub(crate) fn start(settings: &PoolSettings, spec: &MemberSpec, late: bool) -> Start {
    let waits = settings.health.as_ref().is_some_and(|check| !check.initial_up);
    Start {
        flags: if waits { Status::CHECK_DOWN } else { 0 },
        ramp: if late { slow_start::ramp(0, slow_start::of(spec, settings)) } else { u8::MAX },
    }
}

pub(crate) fn item(spec: &MemberSpec, order: u32, start: Start) -> Result<Item, ChangeError> {
    Ok(Item {
        name: hash(&spec.name),
        url: hash(&spec.url.to_string()),
        record: RowText {
            order: order.min(MAX_ORDER),
            config: config::of(spec),
            text: codec::line(spec)?.into_bytes(),
        },
        start,
    })
}

/// Another definition has taken over, or this one was finished by another process.
struct Superseded;

enum Stop {
    Superseded,
    Failed(ChangeError),
}

impl From<ChangeError> for Stop {
    fn from(error: ChangeError) -> Self {
        Stop::Failed(error)
    }
}

/// The fate of a row that a definition finds in its pool.
enum Fate<'i> {
    /// It is this one.
    Is(&'i Item),
    /// Added while running, and nothing to this definition.
    Stays,
    Goes,
}

struct Definition<'a> {
    table: &'a Table,
    origin: Origin,
    pool: PoolRef,
    version: u64,
    fingerprint: u64,
}

impl Table {
    /// [`balance::store::Store::define`] with the origin, which [`Table::retain_pools`] goes by.
    pub fn define_from(
        &self,
        origin: Origin,
        name: &str,
        settings: &PoolSettings,
        members: &[MemberSpec],
        version: u64,
    ) -> Result<PoolId, ChangeError> {
        let mut items = items(name, members, settings)?;
        let late: Vec<Start> = members.iter().map(|spec| start(settings, spec, true)).collect();
        let settings = RowText { order: 0, config: 0, text: codec::text(settings)?.into_bytes() };
        for _ in 0..TRIES {
            let pool = self.find_or_make_pool(name, word_of(origin))?;
            self.spell_pool(pool, name);
            if self.map.pools()[pool.row].done.load(SeqCst) != 0 {
                items.iter_mut().zip(&late).for_each(|(item, late)| item.start = *late);
            }
            let fingerprint = fingerprint(&settings, &items, version);
            match self.start(origin, pool, version, fingerprint) {
                None => return Ok(PoolId(pool.row as u32)),
                Some(definition) => match definition.run(&settings, &items) {
                    Ok(()) => return Ok(PoolId(pool.row as u32)),
                    Err(Stop::Failed(error)) => return Err(error),
                    Err(Stop::Superseded) if self.is_pool(pool) => return Ok(PoolId(pool.row as u32)),
                    Err(Stop::Superseded) => {}
                },
            }
        }
        Err(ChangeError::Invalid(format!("other processes make and remove the pool {name} over and over")))
    }

    /// Whether pools of these names, with so many members, find room beside what is there.
    ///
    /// # Errors
    /// [`ChangeError::Full`] says what is missing.
    pub fn check_room<'p>(&self, pools: impl Iterator<Item = (&'p str, usize)>) -> Result<(), ChangeError> {
        let (mut new_pools, mut new_members) = (0_usize, 0_usize);
        for (name, members) in pools {
            let there = self.pool_by_name(name);
            new_pools += usize::from(there.is_none());
            let there = there.map_or(0, |pool| self.rows_of(pool, &[LifePhase::Live]).len());
            new_members = new_members.saturating_add(members.saturating_sub(there));
        }
        let is_free = |life: Life| matches!(life.phase(), LifePhase::Free | LifePhase::Removed);
        let free = self.map.pools().iter().filter(|cells| is_free(Life::load(&cells.life)));
        if free.take(new_pools).count() < new_pools {
            return Err(ChangeError::Full { what: "pool" });
        }
        if !self.has_room_for(new_members) {
            return Err(ChangeError::Full { what: "member" });
        }
        Ok(())
    }

    fn start(&self, origin: Origin, pool: PoolRef, version: u64, fingerprint: u64) -> Option<Definition<'_>> {
        let cells = &self.map.pools()[pool.row];
        // Versions of different sources say nothing of which is newer: then the one that comes last
        // is.
        let is_older = |seen: u64| seen >> SOURCE_SHIFT == version >> SOURCE_SHIFT && seen > version;
        let raise = |seen: u64| (!is_older(seen)).then_some(version);
        if cells.wanted.fetch_update(SeqCst, SeqCst, raise).is_err() || cells.done.load(SeqCst) == fingerprint
        {
            return None;
        }
        cells.origin.store(word_of(origin), SeqCst);
        step();
        Some(Definition { table: self, origin, pool, version, fingerprint })
    }

    /// Removes the pools of an origin that are not named.
    pub fn retain_pools(&self, names: &[&str], origin: Origin) {
        self.remove_stale(&self.stale_pools(names, origin));
    }

    /// The pools of an origin that are not named, to be removed when nobody needs them any more.
    pub fn stale_pools(&self, names: &[&str], origin: Origin) -> Vec<StalePool> {
        let is_stale = |pool: &PoolRef| {
            self.map.pools()[pool.row].origin.load(SeqCst) == word_of(origin)
                && self
                    .pool_name(*pool)
                    .is_some_and(|name| !names.iter().any(|named| named.eq_ignore_ascii_case(&name)))
        };
        let stale = self.all_pools().filter(is_stale);
        stale.map(|pool| StalePool { pool, wanted: self.map.pools()[pool.row].wanted.load(SeqCst) }).collect()
    }

    /// Whether a row's member was added while running.
    fn is_added(&self, row: usize) -> bool {
        text::read(self.map.chunks(), &self.map.members()[row].text)
            .is_some_and(|(_, record)| record.order >= ADDED)
    }

    /// Whether a source has found a row's member: the source says when it goes.
    fn is_discovered(&self, row: usize) -> bool {
        let text = text::read(self.map.chunks(), &self.map.members()[row].text);
        text.and_then(|(_, record)| codec::configured(&record.text))
            .is_some_and(|spec| spec.discovered.is_some())
    }

    /// Removes the members of these pools that were added while running. Returns `pool/member` of
    /// each.
    pub fn remove_added(&self, pools: &[&str]) -> Vec<String> {
        let mut removed = Vec::new();
        for pool in pools.iter().filter_map(|name| self.pool_by_name(name)) {
            let Some(image) = self.read_pool(PoolId(pool.row as u32)) else { continue };
            let added = image.membership.members.iter().filter(|member| member.order >= ADDED);
            let gone = added.filter(|member| self.remove(image.membership.pool, &member.spec.name).is_ok());
            removed.extend(gone.map(|member| format!("{}/{}", image.membership.name, member.spec.name)));
        }
        removed
    }

    /// Removes those of these pools that nobody has defined since.
    pub fn remove_stale(&self, stale: &[StalePool]) {
        for StalePool { pool, wanted } in stale {
            if self.map.pools()[pool.row].wanted.load(SeqCst) == *wanted {
                self.remove_pool(*pool);
            }
        }
    }
}

fn items(pool: &str, members: &[MemberSpec], settings: &PoolSettings) -> Result<Vec<Item>, ChangeError> {
    let mut names = HashMap::new();
    let mut items = Vec::with_capacity(members.len());
    for (order, spec) in members.iter().enumerate() {
        let item = item(spec, order as u32, start(settings, spec, false))?;
        if names.insert(item.name, ()).is_some() {
            return Err(ChangeError::Duplicate { pool: pool.to_owned(), name: spec.name.clone() });
        }
        items.push(item);
    }
    Ok(items)
}

/// Never 0.
fn fingerprint(settings: &RowText, items: &[Item], version: u64) -> u64 {
    let mut hash = Xxh64::new(version);
    hash.update(&settings.text);
    for item in items {
        hash.update(&[0]);
        hash.update(&item.record.text);
    }
    hash.digest().max(1)
}

impl Definition<'_> {
    fn is_current(&self) -> bool {
        let cells = &self.table.map.pools()[self.pool.row];
        cells.wanted.load(SeqCst) == self.version
            && cells.done.load(SeqCst) != self.fingerprint
            && self.table.is_pool(self.pool)
    }

    fn check(&self) -> Result<(), Superseded> {
        if self.is_current() { Ok(()) } else { Err(Superseded) }
    }

    fn run(&self, settings: &RowText, items: &[Item]) -> Result<(), Stop> {
        let mut changed = false;
        let outcome = self.apply(settings, items, &mut changed);
        let cells = &self.table.map.pools()[self.pool.row];
        if changed {
            cells.cursor.store(0, SeqCst);
            self.table.bump_pool(self.pool);
        }
        outcome?;
        loop {
            let done = cells.done.load(SeqCst);
            let finished = !self.is_current()
                || cells.done.compare_exchange(done, self.fingerprint, SeqCst, SeqCst).is_ok();
            if finished {
                return Ok(());
            }
        }
    }

    fn apply(&self, settings: &RowText, items: &[Item], changed: &mut bool) -> Result<(), Stop> {
        let cells = &self.table.map.pools()[self.pool.row];
        let missing = self.keep_or_remove(items, changed)?;
        *changed |= self.settle_text(&cells.text, settings, pool_tag(self.pool.row), &|| true)?;
        let mut from = 0;
        for item in missing {
            let inserted = self.table.insert(self.pool, item, &mut from, &|| self.is_current())?;
            match inserted {
                Inserted::Live { .. } => *changed = true,
                // Another one applies the same, or a script added it.
                Inserted::Taken => {}
                Inserted::NotAllowed => return Err(Stop::Superseded),
            }
            step();
        }
        Ok(())
    }

    /// Goes over the pool's rows; returns the members that have none. Fails before the first change
    /// when there is no room.
    fn keep_or_remove<'i>(&self, items: &'i [Item], changed: &mut bool) -> Result<Vec<&'i Item>, Stop> {
        let mut missing: HashMap<u64, &Item> = items.iter().map(|item| (item.name, item)).collect();
        let mut rows = Vec::new();
        for (row, seen) in self.table.rows_of(self.pool, &[LifePhase::Live, LifePhase::Announced]) {
            let key = &self.table.map.keys()[row];
            let kept = missing.get(&key.name.load(SeqCst)).copied();
            let fate = match kept {
                Some(item) if seen.is_live() && item.url == key.url.load(SeqCst) => {
                    missing.remove(&item.name);
                    Fate::Is(item)
                }
                None if self.origin == Origin::Configuration && self.table.is_added(row) => Fate::Stays,
                None if self.table.is_discovered(row) => Fate::Stays,
                _ => Fate::Goes,
            };
            rows.push((row, seen, fate));
        }
        let removed =
            rows.iter().filter(|(row, _, fate)| matches!(fate, Fate::Goes) && self.table.is_idle(*row));
        if !self.table.has_room_for(missing.len().saturating_sub(removed.count())) {
            return Err(ChangeError::Full { what: "member" }.into());
        }
        for (row, seen, fate) in rows {
            match fate {
                Fate::Is(item) if self.keep(row, seen.incarnation(), item, changed)? => {}
                // Removed by somebody meanwhile.
                Fate::Is(item) => {
                    missing.insert(item.name, item);
                }
                Fate::Stays => drop(self.confirm(row, seen.incarnation())?),
                Fate::Goes => *changed |= self.remove(row, seen)?,
            }
            step();
        }
        Ok(items.iter().filter(|item| missing.contains_key(&item.name)).collect())
    }

    fn remove(&self, row: usize, seen: Life) -> Result<bool, Stop> {
        let cell = &self.table.map.keys()[row].life;
        let mut now = Life::load(cell);
        while now.same_as(seen) {
            self.check()?;
            step();
            if life::retire(cell, now) {
                step();
                self.table.recycle_member(row);
                return Ok(seen.is_live());
            }
            now = Life::load(cell);
        }
        // An announced row that has gone live meanwhile is one of this pool's members now.
        if seen.phase() == LifePhase::Announced && now.is_live_as(seen.incarnation()) {
            return self.remove(row, now);
        }
        Ok(false)
    }

    /// Gives a row the definition's line, weight and flags, and confirms it. False when it was
    /// removed meanwhile.
    fn keep(&self, row: usize, incarnation: u32, item: &Item, changed: &mut bool) -> Result<bool, Stop> {
        let key = &self.table.map.keys()[row];
        let cells = &self.table.map.members()[row];
        let is_live = || Life::load(&key.life).is_live_as(incarnation);
        *changed |= self.settle_text(&cells.text, &item.record, member_tag(row), &is_live)?;
        step();
        *changed |= self.table.apply_config(row);
        self.confirm(row, incarnation)
    }

    /// Touches a live row's word, so that an older definition cannot remove it any more. False when
    /// it was removed.
    fn confirm(&self, row: usize, incarnation: u32) -> Result<bool, Stop> {
        let cell = &self.table.map.keys()[row].life;
        loop {
            let now = Life::load(cell);
            if !now.is_live_as(incarnation) {
                return Ok(false);
            }
            self.check()?;
            step();
            if life::confirm(cell, now) {
                return Ok(true);
            }
        }
    }

    /// Makes a text word link this record, or confirms it when it does. True when it was changed.
    fn settle_text(
        &self,
        cell: &AtomicU64,
        wanted: &RowText,
        tag: u32,
        is_live: &dyn Fn() -> bool,
    ) -> Result<bool, Stop> {
        let mut changed = false;
        loop {
            let (seen, found) = text::read(self.table.map.chunks(), cell)
                .unwrap_or_else(|| (cell.load(SeqCst), RowText::default()));
            let mut record = wanted.clone();
            record.config = config::succeed(found.config, wanted.config);
            if is_members(tag) {
                record.text = codec::with_line(&wanted.text, &found.text);
            }
            self.check()?;
            if !is_live() {
                return Ok(changed);
            }
            step();
            if found == record && seen as u32 != 0 {
                if text::confirm(cell, seen) {
                    return Ok(changed);
                }
                continue;
            }
            let allowed = |now| now == seen && self.is_current() && is_live();
            if !self.table.write_text(cell, &record, tag, &allowed)? {
                return Err(ChangeError::Full { what: "definition's text" }.into());
            }
            changed = true;
        }
    }
}

impl From<Superseded> for Stop {
    fn from(_: Superseded) -> Self {
        Stop::Superseded
    }
}
