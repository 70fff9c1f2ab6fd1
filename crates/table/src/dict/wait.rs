// SPDX-License-Identifier: Apache-2.0
//! Waiting for a claim: short pauses, a look whether the holder lives, an end.

use std::cell::Cell;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::primitive::pause;
use crate::protocol::claim::{Claim, Process, WhenTaken};

/// How long a writer waits for another one whose process is stopped.
pub const PATIENCE: Duration = Duration::from_millis(250);
/// How long it waits for one that may go on at any time.
pub const LONG_PATIENCE: Duration = Duration::from_secs(3);

/// So many looks are followed by a yield, all others by a sleep.
const YIELDS: u32 = 64;
const SLEEP: Duration = Duration::from_micros(100);
/// How often the holder is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// When it is looked at first.
const FIRST_LOOK: Duration = Duration::from_micros(250);
/// How long one waits for a claim that another has waited for in vain.
const STALLED: Duration = Duration::from_millis(1);
/// How long one waits when the holders change but it never gets the claim.
const STARVED: Duration = LONG_PATIENCE.saturating_mul(2);

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It runs, or it is not known.
    Running,
    /// It does nothing until another process says so.
    Stopped,
    /// It will never run an instruction again. To be said only if it is so.
    Dead,
}

/// How a dictionary finds out about time and processes.
#[derive(Debug, Clone, Copy)]
pub struct Processes {
    /// This process.
    pub me: Process,
    /// How a process is.
    pub condition: fn(Process) -> Condition,
    /// µs of a clock that all processes share and that does not go back.
    pub now_us: fn() -> u64,
}

static THREADS: AtomicU16 = AtomicU16::new(0);

thread_local! {
    /// Numbers of the thread and of its last claim. No destructor: a module that is unloaded must
    /// not leave any.
    static LAST: Cell<(u16, u16)> = const { Cell::new((0, 0)) };
}

/// A claim of this thread that differs from its last ones.
#[inline]
pub(super) fn next_claim(me: Process) -> Claim {
    let (thread, number) = LAST
        .try_with(|cell| {
            let (mut thread, number) = cell.get();
            if thread == 0 {
                thread = THREADS.fetch_add(1, Relaxed).wrapping_add(1).max(1);
            }
            // 2 is set in every claim.
            let number = number.wrapping_add(1);
            let number = if number & 2 != 0 { number.wrapping_add(2) } else { number };
            cell.set((thread, number));
            (thread, number)
        })
        .unwrap_or((0, 0));
    Claim::new(me, thread, number)
}

/// One wait.
pub(super) struct Waiting<'w> {
    processes: &'w Processes,
    stalled: &'w AtomicU64,
    looks: u32,
    times: Option<Times>,
}

struct Times {
    began: Instant,
    seen: Claim,
    since: Instant,
    look: Duration,
    stopped: bool,
}

impl<'w> Waiting<'w> {
    #[inline]
    pub(super) fn new(processes: &'w Processes, stalled: &'w AtomicU64) -> Self {
        Waiting { processes, stalled, looks: 0, times: None }
    }

    /// The next step towards this claim.
    pub(super) fn look(&mut self, seen: Claim) -> WhenTaken {
        self.looks += 1;
        if self.looks < YIELDS / 2 {
            std::hint::spin_loop();
            return WhenTaken::Again;
        }
        #[expect(clippy::disallowed_methods, reason = "a writer that waits measures real time")]
        let now = Instant::now();
        let times = self.times.get_or_insert(Times {
            began: now,
            seen,
            since: now,
            look: FIRST_LOOK,
            stopped: false,
        });
        if seen != times.seen {
            *times = Times { seen, since: now, look: FIRST_LOOK, stopped: false, ..*times };
        }
        let waited = now - times.since;
        if waited >= times.look {
            times.look = waited + LOOK;
            match condition(self.processes, seen) {
                Condition::Dead => return WhenTaken::TakeOver,
                other => times.stopped = other == Condition::Stopped,
            }
        }
        let patience = match times.stopped {
            _ if self.stalled.load(Relaxed) == seen.0 => STALLED,
            true => PATIENCE,
            false => LONG_PATIENCE,
        };
        if waited >= patience || now - times.began >= STARVED {
            self.stalled.store(seen.0, Relaxed);
            return WhenTaken::GiveUp;
        }
        if self.looks < YIELDS {
            pause();
        } else {
            std::thread::sleep(SLEEP);
        }
        WhenTaken::Again
    }
}

/// How the holder is. One that cannot be told is taken to run, and so is this process.
fn condition(processes: &Processes, seen: Claim) -> Condition {
    let other = seen.holder().filter(|holder| *holder != processes.me);
    other.map_or(Condition::Running, processes.condition)
}
