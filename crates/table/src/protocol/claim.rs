// SPDX-License-Identifier: Apache-2.0
//! The right to write: a word that one thread of one process holds at a time.
//!
//! It is not a lock that the dead keep: the word names its holder, and a process that wants it
//! looks whether the holder is alive. A claim is taken from the dead only, never from the slow or
//! the stopped, so a holder that is alive is the holder until it lets go. The one who takes it from
//! the dead is told so and puts right what the dead one left, before anything else; if it dies
//! doing that, the next one finds its claim and starts over.
//!
//! The word tells threads and claims of one process apart, and a process from a later one with the
//! same pid.

use crate::primitive::{AtomicU64, Ordering::*, step};

const PID_BITS: u32 = 24;
const BORN_BITS: u32 = 12;
const THREAD_BITS: u32 = 12;

/// A process: its pid, and when it was born in some unit (0: not known), since pids are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// The pid.
    pub pid: i32,
    /// The lowest bits of its time of birth, 0 for not known.
    pub born: u16,
}

impl Process {
    /// A process with its time of birth in any unit that two processes of one pid differ in.
    pub fn new(pid: i32, born: Option<u64>) -> Self {
        // 0 is left for "not known".
        let born = born.map_or(0, |born| (born % ((1 << BORN_BITS) - 1)) as u16 + 1);
        Process { pid, born }
    }
}

/// A claim word's value; 0 is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim(pub u64);

impl Claim {
    /// A thread was unwound while it held the claim.
    pub const ABANDONED: Claim = Claim(1);

    /// A thread's claim; `number` differs from one claim of the thread to the next.
    pub fn new(holder: Process, thread: u16, number: u16) -> Self {
        // A pid that has no room becomes 0, which nobody takes for dead.
        let pid = u64::try_from(holder.pid).ok().filter(|pid| pid >> PID_BITS == 0).unwrap_or(0);
        let born = u64::from(holder.born) & ((1 << BORN_BITS) - 1);
        let thread = u64::from(thread) & ((1 << THREAD_BITS) - 1);
        // Never 0 nor ABANDONED.
        let number = u64::from(number) | 2;
        Claim(pid << 40 | born << 28 | thread << 16 | number)
    }

    /// The holder, None when it cannot be told (and has to be taken for alive).
    pub fn holder(self) -> Option<Process> {
        let pid = (self.0 >> 40) as i32;
        let born = (self.0 >> 28) as u16 & ((1 << BORN_BITS) - 1);
        (pid != 0).then_some(Process { pid, born })
    }
}

/// How a claim was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Nobody had it.
    Free,
    /// From a dead process or a thread that was unwound: what it guards has to be put right first.
    Inherited,
}

/// Takes a claim, waiting as long as `wait` says: it gets the claim's value and tells what to do.
/// None: given up.
#[inline]
pub fn take(cell: &AtomicU64, mine: Claim, wait: &mut dyn FnMut(Claim) -> WhenTaken) -> Option<Taken> {
    if cell.compare_exchange(0, mine.0, Acquire, Relaxed).is_ok() {
        step();
        return Some(Taken::Free);
    }
    take_slowly(cell, mine, wait)
}

/// The next step when another has the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenTaken {
    /// Look again.
    Again,
    /// Its holder is dead: take it over.
    TakeOver,
    /// Give up.
    GiveUp,
}

#[cold]
fn take_slowly(cell: &AtomicU64, mine: Claim, wait: &mut dyn FnMut(Claim) -> WhenTaken) -> Option<Taken> {
    loop {
        let seen = Claim(cell.load(Relaxed));
        let taken = match seen.0 {
            0 => Taken::Free,
            _ if seen == Claim::ABANDONED => Taken::Inherited,
            _ => match wait(seen) {
                WhenTaken::Again => continue,
                WhenTaken::TakeOver => Taken::Inherited,
                WhenTaken::GiveUp => return None,
            },
        };
        if cell.compare_exchange(seen.0, mine.0, Acquire, Relaxed).is_ok() {
            step();
            return Some(taken);
        }
    }
}

/// Lets go.
#[inline]
pub fn release(cell: &AtomicU64, mine: Claim) {
    // Nobody takes a claim from the living, so this does not fail; if it did, the claim would be
    // another's.
    let _ = cell.compare_exchange(mine.0, 0, Release, Relaxed);
}

/// Lets go in the middle of something.
pub fn abandon(cell: &AtomicU64, mine: Claim) {
    let _ = cell.compare_exchange(mine.0, Claim::ABANDONED.0, Release, Relaxed);
}
