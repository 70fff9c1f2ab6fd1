//! Slow start: a member that came up gets its weight back by and by.

/// Smallest share of the weight, percent.
pub const START_PERCENT: u64 = 10;

/// The ramp (0 ..= 255, 255 = full weight; see [`crate::status::Status::ramp`]) after `elapsed_ms` of `slow_start_ms`: linear in time
/// from [`START_PERCENT`] to 100 %.
pub fn ramp(elapsed_ms: u64, slow_start_ms: u64) -> u8 {
    if elapsed_ms >= slow_start_ms {
        return 255;
    }
    let percent = START_PERCENT * 1000 + (100 - START_PERCENT) * 1000 * elapsed_ms / slow_start_ms;
    (percent * 256 / 100_000).saturating_sub(1).min(254) as u8
}

#[cfg(test)]
mod tests {
    use super::ramp;

    #[test]
    fn the_ramp_is_linear_from_a_tenth() {
        assert_eq!(ramp(0, 1000), 24);
        assert_eq!(ramp(500, 1000), 139);
        assert_eq!(ramp(999, 1000), 254);
        assert_eq!((ramp(1000, 1000), ramp(0, 0)), (255, 255));
    }
}
