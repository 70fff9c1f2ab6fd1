// SPDX-License-Identifier: Apache-2.0
//! Keeps the thread of timers and Lua checks running ([`super::timers`]), where there is Lua
//! at all.

use std::time::{Duration, Instant};

use super::stuck::StuckTimers;
use super::timers::Timers;
use super::{Lease, Rest, Task};
use crate::httpd::log;
use crate::serve::child::Child;

/// How long the background thread waits for the one of the timers, before it hands the lead over.
const PATIENCE: Duration = Duration::from_millis(150);
/// How long to wait before asking the system for a thread again.
const AGAIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Default)]
pub struct Jobs {
    timers: Option<Timers>,
    failed: Option<Instant>,
    stuck: StuckTimers,
}

impl Jobs {
    fn start(&mut self, child: &'static Child, until_ms: u64) {
        let without_lua = child.library.ids().next().is_none();
        let failed_just_now = self.failed.is_some_and(|at| at.elapsed() < AGAIN);
        if without_lua || failed_just_now || self.stuck.has_lost_too_many() {
            return;
        }
        match Timers::start(child, until_ms) {
            Ok(timers) => self.timers = Some(timers),
            Err(error) => {
                let text = format!("no thread for timers and Lua checks: {error}");
                log::server(messages::background::NO_TIMER_THREAD, &text);
                self.failed = Some(Instant::now());
            }
        }
    }
}

impl Task for Jobs {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        if let Some(timers) = &self.timers
            && (timers.is_done() || self.stuck.is_in(timers, lease.child))
        {
            self.timers = None;
        }
        match &self.timers {
            Some(timers) => timers.extend(lease.until_ms),
            None => self.start(lease.child, lease.until_ms),
        }
        None
    }

    /// After a lapse the thread itself sees until when the lead was certain.
    fn rest(&mut self, why: Rest) {
        if let Some(timers) = self.timers.as_ref().filter(|_| why != Rest::Lapsed) {
            timers.stop();
            if why == Rest::Ended {
                timers.wait(PATIENCE);
            }
        }
    }
}
