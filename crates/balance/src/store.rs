// SPDX-License-Identifier: Apache-2.0
//! The engine's needs of the place where pools are kept: the shared table, or a plain one in tests.

use std::collections::HashSet;
use std::sync::Arc;

use crate::api::{ChangeError, Membership, PoolId, Stats};
use crate::counting::{AttemptEnd, Counters};
use crate::live::{CursorId, Latency, Live, Slot};
use crate::member::{Member, MemberSpec};
use crate::order::Order;
use crate::settings::{Outlier, PoolSettings};
use crate::status::Status;
use crate::steps::Deed;

/// A consistent reading of one pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolImage {
    /// Members in configured order.
    pub membership: Membership,
    /// The settings.
    pub settings: PoolSettings,
}

/// Versions of definitions have a mark of who counts them from this bit on: 0 for the
/// configuration, something else for each script. A pool that goes from one to the other is what
/// the last one says.
pub const SOURCE_SHIFT: u32 = 40;

/// Places of members that were added while the server ran: from here on, behind all that a
/// definition names.
pub const ADDED: u32 = 1 << 23;

/// The origin of a pool's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `<LuaBalancerPool>`.
    Configuration,
    /// `lb.define_pool`.
    Script,
}

/// Pools and members as kept. Reads are lock-free.
pub trait Store: Live {
    /// A pool by name.
    fn find_pool(&self, name: &str) -> Option<PoolId>;
    /// Names of all pools, in the order of their rows.
    fn pool_names(&self) -> Vec<String>;
    /// Grows with every change of membership, settings, or any member's status word. One load.
    fn epoch(&self, pool: PoolId) -> u64;
    /// Grows with every change of membership or settings only. One load. A change bumps the epoch
    /// as well, and after it.
    fn version(&self, pool: PoolId) -> u64;
    /// Reads a pool. None when there is no such pool.
    fn read_pool(&self, pool: PoolId) -> Option<PoolImage>;
    /// A pool's name, and those of its members that have these names: a few of many, who are read
    /// without the others. None when there is no such pool.
    fn named(&self, pool: PoolId, names: &HashSet<&str>) -> Option<(Arc<str>, Vec<Arc<Member>>)> {
        let Membership { name, members, .. } = self.read_pool(pool)?.membership;
        Some((name, members.iter().filter(|member| names.contains(&*member.spec.name)).cloned().collect()))
    }
    /// The pool's round robin sequence.
    fn cursor(&self, pool: PoolId) -> CursorId;
    /// The round robin sequence of a view, by the view's hash: the same for all children.
    fn view_cursor(&self, pool: PoolId, view_hash: u64) -> CursorId;
    /// Whether the row still holds that incarnation.
    fn is_current(&self, slot: Slot, incarnation: u32) -> bool;
    /// The pool of a row that still holds that incarnation.
    fn pool_of(&self, slot: Slot, incarnation: u32) -> Option<PoolId>;
    /// The origin of the pool's definition. None when there is no such pool.
    fn origin(&self, pool: PoolId) -> Option<Origin>;
    /// The store's clock, by which it notes when a member changes: epoch seconds, 0 where it has
    /// none.
    fn now_s(&self) -> u64;
    /// Counters of a row.
    fn stats(&self, slot: Slot) -> Stats;
    /// Requests that wait for a place in this pool, all children.
    fn queued(&self, pool: PoolId) -> u32;
    /// Changes a status word by compare-and-swap and, when it changed, bumps the pool's epoch (and
    /// restarts its round robin sequence when the weight changed). Returns the words before and
    /// after; `Removed` when the row holds another.
    fn update(
        &self,
        slot: Slot,
        incarnation: u32,
        change: &mut dyn FnMut(Status) -> Status,
    ) -> Result<(Status, Status), ChangeError>;
    /// The order that stands for a row's member, beyond its status.
    fn order(&self, slot: Slot) -> Option<Order>;
    /// A row's member as its line has it, whatever was ordered.
    fn configured(&self, slot: Slot) -> Option<MemberSpec>;
    /// Keeps another order of a member, or none any more: what the order says in place of the
    /// member's line is what [`Store::read_pool`] says from then on. A definition leaves it.
    fn set_order(&self, member: &Member, order: Option<&Order>) -> Result<(), ChangeError>;
    /// Forgets what failed requests say of a member, and the row of alike checks; whether it is up
    /// stays. Its status is another word.
    fn recount(&self, slot: Slot, incarnation: u32);
    /// Milliseconds of a member's slow start, by its own line and its pool's settings as they are
    /// now.
    fn slow_start_ms(&self, member: &Member) -> u64;
    /// Adds a member at the end of the pool. Its slow start begins; where checks start from
    /// `initial=down` it is down.
    fn add(&self, pool: PoolId, spec: &MemberSpec) -> Result<Member, ChangeError>;
    /// Removes a member by name.
    fn remove(&self, pool: PoolId, name: &str) -> Result<(), ChangeError>;
    /// Runs `body` while the caller has the pen, with which several things are changed as one:
    /// nobody else has it meanwhile. Single calls of the others go on. False, without a run:
    /// somebody has the pen and does not put it down.
    fn with_pen(&self, body: &mut dyn FnMut()) -> bool;
    /// Does all of this, or nothing; with the pen. Nobody who reads all of the store sees some of
    /// it, and when the process dies it is done by another, or nothing is. Returns each member's
    /// status word before and after.
    fn carry_out(&self, deeds: &[Deed]) -> Result<Vec<(Status, Status)>, ChangeError>;
    /// Makes a pool be like this: members that are new are added, those no longer named are removed
    /// (also those that were added while running), those that stay keep health, counters and what
    /// was changed while running — unless the definition itself changed that weight or status.
    /// Idempotent; a definition with a smaller `version` than the last one applied is ignored (Ok),
    /// if both have the same mark above [`SOURCE_SHIFT`].
    fn define(
        &self,
        name: &str,
        settings: &PoolSettings,
        members: &[MemberSpec],
        version: u64,
    ) -> Result<PoolId, ChangeError>;
}

