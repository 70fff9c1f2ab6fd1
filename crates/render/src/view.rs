// SPDX-License-Identifier: Apache-2.0
//! The sources of documents.

use std::time::{SystemTime, UNIX_EPOCH};

use balance::snapshot::Snapshot;

use crate::time::Time;

/// The facts about the server that the snapshot lacks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The version of the module.
    pub version: &'static str,
    /// The version of httpd, as in `Apache/2.4.62 (Debian)`.
    pub httpd: String,
    /// The version of Lua.
    pub lua: &'static str,
    /// The configuration that the newest children serve by.
    pub generation: u32,
    /// When the server started: epoch seconds.
    pub started_s: u64,
    /// The table's clock now, in milliseconds; None where there is none. Ends of ejections are
    /// times of this clock.
    pub clock_ms: Option<u64>,
    /// How often the lead has changed hands, where that is counted.
    pub lead_changes: Option<u64>,
    /// Why the state file cannot be written, and since when: epoch seconds.
    pub state_trouble: Option<(String, u64)>,
    /// Whether the store of shared orders answers, and since when: epoch seconds. None: there is
    /// none, or nobody has heard of it yet.
    pub store: Option<(bool, u64)>,
    /// How many servers share something there and are alive, this one among them. None: nothing is
    /// shared, or nobody has heard of them yet.
    pub fronts: Option<u64>,
    /// Members whose order in the store does not hold here, by pool and name, and since when: epoch
    /// seconds. The first ones, if there are many.
    pub unheld: Vec<(String, String, u64)>,
}

/// A snapshot, and what it takes to show it.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    /// The pools, and all the rest.
    pub all: &'a Snapshot,
    /// The facts of the server.
    pub facts: &'a Facts,
    /// The time.
    pub now: SystemTime,
    /// File and line of a pool's member, where a configuration names it.
    pub place: &'a dyn Fn(&str, &str) -> Option<String>,
}

impl Shown<'_> {
    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        let since = self.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// A time of the table's clock as one of the calendar, to the second.
    pub(crate) fn on_calendar(&self, clock_ms: u64) -> Option<Time> {
        let now_ms = self.facts.clock_ms?;
        let ms = self.now_ms().saturating_add(clock_ms).saturating_sub(now_ms);
        Some(Time(ms.saturating_add(500) / 1000))
    }
}
