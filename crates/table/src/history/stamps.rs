// SPDX-License-Identifier: Apache-2.0
//! The parts of a history's words.

use std::sync::atomic::AtomicU64;

use crate::protocol::noted::Noted;

/// A stamp: when, as a number of steps, and whose.
pub(super) fn stamped(step: u64, incarnation: u32) -> u64 {
    // Never 0: steps are counted from 1.
    step.wrapping_add(1) << 32 | u64::from(incarnation)
}

/// The other way round. None for nothing, and for a row's former owner.
pub(super) fn step_of(stamp: u64, incarnation: u32) -> Option<u64> {
    (stamp != 0 && stamp as u32 == incarnation).then(|| (stamp >> 32).wrapping_sub(1))
}

/// Two numbers in a word.
pub(super) fn pair(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}

/// The other way round.
pub(super) fn pair_of(word: u64) -> [u32; 2] {
    [(word >> 32) as u32, word as u32]
}

/// A note whose stamp and values lie apart.
pub(super) fn note<'m>(stamp: Option<&'m AtomicU64>, values: Option<&'m [AtomicU64]>) -> Option<Noted<'m>> {
    Some(Noted { stamp: stamp?, values: values? })
}
