// SPDX-License-Identifier: Apache-2.0
//! Trials of saved scripts: a new version serves a share of the requests for a while, and is taken
//! when few enough of its calls have failed.

/// `LuaBalancerRollout`: how a saved script comes into service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// The share of requests that a version on trial serves, in hundredths of a percent: 1 to
    /// 10,000.
    pub share: u32,
    /// How long a trial lasts, in milliseconds, at least 1,000.
    pub for_ms: u64,
    /// The share of its calls that may fail, in hundredths of a percent: 0 to 10,000.
    pub errors: u32,
}

/// The whole, in hundredths of a percent.
pub const WHOLE: u32 = 10_000;
/// A trial ends early once so many calls have failed, and more than may.
pub const EARLY: u64 = 5;

impl Default for Rollout {
    fn default() -> Self {
        Rollout { share: 1000, for_ms: 60_000, errors: 100 }
    }
}

/// A version on trial, as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// How far it is.
    pub stage: TrialStage,
    /// When it began: milliseconds of the monotonic clock.
    pub began_ms: u64,
    /// Calls of the version.
    pub calls: u64,
    /// How many of them have failed: by an error or at a limit.
    pub failed: u64,
}

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialStage {
    /// The version serves its share.
    Running,
    /// The version may be taken.
    Passed,
    /// Too many of its calls have failed: the version before serves everything.
    Failed,
}

impl Trial {
    /// The stage that it has reached by `now_ms`. A share of failures is compared at the end,
    /// whatever the number of calls; before that from the [`EARLY`]th failure on.
    pub fn stage_at(&self, now_ms: u64, rollout: &Rollout) -> TrialStage {
        if self.stage != TrialStage::Running {
            return self.stage;
        }
        let is_over = now_ms >= self.began_ms.saturating_add(rollout.for_ms);
        let is_bad = self.failed.saturating_mul(u64::from(WHOLE))
            > self.calls.saturating_mul(u64::from(rollout.errors));
        match (is_bad, is_over) {
            (true, _) if is_over || self.failed >= EARLY => TrialStage::Failed,
            (_, true) => TrialStage::Passed,
            _ => TrialStage::Running,
        }
    }

    /// Milliseconds until it ends.
    pub fn left_ms(&self, now_ms: u64, rollout: &Rollout) -> u64 {
        self.began_ms.saturating_add(rollout.for_ms).saturating_sub(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(calls: u64, failed: u64) -> Trial {
        Trial { stage: TrialStage::Running, began_ms: 1000, calls, failed }
    }

    #[test]
    fn a_trial_is_judged_by_its_share_of_failures_at_the_end_and_early_from_five_on() {
        let rollout = Rollout::default();
        let cases = [
            ((0, 0), 60_999, TrialStage::Running),
            ((0, 0), 61_000, TrialStage::Passed),
            ((100, 1), 61_000, TrialStage::Passed),
            ((99, 1), 61_000, TrialStage::Failed),
            ((4, 4), 2000, TrialStage::Running),
            ((5, 5), 2000, TrialStage::Failed),
            ((500, 5), 2000, TrialStage::Running),
            ((499, 5), 2000, TrialStage::Failed),
            ((1, 1), 61_000, TrialStage::Failed),
        ];
        for ((calls, failed), now_ms, stage) in cases {
            assert_eq!(seen(calls, failed).stage_at(now_ms, &rollout), stage, "{calls} {failed} at {now_ms}");
        }
        let none = Rollout { errors: 0, ..rollout };
        assert_eq!(seen(1_000_000, 1).stage_at(61_000, &none), TrialStage::Failed);
        let any = Rollout { errors: WHOLE, ..rollout };
        assert_eq!(seen(9, 9).stage_at(61_000, &any), TrialStage::Passed);
        let over = Trial { stage: TrialStage::Failed, ..seen(9, 0) };
        assert_eq!(over.stage_at(61_000, &any), TrialStage::Failed);
        assert_eq!((seen(0, 0).left_ms(1500, &rollout), seen(0, 0).left_ms(90_000, &rollout)), (59_500, 0));
    }
}
