// SPDX-License-Identifier: Apache-2.0
//! The balancer as scripts, hooks and checks see it: one trait, so that the Lua runtime knows
//! neither the shared table nor httpd.

use std::sync::Arc;

use crate::event::By;
use crate::live::Slot;
use crate::member::{Member, MemberSpec};
use crate::order::Order;
use crate::session::Routed;
use crate::settings::{Method, PoolSettings};
use crate::status::Status;

/// A pool's row in the shared table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolId(pub u32);

/// The members of a pool at one version. Order is configured order.
#[derive(Debug, Clone, PartialEq)]
pub struct Membership {
    /// The pool.
    pub pool: PoolId,
    /// Its name.
    pub name: Arc<str>,
    /// Grows with every change of membership.
    pub version: u64,
    /// All members, usable or not.
    pub members: Arc<[Arc<Member>]>,
}

/// A narrowed pool: what `pool:where`, `pool:except` and `pool:only` make. Steps apply one after
/// the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct View {
    /// The steps.
    pub steps: Vec<ViewStep>,
}

/// One narrowing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ViewStep {
    /// All pairs match: `zone`, `route`, `name`, or else a meta key. Sorted by key.
    Where(Vec<(String, String)>),
    /// Not these members, by name.
    Except(Vec<String>),
    /// Only these members, by name.
    Only(Vec<String>),
}

/// A question for a member.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Where to look.
    pub pool: PoolId,
    /// Narrowed to this.
    pub view: Option<&'a View>,
    /// How to pick; never [`Method::Lua`].
    pub method: &'a Method,
    /// Key of the hash methods.
    pub key: &'a [u8],
    /// Members not to pick: those already tried.
    pub avoid: &'a [Slot],
}

/// Why there is no member. The text is for administrators and scripts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoMember {
    /// The pool has no members at all.
    #[error("pool {0} has no members")]
    Empty(Arc<str>),
    /// No member matches the view.
    #[error("no member of pool {0} matches the view")]
    NoMatch(Arc<str>),
    /// Members there are, but none is usable.
    #[error("no usable member in pool {0} ({1} of {2} usable)")]
    NoneUsable(Arc<str>, usize, usize),
    /// All usable members are at `max_inflight`.
    #[error("all {1} usable members of pool {0} are at max_inflight")]
    Full(Arc<str>, usize),
    /// The request's session belongs to a member that is out, and `force=on` keeps it there.
    #[error("the member of the session is out, and pool {0} has LuaBalancerSticky force=on")]
    SessionLost(Arc<str>),
    /// The pool's method is a script, which failed.
    #[error("the script of LuaBalancerMethod lua failed")]
    ScriptFailed,
    /// The pool is gone.
    #[error("pool is unknown")]
    UnknownPool,
}

/// Counters of one member, for fields of the script API and pages.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// Requests now there, all children.
    pub inflight: u32,
    /// Peak EWMA, milliseconds.
    pub latency_ms: f32,
    /// Attempts so far.
    pub requests: u64,
    /// Failed attempts so far.
    pub failures: u64,
    /// Epoch seconds of the last change of state.
    pub since: u64,
}

/// A change while running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Hundredths.
    SetWeight(u32),
    /// Keep sessions, take no new ones.
    Drain,
    /// Switch off.
    Disable,
    /// Undo Drain, Disable, and what `status=` switched off.
    Enable,
    /// Sets exactly these of the flags of [`crate::order::AdminState::FLAGS`].
    Switch(u64),
    /// End an ejection, and count failures and checks from 0.
    Recount,
}

/// Why a change was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// No room in the table.
    #[error("no room for another {what}: raise LuaBalancerMaxMembers")]
    Full {
        /// member, pool
        what: &'static str,
    },
    /// The name is taken.
    #[error("pool {pool} already has a member named {name}")]
    Duplicate {
        /// The pool's name.
        pool: String,
        /// The member's name.
        name: String,
    },
    /// No such member.
    #[error("pool {pool} has no member named {name}")]
    UnknownMember {
        /// The pool's name.
        pool: String,
        /// The member's name.
        name: String,
    },
    /// The member was removed meanwhile.
    #[error("the member was removed")]
    Removed,
    /// The pool is unknown.
    #[error("no such pool")]
    UnknownPool,
    /// The definition itself is wrong.
    #[error("{0}")]
    Invalid(String),
}

/// The running balancer, one handle a thread.
pub trait Balancer {
    /// A pool by name.
    fn find(&self, name: &str) -> Option<PoolId>;
    /// Names of all pools.
    fn names(&self) -> Vec<String>;
    /// Current members. Cheap: cached by version.
    fn membership(&self, pool: PoolId) -> Option<Arc<Membership>>;
    /// Current settings. Cheap: cached by version.
    fn settings(&self, pool: PoolId) -> Option<Arc<PoolSettings>>;
    /// Picks a member.
    fn pick(&self, query: Query<'_>) -> Result<Arc<Member>, NoMember>;
    /// Picks a member for `body` to look at, which costs less than to have it.
    fn pick_for(&self, query: Query<'_>, body: &mut dyn FnMut(&Arc<Member>)) -> Result<(), NoMember>;
    /// The member that serves the sessions of a route, `avoid` left out. With a view: among its
    /// members.
    fn route(&self, pool: PoolId, view: Option<&View>, route: &[u8], avoid: &[Slot]) -> Routed;
    /// Number of members that [`Balancer::pick`] may choose from now.
    fn usable(&self, pool: PoolId, view: Option<&View>) -> usize;
    /// Requests that wait for a place in this pool (`queue=`), all children.
    fn queued(&self, pool: PoolId) -> u32;
    /// Whether this member would be in that number.
    fn is_usable(&self, member: &Member) -> bool;
    /// The status word; None once the member was removed.
    fn status(&self, member: &Member) -> Option<Status>;
    /// The counters; zeros once the member was removed.
    fn stats(&self, member: &Member) -> Stats;
    /// Changes a member for all children at once. `by` says in the event who did it.
    fn change(&self, member: &Member, change: Change, by: &By) -> Result<(), ChangeError>;
    /// Keeps another order beside a member, or none any more.
    fn order(&self, member: &Member, order: Option<&Order>) -> Result<(), ChangeError>;
    /// Adds a member.
    fn add(&self, pool: PoolId, spec: MemberSpec, by: &By) -> Result<Arc<Member>, ChangeError>;
    /// Removes a member by name. Requests that it has are finished.
    fn remove(&self, pool: PoolId, name: &str, by: &By) -> Result<(), ChangeError>;
    /// Defines or redefines a pool: the difference to the running table is applied, members that
    /// stay keep their state. `version` grows with every accepted edit of the script; an older
    /// definition never overwrites a newer one.
    fn define(
        &self,
        name: &str,
        settings: PoolSettings,
        members: Vec<MemberSpec>,
        version: u64,
    ) -> Result<PoolId, ChangeError>;
}
