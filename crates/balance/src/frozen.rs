// SPDX-License-Identifier: Apache-2.0
//! A store that is looked at: everything is as it is below, and nothing of it moves. A call that
//! changes members sees them changed, as it would below, and takes its own turns of round robin
//! sequences; nobody else sees any of it, and it ends with the call.

#[cfg(test)]
mod tests;
mod written;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::written::{Row, Written};
use crate::api::{ChangeError, PoolId, Stats};
use crate::engine::Engine;
use crate::live::{Advice, CursorId, Latency, Live, Slot};
use crate::member::{Member, MemberSpec};
use crate::order::Order;
use crate::part::LimitPart;
use crate::settings::PoolSettings;
use crate::slow_start;
use crate::status::Status;
use crate::steps::Deed;
use crate::store::{ADDED, Origin, PoolImage, Store};

/// Most members that a call adds.
const MOST_ADDED: usize = 1000;

/// The mark of numbers that a store below does not count up to.
const OWN: u64 = 1 << 63;

/// See the module.
pub struct Frozen<S: Store> {
    engine: Arc<Engine<S>>,
    written: Mutex<Written>,
    /// Grows with every change, over all calls: readers keep what they have read by such numbers.
    serial: AtomicU64,
    /// When this call's request began: epoch seconds.
    began_s: AtomicU64,
}

impl<S: Store> Frozen<S> {
    /// Over the store of an engine.
    pub fn over(engine: Arc<Engine<S>>) -> Self {
        Frozen {
            engine,
            written: Mutex::default(),
            serial: AtomicU64::new(0),
            began_s: AtomicU64::new(u64::MAX),
        }
    }

    /// Another call begins: everything is as it is below. Where it is asked beside a call that has
    /// changed the store below, `began_s` is when the request of both began (epoch seconds): a
    /// member that was added since may be added once more.
    pub fn begin(&self, began_s: u64) {
        self.began_s.store(began_s, Relaxed);
        *self.written() = Written::default();
    }

    /// Runs `body` as if this call had changed nothing.
    pub fn without_changes<T>(&self, body: impl FnOnce() -> T) -> T {
        let kept = std::mem::take(&mut *self.written());
        let said = body();
        *self.written() = kept;
        said
    }

    fn below(&self) -> &S {
        self.engine.store()
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The changes that were asked for, in words.
    pub fn changes(&self) -> Vec<String> {
        self.written().changes.clone()
    }

    fn note(&self, change: &str) {
        self.written().note(change);
    }

    fn next(&self) -> u64 {
        OWN | (self.serial.fetch_add(1, Relaxed) + 1)
    }

    /// A member's status has changed, or who is in the pool.
    fn touch(&self, written: &mut Written, pool: PoolId, is_membership: bool) {
        let next = self.next();
        let numbers = written.pools.entry(pool).or_default();
        numbers.epoch = next;
        if is_membership {
            numbers.version = next;
        }
    }

    /// A member's row, as it is below where nothing of it was changed. None: it is not there.
    fn row(&self, written: &Written, slot: Slot, incarnation: u32) -> Option<Row> {
        if let Some(row) = written.row(slot, incarnation) {
            return (!row.is_removed).then(|| row.clone());
        }
        let pool = self.below().pool_of(slot, incarnation)?;
        let (status, since) = (self.below().status(slot), self.below().stats(slot).since);
        Some(Row { pool, incarnation, status, since, added: None, is_removed: false })
    }

    /// A row that no member has.
    fn free_slot(&self) -> Slot {
        let pools = self.pool_names().into_iter().filter_map(|name| self.read_pool(self.find_pool(&name)?));
        let slots = pools
            .flat_map(|image| image.membership.members.iter().map(|member| member.slot).collect::<Vec<_>>());
        let own = self.written().rows.keys().max().copied();
        slots.chain(own).max().map_or(0, |slot| slot + 1)
    }

    /// The member that a call beside this one has added a moment ago, by the same line.
    fn added_beside(&self, known: &Member, spec: &MemberSpec) -> bool {
        known.order >= ADDED
            && known.spec.url == spec.url
            && self.written().row(known.slot, known.incarnation).is_none()
            && self.below().stats(known.slot).since >= self.began_s.load(Relaxed)
    }
}

impl<S: Store> Live for Frozen<S> {
    fn status(&self, slot: Slot) -> Status {
        match self.written().rows.get(&slot) {
            Some(row) if row.is_removed => Status(0),
            Some(row) => row.status,
            None => self.below().status(slot),
        }
    }

