// SPDX-License-Identifier: Apache-2.0
//! A store on the heap: for tests, and wherever no other process takes part.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::{ChangeError, Membership, PoolId, Stats};
use crate::counts::{MemberCounts, PoolCounts};
use crate::health::HealthState;
use crate::history::CheckReport;
use crate::live::{Advice, CursorId, Latency, Live, Slot};
use crate::member::{Member, MemberSpec};
use crate::order::{MAX_ORDER_TEXT, Order};
use crate::outlier::OutlierState;
use crate::settings::PoolSettings;
use crate::slow_start;
use crate::snapshot::{self, Extent, Snapshot};
use crate::status::Status;
use crate::steps::Deed;
use crate::store::{ADDED, Origin, PoolImage, Store};

mod counting;
mod deeds;
mod vitals;

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    cursors: Mutex<BTreeMap<u32, u64>>,
    /// Epoch seconds.
    now_s: AtomicU64,
    /// The claim of the one that changes several things as one.
    pen: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    pools: Vec<Pool>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Pool {
    name: Arc<str>,
    settings: PoolSettings,
    members: Vec<Arc<Member>>,
    epoch: u64,
    version: u64,
    defined: u64,
    counts: PoolCounts,
}

#[derive(Debug, Default)]
struct Row {
    pool: usize,
    live: bool,
    status: AtomicU64,
    inflight: AtomicU32,
    latency: Latency,
    configured: u64,
    health: u64,
    outlier: u64,
    requests: u64,
    failures: u64,
    since: u64,
    counts: MemberCounts,
    check: Option<CheckReport>,
    order: Option<Order>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the clock, in epoch seconds.
    pub fn set_now_s(&self, now_s: u64) {
        self.now_s.store(now_s, SeqCst);
    }

    /// Everything that can be shown.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_of(Extent::All)
    }

    /// The part of it that is asked for.
    pub fn snapshot_of(&self, extent: Extent<'_>) -> Snapshot {
        Snapshot { pools: snapshot::pools(self, extent), ..Snapshot::default() }
    }

    /// Sets the in-flight count of a row.
    pub fn set_inflight(&self, slot: Slot, count: u32) {
        if let Some(row) = self.state().rows.get(slot as usize) {
            row.inflight.store(count, SeqCst);
        }
    }

    /// Sets the latency of a row.
    pub fn set_latency(&self, slot: Slot, latency: Latency) {
        if let Some(row) = self.state().rows.get_mut(slot as usize) {
            row.latency = latency;
        }
    }
}

fn configured(spec: &MemberSpec) -> Status {
    Status::new(spec.weight, spec.lbset, spec.flags)
}

impl State {
    fn insert(&mut self, pool: usize, spec: &MemberSpec, since: u64) -> Arc<Member> {
        let Pool { members, settings, .. } = &self.pools[pool];
        let order = members.last().map_or(0, |member| member.order + 1);
        let waits = settings.health.as_ref().is_some_and(|check| !check.initial_up);
        let slot = self.rows.len() as Slot;
        let configured = configured(spec);
        let status = if waits { configured.with(Status::CHECK_DOWN) } else { configured };
        self.rows.push(Row {
            pool,
            live: true,
            status: status.0.into(),
            configured: configured.0,
            since,
            ..Row::default()
        });
        Arc::new(Member::new((slot, 1), order, spec.clone()))
    }

    /// The member, with what an order says in place of its line.
    fn overlaid(&self, member: &Arc<Member>) -> Arc<Member> {
        let order = self.rows.get(member.slot as usize).and_then(|row| row.order.as_ref());
        let Some(order) = order else { return member.clone() };
        let mut member = Member::clone(member).ordered(true);
        order.overlay(&mut member.spec);
        Arc::new(member)
    }

    fn retire(&mut self, member: &Member) {
        if let Some(row) = self.rows.get_mut(member.slot as usize) {
            row.live = false;
            row.status.store(0, SeqCst);
        }
    }
}

impl Live for MemoryStore {
    fn status(&self, slot: Slot) -> Status {
        self.state().rows.get(slot as usize).map_or(Status(0), |row| Status(row.status.load(SeqCst)))
    }

    fn inflight(&self, slot: Slot) -> u32 {
        self.state().rows.get(slot as usize).map_or(0, |row| row.inflight.load(SeqCst))
    }

    fn each_inflight(&self, mut slots: impl Iterator<Item = Slot>, mut see: impl FnMut(u32) -> bool) {
        let _ = slots.all(|slot| see(self.inflight(slot)));
    }

    fn advice(&self, slot: Slot) -> Advice {
        let word = self.state().rows.get(slot as usize).map_or(0, |row| row.health);
        HealthState::from_bits(word).advice()
    }

