// SPDX-License-Identifier: Apache-2.0
//! The child that leads: one word with pid, generation and the end of the lease, so that they
//! always belong together.
//!
//! | bits    | holds |
//! |---------|-------|
//! | 0..=23  | end of the lease in ticks of 16 ms, wrapping |
//! | 24..=31 | low bits of the generation |
//! | 32..=63 | pid, 0 for nobody |

use crate::primitive::{AtomicU64, Ordering::SeqCst};

/// Answer to [`lead`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// The caller leads from now on.
    Taken,
    /// The caller still leads; the lease was renewed.
    Kept,
    /// This process leads; 0 when nobody does and the caller, of an old generation, may not.
    Other(i32),
}

/// When one asks, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// The time of a monotonic clock that all processes share.
    pub now_ms: u64,
    /// At most a day.
    pub lease_ms: u64,
}

const TICKS: u64 = (1 << 24) - 1;

fn pack(pid: i32, generation: u32, until_ms: u64) -> u64 {
    u64::from(pid as u32) << 32 | u64::from(generation & 0xff) << 24 | until_ms >> 4 & TICKS
}

fn is_over(word: u64, now_ms: u64) -> bool {
    let past = (now_ms >> 4).wrapping_sub(word) & TICKS;
    past <= TICKS / 2
}

/// Asks for the lead, or renews it. `me`: pid and generation.
pub fn lead(
    leader: &AtomicU64,
    newest: &AtomicU64,
    me: (i32, u32),
    term: Term,
    alive: &dyn Fn(i32) -> bool,
) -> Lead {
    let ((pid, generation), Term { now_ms, lease_ms }) = (me, term);
    let wanted = pack(pid, generation, now_ms.wrapping_add(lease_ms));
    loop {
        let seen = leader.load(SeqCst);
        let holder = (seen >> 32) as i32;
        if newest.load(SeqCst) > u64::from(generation) {
            if holder != pid {
                return Lead::Other(holder);
            }
            resign(leader, pid);
            continue;
        }
        let mine = holder == pid;
        if holder != 0 && !mine && !is_over(seen, now_ms) && alive(holder) {
            return Lead::Other(holder);
        }
        if leader.compare_exchange(seen, wanted, SeqCst, SeqCst).is_ok() {
            return if mine { Lead::Kept } else { Lead::Taken };
        }
    }
}

/// Gives the lead up, if `pid` has it.
pub fn resign(leader: &AtomicU64, pid: i32) {
    let mut seen = leader.load(SeqCst);
    while seen != 0 && (seen >> 32) as i32 == pid {
        match leader.compare_exchange(seen, 0, SeqCst, SeqCst) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// The child that leads, lease or not.
pub fn holder(leader: &AtomicU64) -> Option<i32> {
    match (leader.load(SeqCst) >> 32) as i32 {
        0 => None,
        pid => Some(pid),
    }
}

/// The child that leads, and whether its lease lasts.
pub fn seen(leader: &AtomicU64, now_ms: u64) -> Option<(i32, bool)> {
    let word = leader.load(SeqCst);
    match (word >> 32) as i32 {
        0 => None,
        pid => Some((pid, !is_over(word, now_ms))),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn ask(words: &[AtomicU64; 2], pid: i32, generation: u32, now_ms: u64, alive: bool) -> Lead {
        lead(&words[0], &words[1], (pid, generation), Term { now_ms, lease_ms: 1000 }, &|_| alive)
    }

    #[test]
    fn the_lead_changes_when_the_lease_ends_or_the_leader_is_dead() {
        let words = [AtomicU64::new(0), AtomicU64::new(0)];
        assert_eq!(ask(&words, 7, 0, 0, true), Lead::Taken);
        assert_eq!(ask(&words, 7, 0, 500, true), Lead::Kept);
        assert_eq!(ask(&words, 8, 0, 1400, true), Lead::Other(7));
        assert_eq!(ask(&words, 8, 0, 1520, true), Lead::Taken);
        assert_eq!(ask(&words, 7, 0, 1530, true), Lead::Other(8));
        assert_eq!(ask(&words, 7, 0, 1540, false), Lead::Taken);
        resign(&words[0], 8);
        assert_eq!(holder(&words[0]), Some(7));
        resign(&words[0], 7);
        assert_eq!(holder(&words[0]), None);
    }

    #[test]
    fn the_lease_survives_the_wrap_of_its_ticks() {
        let words = [AtomicU64::new(0), AtomicU64::new(0)];
        let now = (TICKS << 4) - 100;
        assert_eq!(ask(&words, 7, 0, now, true), Lead::Taken);
        assert_eq!(ask(&words, 8, 0, now + 900, true), Lead::Other(7));
        assert_eq!(ask(&words, 8, 0, now + 1100, true), Lead::Taken);
    }

    #[test]
    fn only_the_newest_generation_leads() {
        let words = [AtomicU64::new(0), AtomicU64::new(0)];
        assert_eq!(ask(&words, 7, 0, 0, true), Lead::Taken);
        words[1].store(1, SeqCst);
        assert_eq!(ask(&words, 8, 1, 10, true), Lead::Other(7));
        assert_eq!(ask(&words, 7, 0, 20, true), Lead::Other(0));
        assert_eq!(ask(&words, 7, 0, 30, false), Lead::Other(0));
        assert_eq!(ask(&words, 8, 1, 40, true), Lead::Taken);
    }
}
