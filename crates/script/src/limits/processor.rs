// SPDX-License-Identifier: Apache-2.0
//! How much of the processor a thread has used: the time of a call is counted so, since on a busy
//! machine others may run most of the while.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

/// The bits with which Linux makes a clock of a thread's number, as its C library does: the lowest
/// bits say that it is of one thread, and that it counts all the thread has run.
const OF_A_THREAD: i32 = 0b110;
const NUMBER_AT: u32 = 3;

/// When a call began, or was first seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) at: Instant,
    /// The processor time that its thread had used by then.
    pub(crate) used: Duration,
}

impl Start {
    /// Now, in this thread.
    pub(crate) fn now() -> Self {
        Start { at: Instant::now(), used: used_here() }
    }

    /// The processor time that this thread has used since.
    pub(crate) fn used_since(&self) -> Duration {
        used_here().saturating_sub(self.used)
    }
}

/// The processor time that this thread has used so far.
fn used_here() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

/// The processor time that a thread of this process has used so far, by its number in the system.
/// None: it has ended.
pub(crate) fn used_by(thread: i32) -> Option<Duration> {
    read((!thread << NUMBER_AT) | OF_A_THREAD)
}

fn read(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a plain system call with a structure of this frame.
    let code = unsafe { libc::clock_gettime(clock, &mut time) };
    (code == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_uses_nothing_and_others_see_what_one_uses() {
        let start = Start::now();
        std::thread::sleep(Duration::from_millis(50));
        assert!(start.used_since() < Duration::from_millis(40), "{:?}", start.used_since());
        // SAFETY: a plain system call.
        let own = unsafe { libc::gettid() };
        let seen = std::thread::spawn(move || used_by(own)).join().expect("the thread");
        let seen = seen.expect("a clock of a thread that lives");
        assert!(seen >= start.used && seen <= used_here(), "{seen:?}");
        assert_eq!(used_by(i32::MAX >> NUMBER_AT), None, "nobody has that number");
    }
}