    fn latency(&self, slot: Slot) -> Latency {
        self.state().rows.get(slot as usize).map_or(Latency::default(), |row| row.latency)
    }

    fn advance(&self, cursor: CursorId) -> u64 {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let next = cursors.entry(cursor.0).or_default();
        *next += 1;
        *next - 1
    }

    fn peek(&self, cursor: CursorId) -> u64 {
        let cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        cursors.get(&cursor.0).copied().unwrap_or(0)
    }
}

impl Store for MemoryStore {
    fn find_pool(&self, name: &str) -> Option<PoolId> {
        self.state()
            .pools
            .iter()
            .position(|pool| pool.name.eq_ignore_ascii_case(name))
            .map(|index| PoolId(index as u32))
    }

    fn pool_names(&self) -> Vec<String> {
        self.state().pools.iter().map(|pool| pool.name.to_string()).collect()
    }

    fn epoch(&self, pool: PoolId) -> u64 {
        self.state().pools.get(pool.0 as usize).map_or(0, |pool| pool.epoch)
    }

    fn version(&self, pool: PoolId) -> u64 {
        self.state().pools.get(pool.0 as usize).map_or(0, |pool| pool.version)
    }

    fn read_pool(&self, pool: PoolId) -> Option<PoolImage> {
        let state = self.state();
        let found = state.pools.get(pool.0 as usize)?;
        Some(PoolImage {
            membership: Membership {
                pool,
                name: found.name.clone(),
                version: found.version,
                members: found.members.iter().map(|member| state.overlaid(member)).collect(),
            },
            settings: found.settings.clone(),
        })
    }

    fn cursor(&self, pool: PoolId) -> CursorId {
        CursorId(pool.0)
    }

    fn view_cursor(&self, _pool: PoolId, view_hash: u64) -> CursorId {
        CursorId(view_hash as u32 | 1 << 31)
    }

    fn is_current(&self, slot: Slot, incarnation: u32) -> bool {
        incarnation == 1 && self.state().rows.get(slot as usize).is_some_and(|row| row.live)
    }

    fn pool_of(&self, slot: Slot, incarnation: u32) -> Option<PoolId> {
        let state = self.state();
        let row = state.rows.get(slot as usize).filter(|row| row.live && incarnation == 1)?;
        Some(PoolId(row.pool as u32))
    }

    fn origin(&self, pool: PoolId) -> Option<Origin> {
        self.state().pools.get(pool.0 as usize).map(|_| Origin::Script)
    }

    fn now_s(&self) -> u64 {
        self.now_s.load(SeqCst)
    }

    fn stats(&self, slot: Slot) -> Stats {
        self.state().rows.get(slot as usize).map_or_else(Stats::default, |row| Stats {
            inflight: row.inflight.load(SeqCst),
            latency_ms: row.latency.ewma_ms,
            requests: row.requests,
            failures: row.failures,
            since: row.since,
        })
    }

    /// Nobody waits here.
    fn queued(&self, _pool: PoolId) -> u32 {
        0
    }

    fn update(
        &self,
        slot: Slot,
        incarnation: u32,
        change: &mut dyn FnMut(Status) -> Status,
    ) -> Result<(Status, Status), ChangeError> {
        let mut state = self.state();
        let row = state.rows.get_mut(slot as usize).filter(|row| row.live && incarnation == 1);
        let row = row.ok_or(ChangeError::Removed)?;
        let before = Status(row.status.load(SeqCst));
        let after = change(before);
        row.status.store(after.0, SeqCst);
        if before.with_ramp(0) != after.with_ramp(0) {
            row.since = self.now_s();
        }
        row.counts.transitions += u64::from(before.state() != after.state());
        let pool = row.pool;
        if before != after {
            state.pools[pool].epoch += 1;
            if before.weight() != after.weight() {
                self.cursors.lock().unwrap_or_else(PoisonError::into_inner).insert(pool as u32, 0);
            }
        }
        Ok((before, after))
    }

    fn order(&self, slot: Slot) -> Option<Order> {
        self.state().rows.get(slot as usize).and_then(|row| row.order.clone())
    }

    fn configured(&self, slot: Slot) -> Option<MemberSpec> {
        let state = self.state();
        let row = state.rows.get(slot as usize).filter(|row| row.live)?;
        let members = &state.pools.get(row.pool)?.members;
        members.iter().find(|member| member.slot == slot).map(|member| member.spec.clone())
    }

    fn set_order(&self, member: &Member, order: Option<&Order>) -> Result<(), ChangeError> {
        if order.is_some_and(|order| order.to_text().len() > MAX_ORDER_TEXT) {
            return Err(ChangeError::Invalid(format!("an order has at most {MAX_ORDER_TEXT} bytes")));
        }
        let mut state = self.state();
        let row = state.rows.get_mut(member.slot as usize).filter(|row| row.live);
        let row = row.ok_or(ChangeError::Removed)?;
        row.order = order.cloned();
        let pool = row.pool;
        state.pools[pool].epoch += 1;
        state.pools[pool].version += 1;
        Ok(())
    }

