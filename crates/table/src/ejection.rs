// SPDX-License-Identifier: Apache-2.0
//! Taking out a member whose requests fail, without ever emptying its pool.
//!
//! The outlier word announces an ejection, the status word makes it hold. Between the two the
//! announcer looks at all other members once more: of several that announce at once, each that
//! looks late sees those that looked early, so at most as many members go out as may. Two that see
//! each other both stay, and the next failure tries again.

use std::sync::Arc;

use balance::ejection::{self, FailedAttempt};
use balance::member::Member;
use balance::settings::Outlier;
use balance::store::Vitals;

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
        let (slot, failure) = (member.slot, FailedAttempt { member, settings, now_ms });
        let may_eject = ejection::may_eject(self, members, slot, settings);
        let ((before, announced), verdict) = failure.count(self, may_eject)?;
        let millis = verdict.ejected_for_ms()?;
        step();
        if !ejection::may_eject(self, members, slot, settings) {
            let (counted, _) = failure.counted(before, false);
            let back = |word| if word == announced { counted } else { word };
            self.update_outlier(slot, member.incarnation, back);
            return None;
        }
        step();
        ejection::hold(self, member).then_some(millis)
    }
}
