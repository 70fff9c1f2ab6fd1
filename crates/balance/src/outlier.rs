// SPDX-License-Identifier: Apache-2.0
//! Passive checks: consecutive failed requests eject a member for a while, packed into one word of
//! the shared table.

use crate::settings::Outlier;

/// Bits 0..=15 consecutive failures, 16..=21 ejections so far, 22: ejected now, 23..=63
/// milliseconds of the table's clock: when the ejection ends, or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutlierState(u64);

/// The consequence of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// It counts, no more.
    Counted,
    /// The member is out for these milliseconds.
    Ejected(u64),
    /// It would be out, but too many others are.
    Spared,
}

impl Consequence {
    /// Milliseconds of an ejection.
    pub fn ejected_for_ms(self) -> Option<u64> {
        match self {
            Consequence::Ejected(millis) => Some(millis),
            _ => None,
        }
    }
}

/// The largest count of consecutive failures.
pub const MOST_FAILURES: u64 = 0xffff;
const EJECTED: u64 = 1 << 22;
const MAX_TIMES: u64 = 63;

impl OutlierState {
    fn new(failures: u64, times: u64, ejected: bool, at_ms: u64) -> Self {
        let flag = if ejected { EJECTED } else { 0 };
        OutlierState(
            failures.min(MOST_FAILURES) | times.min(MAX_TIMES) << 16 | flag | (at_ms & ((1 << 41) - 1)) << 23,
        )
    }

    /// From the table's word; 0 is a member without failures.
    pub fn from_bits(bits: u64) -> Self {
        OutlierState(bits)
    }

    /// A member that is out until then, and was so often before.
    #[must_use]
    pub fn resumed(times: u64, until_ms: u64) -> Self {
        OutlierState::new(0, times.max(1), true, until_ms)
    }

    /// For the table.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// Consecutive failures.
    pub fn failures(self) -> u64 {
        self.0 & 0xffff
    }

    /// How often it was ejected, without a long good time between.
    pub fn times(self) -> u64 {
        self.0 >> 16 & MAX_TIMES
    }

    /// Whether an ejection is running.
    pub fn is_ejected(self) -> bool {
        self.0 & EJECTED != 0
    }

    /// When the ejection ends, or ended: milliseconds of the table's clock.
    pub fn until_ms(self) -> u64 {
        self.0 >> 23
    }

    /// A failure that counts. `may_eject`: see [`may_eject`]. The n-th ejection lasts first × 2ⁿ⁻¹,
    /// at most `max_ejection`; after `max_ejection` without one the doubling starts anew.
    #[must_use]
    pub fn failed(
        self,
        settings: &Outlier,
        first_ms: Option<u64>,
        now_ms: u64,
        may_eject: bool,
    ) -> (Self, Consequence) {
        let failures = self.failures() + 1;
        if self.is_ejected() || failures < u64::from(settings.failures) {
            return (
                OutlierState::new(failures, self.times(), self.is_ejected(), self.until_ms()),
                Consequence::Counted,
            );
        }
        if !may_eject {
            return (OutlierState::new(failures, self.times(), false, self.until_ms()), Consequence::Spared);
        }
        let long_ago = now_ms.saturating_sub(self.until_ms()) > settings.max_ejection_ms;
        let before = if long_ago { 0 } else { self.times() };
        let millis = first_ms.unwrap_or(settings.ejection_ms).saturating_mul(1 << before.min(30));
        let millis = millis.clamp(1, settings.max_ejection_ms.max(1));
        (OutlierState::new(0, before + 1, true, now_ms + millis), Consequence::Ejected(millis))
    }

    /// A success: the row of failures is broken.
    #[must_use]
    pub fn succeeded(self) -> Self {
        OutlierState(self.0 & !0xffff)
    }

    /// Ends an ejection whose time is over. True when it did.
    #[must_use]
    pub fn expire(self, now_ms: u64) -> (Self, bool) {
        let over = self.is_ejected() && now_ms >= self.until_ms();
        if over { (OutlierState::new(0, self.times(), false, self.until_ms()), true) } else { (self, false) }
    }
}

/// Whether one more member may be ejected: at most `max_percent` of all, and never the last one.
pub fn may_eject(total: usize, ejected: usize, max_percent: u8) -> bool {
    let after = ejected + 1;
    after < total && after * 100 <= total * usize::from(max_percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Outlier {
        Outlier { failures: 3, ejection_ms: 100, max_ejection_ms: 300, ..Outlier::default() }
    }

    fn fail(mut state: OutlierState, times: usize, now_ms: u64) -> (OutlierState, Consequence) {
        let mut consequence = Consequence::Counted;
        for _ in 0..times {
            (state, consequence) = state.failed(&settings(), None, now_ms, true);
        }
        (state, consequence)
    }

    #[test]
    fn consecutive_failures_eject_and_a_success_breaks_the_row() {
        let (state, consequence) = fail(OutlierState::default(), 2, 0);
        assert_eq!(consequence, Consequence::Counted);
        let (state, consequence) = fail(state.succeeded(), 2, 0);
        assert_eq!(consequence, Consequence::Counted);
        let (state, consequence) = fail(state, 1, 10);
        assert_eq!(consequence, Consequence::Ejected(100));
        assert!(state.is_ejected() && !state.expire(109).1 && state.expire(110).1);
    }

    #[test]
    fn ejections_double_up_to_the_limit_and_start_anew_after_a_good_time() {
        let mut state = OutlierState::default();
        for (now, expected) in [(0, 100), (200, 200), (500, 300), (900, 300)] {
            let (next, consequence) = fail(state.expire(now).0, 3, now);
            assert_eq!(consequence, Consequence::Ejected(expected), "at {now}");
            state = next;
        }
        let (_, consequence) = fail(state.expire(10_000).0, 3, 10_000);
        assert_eq!(consequence, Consequence::Ejected(100));
    }

    #[test]
    fn the_most_failures_that_may_be_asked_for_are_met() {
        let settings = Outlier { failures: MOST_FAILURES as u32, ..settings() };
        let mut state = OutlierState::default();
        for _ in 1..MOST_FAILURES {
            state = state.failed(&settings, None, 0, true).0;
        }
        assert_eq!(state.failed(&settings, None, 0, true).1, Consequence::Ejected(100));
        let asks = |failures: u64| {
            let words = ["on".to_owned(), format!("failures={failures}")];
            crate::settings::PoolSettings::default().set_directive("LuaBalancerOutlier", &words)
        };
        assert!(asks(MOST_FAILURES).is_ok() && asks(MOST_FAILURES + 1).is_err());
    }

    #[test]
    fn failures_while_ejected_do_not_prolong_it() {
        let (state, _) = fail(OutlierState::default(), 3, 0);
        let (state, consequence) = fail(state, 10, 50);
        assert_eq!((consequence, state.expire(100).1), (Consequence::Counted, true));
    }

    #[test]
    fn the_last_member_stays_and_the_percentage_holds() {
        assert!(!may_eject(1, 0, 100));
        assert!(may_eject(2, 0, 50) && !may_eject(2, 1, 100));
        assert!(may_eject(3, 0, 50) && !may_eject(3, 1, 50) && !may_eject(3, 0, 30));
        assert!(may_eject(10, 4, 50) && !may_eject(10, 5, 50));
        assert!(!may_eject(10, 0, 0));
    }
}
