// SPDX-License-Identifier: Apache-2.0
//! Steps carried out, all of them or none.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use balance::api::{Balancer, Change, ChangeError, PoolId};
use balance::event::{By, Level};
use balance::member::{Member, MemberSpec};
use balance::order::{AdminState, Order};
use balance::snapshot::Snapshot;

use crate::draft::{Step, What};
use crate::problem::Problem;
use crate::types::House;

/// The person that changes something, and what is to be undone should a later step fail.
pub(crate) struct Applying<'a> {
    house: &'a dyn House,
    by: By,
    /// The last one first.
    undo: Vec<Undo>,
    /// Members, as `pool/member`, whose change the balancer has told the log of.
    told: HashSet<String>,
    pools: HashMap<String, Known>,
}

/// A pool and its members, read once: each step changes the pool, and to read all of it anew each
/// time would take the square of the time.
struct Known {
    id: PoolId,
    members: HashMap<String, Arc<Member>>,
}

enum Undo {
    Remove(PoolId, String),
    Add(PoolId, Box<MemberSpec>),
    Change(Arc<Member>, Change),
    Order(Arc<Member>, Option<Order>),
}

impl Known {
    fn member(&self, step: &Step) -> Result<Arc<Member>, ChangeError> {
        let unknown = || ChangeError::UnknownMember { pool: step.pool.clone(), name: step.member.clone() };
        self.members.get(&step.member).cloned().ok_or_else(unknown)
    }
}

impl<'a> Applying<'a> {
    pub(crate) fn new(house: &'a dyn House, by: By) -> Self {
        Applying { house, by, undo: Vec::new(), told: HashSet::new(), pools: HashMap::new() }
    }

    /// Carries all steps out; when one fails, those before it are taken back.
    pub(crate) fn run(mut self, steps: &[Step]) -> Result<(), Problem> {
        // What a member was before is what the first step of it finds.
        let before = self.house.snapshot();
        let orders = orders_of(&before);
        for step in steps {
            let order = orders.get(&(&*step.pool, &*step.member)).copied();
            if let Err(error) = self.step(step, order) {
                self.take_back();
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, before: Option<&Order>) -> Result<(), ChangeError> {
        let balancer = self.house.balancer();
        let pool = known(&mut self.pools, balancer, &step.pool)?;
        match &step.what {
            What::Add(spec) => {
                let added = balancer.add(pool.id, (**spec).clone(), &self.by)?;
                pool.members.insert(step.member.clone(), added);
                self.undo.push(Undo::Remove(pool.id, step.member.clone()));
            }
            What::Remove => {
                let member = pool.member(step)?;
                balancer.remove(pool.id, &step.member, &self.by)?;
                pool.members.remove(&step.member);
                self.undo.push(Undo::Add(pool.id, Box::new(member.spec.clone())));
            }
            What::Change(change) => {
                let member = pool.member(step)?;
                self.change(member, *change)?;
                if *change == Change::Recount {
                    self.tell(step, "failures and checks count from 0");
                }
            }
            What::Order(order) => {
                let member = pool.member(step)?;
                balancer.order(&member, order.as_ref())?;
                self.tell_order(step, before, order.as_ref());
                self.undo.push(Undo::Order(member, before.cloned()));
            }
        }
        if !matches!(step.what, What::Order(_)) {
            self.told.insert(format!("{}/{}", step.pool, step.member));
        }
        Ok(())
    }

    fn change(&mut self, member: Arc<Member>, change: Change) -> Result<(), ChangeError> {
        let balancer = self.house.balancer();
        let status = balancer.status(&member).ok_or(ChangeError::Removed)?;
        balancer.change(&member, change, &self.by)?;
        let back = match change {
            Change::SetWeight(_) => Some(Change::SetWeight(status.weight())),
            Change::Switch(_) => Some(Change::Switch(status.0 & AdminState::FLAGS)),
            _ => None,
        };
        self.undo.extend(back.map(|back| Undo::Change(member, back)));
        Ok(())
    }

    /// What the balancer does not tell of an order: limits and meta keys, and end and reason where
    /// neither state nor weight changes.
    fn tell_order(&self, step: &Step, before: Option<&Order>, now: Option<&Order>) {
        let told = self.told.contains(&format!("{}/{}", step.pool, step.member));
        let changes = order_changes(before, now, !told);
        if !changes.is_empty() {
            self.tell(step, &changes.join(", "));
        }
    }

    fn tell(&self, step: &Step, what: &str) {
        let (pool, member, by) = (&step.pool, &step.member, &self.by);
        self.house.log(Level::Notice, &format!("pool {pool}: member {member}: {what} (by {by})"));
    }

    /// What cannot be taken back (somebody else has changed it meanwhile) stays, and is in the log.
    fn take_back(&mut self) {
        let balancer = self.house.balancer();
        while let Some(undo) = self.undo.pop() {
            let done = match undo {
                Undo::Remove(pool, name) => balancer.remove(pool, &name, &self.by),
                Undo::Add(pool, spec) => balancer.add(pool, *spec, &self.by).map(drop),
                Undo::Change(member, change) => balancer.change(&member, change, &self.by),
                Undo::Order(member, order) => balancer.order(&member, order.as_ref()),
            };
            if let Err(error) = done {
                self.house.log(Level::Warning, &format!("a change cannot be taken back: {error}"));
            }
        }
    }
}

/// The pool of this name, read when it is named first.
fn known<'p>(
    pools: &'p mut HashMap<String, Known>,
    balancer: &dyn Balancer,
    name: &str,
) -> Result<&'p mut Known, ChangeError> {
    if !pools.contains_key(name) {
        let id = balancer.find(name).ok_or(ChangeError::UnknownPool)?;
        let membership = balancer.membership(id).ok_or(ChangeError::UnknownPool)?;
        let members = membership.members.iter().map(|member| (member.spec.name.clone(), member.clone()));
        pools.insert(name.to_owned(), Known { id, members: members.collect() });
    }
    pools.get_mut(name).ok_or(ChangeError::UnknownPool)
}

