// SPDX-License-Identifier: Apache-2.0
//! A plan carried out in a store that nobody uses yet.

use std::collections::HashMap;
use std::sync::Arc;

use balance::api::PoolId;
use balance::ejection;
use balance::health::{AgentOrder, HealthState};
use balance::member::Member;
use balance::order::AdminState;
use balance::outlier::OutlierState;
use balance::settings::PoolSettings;
use balance::status::Status;
use balance::steps::Deed;
use balance::store::Vitals;

use crate::compose::WriteTime;
use crate::document::{KeptAgent, KeptEjection, KeptHealth};
use crate::plan::{MemberPlan, StartPlan};

/// The result of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Members whose orders hold again.
    pub ordered: usize,
    /// Members that are back.
    pub added: usize,
    /// The parts that the store did not take.
    pub refused: Vec<String>,
}

/// Carries a plan out: members and orders as one change, in a time that grows with their number.
pub fn apply(store: &impl Vitals, plan: &StartPlan, now: WriteTime) -> Applied {
    let mut applying = Applying { store, now, applied: Applied::default(), pools: HashMap::new() };
    let deeds: Vec<Deed> = plan.members.iter().filter_map(|planned| applying.deed(planned)).collect();
    if !store.with_pen(&mut || applying.carry_out(&deeds)) {
        deeds.iter().for_each(|deed| applying.refuse(deed, &"somebody changes the table and does not end"));
    }
    // Their pools have other members by now.
    applying.pools.clear();
    deeds.iter().for_each(|deed| applying.ramp_up(deed));
    // Last: whether a member may be out hangs on how many there are.
    for planned in &plan.members {
        if let Some(health) = &planned.health
            && let Some(member) = applying.member(&planned.pool, &planned.name)
        {
            applying.health(health, planned, &member);
        }
    }
    applying.applied
}

/// A pool as it is.
struct Known {
    id: PoolId,
    name: Arc<str>,
    settings: PoolSettings,
    members: HashMap<String, Arc<Member>>,
}

struct Applying<'s, S> {
    store: &'s S,
    now: WriteTime,
    applied: Applied,
    pools: HashMap<String, Known>,
}

