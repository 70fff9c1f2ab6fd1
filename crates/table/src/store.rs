// SPDX-License-Identifier: Apache-2.0
//! The table as the engine sees it.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use balance::api::{ChangeError, Membership, PoolId, Stats};
use balance::health::HealthState;
use balance::live::{Advice, CursorId, Latency, Live, Slot};
use balance::member::{Member, MemberSpec};
use balance::order::{MAX_ORDER_TEXT, Order};
use balance::outlier::OutlierState;
use balance::part::LimitPart;
use balance::settings::PoolSettings;
use balance::status::Status;
use balance::steps::Deed;
use balance::store::{ADDED, Origin, PoolImage, Store, Vitals};

use crate::define::item;
use crate::members::{Inserted, member_tag, unpack_latency};
use crate::place::PoolRef;
use crate::pools::hash;
use crate::primitive::step;
use crate::protocol::AtomicU64;
use crate::protocol::life::{self, Life, LifePhase};
use crate::protocol::text::{self, MAX_ORDER};
use crate::{Table, codec, define};

const READ_TRIES: u32 = 16;
const CURSOR_PROBES: usize = 16;

impl Table {
    fn cursor_cell(&self, cursor: CursorId) -> Option<&AtomicU64> {
        let row = cursor.0 as usize;
        let pools = self.map.pools();
        match pools.get(row) {
            Some(pool) => Some(&pool.cursor),
            None => self.map.cursors().get(row - pools.len()).map(|cursor| &cursor.next),
        }
    }

    pub(crate) fn read_settings(&self, pool: PoolRef) -> PoolSettings {
        let record = text::read(self.map.chunks(), &self.map.pools()[pool.row].text);
        record.and_then(|(_, record)| codec::settings(&record.text)).unwrap_or_default()
    }

    pub(crate) fn live_pool(&self, pool: PoolId) -> Result<PoolRef, ChangeError> {
        self.pool_ref(pool.0 as usize).ok_or(ChangeError::UnknownPool)
    }

    /// The place of a member that is added now.
    pub(crate) fn next_order(&self, pool: PoolRef) -> u32 {
        let rows = self.rows_of(pool, &[LifePhase::Live]).into_iter();
        let cells = rows.map(|(row, _)| &self.map.members()[row].text);
        let records = cells.filter_map(|cell| text::read(self.map.chunks(), cell));
        let last = records.map(|(_, record)| record.order).max();
        last.map_or(ADDED, |last| (last + 1).clamp(ADDED, MAX_ORDER))
    }
}

impl Live for Table {
    #[inline]
    fn status(&self, slot: Slot) -> Status {
        self.live_status(slot)
    }

    #[inline]
    fn inflight(&self, slot: Slot) -> u32 {
        self.sum_inflight(slot)
    }

    #[inline]
    fn each_inflight(&self, slots: impl Iterator<Item = Slot>, see: impl FnMut(u32) -> bool) {
        self.sum_each_inflight(slots, see);
    }

    #[inline]
    fn advice(&self, slot: Slot) -> Advice {
        HealthState::from_bits(self.health(slot)).advice()
    }

    #[inline]
    fn part(&self, slot: Slot) -> LimitPart {
        self.pool_row(slot)
            .map_or(LimitPart::WHOLE, |pool| LimitPart::from_bits(pool.limit_part.load(SeqCst)))
    }

    #[inline]
    fn latency(&self, slot: Slot) -> Latency {
        self.row(slot).map_or_else(Latency::default, |(_, row)| unpack_latency(row.latency.load(Relaxed)))
    }

    #[inline]
    fn advance(&self, cursor: CursorId) -> u64 {
        self.cursor_cell(cursor).map_or(0, |cell| cell.fetch_add(1, Relaxed))
    }

    fn peek(&self, cursor: CursorId) -> u64 {
        self.cursor_cell(cursor).map_or(0, |cell| cell.load(Relaxed))
    }
}

impl Store for Table {
    fn find_pool(&self, name: &str) -> Option<PoolId> {
        self.pool_by_name(name).map(|pool| PoolId(pool.row as u32))
    }

    fn pool_names(&self) -> Vec<String> {
        self.all_pools().filter_map(|pool| self.pool_name(pool)).collect()
    }

