//! What the engine needs of the place where pools are kept: the shared table, or a plain one in tests.

use crate::api::{ChangeError, Membership, PoolId, Stats};
use crate::live::{CursorId, Live, Slot};
use crate::member::{Member, MemberSpec};
use crate::settings::PoolSettings;
use crate::status::Status;

/// A consistent reading of one pool.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolImage {
    /// Members in configured order.
    pub membership: Membership,
    /// The settings.
    pub settings: PoolSettings,
}

/// Versions of definitions have a mark of who counts them from this bit on: 0 for the configuration, something else for each
/// script. A pool that goes from one to the other is what the last one says.
pub const SOURCE_SHIFT: u32 = 40;

/// Pools and members as kept. Reads are lock-free.
pub trait Store: Live {
    /// A pool by name.
    fn find_pool(&self, name: &str) -> Option<PoolId>;
    /// Names of all pools, in the order of their rows.
    fn pool_names(&self) -> Vec<String>;
    /// Grows with every change of membership, settings, or any member's status word. One load.
    fn epoch(&self, pool: PoolId) -> u64;
    /// Grows with every change of membership or settings only. One load. A change bumps the epoch as well, and after it.
    fn version(&self, pool: PoolId) -> u64;
    /// Reads a pool. None when there is no such pool.
    fn read_pool(&self, pool: PoolId) -> Option<PoolImage>;
    /// The pool's round robin sequence.
    fn cursor(&self, pool: PoolId) -> CursorId;
    /// The round robin sequence of a view, by the view's hash: the same for all children.
    fn view_cursor(&self, pool: PoolId, view_hash: u64) -> CursorId;
    /// Whether the row still holds that incarnation.
    fn is_current(&self, slot: Slot, incarnation: u32) -> bool;
    /// The pool of a row that still holds that incarnation.
    fn pool_of(&self, slot: Slot, incarnation: u32) -> Option<PoolId> {
        let pools = self.pool_names().into_iter().filter_map(|name| self.find_pool(&name));
        pools.into_iter().find(|pool| {
            let members = self.read_pool(*pool).map(|image| image.membership.members).unwrap_or_default();
            members.iter().any(|member| member.slot == slot && member.incarnation == incarnation)
        })
    }
    /// Counters of a row.
    fn stats(&self, slot: Slot) -> Stats;
    /// Requests that wait for a place in this pool, all children.
    fn queued(&self, _pool: PoolId) -> u32 {
        0
    }
    /// Changes a status word by compare-and-swap and, when it changed, bumps the pool's epoch (and restarts its round
    /// robin sequence when the weight changed). Returns the words before and after; `Removed` when the row holds another.
    fn update(
        &self,
        slot: Slot,
        incarnation: u32,
        change: &mut dyn FnMut(Status) -> Status,
    ) -> Result<(Status, Status), ChangeError>;
    /// Milliseconds of a member's slow start, by its own line and its pool's settings as they are now.
    fn slow_start_ms(&self, member: &Member) -> u64;
    /// Adds a member at the end of the pool. Its slow start begins; where checks start from `initial=down` it is down.
    fn add(&self, pool: PoolId, spec: &MemberSpec) -> Result<Member, ChangeError>;
    /// Removes a member by name.
    fn remove(&self, pool: PoolId, name: &str) -> Result<(), ChangeError>;
    /// Makes a pool be like this: members that are new are added, those no longer named are removed (also those that were
    /// added while running), those that stay keep health, counters and what was changed while running — unless the definition itself changed that weight or status.
    /// Idempotent; a definition with a smaller `version` than the last one applied is ignored (Ok), if both have the same
    /// mark above [`SOURCE_SHIFT`].
    fn define(
        &self,
        name: &str,
        settings: &PoolSettings,
        members: &[MemberSpec],
        version: u64,
    ) -> Result<PoolId, ChangeError>;
}
