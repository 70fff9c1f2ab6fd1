// SPDX-License-Identifier: Apache-2.0
//! Calls of scripts that do not come back from C, where no limit reaches them: the version is not
//! called any more, and a thread of timers that is lost so is replaced.

use std::time::Duration;

use script::ScriptId;
use script::watch::{self, LongCall};

use super::timers::Timers;
use crate::serve::child::Child;
use crate::serve::scripts;
use crate::serve::trials::is_on_trial;

/// How long a call may go on after its limit.
const GRACE: Duration = Duration::from_secs(2);
/// How many turns of the background thread have to see it so: a process that was stopped as a whole
/// has calls that last too.
const TURNS: u32 = 3;
/// How many threads of timers may be lost.
const MOST_LOST: u32 = 3;

/// A call, and how often it was seen beyond its limit.
type Seen = ((usize, u64), u32);

/// Calls of requests that last.
#[derive(Default)]
pub struct StuckCalls {
    calls: Vec<Seen>,
}

impl StuckCalls {
    /// Looks for calls of requests that are stuck.
    pub fn look(&mut self, child: &Child) {
        let late = |call: &LongCall| is_late(call, limit(child, call));
        let calls: Vec<LongCall> = watch::long_calls(GRACE).into_iter().filter(late).collect();
        self.calls = calls.iter().map(|call| count(&self.calls, call.call)).collect();
        let is_sure = |call: &&LongCall| self.calls.contains(&(call.call, TURNS));
        for call in calls.iter().filter(is_sure) {
            let limit = limit(child, call);
            let late = format!(
                "{} ms after it began, with a limit of {} ms",
                call.lasted.as_millis(),
                limit.as_millis()
            );
            quarantine(child, (call.script, call.version), &late);
        }
    }
}

/// Turns of the thread of timers and Lua checks that last.
#[derive(Default)]
pub struct StuckTimers {
    seen: Option<Seen>,
    lost: u32,
}

impl StuckTimers {
    /// Whether the thread of timers and Lua checks is stuck. It is given up then.
    pub fn is_in(&mut self, timers: &Timers, child: &Child) -> bool {
        let longest = child.library.ids().map(|id| child.library.limits(id).timer_time_ms).max().unwrap_or(0);
        let least_ms = longest.saturating_add(GRACE.as_millis() as u64);
        let Some((script, version, since_ms)) = timers.stuck(least_ms) else {
            self.seen = None;
            return false;
        };
        let before: Vec<Seen> = self.seen.into_iter().collect();
        let seen = count(&before, (0, since_ms));
        self.seen = Some(seen);
        if seen.1 < TURNS {
            return false;
        }
        self.seen = None;
        self.lost += 1;
        let more = if self.has_lost_too_many() { "no further thread runs" } else { "another thread runs" };
        let late = format!("more than {least_ms} ms in one turn of a timer or check; {more} the others");
        quarantine(child, (script, version), &late);
        timers.give_up();
        true
    }

    /// Whether no further thread of timers is to be made in this child.
    pub fn has_lost_too_many(&self) -> bool {
        self.lost >= MOST_LOST
    }
}

/// How often a call was seen, this time included.
fn count(before: &[Seen], call: (usize, u64)) -> Seen {
    let times = before.iter().find(|(known, _)| *known == call).map_or(0, |(_, times)| *times);
    (call, times + 1)
}

/// Whether a call has computed, or lasted, so much more than it may.
fn is_late(call: &LongCall, limit: Duration) -> bool {
    call.computed >= limit + GRACE || call.lasted >= script::longest(limit) + GRACE
}

fn limit(child: &Child, call: &LongCall) -> Duration {
    let limits = child.library.limits(call.script);
    Duration::from_millis(if call.is_load { limits.timer_time_ms } else { limits.time_ms })
}

fn quarantine(child: &Child, (id, version): (ScriptId, u64), late: &str) {
    if is_on_trial(version) {
        return super::trials::fail_stuck(child, id, late);
    }
    let row = child.script_rows.get(id.0 as usize).copied().flatten();
    scripts::quarantine((&child.table, &child.library), row, (id, version), late);
}