    #[inline]
    fn epoch(&self, pool: PoolId) -> u64 {
        self.map.pools().get(pool.0 as usize).map_or(0, |row| row.epoch.load(SeqCst))
    }

    #[inline]
    fn version(&self, pool: PoolId) -> u64 {
        self.map.pools().get(pool.0 as usize).map_or(0, |row| row.version.load(SeqCst))
    }

    fn read_pool(&self, pool: PoolId) -> Option<PoolImage> {
        let Some(found) = self.pool_ref(pool.0 as usize) else {
            self.seen.forget(pool.0 as usize);
            return None;
        };
        let name: Arc<str> = self.pool_name(found)?.into();
        let mut tries = 0;
        loop {
            let version = self.version(pool);
            let settings = self.read_settings(found);
            let members = self.read_members(found);
            tries += 1;
            if self.version(pool) == version || tries == READ_TRIES {
                let membership = Membership { pool, name, version, members };
                return self.is_pool(found).then_some(PoolImage { membership, settings });
            }
        }
    }

    fn named(&self, pool: PoolId, names: &HashSet<&str>) -> Option<(Arc<str>, Vec<Arc<Member>>)> {
        let found = self.pool_ref(pool.0 as usize)?;
        let (name, members) = (self.pool_name(found)?, self.read_named(found, names));
        self.is_pool(found).then(|| (name.into(), members))
    }

    fn queued(&self, pool: PoolId) -> u32 {
        self.queue_length(pool.0)
    }

    fn cursor(&self, pool: PoolId) -> CursorId {
        CursorId(pool.0)
    }