impl<S: Vitals> Applying<'_, S> {
    fn pool(&mut self, name: &str) -> Option<&mut Known> {
        if !self.pools.contains_key(name) {
            let id = self.store.find_pool(name)?;
            let image = self.store.read_pool(id)?;
            let members = image.membership.members.iter();
            let members = members.map(|member| (member.spec.name.clone(), member.clone())).collect();
            let known = Known { id, name: image.membership.name, settings: image.settings, members };
            self.pools.insert(name.to_owned(), known);
        }
        self.pools.get_mut(name)
    }

    fn member(&mut self, pool: &str, name: &str) -> Option<Arc<Member>> {
        self.pool(pool)?.members.get(name).cloned()
    }

    /// The deed of a member's plan. None: nothing is to be done, or there is no such member.
    fn deed(&mut self, planned: &MemberPlan) -> Option<Deed> {
        let known = self.pool(&planned.pool)?;
        let there = known.members.get(&planned.name).cloned();
        let deed = Deed {
            pool: known.id,
            pool_name: known.name.clone(),
            name: planned.name.clone(),
            there: there.filter(|_| planned.add.is_none()),
            goes: false,
            comes: planned.add.as_deref().cloned(),
            recount: false,
            flags: planned.admin.map(AdminState::flags),
            weight: planned.weight,
            order: planned.order.clone().map(Some),
            line: None,
        };
        let is_there = deed.comes.is_some() || deed.there.is_some();
        (is_there && (deed.comes.is_some() || is_order(&deed))).then_some(deed)
    }

    /// As one change; where the table does not take that, in halves, until it is known whom it does
    /// not take.
    fn carry_out(&mut self, deeds: &[Deed]) {
        if deeds.is_empty() {
            return;
        }
        let error = match self.store.carry_out(deeds) {
            Ok(_) => {
                self.applied.added += deeds.iter().filter(|deed| deed.comes.is_some()).count();
                self.applied.ordered += deeds.iter().filter(|deed| is_order(deed)).count();
                return;
            }
            Err(error) => error,
        };
        match deeds {
            [deed] => {
                self.refuse(deed, &error);
                self.carry_out_without_text(deed);
            }
            _ => {
                let (one, other) = deeds.split_at(deeds.len() / 2);
                self.carry_out(one);
                self.carry_out(other);
            }
        }
    }

    /// A table without room for an order's text has it for the state and the weight.
    fn carry_out_without_text(&mut self, deed: &Deed) {
        if deed.there.is_some() && deed.order.is_some() && (deed.flags.is_some() || deed.weight.is_some()) {
            self.carry_out(&[Deed { order: None, ..deed.clone() }]);
        }
    }

    fn refuse(&mut self, deed: &Deed, error: &dyn std::fmt::Display) {
        self.applied.refused.push(format!("pool {}: member {}: {error}", deed.pool_name, deed.name));
    }

    /// It was there before the stop: it has its whole weight at once.
    fn ramp_up(&mut self, deed: &Deed) {
        if let Some(member) = self.member(&deed.pool_name, &deed.name) {
            let whole = &mut |status: Status| status.with_ramp(u8::MAX);
            // A row that is another's by now has no ramp of this member.
            let _ = self.store.update(member.slot, member.incarnation, whole);
        }
    }

    fn health(&mut self, health: &KeptHealth, planned: &MemberPlan, member: &Member) {
        if health.down.is_some() || health.agent.is_some() {
            self.checks(health, planned, member);
        }
        if let Some(ejected) = &health.ejected {
            self.eject(ejected, planned, member);
        }
    }

    fn checks(&mut self, health: &KeptHealth, planned: &MemberPlan, member: &Member) {
        let initial_down = self
            .pool(&planned.pool)
            .is_some_and(|known| known.settings.health.as_ref().is_some_and(|check| !check.initial_up));
        let state = HealthState::resumed(health.down.unwrap_or(initial_down));
        let state = health.agent.as_ref().map_or(state, |agent| state.ordered(order(agent), agent.percent));
        let (slot, incarnation) = (member.slot, member.incarnation);
        self.store.update_health(slot, incarnation, |_| state.to_bits());
        let flags = |status: Status| status.without(Status::CHECKS).with(state.flags());
        let _ = self.store.update(slot, incarnation, &mut |status| flags(status));
    }

    /// Unless nobody would be left.
    fn eject(&mut self, ejected: &KeptEjection, planned: &MemberPlan, member: &Member) {
        let (store, now) = (self.store, self.now);
        let Some(known) = self.pool(&planned.pool) else { return };
        let members: Vec<Arc<Member>> = known.members.values().cloned().collect();
        let longest_ms = known.settings.outlier.max_ejection_ms;
        if !ejection::may_eject(store, &members, member.slot, &known.settings.outlier) {
            return;
        }
        let rest_ms = ejected.until.0.saturating_sub(now.now_s).saturating_mul(1000).min(longest_ms);
        let state = OutlierState::resumed(ejected.times, now.now_ms + rest_ms);
        store.update_outlier(member.slot, member.incarnation, |_| state.to_bits());
        ejection::hold(store, member);
    }
}

/// Whether somebody has ordered something of the member.
fn is_order(deed: &Deed) -> bool {
    deed.flags.is_some() || deed.weight.is_some() || deed.order.is_some()
}

fn order(agent: &KeptAgent) -> Option<AgentOrder> {
    match (agent.maint, agent.drain) {
        (true, _) => Some(AgentOrder::Maint),
        (false, true) => Some(AgentOrder::Drain),
        (false, false) => None,
    }
}
