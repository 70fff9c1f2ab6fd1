// SPDX-License-Identifier: Apache-2.0
//! The clock of the running case, to be read from another thread.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a case may take.
pub const MOST: Duration = Duration::from_secs(5);

/// How much longer than it may a case lasts that nothing stops.
const LATE: Duration = Duration::from_secs(2);

/// When the running case began, and its name.
#[derive(Debug, Default)]
pub struct CaseClock(Mutex<Option<(Instant, String)>>);

impl CaseClock {
    fn running(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A case begins.
    pub fn begin(&self, name: &str) {
        *self.running() = Some((Instant::now(), name.to_owned()));
    }

    /// It is over.
    pub fn end(&self) {
        *self.running() = None;
    }

    /// The case that goes on though it was to be stopped.
    pub fn stuck(&self) -> Option<String> {
        let running = self.running();
        let (_, name) = running.as_ref().filter(|(began, _)| began.elapsed() > MOST + LATE)?;
        Some(name.clone())
    }
}
