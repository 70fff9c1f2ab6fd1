// SPDX-License-Identifier: Apache-2.0
//! A change before it is made: steps, tried on a copy of what there is. Several changes of one
//! request see what those before them would do.

use std::collections::HashMap;

use balance::member::MemberSpec;
use balance::order::{AdminState, Order};
use balance::snapshot::{MemberState, PoolState, Snapshot};
use balance::status::Status;
use balance::steps::{Doing, MemberStep};

use crate::find;
use crate::problem::Problem;

/// The snapshot as it would be.
pub(crate) struct Draft {
    pub all: Snapshot,
    pub steps: Vec<MemberStep>,
    /// Members that are new, and rows that are free.
    added: usize,
    room: usize,
    /// Orders by pool and member, before and after.
    orders: HashMap<(String, String), (Option<Order>, Option<Order>)>,
    /// Places of members by their pool's place and their name, once many are looked for.
    places: HashMap<usize, HashMap<String, usize>>,
    looked: usize,
}

/// So many members are looked for one by one.
const FEW: usize = 16;

impl Draft {
    pub(crate) fn of(all: Snapshot) -> Self {
        let room = all.fill.map_or(usize::MAX, |fill| fill.members.of.saturating_sub(fill.members.used));
        let (orders, places) = (HashMap::new(), HashMap::new());
        Draft { all, steps: Vec::new(), added: 0, room, orders, places, looked: 0 }
    }

    pub(crate) fn pool(&self, name: &str) -> Result<&PoolState, Problem> {
        find::pool(&self.all, name)
    }

    pub(crate) fn member(&mut self, pool: &str, name: &str) -> Result<(&PoolState, &MemberState), Problem> {
        let at = find::pool_place(&self.all, pool)?;
        let place = self.place(at, name);
        let pool = &self.all.pools[at];
        let member = place.and_then(|place| pool.members.get(place));
        Ok((pool, member.ok_or_else(|| find::no_member(pool, name))?))
    }

    /// Whether the pool has a member of this name.
    pub(crate) fn has(&mut self, pool: &str, name: &str) -> Result<bool, Problem> {
        let at = find::pool_place(&self.all, pool)?;
        Ok(self.place(at, name).is_some())
    }

    /// The place of a member in the pool that has this place.
    fn place(&mut self, pool: usize, name: &str) -> Option<usize> {
        let members = &self.all.pools.get(pool)?.members;
        self.looked += 1;
        if self.looked <= FEW {
            return members.iter().position(|member| member.spec.name == name);
        }
        let all = || members.iter().enumerate().map(|(at, member)| (member.spec.name.clone(), at)).collect();
        self.places.entry(pool).or_insert_with(all).get(name).copied()
    }

    fn add(&mut self, pool: usize, spec: &MemberSpec) {
        let Some(state) = self.all.pools.get_mut(pool) else { return };
        if let Some(places) = self.places.get_mut(&pool) {
            places.insert(spec.name.clone(), state.members.len());
        }
        state.members.push(newcomer(spec));
    }

    /// The last one takes the place of the one that goes.
    fn remove(&mut self, pool: usize, place: usize) {
        let Some(state) = self.all.pools.get_mut(pool) else { return };
        let gone = state.members.swap_remove(place);
        if let Some(places) = self.places.get_mut(&pool) {
            places.remove(&gone.spec.name);
            if let Some(moved) = state.members.get(place) {
                places.insert(moved.spec.name.clone(), place);
            }
        }
    }

    /// Takes these steps as well.
    pub(crate) fn take(&mut self, steps: Vec<MemberStep>) -> Result<(), Problem> {
        for step in steps {
            self.try_out(&step)?;
            self.steps.push(step);
        }
        Ok(())
    }

    /// The orders of a member before and after.
    pub(crate) fn orders(&self, pool: &str, member: &str) -> (Option<&Order>, Option<&Order>) {
        let found = self.orders.get(&(pool.to_owned(), member.to_owned()));
        found.map_or((None, None), |(before, now)| (before.as_ref(), now.as_ref()))
    }

    /// Members whose orders change, with their orders before and after.
    pub(crate) fn all_orders(&self) -> impl Iterator<Item = (&str, &str, Option<&Order>, Option<&Order>)> {
        let all = self.orders.iter();
        all.map(|((pool, member), (before, now))| (&**pool, &**member, before.as_ref(), now.as_ref()))
    }

