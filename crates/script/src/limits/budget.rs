// SPDX-License-Identifier: Apache-2.0
//! The rest that the running call may take: time, memory outside of Lua's, lines for the log.

use std::cell::{Cell, OnceCell};
use std::time::{Duration, Instant};

use crate::error::Halt;
use crate::limits::frame::Frame;
use crate::limits::processor::Start;
use crate::limits::seen::Seen;
use crate::limits::watch::Watched;
use crate::source::library::Limits;

/// Longest time of a top level that is vetted, in milliseconds. Less than the process has, so that
/// the script's line is known.
pub(crate) const VETTING_MS: u64 = 4500;

/// Lines that one call may log, and their bytes.
pub(crate) const MOST_LINES: u32 = 1000;
pub(crate) const MOST_LOGGED: usize = 1 << 20;
/// Bytes that a call may have made outside of Lua's memory.
const MOST_OUTSIDE: usize = 4 << 20;
/// How long a call may last that waits, or gets no processor, within what it may compute: ten times
/// that, a second at least, and five seconds more than that at most.
pub fn longest(limit: Duration) -> Duration {
    const LEAST: Duration = Duration::from_secs(1);
    const MOST_WAITED: Duration = Duration::from_secs(5);
    limit.saturating_mul(10).min(limit.saturating_add(MOST_WAITED)).max(LEAST)
}

/// The notes of a state about the call that runs in it.
#[derive(Default)]
pub(crate) struct Budget {
    pub(crate) depth: Cell<u32>,
    pub(crate) limits: Cell<Limits>,
    pub(crate) time_ms: Cell<u64>,
    /// First time the clocks were read in this call.
    pub(crate) started: Cell<Option<Start>>,
    /// Why the call is over; set once, raised again and again.
    pub(crate) halt: Cell<Option<Halt>>,
    /// When a job's call is over, and why. Then `time_ms` does not count.
    pub(crate) deadline: Cell<Option<(Instant, Halt)>>,
    /// When other jobs have their turn.
    pub(crate) turn: Cell<Option<Instant>>,
    /// Plain searches since the last look at the clock, in 1024ths of the longest that one may be.
    pub(crate) searched: Cell<i64>,
    /// Bytes that the running call has had made outside of Lua's memory.
    pub(crate) spent: Cell<usize>,
    /// Lines that the running call has logged, and their bytes.
    pub(crate) logged: Cell<(u32, usize)>,
    /// Where the script was at the last check.
    pub(crate) seen: Seen,
    /// The error of a call that is over has been raised by the hook.
    pub(crate) raised: Cell<bool>,
    /// It was the hook that saw that the call is over: where the script was seen last is where it
    /// ended.
    pub(crate) ended_by_hook: Cell<bool>,
    /// Sets the hook.
    pub(crate) watched: OnceCell<Watched>,
}

impl Budget {
    /// Err when the call is over. Cheap enough for every few thousand steps: it reads the clock.
    pub(crate) fn check(&self) -> Result<(), Halt> {
        if self.depth.get() == 0 {
            return Ok(());
        }
        if let Some(halt) = self.halt.get() {
            return Err(halt);
        }
        let now = Instant::now();
        if let Some((end, halt)) = self.deadline.get() {
            return if now < end { Ok(()) } else { Err(self.end(halt)) };
        }
        let Some(started) = self.started.get().or_else(|| self.seen_by_the_watch()) else {
            // One that the watch has not seen yet has only begun.
            if !self.will_be_seen() {
                self.started.set(Some(Start::now()));
            }
            return Ok(());
        };
        self.started.set(Some(started));
        let lasted = now.saturating_duration_since(started.at);
        if lasted < Duration::from_millis(self.time_ms.get()) {
            Ok(())
        } else {
            self.check_use(started, lasted)
        }
    }

    /// The processor time that one search may use: half of the call's, or the rest of it.
    pub(crate) fn search_time(&self) -> Duration {
        let limit = Duration::from_millis(self.time_ms.get());
        if limit.is_zero() || self.depth.get() == 0 {
            return Duration::MAX;
        }
        let started = self.started.get().or_else(|| self.seen_by_the_watch());
        let used = started.map_or(Duration::ZERO, |started| started.used_since());
        limit.saturating_sub(used).min(limit / 2)
    }