/// The words of checks and requests about each member, one word each. A row that is replaced in the
/// very instant of a change may get one that was meant for its predecessor.
pub trait Vitals: Store + Counters {
    /// The word of [`crate::health::HealthState`]; 0 for a row that does not exist.
    fn health(&self, slot: Slot) -> u64;
    /// Changes it by compare-and-swap, and bumps the pool's epoch when an agent orders something
    /// else. Returns the words before and after; None when the row is another one's.
    fn update_health(
        &self,
        slot: Slot,
        incarnation: u32,
        change: impl FnMut(u64) -> u64,
    ) -> Option<(u64, u64)>;
    /// The word of [`crate::outlier::OutlierState`]; 0 for a row that does not exist.
    fn outlier(&self, slot: Slot) -> u64;
    /// Changes it by compare-and-swap. Returns the words before and after; None when the row is
    /// another one's.
    fn update_outlier(
        &self,
        slot: Slot,
        incarnation: u32,
        change: impl FnMut(u64) -> u64,
    ) -> Option<(u64, u64)>;
    /// Counts a failure of a member; `members` are its pool's. Returns for how many milliseconds it
    /// is out, when it is: the status then says so. However many fail at once, one that serves
    /// stays.
    fn count_failure(
        &self,
        members: &[Arc<Member>],
        member: &Member,
        settings: &Outlier,
        now_ms: u64,
    ) -> Option<u64>;
    /// Counts an attempt: as one of a member's requests, as one of its failures where it `failed`,
    /// and what `ended` says as [`Counters::count_attempt`] does.
    fn record(&self, slot: Slot, incarnation: u32, failed: bool, ended: Option<&AttemptEnd>);
    /// Folds a response time into a member's statistics; `fold` is the formula.
    fn sample_latency(
        &self,
        slot: Slot,
        incarnation: u32,
        fold: impl FnMut(Latency) -> Latency,
    ) -> Option<Latency>;
}