    fn view_cursor(&self, pool: PoolId, view_hash: u64) -> CursorId {
        let rows = self.map.cursors();
        let pools = self.map.pools();
        let pool_key = pools.get(pool.0 as usize).map_or(0, |row| row.key.load(Relaxed));
        let key = (view_hash ^ pool_key.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let home = (key >> 32) as usize % rows.len();
        for probe in 0..CURSOR_PROBES.min(rows.len()) {
            let at = (home + probe) % rows.len();
            let found = match rows[at].key.compare_exchange(0, key, SeqCst, SeqCst) {
                Ok(_) => key,
                Err(found) => found,
            };
            if found == key {
                return CursorId((pools.len() + at) as u32);
            }
        }
        CursorId((pools.len() + home) as u32)
    }

    fn is_current(&self, slot: Slot, incarnation: u32) -> bool {
        self.row(slot).is_some_and(|(key, _)| Life::load(&key.life).is_live_as(incarnation))
    }

    fn pool_of(&self, slot: Slot, incarnation: u32) -> Option<PoolId> {
        Table::pool_of(self, slot, incarnation)
    }

    fn origin(&self, pool: PoolId) -> Option<Origin> {
        self.pool_ref(pool.0 as usize)?;
        define::origin_of(self.map.pools().get(pool.0 as usize)?.origin.load(SeqCst))
    }

    fn now_s(&self) -> u64 {
        self.clock.map_or(0, |clock| clock())
    }

    fn stats(&self, slot: Slot) -> Stats {
        let Some((_, row)) = self.row(slot) else { return Stats::default() };
        Stats {
            inflight: self.sum_inflight(slot),
            latency_ms: unpack_latency(row.latency.load(Relaxed)).ewma_ms,
            requests: row.requests.load(Relaxed),
            failures: row.failures.load(Relaxed),
            since: row.since.load(Relaxed),
        }
    }

    fn update(
        &self,
        slot: Slot,
        incarnation: u32,
        change: &mut dyn FnMut(Status) -> Status,
    ) -> Result<(Status, Status), ChangeError> {
        let (before, after) = self.update_quietly(slot, incarnation, change)?;
        if before != after
            && let Some(pool) = self.pool_row(slot)
        {
            step();
            pool.epoch.fetch_add(1, SeqCst);
        }
        Ok((before, after))
    }

    fn order(&self, slot: Slot) -> Option<Order> {
        let (_, row) = self.row(slot)?;
        let (_, record) = text::read(self.map.chunks(), &row.text)?;
        codec::order(&record.text)
    }

    fn configured(&self, slot: Slot) -> Option<MemberSpec> {
        let (_, row) = self.row(slot)?;
        let (_, record) = text::read(self.map.chunks(), &row.text)?;
        codec::configured(&record.text)
    }

    fn set_order(&self, member: &Member, order: Option<&Order>) -> Result<(), ChangeError> {
        let order = order.map(Order::to_text);
        if order.as_ref().is_some_and(|order| order.len() > MAX_ORDER_TEXT) {
            return Err(ChangeError::Invalid(format!("an order has at most {MAX_ORDER_TEXT} bytes")));
        }
        let (key, row) = self.row(member.slot).ok_or(ChangeError::Removed)?;
        let is_live = || Life::load(&key.life).is_live_as(member.incarnation);
        loop {
            let (seen, mut record) = text::read(self.map.chunks(), &row.text).ok_or(ChangeError::Removed)?;
            if !is_live() {
                return Err(ChangeError::Removed);
            }
            record.text = codec::with_order(&record.text, order.as_deref());
            step();
            let linked = Cell::new(false);
            let allowed = |now| {
                linked.set(now == seen && is_live());
                linked.get()
            };
            if !self.write_text(&row.text, &record, member_tag(member.slot as usize), &allowed)? {
                return Err(ChangeError::Full { what: "order" });
            }
            if linked.get() {
                step();
                self.bump_pool(PoolRef::of_place(key.place.load(SeqCst)));
                return Ok(());
            }
        }
    }

    fn recount(&self, slot: Slot, incarnation: u32) {
        self.update_outlier(slot, incarnation, |_| OutlierState::default().to_bits());
        self.update_health(slot, incarnation, |word| HealthState::from_bits(word).recounted().to_bits());
    }

    fn slow_start_ms(&self, member: &Member) -> u64 {
        member.spec.slow_start_ms.unwrap_or_else(|| {
            let place = self.row(member.slot).map(|(key, _)| PoolRef::of_place(key.place.load(SeqCst)));
            let pool = place.filter(|pool| self.is_pool(*pool));
            pool.map_or(0, |pool| self.read_settings(pool).set.slow_start_ms)
        })
    }

    fn add(&self, pool: PoolId, spec: &MemberSpec) -> Result<Member, ChangeError> {
        let found = self.live_pool(pool)?;
        let duplicate = || ChangeError::Duplicate {
            pool: self.pool_name(found).unwrap_or_default(),
            name: spec.name.clone(),
        };
        if self.find_member(found, hash(&spec.name)).is_some() {
            return Err(duplicate());
        }
        let order = self.next_order(found);
        let item = item(spec, order, define::start(&self.read_settings(found), spec, true))?;
        match self.insert(found, &item, &mut 0, &|| self.is_pool(found))? {
            Inserted::Live { slot, incarnation } => {
                step();
                self.bump_pool(found);
                Ok(Member::new((slot, incarnation), order, spec.clone()))
            }
            Inserted::Taken => Err(duplicate()),
            Inserted::NotAllowed => Err(ChangeError::UnknownPool),
        }
    }

    fn remove(&self, pool: PoolId, name: &str) -> Result<(), ChangeError> {
        let found = self.live_pool(pool)?;
        let retired = self.find_member(found, hash(name)).is_some_and(|(row, seen)| {
            let retired = life::retire_live(&self.map.keys()[row].life, seen.incarnation());
            step();
            if retired {
                self.recycle_member(row);
            }
            retired
        });
        if !retired {
            let pool = self.pool_name(found).ok_or(ChangeError::UnknownPool)?;
            return Err(ChangeError::UnknownMember { pool, name: name.to_owned() });
        }
        self.bump_pool(found);
        Ok(())
    }

    fn with_pen(&self, body: &mut dyn FnMut()) -> bool {
        self.take_pen(body)
    }

    fn carry_out(&self, deeds: &[Deed]) -> Result<Vec<(Status, Status)>, ChangeError> {
        self.carry_out_deeds(deeds)
    }

    fn define(
        &self,
        name: &str,
        settings: &PoolSettings,
        members: &[MemberSpec],
        version: u64,
    ) -> Result<PoolId, ChangeError> {
        self.define_from(Origin::Script, name, settings, members, version)
    }
}
