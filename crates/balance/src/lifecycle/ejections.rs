// SPDX-License-Identifier: Apache-2.0
//! Ends of ejections, as the leader sees to them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Subject;
use super::looks::Looks;
use crate::api::{Membership, PoolId};
use crate::event::{By, MemberEvent, What, Why};
use crate::member::Member;
use crate::outlier::OutlierState;
use crate::slow_start;
use crate::status::Status;
use crate::store::Vitals;

/// The members of each pool that are ejected.
#[derive(Debug, Default)]
pub struct EjectedMembers {
    looks: Looks,
    out: HashMap<PoolId, Vec<Arc<Member>>>,
}

impl EjectedMembers {
    /// Lets members back in whose ejection is over: probation and slow start begin.
    pub fn advance<'m>(
        &mut self,
        store: &impl Vitals,
        pools: impl Iterator<Item = &'m Membership>,
        now_ms: u64,
    ) -> Vec<MemberEvent> {
        let mut before = std::mem::take(&mut self.out);
        let mut events = Vec::new();
        for pool in pools {
            let known = before.remove(&pool.pool);
            let out = if self.looks.is_due(store, pool, now_ms) { Some(out_of(store, pool)) } else { known };
            let Some(out) = out.filter(|out| !out.is_empty()) else { continue };
            events.extend(readmit_all(store, pool, &out, now_ms));
            self.out.insert(pool.pool, out);
        }
        events
    }
}

/// Lets members of a pool back in whose ejection is over: probation and slow start begin.
pub fn expire(store: &impl Vitals, pool: &Membership, now_ms: u64) -> Vec<MemberEvent> {
    readmit_all(store, pool, &out_of(store, pool), now_ms)
}

fn out_of(store: &impl Vitals, pool: &Membership) -> Vec<Arc<Member>> {
    let is_out = |member: &&Arc<Member>| {
        store.status(member.slot).has(Status::EJECTED)
            || OutlierState::from_bits(store.outlier(member.slot)).is_ejected()
    };
    pool.members.iter().filter(is_out).cloned().collect()
}

fn readmit_all(store: &impl Vitals, pool: &Membership, out: &[Arc<Member>], now_ms: u64) -> Vec<MemberEvent> {
    let readmit = |member: &Arc<Member>| readmit(store, Subject { pool: &pool.name, member }, now_ms);
    out.iter().filter_map(readmit).collect()
}

fn readmit(store: &impl Vitals, of: Subject<'_>, now_ms: u64) -> Option<MemberEvent> {
    let (slot, incarnation) = (of.member.slot, of.member.incarnation);
    let mut over = false;
    store.update_outlier(slot, incarnation, |word| {
        let (state, expired) = OutlierState::from_bits(word).expire(now_ms);
        over = expired;
        state.to_bits()
    });
    // Cleared as well when the word says that no ejection is running: the ejecting child died
    // between the two.
    if !over && OutlierState::from_bits(store.outlier(slot)).is_ejected() {
        return None;
    }
    let slow_start_ms = store.slow_start_ms(of.member);
    let changed = store.update(slot, incarnation, &mut |status| {
        let back = status.has(Status::EJECTED);
        let status = status.without(Status::EJECTED);
        if back { slow_start::begin(status, slow_start_ms) } else { status }
    });
    let (before, after) = changed.ok().filter(|(before, after)| before != after)?;
    let what = What::State { old: before.state(), new: after.state() };
    Some(of.event(store.now_s(), what, Why::EjectionOver, By::Time))
}
