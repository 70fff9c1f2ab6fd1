// SPDX-License-Identifier: Apache-2.0
//! Slow start: a member that came up gets its weight back by and by.

use crate::member::MemberSpec;
use crate::settings::PoolSettings;
use crate::status::Status;

/// Smallest share of the weight, percent.
pub const START_PERCENT: u64 = 10;

/// The ramp (0 ..= 255, 255 = full weight; see [`crate::status::Status::ramp`]) after `elapsed_ms`
/// of `slow_start_ms`: linear in time from [`START_PERCENT`] to 100 %.
pub fn ramp(elapsed_ms: u64, slow_start_ms: u64) -> u8 {
    if elapsed_ms >= slow_start_ms {
        return 255;
    }
    let percent = START_PERCENT * 1000 + (100 - START_PERCENT) * 1000 * elapsed_ms / slow_start_ms;
    (percent * 256 / 100_000).saturating_sub(1).min(254) as u8
}

/// Milliseconds after which the ramp is first at least this.
pub fn elapsed_ms(reached: u8, slow_start_ms: u64) -> u64 {
    let percent = (u64::from(reached) + 1) * 100_000 / 256;
    let above = percent.saturating_sub(START_PERCENT * 1000);
    let about = above * slow_start_ms / ((100 - START_PERCENT) * 1000);
    (about..).find(|ms| ramp(*ms, slow_start_ms) >= reached).unwrap_or(about)
}

/// How long a member's slow start takes: its own, or the pool's.
pub fn of(spec: &MemberSpec, settings: &PoolSettings) -> u64 {
    spec.slow_start_ms.unwrap_or(settings.set.slow_start_ms)
}

/// The status of a member that comes up now.
#[must_use]
pub fn begin(status: Status, slow_start_ms: u64) -> Status {
    status.with_ramp(ramp(0, slow_start_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_ramp_is_found_again() {
        for slow_start_ms in [1, 7, 1000, 30_000, 3_600_000] {
            for elapsed in (0..slow_start_ms).step_by(1 + slow_start_ms as usize / 50) {
                let reached = ramp(elapsed, slow_start_ms);
                let found = elapsed_ms(reached, slow_start_ms);
                assert!(
                    found <= elapsed && ramp(found, slow_start_ms) == reached,
                    "{elapsed} of {slow_start_ms}"
                );
            }
        }
    }

    #[test]
    fn the_ramp_is_linear_from_a_tenth() {
        assert_eq!(ramp(0, 1000), 24);
        assert_eq!(ramp(500, 1000), 139);
        assert_eq!(ramp(999, 1000), 254);
        assert_eq!((ramp(1000, 1000), ramp(0, 0)), (255, 255));
    }
}
