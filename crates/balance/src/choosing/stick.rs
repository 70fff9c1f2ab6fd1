// SPDX-License-Identifier: Apache-2.0
//! The session of a request to a sticky pool.

use crate::member::Member;
use crate::session::Session;

/// The session of a request to a sticky pool, as far as its way hangs on it.
#[derive(Debug, Default, Clone)]
pub struct Stick {
    /// The client's session, as far as it has one.
    pub session: Option<Session>,
    /// The session has picked the member of this attempt.
    pub picked: bool,
    /// The session's member is full: it lends the request to another, and keeps the session.
    pub lent: bool,
}

impl Stick {
    /// Whether nothing changes for the client at this member.
    pub fn stays_at(&self, member: &Member) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_of(&member.spec.route))
    }

    /// Whether a cookie is to bind the client to this member. An application's own cookie holds the
    /// identifier of its session, which would be lost.
    pub fn binds_to(&self, member: &Member) -> bool {
        let foreign = self.session.as_ref().is_some_and(Session::is_foreign);
        !self.stays_at(member) && !self.lent && !foreign
    }
}
