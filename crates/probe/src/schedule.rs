// SPDX-License-Identifier: Apache-2.0
//! When a member is checked: start to start, with jitter.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest time from the start of one check to the start of the next one.
const SHORTEST: Duration = Duration::from_millis(1);
/// A year is as good as never, and far from any overflow.
const LONGEST_MS: u64 = 366 * 24 * 3_600_000;

/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable, good enough to keep checks apart.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0 ..= 1.
    fn unit(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64
    }
}

/// One member's schedule.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    /// Part of the interval, 0 ..= 1.
    jitter: f64,
    due: Instant,
    rng: Rng,
}

impl Schedule {
    /// First due at `first`, then every `interval_ms` ± `jitter_percent`.
    pub(crate) fn new(interval_ms: u64, jitter_percent: u8, first: Instant, rng: Rng) -> Self {
        let interval = Duration::from_millis(interval_ms.clamp(1, LONGEST_MS));
        Schedule { interval, jitter: f64::from(jitter_percent.min(100)) / 100.0, due: first, rng }
    }

    /// When the next check starts.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Sets the next start, after a check that started at `started` and ended at `ended`. Small
    /// delays do not add up: the time counts from when the check was due, unless it came much too
    /// late. A check that outlasted the interval is followed by the next one at once.
    pub(crate) fn advance(&mut self, started: Instant, ended: Instant) {
        let base = if started > self.due + self.interval / 10 { started } else { self.due };
        let factor = 1.0 + self.jitter * (2.0 * self.rng.unit() - 1.0);
        let gap = self.interval.mul_f64(factor).max(SHORTEST);
        self.due = (base + gap).max(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(interval_ms: u64, jitter: u8, first: Instant) -> Schedule {
        Schedule::new(interval_ms, jitter, first, Rng::new(7))
    }

    #[test]
    fn small_delays_do_not_add_up() {
        let first = Instant::now();
        let mut schedule = schedule(1000, 0, first);
        for round in 1..=100 {
            let started = schedule.due() + Duration::from_millis(3);
            schedule.advance(started, started + Duration::from_millis(20));
            assert_eq!(schedule.due(), first + Duration::from_secs(round));
        }
    }

    #[test]
    fn a_check_that_outlasts_its_interval_is_followed_at_once() {
        let first = Instant::now();
        let mut schedule = schedule(1000, 10, first);
        let ended = first + Duration::from_millis(2000);
        schedule.advance(first, ended);
        assert_eq!(schedule.due(), ended);
    }

    #[test]
    fn a_late_start_does_not_make_the_next_gap_short() {
        let first = Instant::now();
        let mut schedule = schedule(1000, 0, first);
        let started = first + Duration::from_millis(900);
        schedule.advance(started, started);
        assert_eq!(schedule.due(), started + Duration::from_secs(1));
    }

    #[test]
    fn gaps_stay_within_the_jitter_and_use_its_range() {
        let mut schedule = schedule(1000, 10, Instant::now());
        let mut gaps = Vec::new();
        for _ in 0..1000 {
            let due = schedule.due();
            schedule.advance(due, due);
            gaps.push((schedule.due() - due).as_millis());
        }
        assert!(gaps.iter().all(|gap| (900..=1100).contains(gap)));
        assert!(gaps.iter().any(|gap| *gap < 920) && gaps.iter().any(|gap| *gap > 1080));
    }

    #[test]
    fn extreme_settings_neither_overflow_nor_spin() {
        for (interval, jitter) in [(0, 0), (1, 255), (u64::MAX, 255), (u64::MAX, 0)] {
            let mut schedule = schedule(interval, jitter, Instant::now());
            for _ in 0..50 {
                let due = schedule.due();
                schedule.advance(due, due);
                assert!(schedule.due() >= due + SHORTEST);
            }
        }
    }
}
