// SPDX-License-Identifier: Apache-2.0
//! How many requests a backend works on at once, measured over a time.

use std::time::{Duration, Instant};

/// The measure of a backend, see [`Backend::measure`](super::Backend::measure).
#[derive(Clone, Copy, Debug, Default)]
pub struct Measure {
    /// How long it was taken.
    pub time: Duration,
    /// The largest number of requests at once.
    pub most: usize,
    /// How long there were more than the limit, in all.
    pub above: Duration,
    /// How long there were more than the limit, in one piece.
    pub longest_above: Duration,
    /// The times that all requests took, added up.
    pub work: Duration,
}

impl Measure {
    /// How many requests there were at once on an average.
    pub fn average(&self) -> f64 {
        self.work.as_secs_f64() / self.time.as_secs_f64()
    }
}

/// Takes the measure.
#[derive(Debug)]
pub(super) struct Meter {
    limit: usize,
    now: usize,
    /// Since when that many.
    since: Instant,
    /// How long there have been more than the limit without a break.
    piece: Duration,
    measure: Measure,
}

impl Meter {
    pub(super) fn new() -> Self {
        Meter { limit: 0, now: 0, since: Instant::now(), piece: Duration::ZERO, measure: Measure::default() }
    }

    /// Begins anew, with what is under way.
    pub(super) fn begin(&mut self, limit: usize) {
        let measure = Measure { most: self.now, ..Measure::default() };
        *self = Meter { limit, now: self.now, measure, ..Self::new() };
    }

    pub(super) fn comes(&mut self) {
        self.pass();
        self.now += 1;
        self.measure.most = self.measure.most.max(self.now);
    }

    pub(super) fn goes(&mut self) {
        self.pass();
        self.now -= 1;
    }

    /// The measure until now.
    pub(super) fn read(&mut self) -> Measure {
        self.pass();
        self.measure
    }

    fn pass(&mut self) {
        let now = Instant::now();
        let passed = now.duration_since(self.since);
        self.since = now;
        self.measure.time += passed;
        self.measure.work += passed * u32::try_from(self.now).unwrap_or(u32::MAX);
        if self.now > self.limit {
            self.piece += passed;
            self.measure.above += passed;
            self.measure.longest_above = self.measure.longest_above.max(self.piece);
        } else {
            self.piece = Duration::ZERO;
        }
    }
}
