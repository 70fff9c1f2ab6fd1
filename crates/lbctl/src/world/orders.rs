// SPDX-License-Identifier: Apache-2.0
//! Events of members while a world runs, by the state machines of `balance::lifecycle`.

use std::sync::Arc;

use balance::api::{Balancer, Change, ChangeError, Membership};
use balance::event::By;
use balance::health::HealthState;
use balance::lifecycle::{self, Finding, Ramps, Subject};
use balance::live::{Latency, Live};
use balance::member::Member;
use balance::settings::{HealthCheck, PoolSettings};
use balance::status::Status;
use balance::store::Vitals;

use super::World;

/// Checks that bring a member up or down, whatever they have said before.
const MOST_CHECKS: u32 = 10_000;

/// A member, and the pool that it is in.
pub type Found = (Arc<Membership>, Arc<Member>);

impl World {
    /// The pools, as they are now.
    pub fn memberships(&self) -> Vec<Arc<Membership>> {
        let handle = self.handle();
        let pools = handle.names().into_iter().filter_map(|name| handle.find(&name));
        pools.filter_map(|pool| handle.membership(pool)).collect()
    }

    /// Members by name, or by `POOL/NAME`: one of each pool that has it.
    ///
    /// # Errors
    /// There is none; those that there are are named.
    pub fn members(&self, name: &str) -> Result<Vec<Found>, String> {
        let (pool, own) = name.split_once('/').map_or((None, name), |(pool, own)| (Some(pool), own));
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for membership in self.memberships() {
            for member in membership.members.iter() {
                let here = pool.is_none_or(|pool| membership.name.eq_ignore_ascii_case(pool));
                if here && member.spec.name == own {
                    found.push((membership.clone(), member.clone()));
                }
                others.push(format!("{}/{}", membership.name, member.spec.name));
            }
        }
        if found.is_empty() {
            let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            return Err(format!("there is no member {name}: found {others}"));
        }
        Ok(found)
    }

    /// Has checks say that a member is up or down. Up ends an ejection as well.
    pub fn set_health(&self, name: &str, up: bool) -> Result<(), String> {
        for (membership, member) in self.members(name)? {
            let settings = self.handle().settings(membership.pool);
            let check = settings.and_then(|settings| settings.health.clone()).or_else(any_check);
            let check = check.ok_or("internal error: there is no check")?;
            self.check(&membership, &member, &check, up);
            if up {
                let alone = Membership { members: [member].into(), ..(*membership).clone() };
                lifecycle::expire(self.pools.store(), &alone, u64::MAX);
            }
        }
        Ok(())
    }

    fn check(&self, membership: &Membership, member: &Arc<Member>, check: &HealthCheck, up: bool) {
        let store = self.pools.store();
        let of = Subject { pool: &membership.name, member };
        let found = Finding { ok: up, why: "said so", ..Finding::default() };
        for _ in 0..MOST_CHECKS {
            lifecycle::check_ended(store, of, check, &found);
            let state = HealthState::from_bits(store.health(member.slot));
            if state.is_down() != up {
                return;
            }
        }
    }

    /// Drains, enables, weighs.
    pub fn order(&self, name: &str, change: Change) -> Result<(), String> {
        for (_, member) in self.members(name)? {
            let done = self.handle().change(&member, change, &By::Somebody);
            done.map_err(|error: ChangeError| error.to_string())?;
        }
        Ok(())
    }

    /// Removes members.
    pub fn remove(&self, name: &str) -> Result<(), String> {
        for (membership, member) in self.members(name)? {
            let done = self.handle().remove(membership.pool, &member.spec.name, &By::Somebody);
            done.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Requests that members have in flight.
    pub fn set_inflight(&self, name: &str, count: u32) -> Result<(), String> {
        for (_, member) in self.members(name)? {
            self.pools.store().set_inflight(member.slot, count);
        }
        Ok(())
    }

    /// How long members are believed to take, in seconds.
    pub fn set_latency(&self, name: &str, seconds: f64) -> Result<(), String> {
        let latency = Latency { ewma_ms: (seconds * 1e3) as f32, stamp_ms: self.now_ms() as u32 };
        for (_, member) in self.members(name)? {
            self.pools.store().set_latency(member.slot, latency);
        }
        Ok(())
    }

    /// Lets time pass up to a moment: ejections end, slow starts go on.
    pub fn pass_to(&self, ramps: &mut Ramps, end: f64) {
        const STEP: f64 = 1.0;
        self.step(ramps, self.now());
        while self.now() < end {
            let next = if self.is_settled() { end } else { end.min(self.now() + STEP) };
            self.step(ramps, next);
        }
    }

    fn step(&self, ramps: &mut Ramps, to: f64) {
        self.set_now(to);
        let (store, all) = (self.pools.store(), self.memberships());
        for membership in &all {
            lifecycle::expire(store, membership, self.now_ms());
        }
        ramps.advance(store, all.iter().map(|membership| &**membership), self.now_ms());
    }

    /// Whether nobody is ejected, and no weight is still coming back.
    pub fn is_settled(&self) -> bool {
        let store = self.pools.store();
        let all = self.memberships();
        all.iter().flat_map(|membership| membership.members.iter()).all(|member| {
            let status = store.status(member.slot);
            status.ramp() == u8::MAX && !status.has(Status::EJECTED)
        })
    }
}

/// The check of a pool that has none: one result counts.
fn any_check() -> Option<HealthCheck> {
    let mut settings = PoolSettings::default();
    let words = ["tcp", "rise=1", "fall=1"].map(str::to_owned);
    settings.set_directive("LuaBalancerHealthCheck", &words).ok()?;
    settings.health
}
