// SPDX-License-Identifier: Apache-2.0
//! Medians and quartiles: what is left of noise.

/// The quartiles of some measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// A quarter lies below.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// A quarter lies above.
    pub high: f64,
}

impl Spread {
    /// The quartiles of any number of values; all NaN when there is none.
    pub fn of(values: &[f64]) -> Self {
        Self { low: quantile(values, 0.25), median: quantile(values, 0.5), high: quantile(values, 0.75) }
    }
}

/// The value at a share (0 … 1) of the sorted values, between two of them in proportion; NaN when
/// there is none.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = last as f64 * share.clamp(0.0, 1.0);
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

/// The median.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_values() {
        let spread = Spread::of(&[4.0, 1.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { low: 1.75, median: 2.5, high: 3.25 });
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(quantile(&[1.0, 9.0], 1.0), 9.0);
    }

    #[test]
    fn no_measurement_has_no_median() {
        assert!(median(&[]).is_nan());
    }
}