    /// Has a member's order be another one than its steps say.
    pub(crate) fn reorder(&mut self, pool: &str, member: &str, order: Option<Order>) {
        let is_its = |step: &&mut MemberStep| step.pool == pool && step.member == member;
        for step in self.steps.iter_mut().filter(is_its) {
            if let Doing::Order(known) = &mut step.what {
                known.clone_from(&order);
            }
        }
        if let Some((_, now)) = self.orders.get_mut(&(pool.to_owned(), member.to_owned())) {
            *now = order;
        }
    }

    /// A row that a removed member leaves is free only when its last request has ended: it is not
    /// counted.
    fn try_out(&mut self, step: &MemberStep) -> Result<(), Problem> {
        let at = self.all.pools.iter().position(|pool| *pool.name == *step.pool);
        let at = at.ok_or_else(|| Problem::new(404, "the pool is gone"))?;
        if let Doing::Add(spec) = &step.what {
            self.added += 1;
            if self.added > self.room {
                let detail = "no room for another member: raise LuaBalancerMaxMembers";
                return Err(Problem::new(507, detail));
            }
            self.add(at, spec);
            return Ok(());
        }
        let place = self.place(at, &step.member);
        let place = place.ok_or_else(|| Problem::new(404, "the member is gone"))?;
        let member = &mut self.all.pools[at].members[place];
        match &step.what {
            Doing::Remove => self.remove(at, place),
            Doing::Weigh(hundredths) => member.weights.ordered = *hundredths,
            Doing::Switch(flags) => set_flags(member, *flags),
            Doing::Order(order) => {
                let names = (step.pool.clone(), step.member.clone());
                let before = member.order.clone();
                self.orders.entry(names).or_insert_with(|| (before, None)).1.clone_from(order);
                if let Some(order) = order {
                    order.overlay(&mut member.spec);
                }
                member.order.clone_from(order);
            }
            Doing::Line(spec) => *member.spec = (**spec).clone(),
            Doing::Add(_) | Doing::Recount => {}
        }
        Ok(())
    }
}

/// The flags that somebody may order.
pub(crate) fn flags(member: &MemberState) -> u64 {
    use balance::snapshot::Flag;
    let set = member.why.iter().map(|cause| match cause.flag {
        Flag::Disabled => Status::DISABLED,
        Flag::Stopped => Status::STOPPED,
        Flag::ForcedError => Status::FORCED_ERROR,
        Flag::Draining => Status::DRAINING,
        _ => 0,
    });
    set.fold(0, |flags, flag| flags | flag)
}

fn set_flags(member: &mut MemberState, flags: u64) {
    use balance::event::By;
    use balance::snapshot::{Cause, Flag};
    let ordered = [Flag::Disabled, Flag::Stopped, Flag::ForcedError, Flag::Draining];
    member.why.retain(|cause| !ordered.contains(&cause.flag));
    let flag = match AdminState::of(flags) {
        AdminState::Ready => return,
        AdminState::Drain => Flag::Draining,
        AdminState::Disabled => Flag::Disabled,
    };
    member.why.push(Cause { flag, by: By::Somebody });
}

/// A member that is not there yet.
fn newcomer(spec: &MemberSpec) -> MemberState {
    use balance::counts::{Histogram, MemberCounts};
    use balance::live::Latency;
    use balance::snapshot::{OutlierView, Role, Weights};
    let mut member = MemberState {
        state: Status::new(spec.weight, spec.lbset, spec.flags).state(),
        healthy: true,
        usable: true,
        why: Vec::new(),
        since: 0,
        weights: Weights {
            configured: spec.weight,
            ordered: spec.weight,
            effective: spec.weight,
            ramp: u8::MAX,
            agent_percent: 100,
        },
        lbset: spec.lbset,
        role: Role::Active,
        inflight: 0,
        max_inflight: spec.max_inflight,
        requests: 0,
        failures: 0,
        latency: Latency::default(),
        check: None,
        last_check: None,
        outlier: OutlierView { ejected: false, failures: 0, ejections: 0, until_ms: None },
        counts: MemberCounts::default(),
        recent: Histogram::default(),
        added: true,
        order: None,
        replaced: None,
        opinions: Vec::new(),
        spec: spec.clone().into(),
    };
    set_flags(&mut member, spec.flags & AdminState::FLAGS);
    member
}