/// The orders that members have, by pool and member.
fn orders_of(before: &Snapshot) -> HashMap<(&str, &str), &Order> {
    let members = before.pools.iter().flat_map(|pool| pool.members.iter().map(move |member| (pool, member)));
    members
        .filter_map(|(pool, member)| Some(((&*pool.name, &*member.spec.name), member.order.as_ref()?)))
        .collect()
}

/// What an order changes besides state and weight, as `key old -> new`; with `all` also its end and
/// its reason.
fn order_changes(before: Option<&Order>, now: Option<&Order>, all: bool) -> Vec<String> {
    let none = Order::default();
    let (before, now) = (before.unwrap_or(&none), now.unwrap_or(&none));
    let number = |number: Option<u32>| number.map_or_else(|| "configured".to_owned(), |n| n.to_string());
    let meta = |meta: &Option<Vec<(String, String)>>| match meta {
        None => "configured".to_owned(),
        Some(pairs) if pairs.is_empty() => "none".to_owned(),
        Some(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join(" ")
        }
    };
    let until = |until: Option<u64>| {
        until.map_or_else(|| "none".to_owned(), |until| render::time::Time(until).to_string())
    };
    let then = |order: &Order| order.then.map_or("ready", |then| then.word());
    let note =
        |note: &Option<String>| note.as_ref().map_or_else(|| "none".to_owned(), |note| format!("{note:?}"));
    let mut pairs = vec![
        ("max_inflight", number(before.max_inflight), number(now.max_inflight)),
        ("meta", meta(&before.meta), meta(&now.meta)),
    ];
    if all {
        pairs.push(("until", until(before.until), until(now.until)));
        pairs.push(("then", then(before).to_owned(), then(now).to_owned()));
        pairs.push(("note", note(&before.note), note(&now.note)));
    }
    let changed = pairs.into_iter().filter(|(_, old, new)| old != new);
    changed.map(|(key, old, new)| format!("{key} {old} -> {new}")).collect()
}
