// SPDX-License-Identifier: Apache-2.0
//! Ends of orders, as the leader sees to them: when the time of one has passed, what it says for
//! then holds.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Subject, ordered};
use crate::api::{Change, Membership, PoolId};
use crate::event::{By, MemberEvent, What, Why};
use crate::member::Member;
use crate::order::{AdminState, Order, Then};
use crate::steering;
use crate::steps::{Doing, MemberStep};
use crate::store::Store;

/// When the next order of each pool ends, as of a version: an order makes another version, so that
/// members are looked at only when there is something new, or something due.
#[derive(Debug, Default)]
pub struct Deadlines {
    next: HashMap<PoolId, (u64, u64)>,
}

impl Deadlines {
    /// Carries out what is due at this time, in epoch seconds.
    pub fn advance<'m>(
        &mut self,
        store: &impl Store,
        pools: impl Iterator<Item = &'m Membership>,
        now_s: u64,
    ) -> Vec<MemberEvent> {
        let mut events = Vec::new();
        let before = std::mem::take(&mut self.next);
        for pool in pools {
            let known = before.get(&pool.pool);
            let next = match known {
                Some((version, next)) if *version == pool.version && *next > now_s => *next,
                _ => look(store, pool, now_s, &mut events),
            };
            self.next.insert(pool.pool, (pool.version, next));
        }
        events
    }
}

/// Carries out what is due in a pool; returns when the next order ends.
fn look(store: &impl Store, pool: &Membership, now_s: u64, events: &mut Vec<MemberEvent>) -> u64 {
    let mut next = u64::MAX;
    let mut gone: Vec<&Arc<Member>> = Vec::new();
    for member in pool.members.iter().filter(|member| member.is_ordered) {
        let Some(order) = store.order(member.slot) else { continue };
        match order.gone.or(order.until) {
            Some(end) if end <= now_s && order.gone.is_some() => gone.push(member),
            Some(until) if until <= now_s => {
                events.extend(carry_out(store, Subject { pool: &pool.name, member }, order));
            }
            Some(until) => next = next.min(until),
            None => {}
        }
    }
    if gone.len() < 2 || !remove_as_one(store, pool, &gone, now_s, events) {
        for member in gone {
            events.extend(remove(store, Subject { pool: &pool.name, member }, By::of_source(&member.spec)));
        }
    }
    next
}

/// Removes members whose drain is over as one change: each change has every child make the pool
/// ready anew. False: nothing was done.
fn remove_as_one(
    store: &impl Store,
    pool: &Membership,
    gone: &[&Arc<Member>],
    now_s: u64,
    events: &mut Vec<MemberEvent>,
) -> bool {
    let mut removed = None;
    store.with_pen(&mut || {
        // As they are now: a list may just have named one of them again.
        let is_over = |member: &&&Arc<Member>| {
            store.pool_of(member.slot, member.incarnation) == Some(pool.pool)
                && store.order(member.slot).and_then(|order| order.gone).is_some_and(|end| end <= now_s)
        };
        let all: Vec<&Arc<Member>> = gone.iter().filter(is_over).copied().collect();
        let step = |member: &&Arc<Member>| MemberStep {
            pool: pool.name.to_string(),
            member: member.spec.name.clone(),
            what: Doing::Remove,
        };
        let steps: Vec<MemberStep> = all.iter().map(step).collect();
        let done = steering::deeds(store, &steps).and_then(|deeds| store.carry_out(&deeds));
        removed = done.ok().map(|_| all);
    });
    let Some(removed) = removed else { return false };
    events.extend(removed.into_iter().map(|member| {
        let of = Subject { pool: &pool.name, member };
        of.event(store.now_s(), What::Removed, Why::OrderOver, By::of_source(&member.spec))
    }));
    true
}

/// The state first, the order next: should this process die in between, the next one finds that the
/// state is no longer what was ordered, and leaves it.
fn carry_out(store: &impl Store, of: Subject<'_>, order: Order) -> Vec<MemberEvent> {
    let (member, by) = (of.member, By::Person(order.person()));
    let then = match order.then.unwrap_or(Then::AdminState(AdminState::Ready)) {
        Then::Removed => return remove(store, of, by),
        Then::AdminState(then) => then,
    };
    let configured = AdminState::of(member.spec.flags);
    let now = AdminState::of(store.status(member.slot).0);
    let mut told = Vec::new();
    // Somebody else, a script perhaps, has changed it since: that stays.
    let stands = now == order.admin.unwrap_or(configured);
    if stands && now != then {
        let changed = ordered(store, of, Change::Switch(then.flags()), &by).unwrap_or_default();
        told.extend(changed.into_iter().map(|event| MemberEvent { why: Why::OrderOver, ..event }));
    }
    let admin = if stands { Some(then).filter(|then| *then != configured) } else { order.admin };
    let rest = Order { admin, until: None, then: None, note: None, ..order };
    // Removed meanwhile, or no room: the next look finds it as it is.
    let _ = store.set_order(member, (!rest.is_empty()).then_some(&rest));
    told
}

fn remove(store: &impl Store, of: Subject<'_>, by: By) -> Vec<MemberEvent> {
    let found = store.pool_of(of.member.slot, of.member.incarnation);
    let removed = found.is_some_and(|pool| store.remove(pool, &of.member.spec.name).is_ok());
    let event = || of.event(store.now_s(), What::Removed, Why::OrderOver, by);
    removed.then(event).into_iter().collect()
}