    fn inflight(&self, slot: Slot) -> u32 {
        self.below().inflight(slot)
    }

    fn each_inflight(&self, slots: impl Iterator<Item = Slot>, see: impl FnMut(u32) -> bool) {
        self.below().each_inflight(slots, see);
    }

    fn advice(&self, slot: Slot) -> Advice {
        self.below().advice(slot)
    }

    fn part(&self, slot: Slot) -> LimitPart {
        self.below().part(slot)
    }

    fn latency(&self, slot: Slot) -> Latency {
        self.below().latency(slot)
    }

    fn advance(&self, cursor: CursorId) -> u64 {
        let mut written = self.written();
        let sequence = written.sequences.entry(cursor).or_default();
        sequence.taken += 1;
        let from = sequence.from.unwrap_or_else(|| self.below().peek(cursor));
        from.wrapping_add(sequence.taken - 1)
    }

    fn peek(&self, cursor: CursorId) -> u64 {
        let sequence = self.written().sequences.get(&cursor).copied().unwrap_or_default();
        sequence.from.unwrap_or_else(|| self.below().peek(cursor)).wrapping_add(sequence.taken)
    }
}

impl<S: Store> Store for Frozen<S> {
    fn find_pool(&self, name: &str) -> Option<PoolId> {
        self.below().find_pool(name)
    }

    fn pool_names(&self) -> Vec<String> {
        self.below().pool_names()
    }

    fn epoch(&self, pool: PoolId) -> u64 {
        let own = self.written().pools.get(&pool).map(|numbers| numbers.epoch);
        own.unwrap_or_else(|| self.below().epoch(pool))
    }

    fn version(&self, pool: PoolId) -> u64 {
        let own = self.written().pools.get(&pool).map(|numbers| numbers.version);
        own.filter(|version| *version != 0).unwrap_or_else(|| self.below().version(pool))
    }

    fn read_pool(&self, pool: PoolId) -> Option<PoolImage> {
        let mut image = self.below().read_pool(pool)?;
        let written = self.written();
        if let Some(numbers) = written.pools.get(&pool).filter(|numbers| numbers.version != 0) {
            written.overlay(&mut image);
            image.membership.version = numbers.version;
        }
        Some(image)
    }

    fn cursor(&self, pool: PoolId) -> CursorId {
        self.below().cursor(pool)
    }

    fn view_cursor(&self, pool: PoolId, view_hash: u64) -> CursorId {
        self.below().view_cursor(pool, view_hash)
    }

    fn is_current(&self, slot: Slot, incarnation: u32) -> bool {
        match self.written().row(slot, incarnation) {
            Some(row) => !row.is_removed,
            None => self.below().is_current(slot, incarnation),
        }
    }

    fn pool_of(&self, slot: Slot, incarnation: u32) -> Option<PoolId> {
        match self.written().row(slot, incarnation) {
            Some(row) => (!row.is_removed).then_some(row.pool),
            None => self.below().pool_of(slot, incarnation),
        }
    }

    fn origin(&self, pool: PoolId) -> Option<Origin> {
        self.below().origin(pool)
    }

    fn now_s(&self) -> u64 {
        self.below().now_s()
    }

    fn stats(&self, slot: Slot) -> Stats {
        let stats = self.below().stats(slot);
        let own = self.written().rows.get(&slot).map(|row| row.since);
        Stats { since: own.unwrap_or(stats.since), ..stats }
    }

    fn queued(&self, pool: PoolId) -> u32 {
        self.below().queued(pool)
    }

    fn update(
        &self,
        slot: Slot,
        incarnation: u32,
        change: &mut dyn FnMut(Status) -> Status,
    ) -> Result<(Status, Status), ChangeError> {
        let mut written = self.written();
        let mut row = self.row(&written, slot, incarnation).ok_or(ChangeError::Removed)?;
        written.note("the status of members");
        let (before, after) = (row.status, change(row.status));
        if before.with_ramp(0) != after.with_ramp(0) {
            row.since = self.now_s();
        }
        if before != after {
            self.touch(&mut written, row.pool, false);
            if before.weight() != after.weight() {
                let sequence = written.sequences.entry(self.cursor(row.pool)).or_default();
                (sequence.from, sequence.taken) = (Some(0), 0);
            }
            row.status = after;
            written.rows.insert(slot, row);
        }
        Ok((before, after))
    }

