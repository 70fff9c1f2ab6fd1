// SPDX-License-Identifier: Apache-2.0
//! Steps of an ejection, over any store. The outlier word announces it, the status word makes it
//! hold; the order of the steps is the store's.

use std::sync::Arc;

use crate::live::Slot;
use crate::member::Member;
use crate::outlier::{self, Consequence, OutlierState};
use crate::settings::Outlier;
use crate::status::Status;
use crate::store::{Store, Vitals};

/// Whether an ejection is announced, made known or not: the process that announced it may have
/// died.
pub fn is_announced(store: &impl Vitals, slot: Slot) -> bool {
    OutlierState::from_bits(store.outlier(slot)).is_ejected()
}

/// Whether one more member may go out: others are left that serve, and not too many are out.
/// `members` are its pool's.
pub fn may_eject(store: &impl Vitals, members: &[Arc<Member>], slot: Slot, settings: &Outlier) -> bool {
    let (mut ejected, mut serving) = (0, false);
    for other in members.iter().filter(|other| other.slot != slot) {
        let status = store.status(other.slot);
        let out = status.has(Status::EJECTED) || is_announced(store, other.slot);
        ejected += usize::from(out);
        serving |= status.usable() && (!out || status.has(Status::IGNORE_ERRORS));
    }
    serving && outlier::may_eject(members.len(), ejected, settings.max_percent)
}

/// A failure of a member.
#[derive(Clone, Copy)]
pub struct FailedAttempt<'f> {
    /// The member that failed.
    pub member: &'f Member,
    /// Its pool's.
    pub settings: &'f Outlier,
    /// Milliseconds of the store's clock.
    pub now_ms: u64,
}

impl FailedAttempt<'_> {
    /// The outlier word with this failure, and what it brings.
    pub fn counted(self, word: u64, may_eject: bool) -> (u64, Consequence) {
        let (state, first_ms) = (OutlierState::from_bits(word), self.member.spec.first_ejection_ms);
        let (state, consequence) = state.failed(self.settings, first_ms, self.now_ms, may_eject);
        (state.to_bits(), consequence)
    }

    /// Counts it in the member's word. Returns the words before and after, and what it brought;
    /// None when the row is another one's.
    pub fn count(self, store: &impl Vitals, may_eject: bool) -> Option<((u64, u64), Consequence)> {
        let mut consequence = Consequence::Counted;
        let words = store.update_outlier(self.member.slot, self.member.incarnation, |word| {
            let (counted, found) = self.counted(word, may_eject);
            consequence = found;
            counted
        })?;
        Some((words, consequence))
    }
}

/// Makes an announced ejection hold. False when it does already, or the row is another one's.
pub fn hold(store: &impl Store, member: &Member) -> bool {
    let changed = store.update(member.slot, member.incarnation, &mut |status| status.with(Status::EJECTED));
    changed.is_ok_and(|(before, after)| before != after)
}
