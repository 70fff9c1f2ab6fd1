// SPDX-License-Identifier: Apache-2.0
//! A clock that stands still until it is told.

use std::cell::Cell;

/// Two times: the monotonic one, from 0, and the one of the epoch.
#[derive(Debug)]
pub struct Clock {
    now: Cell<f64>,
    epoch: Cell<f64>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::at(1_700_000_000.5)
    }
}

impl Clock {
    /// Stands at 0, which is this many seconds after the epoch.
    pub fn at(epoch: f64) -> Self {
        Clock { now: Cell::new(0.0), epoch: Cell::new(epoch) }
    }

    /// Seconds, monotonic.
    pub fn now(&self) -> f64 {
        self.now.get()
    }

    /// Seconds since the epoch.
    pub fn time(&self) -> f64 {
        self.epoch.get() + self.now.get()
    }

    /// Makes it this many seconds after the epoch now; the monotonic time goes on.
    pub fn set_time(&self, time: f64) {
        self.epoch.set(time - self.now.get());
    }

    /// Lets seconds pass.
    pub fn pass(&self, seconds: f64) {
        self.now.set(self.now.get() + seconds);
    }

    /// Puts the monotonic time there, and the other one with it.
    pub fn set(&self, now: f64) {
        self.now.set(now);
    }
}