    /// For a call that has lasted as long as it may compute: whether it has computed, or others
    /// have.
    #[cold]
    fn check_use(&self, started: Start, lasted: Duration) -> Result<(), Halt> {
        let limit = self.time_ms.get();
        if started.used_since() >= Duration::from_millis(limit) {
            return Err(self.end(Halt::Time(limit)));
        }
        let longest = longest(Duration::from_millis(limit));
        if lasted < longest { Ok(()) } else { Err(self.end(Halt::Waited(longest.as_millis() as u64))) }
    }

    /// Notes a plain search of this cost, which no hook interrupts; Err when the call is over.
    pub(crate) fn search(&self, cost: i64) -> Result<(), Halt> {
        const MOST: i64 = 1024;
        let all = self.searched.get() + cost;
        self.searched.set(if all < MOST { all } else { 0 });
        if all < MOST { Ok(()) } else { self.check() }
    }

    /// Notes bytes that are made outside of Lua's memory; Err when they are more than a call may
    /// have there.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), Halt> {
        let limit = self.limits.get().memory_bytes;
        if self.depth.get() == 0 || limit == 0 {
            return Ok(());
        }
        let all = self.spent.get().saturating_add(bytes);
        self.spent.set(all);
        if all <= MOST_OUTSIDE.min(limit) { Ok(()) } else { Err(self.end(Halt::Memory(limit))) }
    }

    /// Notes a line for the log; whether it may be written.
    pub(crate) fn may_log(&self, bytes: usize) -> bool {
        if self.depth.get() == 0 {
            return true;
        }
        let (lines, before) = self.logged.get();
        let (lines, all) = (lines.saturating_add(1), before.saturating_add(bytes));
        self.logged.set((lines, all));
        lines <= MOST_LINES && all <= MOST_LOGGED
    }

    /// The start of the running call as the watch sees it: of nested calls it sees the outer one.
    fn seen_by_the_watch(&self) -> Option<Start> {
        self.watched.get().filter(|_| self.depth.get() == 1).and_then(Watched::seen)
    }

    fn will_be_seen(&self) -> bool {
        self.depth.get() == 1 && self.watched.get().is_some_and(Watched::will_be_seen)
    }

    /// Has the hook called with the next instruction or call.
    pub(crate) fn arm(&self) {
        if let Some(watched) = self.watched.get() {
            watched.arm();
        }
    }

    /// Whether the hook, called for the call of a function, need not look.
    pub(crate) fn is_plain_call(&self) -> bool {
        self.halt.get().is_none() && self.watched.get().is_some_and(Watched::is_plain_call)
    }

    /// The hook has looked.
    pub(crate) fn looked(&self) {
        if let Some(watched) = self.watched.get() {
            watched.looked();
        }
    }

    /// Whether the call is over for good. After `ngx.exit` and its like, `<close>` handlers still
    /// run.
    pub(crate) fn is_over(&self) -> bool {
        self.halt.get().is_some_and(|halt| halt != Halt::Answered)
    }

    /// Nothing is known of a call yet.
    pub(crate) fn forget(&self) {
        self.started.set(None);
        self.searched.set(0);
        self.spent.set(0);
        self.halt.set(None);
        self.raised.set(false);
        self.ended_by_hook.set(false);
        self.deadline.set(None);
        self.turn.set(None);
    }

    /// A call begins.
    pub(crate) fn begin(&self, frame: &Frame) {
        self.depth.set(self.depth.get() + 1);
        if self.depth.get() == 1 {
            self.logged.set((0, 0));
            if let Some(watched) = self.watched.get() {
                watched.begin(frame.tag());
            }
        }
    }

    /// A call is over.
    pub(crate) fn finish(&self) {
        self.depth.set(self.depth.get().saturating_sub(1));
        if let (0, Some(watched)) = (self.depth.get(), self.watched.get()) {
            watched.end();
        }
    }

    /// Whether the hook has raised in this call, or will.
    pub(crate) fn is_stopped(&self) -> bool {
        self.raised.get() || self.is_over()
    }

    /// Ends the call for this reason, unless another came first.
    pub(crate) fn end(&self, halt: Halt) -> Halt {
        let first = self.halt.get().unwrap_or(halt);
        self.halt.set(Some(first));
        if self.is_over() {
            self.arm();
        }
        first
    }
}
