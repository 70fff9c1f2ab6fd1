// SPDX-License-Identifier: Apache-2.0
//! Changes of many members that are one change: steps, and what they come to for each member.

use std::sync::Arc;

use crate::api::{Change, ChangeError, PoolId};
use crate::event::{By, Event, MemberEvent, What, Why, differences};
use crate::member::{Member, MemberSpec};
use crate::order::Order;
use crate::status::Status;

/// One step, of one member.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberStep {
    /// The pool's name.
    pub pool: String,
    /// The member's name.
    pub member: String,
    /// Its change.
    pub what: Doing,
}

/// See [`MemberStep`].
#[derive(Debug, Clone, PartialEq)]
pub enum Doing {
    /// It is new.
    Add(Box<MemberSpec>),
    /// It goes.
    Remove,
    /// So many hundredths.
    Weigh(u32),
    /// Sets exactly these of the flags of [`crate::order::AdminState::FLAGS`].
    Switch(u64),
    /// Ends an ejection, and counts failures and checks from 0.
    Recount,
    /// Another order beside the member, or none any more.
    Order(Option<Order>),
    /// Another line, of the same name and URL: the member stays, with all that is counted and
    /// ordered of it.
    Line(Box<MemberSpec>),
}

/// The sum of all steps of one member. The fields behind `goes` and `comes` are about the member
/// that is there in the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    /// The pool.
    pub pool: PoolId,
    /// Its name.
    pub pool_name: Arc<str>,
    /// The member's name.
    pub name: String,
    /// The member that is there before.
    pub there: Option<Arc<Member>>,
    /// Whether that one goes.
    pub goes: bool,
    /// The one that comes.
    pub comes: Option<MemberSpec>,
    /// See [`Doing::Recount`].
    pub recount: bool,
    /// See [`Doing::Switch`].
    pub flags: Option<u64>,
    /// See [`Doing::Weigh`].
    pub weight: Option<u32>,
    /// See [`Doing::Order`]; None leaves it.
    pub order: Option<Option<Order>>,
    /// See [`Doing::Line`].
    pub line: Option<MemberSpec>,
}

impl Deed {
    /// The member that stays.
    pub fn stays(&self) -> Option<&Arc<Member>> {
        self.there.as_ref().filter(|_| !self.goes)
    }

    /// The changes of the status word, in order.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        let recount = self.recount.then_some(Change::Recount);
        let (flags, weight) = (self.flags.map(Change::Switch), self.weight.map(Change::SetWeight));
        [recount, flags, weight].into_iter().flatten()
    }

    pub(crate) fn take(&mut self, step: &MemberStep) -> Result<(), ChangeError> {
        let is_there = self.comes.is_some() || self.stays().is_some();
        match &step.what {
            Doing::Add(_) if is_there => {
                let (pool, name) = (step.pool.clone(), step.member.clone());
                return Err(ChangeError::Duplicate { pool, name });
            }
            Doing::Add(spec) => self.comes = Some((**spec).clone()),
            _ if !is_there => {
                let (pool, name) = (step.pool.clone(), step.member.clone());
                return Err(ChangeError::UnknownMember { pool, name });
            }
            Doing::Remove => {
                self.goes = self.there.is_some();
                self.comes = None;
                (self.recount, self.flags, self.weight) = (false, None, None);
                (self.order, self.line) = (None, None);
            }
            Doing::Weigh(hundredths) => self.weight = Some(*hundredths),
            Doing::Switch(flags) => self.flags = Some(*flags),
            Doing::Recount => self.recount = true,
            Doing::Order(order) => self.order = Some(order.clone()),
            Doing::Line(spec) => self.line = Some((**spec).clone()),
        }
        Ok(())
    }

    /// Its events, when it has changed the status word so.
    pub(crate) fn events(&self, (before, after): (Status, Status), at: u64, by: &By) -> Vec<Event> {
        let event = |what| {
            let (pool, member) = (self.pool_name.clone(), self.name.clone());
            Event::Member(MemberEvent { pool, member, at, what, why: Why::Order, by: by.clone() })
        };
        let removed = self.goes.then_some(What::Removed);
        let added = self.comes.as_ref();
        let added = added.map(|spec| What::Added { url: spec.url.to_string(), weight: spec.weight });
        let changed = self.line.as_ref().zip(self.stays());
        let changed = changed.and_then(|(spec, member)| of_line(&member.spec, spec));
        let all = removed.into_iter().chain(added).chain(changed);
        all.chain(differences(before, after)).map(event).collect()
    }
}

/// The change by another line: the weight, or else keys that have no words of their own.
fn of_line(before: &MemberSpec, now: &MemberSpec) -> Option<What> {
    if before.weight != now.weight {
        return Some(What::Weight { old: before.weight, new: now.weight });
    }
    (before != now).then_some(What::Line)
}
