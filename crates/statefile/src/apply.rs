// SPDX-License-Identifier: Apache-2.0
//! A plan carried out in a store that nobody uses yet.

use std::collections::HashMap;
use std::sync::Arc;

use balance::ejection;
use balance::health::{AgentOrder, HealthState};
use balance::member::{Member, MemberSpec};
use balance::order::AdminState;
use balance::outlier::OutlierState;
use balance::settings::PoolSettings;
use balance::status::Status;
use balance::store::Vitals;

use crate::compose::WriteTime;
use crate::document::{KeptAgent, KeptEjection, KeptHealth};
use crate::plan::{MemberPlan, StartPlan};

/// What was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Members whose orders hold again.
    pub ordered: usize,
    /// Members that are back.
    pub added: usize,
    /// What the store did not take.
    pub refused: Vec<String>,
}

/// Carries a plan out.
pub fn apply(store: &impl Vitals, plan: &StartPlan, now: WriteTime) -> Applied {
    let mut applying = Applying { store, now, applied: Applied::default(), pools: HashMap::new() };
    // Members first: whether one may be out hangs on how many there are.
    let members: Vec<Option<Arc<Member>>> =
        plan.members.iter().map(|planned| applying.member(planned)).collect();
    for (planned, member) in plan.members.iter().zip(&members) {
        if let Some(member) = member {
            applying.orders(planned, member);
        }
    }
    for (planned, member) in plan.members.iter().zip(&members) {
        if let (Some(health), Some(member)) = (&planned.health, member) {
            applying.health(health, planned, member);
        }
    }
    applying.applied
}

/// A pool as it is.
struct Known {
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
            let image = self.store.read_pool(self.store.find_pool(name)?)?;
            let members = image.membership.members.into_iter();
            let members = members.map(|member| (member.spec.name.clone(), member)).collect();
            self.pools.insert(name.to_owned(), Known { settings: image.settings, members });
        }
        self.pools.get_mut(name)
    }

    /// The member of a plan, which is added where that is planned.
    fn member(&mut self, planned: &MemberPlan) -> Option<Arc<Member>> {
        match &planned.add {
            None => self.pool(&planned.pool)?.members.get(&planned.name).cloned(),
            Some(spec) => self.add(planned, spec),
        }
    }

    /// It was there before the stop: it has its whole weight at once.
    fn add(&mut self, planned: &MemberPlan, spec: &MemberSpec) -> Option<Arc<Member>> {
        let store = self.store;
        let added = store.find_pool(&planned.pool).map(|pool| store.add(pool, spec));
        match added? {
            Ok(member) => {
                let whole = &mut |status: Status| status.with_ramp(u8::MAX);
                // A row that is another's by now has no ramp of this member.
                let _ = store.update(member.slot, member.incarnation, whole);
                self.applied.added += 1;
                let member = Arc::new(member);
                let known = self.pool(&planned.pool)?;
                known.members.insert(planned.name.clone(), member.clone());
                Some(member)
            }
            Err(error) => {
                self.refuse(planned, &error);
                None
            }
        }
    }

    fn refuse(&mut self, planned: &MemberPlan, error: &dyn std::fmt::Display) {
        self.applied.refused.push(format!("pool {}: member {}: {error}", planned.pool, planned.name));
    }

    fn orders(&mut self, planned: &MemberPlan, member: &Member) {
        let change = &mut |status: Status| {
            let status = match planned.admin {
                Some(admin) => status.without(AdminState::FLAGS).with(admin.flags()),
                None => status,
            };
            planned.weight.map_or(status, |weight| status.with_weight(weight))
        };
        let is_status = planned.admin.is_some() || planned.weight.is_some();
        if is_status && let Err(error) = self.store.update(member.slot, member.incarnation, change) {
            self.refuse(planned, &error);
            return;
        }
        if let Some(order) = &planned.order
            && let Err(error) = self.store.set_order(member, Some(order))
        {
            self.refuse(planned, &error);
            return;
        }
        self.applied.ordered += usize::from(is_status || planned.order.is_some());
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

fn order(agent: &KeptAgent) -> Option<AgentOrder> {
    match (agent.maint, agent.drain) {
        (true, _) => Some(AgentOrder::Maint),
        (false, true) => Some(AgentOrder::Drain),
        (false, false) => None,
    }
}
