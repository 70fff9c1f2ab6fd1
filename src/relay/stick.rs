// SPDX-License-Identifier: Apache-2.0
//! The session of a request to a sticky pool.

use balance::session::Session;

/// The session of a request to a sticky pool, as far as the relay needs it.
#[derive(Default)]
pub struct Stick {
    /// The client's session, as far as it has one.
    pub(super) session: Option<Session>,
    /// The session has picked the member of this attempt.
    pub picked: bool,
    /// The session's member is full: it lends the request to another, and keeps the session.
    pub(super) lent: bool,
}
