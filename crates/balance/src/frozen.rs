// SPDX-License-Identifier: Apache-2.0
//! A store that is looked at: everything is as it is below, and nothing of it moves. Round robin
//! sequences go on here alone; other changes are not made, and noted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::{ChangeError, PoolId, Stats};
use crate::engine::Engine;
use crate::live::{Advice, CursorId, Latency, Live, Slot};
use crate::member::{Member, MemberSpec};
use crate::order::Order;
use crate::settings::PoolSettings;
use crate::status::Status;
use crate::steps::Deed;
use crate::store::{Origin, PoolImage, Store};

/// Most changes that are noted.
const MOST: usize = 8;

/// See the module.
pub struct Frozen<S: Store> {
    engine: Arc<Engine<S>>,
    /// Numbers taken of each sequence.
    taken: Mutex<HashMap<CursorId, u64>>,
    changes: Mutex<Vec<String>>,
}

impl<S: Store> Frozen<S> {
    /// Over the store of an engine.
    pub fn over(engine: Arc<Engine<S>>) -> Self {
        Frozen { engine, taken: Mutex::default(), changes: Mutex::default() }
    }

    /// Forgets what was taken and asked for: everything is as it is below again.
    pub fn forget(&self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn below(&self) -> &S {
        self.engine.store()
    }

    /// The changes that were asked for and not made, in words.
    pub fn changes(&self) -> Vec<String> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, what: impl FnOnce() -> String) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() < MOST {
            let what = what();
            if !changes.contains(&what) {
                changes.push(what);
            }
        }
    }
}

impl<S: Store> Live for Frozen<S> {
    fn status(&self, slot: Slot) -> Status {
        self.below().status(slot)
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

    fn latency(&self, slot: Slot) -> Latency {
        self.below().latency(slot)
    }

    fn advance(&self, cursor: CursorId) -> u64 {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = taken.entry(cursor).or_default();
        *taken += 1;
        self.below().peek(cursor).wrapping_add(*taken - 1)
    }

    fn peek(&self, cursor: CursorId) -> u64 {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.below().peek(cursor).wrapping_add(taken.get(&cursor).copied().unwrap_or(0))
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
        self.below().epoch(pool)
    }

    fn version(&self, pool: PoolId) -> u64 {
        self.below().version(pool)
    }

    fn read_pool(&self, pool: PoolId) -> Option<PoolImage> {
        self.below().read_pool(pool)
    }

    fn cursor(&self, pool: PoolId) -> CursorId {
        self.below().cursor(pool)
    }

    fn view_cursor(&self, pool: PoolId, view_hash: u64) -> CursorId {
        self.below().view_cursor(pool, view_hash)
    }

    fn is_current(&self, slot: Slot, incarnation: u32) -> bool {
        self.below().is_current(slot, incarnation)
    }

    fn pool_of(&self, slot: Slot, incarnation: u32) -> Option<PoolId> {
        self.below().pool_of(slot, incarnation)
    }

    fn origin(&self, pool: PoolId) -> Option<Origin> {
        self.below().origin(pool)
    }

    fn now_s(&self) -> u64 {
        self.below().now_s()
    }

    fn stats(&self, slot: Slot) -> Stats {
        self.below().stats(slot)
    }

    fn queued(&self, pool: PoolId) -> u32 {
        self.below().queued(pool)
    }

    fn update(
        &self,
        slot: Slot,
        incarnation: u32,
        _: &mut dyn FnMut(Status) -> Status,
    ) -> Result<(Status, Status), ChangeError> {
        if !self.below().is_current(slot, incarnation) {
            return Err(ChangeError::Removed);
        }
        self.note(|| "the status of members".to_owned());
        let status = self.below().status(slot);
        Ok((status, status))
    }

    fn order(&self, slot: Slot) -> Option<Order> {
        self.below().order(slot)
    }

    fn set_order(&self, _: &Member, _: Option<&Order>) -> Result<(), ChangeError> {
        self.note(|| "orders of members".to_owned());
        Ok(())
    }

    fn recount(&self, _: Slot, _: u32) {
        self.note(|| "the health of members".to_owned());
    }

    fn slow_start_ms(&self, member: &Member) -> u64 {
        self.below().slow_start_ms(member)
    }

    fn add(&self, _: PoolId, _: &MemberSpec) -> Result<Member, ChangeError> {
        self.note(|| "members that are added".to_owned());
        Err(ChangeError::Invalid("members are not added here: this is an explanation".to_owned()))
    }

    fn remove(&self, _: PoolId, _: &str) -> Result<(), ChangeError> {
        self.note(|| "members that are removed".to_owned());
        Ok(())
    }

    fn configured(&self, slot: Slot) -> Option<MemberSpec> {
        self.below().configured(slot)
    }

    /// Nobody has it here: nothing is changed.
    fn with_pen(&self, _: &mut dyn FnMut()) -> bool {
        false
    }

    fn carry_out(&self, _: &[Deed]) -> Result<Vec<(Status, Status)>, ChangeError> {
        self.note(|| "changes of several members".to_owned());
        Err(ChangeError::Invalid("members are not changed here: this is an explanation".to_owned()))
    }

    fn define(&self, name: &str, _: &PoolSettings, _: &[MemberSpec], _: u64) -> Result<PoolId, ChangeError> {
        self.note(|| "definitions of pools".to_owned());
        self.below().find_pool(name).ok_or(ChangeError::UnknownPool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Balancer, Change, Query};
    use crate::engine::Handle;
    use crate::event::By;
    use crate::memory::MemoryStore;
    use crate::settings::Method;

    #[test]
    fn picks_go_on_from_where_the_store_is_and_leave_it_there() {
        let engine = Engine::new(MemoryStore::new(), Box::new(|_| ()));
        let handle = Handle::new(engine.clone(), 1);
        let specs = ["http://a name=a weight=3", "http://b name=b", "http://c name=c"];
        let specs = specs.iter().map(|line| MemberSpec::from_line(line).unwrap()).collect();
        let pool = handle.define("app", PoolSettings::default(), specs, 1).unwrap();
        let query = Query { pool, view: None, method: &Method::RoundRobin, key: b"", avoid: &[] };
        for _ in 0..50 {
            let frozen = Engine::new(Frozen::over(engine.clone()), Box::new(|_| ()));
            let other = Handle::new(frozen.clone(), 1);
            let told: Vec<String> = (0..3).map(|_| other.pick(query).unwrap().spec.name.clone()).collect();
            let first = handle.membership(pool).unwrap().members[0].clone();
            other.change(&first, Change::Disable, &By::Script(None)).unwrap();
            assert_eq!(frozen.store().changes(), ["the status of members"]);
            assert_eq!(handle.pick(query).unwrap().spec.name, told[0]);
        }
    }
}
