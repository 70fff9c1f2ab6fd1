// SPDX-License-Identifier: Apache-2.0
//! Taking out a member whose requests fail, without ever emptying its pool.
//!
//! The outlier word announces an ejection, the status word makes it hold. Between the two the
//! announcer looks at all other members once more: of several that announce at once, each that
//! looks late sees those that looked early, so at most as many members go out as may. Those that
//! see each other both stay, and the next failure tries again.

use std::sync::Arc;

use balance::live::{Live, Slot};
use balance::member::Member;
use balance::outlier::{self, OutlierState, Verdict};
use balance::settings::Outlier;
use balance::status::Status;
use balance::store::{Store, Vitals};

use crate::Table;
use crate::primitive::step;

impl Table {
    /// See [`Vitals::count_failure`].
    pub(crate) fn eject_maybe(
        &self,
        members: &[Arc<Member>],
        member: &Member,
        settings: &Outlier,
        now_ms: u64,
    ) -> Option<u64> {
        let (slot, incarnation) = (member.slot, member.incarnation);
        let fail = |word: u64, may_eject: bool| {
            let first_ms = member.spec.first_ejection_ms;
            OutlierState::from_bits(word).failed(settings, first_ms, now_ms, may_eject)
        };
        let may_eject = self.may_eject(members, slot, settings);
        let mut verdict = Verdict::Counted;
        let (before, announced) = self.update_outlier(slot, incarnation, |word| {
            let (state, found) = fail(word, may_eject);
            verdict = found;
            state.to_bits()
        })?;
        let millis = verdict.ejected_for_ms()?;
        step();
        if !self.may_eject(members, slot, settings) {
            let counted = fail(before, false).0.to_bits();
            self.update_outlier(slot, incarnation, |word| if word == announced { counted } else { word });
            return None;
        }
        step();
        let changed = self.update(slot, incarnation, &mut |status| status.with(Status::EJECTED));
        changed.is_ok_and(|(before, after)| before != after).then_some(millis)
    }

    /// Whether one more member may go out: others are left that serve, and not too many are out.
    fn may_eject(&self, members: &[Arc<Member>], slot: Slot, settings: &Outlier) -> bool {
        let (mut ejected, mut serving) = (0, false);
        for other in members.iter().filter(|other| other.slot != slot) {
            let status = self.status(other.slot);
            let out = status.has(Status::EJECTED) || self.is_announced(other.slot);
            ejected += usize::from(out);
            serving |= status.usable() && (!out || status.has(Status::IGNORE_ERRORS));
        }
        serving && outlier::may_eject(members.len(), ejected, settings.max_percent)
    }

    /// Whether an ejection is running, made known or not: who announced it may have died.
    pub(crate) fn is_announced(&self, slot: Slot) -> bool {
        OutlierState::from_bits(self.outlier(slot)).is_ejected()
    }
}
