// SPDX-License-Identifier: Apache-2.0
//! Peak EWMA of response times, as Finagle computes it: a slower answer counts at once, a faster
//! one by and by.

use crate::live::Latency;

/// Time constant of the decay, milliseconds.
pub const DECAY_MS: f32 = 10_000.0;

/// Folds one sample (milliseconds, ≥ 0) in. `now_ms` is the wrapping low half of a monotonic clock.
pub fn fold(before: Latency, sample_ms: f32, now_ms: u32) -> Latency {
    let sample = if sample_ms.is_finite() { sample_ms.max(0.001) } else { return before };
    let elapsed = now_ms.wrapping_sub(before.stamp_ms);
    // A stamp from the future (threads race) counts as now.
    let elapsed = if elapsed > u32::MAX / 2 { 0 } else { elapsed };
    let ewma_ms = if before.ewma_ms <= 0.0 || sample > before.ewma_ms {
        sample
    } else {
        let keep = (-(elapsed as f32) / DECAY_MS).exp();
        before.ewma_ms * keep + sample * (1.0 - keep)
    };
    Latency { ewma_ms, stamp_ms: if elapsed == 0 { before.stamp_ms.max(now_ms) } else { now_ms } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_decays() {
        let start = fold(Latency::default(), 10.0, 0);
        assert_eq!(start.ewma_ms, 10.0);
        let peak = fold(start, 100.0, 1);
        assert_eq!(peak.ewma_ms, 100.0);
        let later = fold(peak, 10.0, 10_001);
        assert!((later.ewma_ms - (100.0 * (-1f32).exp() + 10.0 * (1.0 - (-1f32).exp()))).abs() < 0.01);
    }

    #[test]
    fn nonsense_changes_nothing_and_the_clock_may_wrap() {
        let start = fold(Latency::default(), 10.0, u32::MAX - 5);
        assert_eq!(fold(start, f32::NAN, 0), start);
        let after = fold(start, 1.0, 10_000 - 6);
        assert!(after.ewma_ms < 5.0);
        let from_the_past = fold(start, 1.0, u32::MAX - 100);
        assert_eq!(from_the_past.ewma_ms, 10.0);
    }
}
