// SPDX-License-Identifier: Apache-2.0
//! The steps that put a source's list into service. A definition's member, a script's and a
//! person's are left alone, and so are orders: what somebody has ordered of a member that was found
//! outlives every list.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::api::Membership;
use crate::member::{Member, MemberSpec, found_print};
use crate::order::{AdminState, Order};
use crate::prints::PrintSet;
use crate::status::Status;
use crate::steps::{Doing, MemberStep};
use crate::store::Store;

/// The list of a source.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'l> {
    /// The source's name.
    pub source: &'l str,
    /// Names of all sources of the pool: what others have found is anybody's.
    pub known: &'l [&'l str],
    /// The members, each name once.
    pub members: &'l [Arc<MemberSpec>],
    /// The fingerprint of each ([`MemberSpec::print`]).
    pub prints: &'l [u64],
    /// Members that stay though the list does not name them.
    pub absent: &'l HashSet<&'l str>,
    /// For how many milliseconds a member that goes keeps its sessions.
    pub drain_ms: u64,
}

/// The difference between a pool and a list.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListDifference {
    /// The steps to be taken; none, when all is as it should be.
    pub steps: Vec<MemberStep>,
    /// Members in service that are the source's, and do not drain away.
    pub serving: usize,
    /// Names of those that the list does not have.
    pub gone: Vec<String>,
    /// Names that others have, before whom the source steps back.
    pub shadowed: Vec<String>,
}

impl ListDifference {
    /// Between a pool as it is now, and a list. `now_s`: epoch seconds.
    pub fn of(store: &impl Store, pool: &Membership, listing: Listing<'_>, now_s: u64) -> Self {
        let mut planning = Planning { store, pool, listing, now_s, found: ListDifference::default() };
        // Most are as they were, and nothing is ordered of them: the words of those are not read.
        let source = found_print(0, Some(listing.source));
        let mut listed: PrintSet = listing.prints.iter().map(|print| print ^ source).collect();
        let others: Vec<&Arc<Member>> =
            pool.members.iter().filter(|member| member.is_ordered || !listed.remove(&member.print)).collect();
        planning.found.serving = pool.members.len() - others.len();
        let known: HashMap<&str, &Arc<Member>> =
            others.iter().map(|member| (member.spec.name.as_str(), *member)).collect();
        let lines = listing.members.iter().zip(listing.prints);
        let lines: Vec<&MemberSpec> =
            lines.filter(|(_, print)| listed.contains(&(*print ^ source))).map(|(spec, _)| &**spec).collect();
        let names: HashSet<&str> = lines.iter().map(|spec| spec.name.as_str()).collect();
        for member in others.iter().filter(|member| member.is_found_by(listing.source)) {
            planning.serving(member, names.contains(&*member.spec.name));
        }
        for spec in lines {
            match known.get(&*spec.name) {
                None => planning.step(&spec.name, Doing::Add(planning.found_one(spec))),
                Some(member) => planning.known(member, spec),
            }
        }
        planning.found
    }
}

impl Member {
    /// Whether this source has found it.
    pub fn is_found_by(&self, source: &str) -> bool {
        self.spec.discovered.as_deref() == Some(source)
    }
}

struct Planning<'a, S> {
    store: &'a S,
    pool: &'a Membership,
    listing: Listing<'a>,
    now_s: u64,
    found: ListDifference,
}

impl<S: Store> Planning<'_, S> {
    fn step(&mut self, name: &str, what: Doing) {
        let (pool, member) = (self.pool.name.to_string(), name.to_owned());
        self.found.steps.push(MemberStep { pool, member, what });
    }

    /// A member of the list, as the pool has it.
    fn found_one(&self, spec: &MemberSpec) -> Box<MemberSpec> {
        Box::new(MemberSpec { discovered: Some(self.listing.source.to_owned()), ..spec.clone() })
    }

    fn flags(&self, member: &Member) -> u64 {
        self.store.status(member.slot).0 & AdminState::FLAGS
    }

    /// A member of the source, as it is now.
    fn serving(&mut self, member: &Member, is_listed: bool) {
        let order = self.store.order(member.slot).unwrap_or_default();
        if order.gone.is_some() {
            return;
        }
        self.found.serving += 1;
        let name = &member.spec.name;
        if is_listed || self.listing.absent.contains(name.as_str()) {
            return;
        }
        self.found.gone.push(name.clone());
        if self.listing.drain_ms == 0 {
            self.step(name, Doing::Remove);
            return;
        }
        if AdminState::of(self.flags(member)) == AdminState::Ready {
            self.step(name, Doing::Switch(Status::DRAINING));
        }
        let gone = Some(self.now_s.saturating_add(self.listing.drain_ms.div_ceil(1000)));
        self.step(name, Doing::Order(Some(Order { gone, ..order })));
    }

    /// A member that the list names, and that is there.
    fn known(&mut self, member: &Member, spec: &MemberSpec) {
        let name = &spec.name;
        let order = self.store.order(member.slot);
        let is_gone = order.as_ref().is_some_and(|order| order.gone.is_some());
        let is_own = member.is_found_by(self.listing.source);
        let finder = member.spec.discovered.as_deref();
        let is_anybodys = finder.is_some_and(|finder| is_gone || !self.listing.known.contains(&finder));
        if !is_own && !is_anybodys {
            self.found.shadowed.push(name.clone());
            return;
        }
        // Most have no order that stands before their line: those are not read once more.
        let read = match order.as_ref().is_some_and(Order::overlays) {
            true => match self.store.configured(member.slot) {
                None => return,
                read => read,
            },
            false => None,
        };
        let configured = read.as_ref().unwrap_or(&member.spec);
        if configured.url != spec.url {
            self.moved(spec, order.unwrap_or_default());
            return;
        }
        if is_gone {
            self.back(member, spec, order.unwrap_or_default());
        }
        if !is_own || !configured.says_the_same(spec) {
            self.step(name, Doing::Line(self.found_one(spec)));
        }
    }

    /// A member that has moved to another URL is another one, of which the same is ordered.
    fn moved(&mut self, spec: &MemberSpec, order: Order) {
        let (name, listed) = (&spec.name, spec.flags & AdminState::FLAGS);
        self.step(name, Doing::Remove);
        self.step(name, Doing::Add(self.found_one(spec)));
        let order = Order { gone: None, ..order };
        if let Some(flags) = order.admin.map(AdminState::flags).filter(|flags| *flags != listed) {
            self.step(name, Doing::Switch(flags));
        }
        if let Some(weight) = order.weight {
            self.step(name, Doing::Weigh(weight));
        }
        if !order.is_empty() {
            self.step(name, Doing::Order(Some(order)));
        }
    }

    /// A member that is back before it has drained away: what was ordered of it holds again.
    fn back(&mut self, member: &Member, spec: &MemberSpec, order: Order) {
        let order = Order { gone: None, ..order };
        let flags = order.admin.map_or(spec.flags & AdminState::FLAGS, AdminState::flags);
        // Somebody else has switched it meanwhile: that stays.
        if self.flags(member) == Status::DRAINING && flags != Status::DRAINING {
            self.step(&spec.name, Doing::Switch(flags));
        }
        self.step(&spec.name, Doing::Order((!order.is_empty()).then_some(order)));
    }
}

#[cfg(test)]
mod tests;
