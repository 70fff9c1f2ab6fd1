// SPDX-License-Identifier: Apache-2.0
//! The word of a ticket that says whether it was called, and when.

use crate::primitive::{AtomicU64, Ordering::SeqCst};

/// How long a call may go unanswered before those behind look for a place themselves, in
/// milliseconds.
pub const STALLED_MS: u32 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallPhase {
    Away = 0,
    /// Has not looked for a place since it was shown, or called.
    Waiting = 1,
    Called = 2,
    /// Has looked in vain.
    Looked = 3,
}

/// Set while a ticket is called and another place became free: for when one place is enough for it.
pub const AGAIN: u64 = 4;
/// Set while a ticket is called to look round, though nobody gave a place: it can be called for one
/// still.
const IDLE: u64 = 8;
const SHOWING_SHIFT: u32 = 4;

/// Bits 0..=1 phase, 2 called again, 3 called to look round, 4..=31 the number of the showing,
/// 32..=63 when it was called last, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallWord(pub u64);

impl CallWord {
    pub fn load(cell: &AtomicU64) -> Self {
        CallWord(cell.load(SeqCst))
    }

    pub fn phase(self) -> CallPhase {
        match self.0 & 3 {
            1 => CallPhase::Waiting,
            2 => CallPhase::Called,
            3 => CallPhase::Looked,
            _ => CallPhase::Away,
        }
    }

    /// Whether it may be called.
    pub fn is_open(self) -> bool {
        matches!(self.phase(), CallPhase::Waiting | CallPhase::Looked)
    }

    pub fn is_again(self) -> bool {
        self.0 & AGAIN != 0
    }

    /// Whether a place that is free now is for it, if it is the first in line.
    pub fn is_open_to_a_place(self) -> bool {
        self.is_open() || self.phase() == CallPhase::Called && self.0 & IDLE != 0
    }

    pub fn called(self, is_idle: bool, now_ms: u32) -> Self {
        CallWord(self.0 & !IDLE | if is_idle { IDLE } else { 0 }).with(CallPhase::Called).at(now_ms)
    }

    /// Milliseconds since it was called last; 0 for a call from the future.
    pub fn age_ms(self, now_ms: u32) -> u32 {
        const FUTURE: u32 = 60_000;
        let age = now_ms.wrapping_sub((self.0 >> 32) as u32);
        if age > u32::MAX - FUTURE { 0 } else { age }
    }

    pub fn with(self, phase: CallPhase) -> Self {
        CallWord(self.0 & !3 | phase as u64)
    }

    pub fn next_showing(self) -> Self {
        let showing = (self.0 as u32 >> SHOWING_SHIFT).wrapping_add(1) & ((1 << (32 - SHOWING_SHIFT)) - 1);
        CallWord(self.0 & !0xffff_ffff | u64::from(showing) << SHOWING_SHIFT | self.0 & (AGAIN | 3))
    }

    pub fn at(self, now_ms: u32) -> Self {
        CallWord(self.0 & 0xffff_ffff | u64::from(now_ms) << 32)
    }

    pub fn is_stalled(self, now_ms: u32) -> bool {
        self.phase() == CallPhase::Called && self.age_ms(now_ms) >= STALLED_MS
    }
}
