// SPDX-License-Identifier: Apache-2.0
//! A change before it is made: steps, tried on a copy of what there is. Several changes of one
//! request see what those before them would do.

use balance::api::Change;
use balance::member::MemberSpec;
use balance::order::{AdminState, Order};
use balance::snapshot::{MemberState, PoolState, Snapshot};
use balance::status::Status;

use crate::find;
use crate::problem::Problem;

/// One change of one member.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// The pool's name.
    pub pool: String,
    /// The member's name.
    pub member: String,
    pub what: What,
}

/// See [`Step`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What {
    Add(Box<MemberSpec>),
    Remove,
    Change(Change),
    /// Another order beside the member, or none any more.
    Order(Option<Order>),
}

/// What there would be.
pub(crate) struct Draft {
    pub all: Snapshot,
    pub steps: Vec<Step>,
    /// Members that are new, and rows that are free.
    added: usize,
    room: usize,
}

impl Draft {
    pub(crate) fn of(all: Snapshot) -> Self {
        let room = all.fill.map_or(usize::MAX, |fill| fill.members.of.saturating_sub(fill.members.used));
        Draft { all, steps: Vec::new(), added: 0, room }
    }

    pub(crate) fn pool(&self, name: &str) -> Result<&PoolState, Problem> {
        find::pool(&self.all, name)
    }

    pub(crate) fn member(&self, pool: &str, name: &str) -> Result<(&PoolState, &MemberState), Problem> {
        find::member(&self.all, pool, name)
    }

    /// Takes these steps as well.
    pub(crate) fn take(&mut self, steps: Vec<Step>) -> Result<(), Problem> {
        for step in steps {
            self.try_out(&step)?;
            self.steps.push(step);
        }
        Ok(())
    }

    /// A row that a removed member leaves is free only when its last request has ended: it is not
    /// counted.
    fn try_out(&mut self, step: &Step) -> Result<(), Problem> {
        let pools = &mut self.all.pools;
        let pool = pools.iter_mut().find(|pool| *pool.name == *step.pool);
        let pool = pool.ok_or_else(|| Problem::new(404, "the pool is gone"))?;
        if let What::Add(spec) = &step.what {
            self.added += 1;
            if self.added > self.room {
                let detail = "no room for another member: raise LuaBalancerMaxMembers";
                return Err(Problem::new(507, detail));
            }
            pool.members.push(newcomer(spec));
            return Ok(());
        }
        let place = pool.members.iter().position(|member| member.spec.name == step.member);
        let place = place.ok_or_else(|| Problem::new(404, "the member is gone"))?;
        match &step.what {
            What::Remove => drop(pool.members.remove(place)),
            What::Change(change) => try_change(&mut pool.members[place], *change),
            What::Order(order) => {
                let member = &mut pool.members[place];
                if let Some(order) = order {
                    order.overlay(&mut member.spec);
                }
                member.order.clone_from(order);
            }
            What::Add(_) => {}
        }
        Ok(())
    }
}

fn try_change(member: &mut MemberState, change: Change) {
    match change {
        Change::SetWeight(hundredths) => member.weights.ordered = hundredths,
        Change::Switch(flags) => set_flags(member, flags),
        _ => {}
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
        spec: spec.clone(),
    };
    set_flags(&mut member, spec.flags & AdminState::FLAGS);
    member
}
