// SPDX-License-Identifier: Apache-2.0
//! How long members take to answer, where the log does not say.

use balance::rng::Rng;
use balance::units;

/// A distribution of service times, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Service {
    /// Always the same.
    Fixed(f64),
    /// The median, and the deviation of the logarithm.
    LogNormal(f64, f64),
    /// The mean.
    Exponential(f64),
}

impl Service {
    /// `20ms`, `lognormal:20ms,0.8` or `exponential:20ms`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("--service '{text}': expected 20ms, lognormal:20ms,0.8 or exponential:20ms");
        let seconds = |text: &str| units::duration_ms(text).map(|ms| ms as f64 / 1e3).map_err(|_| wrong());
        match text.split_once(':') {
            None => seconds(text).map(Service::Fixed),
            Some(("lognormal", rest)) => {
                let (median, deviation) = rest.split_once(',').ok_or_else(wrong)?;
                let deviation = deviation.parse().ok().filter(|number: &f64| (0.0..=10.0).contains(number));
                Ok(Service::LogNormal(seconds(median)?, deviation.ok_or_else(wrong)?))
            }
            Some(("exponential", mean)) => seconds(mean).map(Service::Exponential),
            Some(_) => Err(wrong()),
        }
    }

    /// Draws one.
    pub fn draw(self, rng: &Rng) -> f64 {
        match self {
            Service::Fixed(seconds) => seconds,
            Service::Exponential(mean) => -mean * uniform(rng).ln(),
            // A normal number by Box and Muller.
            Service::LogNormal(median, deviation) => {
                let (radius, angle) =
                    ((-2.0 * uniform(rng).ln()).sqrt(), std::f64::consts::TAU * uniform(rng));
                median * (deviation * radius * angle.cos()).exp()
            }
        }
    }
}

/// In (0, 1).
fn uniform(rng: &Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_median_that_was_asked_for() {
        for (text, low, high) in
            [("lognormal:20ms,0.8", 0.019, 0.021), ("exponential:20ms", 0.0134, 0.0145), ("20ms", 0.02, 0.02)]
        {
            let (service, rng) = (Service::parse(text).unwrap(), Rng::new(1));
            let mut drawn: Vec<f64> = (0..20_001).map(|_| service.draw(&rng)).collect();
            drawn.sort_by(f64::total_cmp);
            assert!((low..=high).contains(&drawn[10_000]), "{text}: {}", drawn[10_000]);
        }
        for wrong in ["x", "lognormal:20ms", "normal:20ms,1", "lognormal:20ms,-1"] {
            assert!(Service::parse(wrong).is_err(), "{wrong}");
        }
    }
}
