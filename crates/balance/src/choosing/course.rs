// SPDX-License-Identifier: Apache-2.0
//! The way of a request so far: its attempts, their members, and the rows that were full.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use super::stick::Stick;
use crate::api::PoolId;
use crate::live::Slot;
use crate::member::Member;
use crate::relay::Outcome;

/// A request on its way, as far as the next choice hangs on it.
#[derive(Debug, Default)]
pub struct Course {
    /// The pool that the request is at.
    pub pool: Option<PoolId>,
    /// The member of the last attempt.
    pub member: Option<Arc<Member>>,
    /// Rows tried so far.
    pub tried: Tried,
    /// Rows with no place left for this request, see `max_inflight=`.
    pub full: Tried,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts that earlier choices had.
    pub earlier: u32,
    /// The last member is asked once more, over a fresh connection.
    pub fresh: bool,
    /// The session, in sticky pools.
    pub stick: Option<Box<Stick>>,
    /// How the last attempt ended, and its status.
    pub last: Option<(Outcome, u16)>,
}

impl Course {
    /// Rows that are not to be picked.
    #[inline]
    pub fn avoid(&self) -> Cow<'_, [Slot]> {
        if self.full.is_empty() {
            return Cow::Borrowed(&self.tried);
        }
        Cow::Owned(self.tried.iter().chain(self.full.iter()).copied().collect())
    }

    /// An attempt at a member begins, which has a place for it.
    #[inline]
    pub fn goes_to(&mut self, member: &Arc<Member>) {
        // Only the last one is asked twice.
        self.fresh = self.tried.contains(&member.slot);
        self.tried.push(member.slot);
        self.member = Some(member.clone());
    }

    /// A member that was chosen has no place left. One that was chosen for the session lends the
    /// request to another.
    pub fn is_full(&mut self, member: &Member) {
        self.full.push(member.slot);
        if let Some(stick) = self.stick.as_mut().filter(|stick| stick.picked) {
            stick.lent = true;
        }
    }

    /// The request has waited for a place: members that were full may have one now, its own first.
    pub fn looks_again(&mut self) {
        self.full = Tried::default();
        if let Some(stick) = &mut self.stick {
            stick.lent = false;
        }
    }

    /// Whether the session has picked the member.
    pub fn is_by_session(&self) -> bool {
        self.stick.as_ref().is_some_and(|stick| stick.picked)
    }

    /// The route of the request's session, as far as it was looked for.
    pub fn route(&self) -> Option<&[u8]> {
        self.stick.as_ref()?.session.as_ref().map(|session| &*session.route)
    }
}

/// Rows that a request has tried. A few take no allocation.
#[derive(Debug, Default)]
pub struct Tried {
    few: [Slot; 4],
    count: usize,
    /// All of them, once they are more than a few.
    many: Vec<Slot>,
}

impl Tried {
    /// Adds one.
    #[inline]
    pub fn push(&mut self, slot: Slot) {
        if let Some(place) = self.few.get_mut(self.count) {
            *place = slot;
        } else {
            if self.many.is_empty() {
                self.many.extend_from_slice(&self.few);
            }
            self.many.push(slot);
        }
        self.count += 1;
    }
}

impl Deref for Tried {
    type Target = [Slot];

    fn deref(&self) -> &[Slot] {
        self.few.get(..self.count).unwrap_or(&self.many)
    }
}
