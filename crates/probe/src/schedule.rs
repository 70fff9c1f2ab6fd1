//! The life of one target's task.

use std::time::Duration;

use balance::rng::Rng;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep_until};

use crate::check::Checker;
use crate::target::Observation;

/// An observation with the number of the task that made it: what an aborted task left behind is told apart.
pub(crate) type Report = (u64, Observation);

/// Checks for ever. Intervals are from start to start and checks never overlap.
pub(crate) async fn run(mut checker: Checker, key: u64, serial: u64, reports: UnboundedSender<Report>) {
    let (interval, jitter) = checker.pace();
    let mut rng = Rng::new(key);
    let mut start = Instant::now();
    loop {
        let began = Instant::now();
        let outcome = checker.check().await;
        let millis = began.elapsed().as_secs_f64() * 1000.0;
        let observation = Observation { key, ok: outcome.ok, why: outcome.why, millis, agent: outcome.agent };
        if reports.send((serial, observation)).is_err() {
            return;
        }
        // Late by more than the interval: the next starts now, and no lost ones are made up for.
        start = (start + spread(interval, jitter, &mut rng)).max(Instant::now());
        sleep_until(start).await;
    }
}

/// The interval ± jitter percent, at least a millisecond.
fn spread(interval: Duration, jitter_percent: u8, rng: &mut Rng) -> Duration {
    let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).min(u64::MAX / 4000);
    let most = micros / 100 * u64::from(jitter_percent.min(100));
    Duration::from_micros((micros - most + rng.below(2 * most + 1)).max(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_bounds_and_centres_on_the_interval() {
        let mut rng = Rng::new(7);
        let all: Vec<u128> =
            (0..4000).map(|_| spread(Duration::from_secs(5), 10, &mut rng).as_millis()).collect();
        assert!(all.iter().all(|ms| (4500..=5500).contains(ms)));
        let mean = all.iter().sum::<u128>() / 4000;
        assert!((4975..=5025).contains(&mean), "{mean}");
        assert!(all.iter().min() < Some(&4520) && all.iter().max() > Some(&5480));
    }

    #[test]
    fn no_jitter_no_change_and_no_extremes_break_it() {
        let mut rng = Rng::new(1);
        assert_eq!(spread(Duration::from_millis(250), 0, &mut rng), Duration::from_millis(250));
        assert!(spread(Duration::from_millis(1), 100, &mut rng) >= Duration::from_millis(1));
        assert!(spread(Duration::from_millis(u64::MAX), 100, &mut rng) < Duration::from_secs(u64::MAX / 2));
    }
}
