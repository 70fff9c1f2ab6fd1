// SPDX-License-Identifier: Apache-2.0
//! Where the attempts of a request go, one after the other. The order of the questions stands here
//! once, for the relay of a server and for those who only say what it would do.
//!
//! A [`Chooser`] holds the decision, a [`Course`] the tries of the request. Both ask their
//! [`Circumstances`] for what they need.

mod chooser;
mod course;
mod decision;
mod fallback;
mod of_session;
mod questions;
mod stick;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use crate::api::{NoMember, PoolId};
use crate::engine::{Handle, Now};
use crate::live::Slot;
use crate::member::Member;
use crate::settings::PoolSettings;
use crate::sticky::Sent;
use crate::store::Store;

pub use self::chooser::Chooser;
pub use self::course::{Course, Tried};
pub use self::decision::{Choice, Decision};
pub use self::of_session::look_again;
pub use self::stick::Stick;

/// Where one attempt goes.
#[derive(Debug, Clone)]
pub enum Goal {
    /// A member of a pool.
    Member(PoolId, Arc<Member>),
    /// A backend that is in no pool.
    Target(Arc<str>),
}

/// The request and the server, as the choice of a member sees them.
pub trait Circumstances {
    /// The store of the members.
    type Store: Store;
    /// A script that names a peer for every attempt.
    type Script;

    /// The balancer.
    fn handle(&self) -> &Handle<Self::Store>;

    /// The key of a pool's hash methods for the request.
    fn key(&self, settings: &PoolSettings) -> Cow<'_, [u8]>;

    /// Runs `body` with what of the request may name a session.
    fn with_sent<T>(&self, body: impl FnOnce(Sent<'_>) -> T) -> T;

    /// `LuaBalancerMethod lua`: whom this function of a script picks in the pool, among those that
    /// are not to be left out.
    fn pick_by_script(
        &self,
        pool: &Now,
        script: (&str, &str),
        avoid: &[Slot],
    ) -> Result<Arc<Member>, NoMember>;

    /// Has a script name another peer, and perhaps ask for more attempts.
    fn name_again(&self, script: &Self::Script, course: &Course) -> Result<(Arc<str>, u32), NoMember>;

    /// Whether anybody listens to [`Circumstances::tell`].
    fn listens(&self) -> bool;

    /// Says how somebody was picked.
    fn tell(&self, line: &str);
}
