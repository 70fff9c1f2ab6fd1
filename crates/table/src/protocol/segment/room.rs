// SPDX-License-Identifier: Apache-2.0
//! Making room: entries whose time is over go, then those that were not used for longest.
//!
//! A *survey* looks at all entries and finds the oldest sixteenth (only the oldest one in a small
//! segment). They go in order of age until there is room. The others of that sixteenth are found
//! again by the *hand*, which goes over the chunks once and takes what was not used since the
//! survey; when it is through, there is another survey. So an entry that goes is always among the
//! oldest sixteenth of its segment, and making room costs some dozen chunk visits a time.

use super::write::Refusal;
use super::{EXPIRY, Segment, USED};
use crate::primitive::Ordering::*;

/// Up to so many entries the order is exact.
const EXACT: usize = 512;
/// Else one of so many is due.
const SHARE: usize = 16;
/// Surveys in a row of which nothing came, as readers use everything that was found.
const SURVEYS: u32 = 4;

/// An entry's last use and first chunk.
type Old = (u64, usize);

impl Segment<'_> {
    /// Frees chunks until there are `need`, sparing the entry that begins at `keep`. True: some had
    /// time left.
    pub(super) fn make_room(
        &self,
        need: usize,
        keep: Option<usize>,
        now: u64,
        evict: bool,
    ) -> Result<bool, Refusal> {
        let mut evicted = evict && self.sweep(need, keep, now);
        let mut fruitless = 0;
        while self.available() < need {
            let mut old = self.survey(keep, now);
            if self.available() >= need {
                break;
            }
            if !evict || old.is_empty() {
                return Err(Refusal::NoMemory);
            }
            self.oldest(&mut old);
            let before = self.available();
            for (used, index) in old {
                // One that was used since is spared, unless that goes on and on.
                if self.chunks[index].get(USED) == used || fruitless == SURVEYS {
                    evicted |= self.throw_out(index);
                }
                if self.available() >= need {
                    break;
                }
            }
            match self.available() > before {
                true => fruitless = 0,
                false if fruitless == SURVEYS => return Err(Refusal::NoMemory),
                false => fruitless += 1,
            }
        }
        Ok(evicted)
    }

    /// Leaves the oldest, in order of age, and starts the hand for those that are not needed now.
    fn oldest(&self, old: &mut Vec<Old>) {
        let due = if old.len() <= EXACT { 1 } else { old.len() / SHARE };
        if due < old.len() {
            old.select_nth_unstable(due - 1);
            old.truncate(due);
        }
        old.sort_unstable();
        if let Some((used, _)) = old.last() {
            self.head.cutoff.store(*used, Relaxed);
            self.head.hand.store(0, Relaxed);
        }
    }

    /// The hand: takes entries that are due until there is room. True: some had time left.
    fn sweep(&self, need: usize, keep: Option<usize>, now: u64) -> bool {
        let mut evicted = false;
        let (end, cutoff) = (self.used_chunks(), self.head.cutoff.load(Relaxed));
        let mut hand = self.head.hand.load(Relaxed) as usize;
        while hand < end && self.available() < need {
            let index = hand;
            hand += 1;
            if self.chunks[index].tag().is_head() && Some(index) != keep {
                if self.is_over(index, now) {
                    self.evict(index);
                } else if self.chunks[index].get(USED) <= cutoff {
                    evicted |= self.throw_out(index);
                }
            }
        }
        self.head.hand.store(hand as u64, Relaxed);
        evicted
    }

    /// Frees what is over, and finds the rest but `keep`.
    fn survey(&self, keep: Option<usize>, now: u64) -> Vec<Old> {
        let mut found = Vec::new();
        for index in 0..self.used_chunks() {
            if !self.chunks[index].tag().is_head() || Some(index) == keep {
                continue;
            }
            if self.is_over(index, now) {
                self.evict(index);
            } else {
                found.push((self.chunks[index].get(USED), index));
            }
        }
        found
    }

    fn is_over(&self, index: usize, now: u64) -> bool {
        let expiry = self.chunks[index].get(EXPIRY);
        expiry != 0 && expiry <= now
    }

    /// As [`Self::evict`], for one that had time left.
    fn throw_out(&self, index: usize) -> bool {
        let is_gone = self.evict(index);
        self.count_evictions(u64::from(is_gone));
        is_gone
    }

    /// Entries that had time left and were thrown out, in all.
    pub fn evictions(&self) -> u64 {
        self.head.evictions.load(Relaxed)
    }

    /// Forgets how many there were, before anybody else uses the segment.
    pub fn forget_evictions(&self) {
        self.head.evictions.store(0, Relaxed);
    }

    /// Counts some more. For the holder of the claim.
    pub fn count_evictions(&self, more: u64) {
        if more > 0 {
            self.head.evictions.fetch_add(more, Relaxed);
        }
    }

    fn evict(&self, index: usize) -> bool {
        match self.place_of(index) {
            Some(place) => {
                self.remove(&place);
                true
            }
            None => false,
        }
    }

    /// Frees entries whose time is over, at most `max` (0: all). Gives their number.
    pub fn purge(&self, now: u64, max: usize) -> usize {
        let mut gone = 0;
        for index in 0..self.used_chunks() {
            let head = self.chunks[index].tag().is_head();
            if head && self.is_over(index, now) && self.evict(index) {
                gone += 1;
                if gone == max {
                    break;
                }
            }
        }
        gone
    }

    /// Chunks below this number were used once.
    pub(super) fn used_chunks(&self) -> usize {
        (self.head.fresh.load(Relaxed) as usize).min(self.chunks.len())
    }
}