    fn order(&self, slot: Slot) -> Option<Order> {
        self.below().order(slot)
    }

    /// Scripts give no such orders.
    fn set_order(&self, _: &Member, _: Option<&Order>) -> Result<(), ChangeError> {
        self.note("orders of members");
        Ok(())
    }

    fn recount(&self, _: Slot, _: u32) {
        self.note("the health of members");
    }

    fn slow_start_ms(&self, member: &Member) -> u64 {
        let added =
            self.written().row(member.slot, member.incarnation).filter(|row| row.added.is_some()).cloned();
        match added.map(|row| self.below().read_pool(row.pool)) {
            Some(image) => image.map_or(0, |image| slow_start::of(&member.spec, &image.settings)),
            None => self.below().slow_start_ms(member),
        }
    }

    fn add(&self, pool: PoolId, spec: &MemberSpec) -> Result<Member, ChangeError> {
        self.note("members that are added");
        let image = self.read_pool(pool).ok_or(ChangeError::UnknownPool)?;
        let members = &image.membership.members;
        if let Some(known) = members.iter().find(|member| member.spec.name == spec.name) {
            if self.added_beside(known, spec) {
                return Ok((**known).clone());
            }
            let pool = image.membership.name.to_string();
            return Err(ChangeError::Duplicate { pool, name: spec.name.clone() });
        }
        if self.written().added().count() >= MOST_ADDED {
            return Err(ChangeError::Full { what: "member" });
        }
        let order = members.last().map_or(ADDED, |last| ADDED.max(last.order + 1));
        let slot = self.free_slot();
        // Objects of members are kept by row and incarnation, longer than a call lasts.
        let incarnation = u32::MAX ^ (self.next() as u32 & u32::MAX >> 1);
        let member = Member::new((slot, incarnation), order, spec.clone());
        let configured = Status::new(spec.weight, spec.lbset, spec.flags);
        let waits = image.settings.health.as_ref().is_some_and(|check| !check.initial_up);
        let status = if waits { configured.with(Status::CHECK_DOWN) } else { configured };
        let status = slow_start::begin(status, slow_start::of(spec, &image.settings));
        let (since, added) = (self.now_s(), Some(member.clone()));
        let mut written = self.written();
        written.rows.insert(slot, Row { pool, incarnation, status, since, added, is_removed: false });
        self.touch(&mut written, pool, true);
        Ok(member)
    }

    /// Nothing is said of a member that is not there: a call beside this one may have removed it.
    fn remove(&self, pool: PoolId, name: &str) -> Result<(), ChangeError> {
        self.note("members that are removed");
        let image = self.read_pool(pool).ok_or(ChangeError::UnknownPool)?;
        let member = image.membership.members.iter().find(|member| member.spec.name == name);
        let mut written = self.written();
        if let Some((member, row)) = member
            .and_then(|member| Some((member.slot, self.row(&written, member.slot, member.incarnation)?)))
        {
            written.rows.insert(member, Row { is_removed: true, ..row });
            self.touch(&mut written, pool, true);
        }
        Ok(())
    }

    fn configured(&self, slot: Slot) -> Option<MemberSpec> {
        match self.written().rows.get(&slot) {
            Some(row) if row.is_removed => None,
            Some(Row { added: Some(member), .. }) => Some(member.spec.clone()),
            _ => self.below().configured(slot),
        }
    }

    /// Nobody has it here: nothing is changed.
    fn with_pen(&self, _: &mut dyn FnMut()) -> bool {
        false
    }

    fn carry_out(&self, _: &[Deed]) -> Result<Vec<(Status, Status)>, ChangeError> {
        self.note("changes of several members");
        Err(ChangeError::Invalid("members are not changed here: this is an explanation".to_owned()))
    }

    fn define(&self, name: &str, _: &PoolSettings, _: &[MemberSpec], _: u64) -> Result<PoolId, ChangeError> {
        self.note("definitions of pools");
        self.below().find_pool(name).ok_or(ChangeError::UnknownPool)
    }
}