    fn recount(&self, slot: Slot, _incarnation: u32) {
        if let Some(row) = self.state().rows.get_mut(slot as usize).filter(|row| row.live) {
            row.outlier = OutlierState::default().to_bits();
            row.health = HealthState::from_bits(row.health).recounted().to_bits();
        }
    }

    fn slow_start_ms(&self, member: &Member) -> u64 {
        let state = self.state();
        let pool = state.rows.get(member.slot as usize).and_then(|row| state.pools.get(row.pool));
        pool.map_or(0, |pool| slow_start::of(&member.spec, &pool.settings))
    }

    fn add(&self, pool: PoolId, spec: &MemberSpec) -> Result<Member, ChangeError> {
        let mut state = self.state();
        let index = pool.0 as usize;
        let found = state.pools.get(index).ok_or(ChangeError::UnknownPool)?;
        if found.members.iter().any(|member| member.spec.name == spec.name) {
            return Err(ChangeError::Duplicate { pool: found.name.to_string(), name: spec.name.clone() });
        }
        let slow_start_ms = slow_start::of(spec, &found.settings);
        let mut member = state.insert(index, spec, self.now_s());
        if member.order < ADDED {
            member = Arc::new(Member { order: ADDED, ..(*member).clone() });
        }
        let cell = &state.rows[member.slot as usize].status;
        cell.store(slow_start::begin(Status(cell.load(SeqCst)), slow_start_ms).0, SeqCst);
        let found = &mut state.pools[index];
        found.members.push(member.clone());
        found.epoch += 1;
        found.version += 1;
        Ok((*member).clone())
    }

    fn remove(&self, pool: PoolId, name: &str) -> Result<(), ChangeError> {
        let mut state = self.state();
        let found = state.pools.get_mut(pool.0 as usize).ok_or(ChangeError::UnknownPool)?;
        let place = found.members.iter().position(|member| member.spec.name == name);
        let place = place
            .ok_or_else(|| ChangeError::UnknownMember { pool: found.name.to_string(), name: name.into() })?;
        let member = found.members.remove(place);
        found.epoch += 1;
        found.version += 1;
        state.retire(&member);
        Ok(())
    }

    fn with_pen(&self, body: &mut dyn FnMut()) -> bool {
        let _pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        body();
        true
    }

    fn carry_out(&self, deeds: &[Deed]) -> Result<Vec<(Status, Status)>, ChangeError> {
        deeds.iter().map(|deed| self.carry_out_one(deed)).collect()
    }

    fn define(
        &self,
        name: &str,
        settings: &PoolSettings,
        members: &[MemberSpec],
        version: u64,
    ) -> Result<PoolId, ChangeError> {
        let known = self.find_pool(name);
        let mut state = self.state();
        let index = known.map_or(state.pools.len(), |pool| pool.0 as usize);
        if known.is_none() {
            state.pools.push(Pool {
                name: name.into(),
                settings: settings.clone(),
                members: Vec::new(),
                epoch: 1,
                version: 1,
                defined: 0,
                counts: PoolCounts::default(),
            });
        }
        if state.pools[index].defined > version {
            return Ok(PoolId(index as u32));
        }
        state.pools[index].settings = settings.clone();
        let mut old = std::mem::take(&mut state.pools[index].members);
        let mut new = Vec::with_capacity(members.len());
        for (order, spec) in members.iter().enumerate() {
            let stays =
                old.iter().position(|member| member.spec.name == spec.name && member.spec.url == spec.url);
            let mut member = match stays {
                Some(place) => (*old.remove(place)).clone(),
                None => (*state.insert(index, spec, self.now_s())).clone(),
            };
            let row = &mut state.rows[member.slot as usize];
            if row.configured != configured(spec).0 {
                row.configured = configured(spec).0;
                row.since = self.now_s();
                let before = Status(row.status.load(SeqCst));
                let after = Status(before.0 & !(Status::ADMIN | 0xffff_ffff) | configured(spec).0);
                row.status.store(after.0, SeqCst);
                row.counts.transitions += u64::from(before.state() != after.state());
            }
            (member.order, member.spec) = (order as u32, spec.clone());
            new.push(Arc::new(member));
        }
        for member in old {
            state.retire(&member);
        }
        let pool = &mut state.pools[index];
        (pool.members, pool.defined) = (new, version);
        pool.epoch += 1;
        pool.version += 1;
        Ok(PoolId(index as u32))
    }
}
