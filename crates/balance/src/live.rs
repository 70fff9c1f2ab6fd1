// SPDX-License-Identifier: Apache-2.0
//! The live half of the members, by slot, as a pick reads it. The shared table implements it; tests
//! have a plain one.

use crate::member::{Member, MemberSpec};
use crate::part::LimitPart;
use crate::status::Status;

pub use crate::member::Slot;

/// A round robin sequence shared by all threads and children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CursorId(pub u32);

/// Peak EWMA of a member's response time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Latency {
    /// Milliseconds; 0 when nothing was measured yet.
    pub ewma_ms: f32,
    /// Milliseconds of the table's clock at the last sample.
    pub stamp_ms: u32,
}

/// An agent's wishes for its member, besides a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// Percent of the weight.
    pub percent: u16,
    /// Most requests at the same time, 0 for no limit; None: as configured.
    pub max_inflight: Option<u32>,
}

impl Default for Advice {
    fn default() -> Self {
        Advice { percent: 100, max_inflight: None }
    }
}

impl Advice {
    /// Most requests at the same time at this member, 0 for no limit.
    pub fn limit(self, spec: &MemberSpec) -> u32 {
        self.max_inflight.unwrap_or(spec.max_inflight)
    }
}

/// Of a member that may have as many requests as come.
pub const UNBOUNDED: u32 = u32::MAX;

/// Most requests at the same time that this server may have at a member: its part of the limit, or
/// [`UNBOUNDED`].
#[inline]
pub fn room(live: &impl Live, member: &Member) -> u32 {
    match live.advice(member.slot).limit(&member.spec) {
        0 => UNBOUNDED,
        limit => live.part(member.slot).of(limit, &member.spec.name),
    }
}

/// Live state by slot. All calls are lock-free and may be made from many threads.
pub trait Live {
    /// The status word.
    fn status(&self, slot: Slot) -> Status;
    /// Requests now at the member, over all children.
    fn inflight(&self, slot: Slot) -> u32;
    /// Tells `see` the requests at each of these members, until it says that it has seen enough
    /// (false).
    fn each_inflight(&self, slots: impl Iterator<Item = Slot>, see: impl FnMut(u32) -> bool)
    where
        Self: Sized;
    /// The agent's wishes for the member.
    fn advice(&self, slot: Slot) -> Advice;
    /// The part of the member's limit that is this server's; the whole where servers share none.
    fn part(&self, _slot: Slot) -> LimitPart {
        LimitPart::WHOLE
    }
    /// Response time statistics.
    fn latency(&self, slot: Slot) -> Latency;
    /// Takes the next number of a round robin sequence (0, 1, 2, … over all threads and children).
    fn advance(&self, cursor: CursorId) -> u64;
    /// The number that would be taken next.
    fn peek(&self, cursor: CursorId) -> u64;
}
