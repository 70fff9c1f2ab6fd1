// SPDX-License-Identifier: Apache-2.0
//! Having orders of the store hold here: many as one change, and so few in a turn that the lead is
//! not lost meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::api::{ChangeError, PoolId};
use balance::event::{By, Event, MemberEvent};
use balance::member::Member;
use balance::order::{AdminState, Order};
use balance::steering::Steering;
use balance::steps::{Doing, MemberStep};
use share::OrderOffer;

/// Most orders that are taken in a turn.
const MOST: usize = 250;
/// How long a turn goes on with them. One change is made in any case.
const LONGEST: Duration = Duration::from_millis(100);

/// A pool's and a member's name.
pub type MemberNames = (String, String);

/// An order that is to hold here.
pub struct Take {
    /// Its pool.
    pub pool: (PoolId, Arc<str>),
    /// Its member.
    pub member: Arc<Member>,
    /// The order that it has.
    pub before: Option<Order>,
    /// The order that it is to have.
    pub after: Option<Order>,
    /// Its revision in the store; 0: it is not there.
    pub revision: u64,
}

/// The deeds about members.
#[derive(Default)]
pub struct Todo {
    /// Orders up to this revision are taken then; None: all.
    pub taken: Option<u64>,
    /// Orders for here.
    pub takes: Vec<Take>,
    /// Orders for the store; true: in place of one that is taken back.
    pub offers: Vec<(OrderOffer, bool)>,
}

/// When each order was tried last that could not hold here.
pub type Untaken = HashMap<MemberNames, Instant>;

impl Take {
    /// Its pool and member.
    pub fn names(&self) -> MemberNames {
        (self.pool.1.to_string(), self.member.spec.name.clone())
    }

    fn by(&self) -> By {
        By::Person(self.after.as_ref().map(Order::person).unwrap_or_default())
    }

    fn steps(&self) -> Vec<MemberStep> {
        let none = Order::default();
        let (old, new) = (self.before.as_ref().unwrap_or(&none), self.after.as_ref().unwrap_or(&none));
        let (pool, member) = self.names();
        let step = |what| MemberStep { pool: pool.clone(), member: member.clone(), what };
        let mut steps = Vec::with_capacity(3);
        if old.admin != new.admin {
            let configured = self.member.spec.flags & AdminState::FLAGS;
            steps.push(step(Doing::Switch(new.admin.map_or(configured, AdminState::flags))));
        }
        if old.weight != new.weight {
            steps.push(step(Doing::Weigh(new.weight.unwrap_or(self.member.spec.weight))));
        }
        steps.push(step(Doing::Order(self.after.clone())));
        steps
    }
}

impl Todo {
    /// Leaves the orders of a turn here, oldest first, those behind the others that could not hold
    /// before. Returns the rest.
    pub fn limit(&mut self, untaken: &Untaken) -> Vec<Take> {
        self.takes.sort_by_cached_key(|take| {
            (untaken.get(&take.names()).filter(|_| !untaken.is_empty()).copied(), take.revision)
        });
        self.takes.split_off(self.takes.len().min(MOST))
    }

    /// The members that something is to be done about, by their pools.
    pub fn members(&self, pools: &dyn Fn(&str) -> Option<PoolId>) -> HashMap<PoolId, HashSet<String>> {
        let mut members: HashMap<PoolId, HashSet<String>> = HashMap::new();
        let offers = self.offers.iter().filter_map(|(offer, _)| Some((pools(&offer.pool)?, &offer.member)));
        let takes = self.takes.iter().map(|take| (take.pool.0, &take.member.spec.name));
        for (pool, member) in takes.chain(offers) {
            members.entry(pool).or_default().insert(member.clone());
        }
        members
    }

    /// The revision up to which all orders are taken, if these are left.
    pub fn taken(&self, at: u64, left: impl Iterator<Item = u64>) -> u64 {
        let left = left.map(|revision| revision.saturating_sub(1)).min();
        at.min(self.taken.unwrap_or(at)).min(left.unwrap_or(at))
    }
}

/// The orders of a turn, as they are taken.
pub struct OrderTaking<'s> {
    steering: &'s dyn Steering,
    until: Option<Instant>,
    /// For the log.
    pub events: Vec<Event>,
    /// Orders that cannot hold here, and why.
    pub untaken: Vec<(MemberNames, String)>,
    /// Revisions of the orders for which there was no time.
    pub left: Vec<u64>,
}

impl<'s> OrderTaking<'s> {
    /// Nothing is taken yet.
    pub fn new(steering: &'s dyn Steering) -> Self {
        OrderTaking { steering, until: None, events: Vec::new(), untaken: Vec::new(), left: Vec::new() }
    }

    /// Has these orders hold here; with the pen.
    pub fn take_all(&mut self, takes: Vec<Take>, untaken: &Untaken) {
        let (again, new): (Vec<_>, Vec<_>) =
            takes.into_iter().partition(|take| !untaken.is_empty() && untaken.contains_key(&take.names()));
        self.take(&new);
        // They do not hold up others, and one of them does not spoil the change of another.
        for take in again {
            if !self.is_late() {
                self.take(&[take]);
            }
        }
    }

    fn is_late(&mut self) -> bool {
        let now = Instant::now();
        match self.until {
            None => {
                self.until = Some(now + LONGEST);
                false
            }
            Some(until) => now >= until,
        }
    }

    /// All as one; in halves where one of them cannot hold here.
    fn take(&mut self, takes: &[Take]) {
        if takes.is_empty() {
            return;
        }
        if self.is_late() {
            self.left.extend(takes.iter().map(|take| take.revision));
            return;
        }
        let steps: Vec<MemberStep> = takes.iter().flat_map(Take::steps).collect();
        match (self.steering.carry_out(&steps, &By::Somebody), takes) {
            (Ok(events), _) => self.events.extend(by_persons(events, takes)),
            // It has just gone: there is nothing to order.
            (
                Err(ChangeError::Removed | ChangeError::UnknownMember { .. } | ChangeError::UnknownPool),
                [_],
            ) => {}
            (Err(error), [one]) => self.untaken.push((one.names(), error.to_string())),
            (Err(_), _) => {
                let (one, other) = takes.split_at(takes.len() / 2);
                self.take(one);
                self.take(other);
            }
        }
    }
}

/// Each event on the account of the one who has ordered it.
fn by_persons(events: Vec<Event>, takes: &[Take]) -> impl Iterator<Item = Event> {
    let by: HashMap<MemberNames, By> = takes.iter().map(|take| (take.names(), take.by())).collect();
    events.into_iter().map(move |event| match event {
        Event::Member(event) => {
            let names = (event.pool.to_string(), event.member.clone());
            Event::Member(MemberEvent { by: by.get(&names).cloned().unwrap_or(By::Somebody), ..event })
        }
        other => other,
    })
}
