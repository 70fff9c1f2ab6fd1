// SPDX-License-Identifier: Apache-2.0
//! Adds the ends of attempts, requests, checks and calls to the table's counts.

use balance::api::PoolId;
use balance::counting::{AttemptEnd, CallEnd, Counters, Ending, ReloadEnd, RequestEnd, SessionEnd};
use balance::counts::{Histogram, MemberCounts, PoolCounts, ScriptCounts, SessionCounts};
use balance::history::CheckReport;
use balance::live::Slot;

use crate::Table;
use crate::counts::{add, histogram, member, observe, pool, read, script};
use crate::protocol::AtomicU64;
use crate::protocol::life::Life;

/// Words of an attempt's ends, in the order of [`balance::counting::Ending::ALL`]; the others are
/// of requests alone.
const OF_ATTEMPTS: [usize; 6] =
    [member::OK, member::STATUS, member::CONNECT, member::RESET, member::TIMEOUT, member::ABORTED];

/// Words of a request's ends, in the order of [`balance::counting::Ending::ALL`].
const OF_REQUESTS: [usize; 10] = [
    pool::OK,
    pool::STATUS,
    pool::CONNECT,
    pool::RESET,
    pool::TIMEOUT,
    pool::ABORTED,
    pool::NO_MEMBER,
    pool::QUEUE_TIMEOUT,
    pool::QUEUE_FULL,
    pool::SCRIPT,
];

impl Table {
    /// The words of a member's counts, as long as the row holds that incarnation. None as well
    /// where nothing is counted.
    #[inline]
    fn counts_of(&self, slot: Slot, incarnation: u32) -> Option<&[AtomicU64; 32]> {
        let key = self.map.keys().get(slot as usize).filter(|_| self.counts)?;
        let row = self.map.member_counts().get(slot as usize)?;
        Life::load(&key.life).is_live_as(incarnation).then_some(&row.words)
    }

    fn count_of_member(&self, slot: Slot, incarnation: u32, word: usize) {
        if let Some(words) = self.counts_of(slot, incarnation) {
            add(words, word, 1);
        }
    }

    /// A member's state has become another one.
    pub(crate) fn count_transition(&self, slot: Slot, incarnation: u32) {
        self.count_of_member(slot, incarnation, member::TRANSITIONS);
    }

    /// Counts an attempt at a row that was found to be live.
    #[inline]
    pub(crate) fn count_attempt_of_live(&self, slot: Slot, attempt: &AttemptEnd) {
        let Some(row) = self.map.member_counts().get(slot as usize).filter(|_| self.counts) else { return };
        let words = &row.words;
        match (attempt.ending, attempt.answered) {
            // Most are: their words are known before.
            (Ending::Ok, Some(200..300)) => {
                add(words, member::OK, 1);
                add(words, member::RESPONSES[1], 1);
            }
            _ => count_ending(words, attempt),
        }
        add(words, member::SENT, attempt.sent);
        add(words, member::RECEIVED, attempt.received);
        observe(words, (member::SUM_US, member::BUCKETS), attempt.took_us);
    }

    /// How long a member's attempts took.
    pub(crate) fn member_histogram(&self, slot: Slot) -> Histogram {
        let row = self.map.member_counts().get(slot as usize);
        row.map_or(Histogram::default(), |row| histogram(&row.words, member::SUM_US, member::BUCKETS))
    }

    /// A call of a script has ended.
    #[inline]
    pub fn count_call(&self, row: u32, ending: CallEnd, took_ns: u64) {
        let Some(row) = self.map.script_counts().get(row as usize).filter(|_| self.counts) else { return };
        let word = match ending {
            CallEnd::Ok => script::OK,
            CallEnd::Declined => script::DECLINED,
            CallEnd::Error => script::ERROR,
            CallEnd::TimeLimit => script::TIME_LIMIT,
            CallEnd::MemoryLimit => script::MEMORY_LIMIT,
        };
        add(&row.words, word, 1);
        add(&row.words, script::SUM_NS, took_ns);
    }

    /// A saved version of a script was taken, or was not.
    pub fn count_reload(&self, row: u32, ending: ReloadEnd) {
        let Some(row) = self.map.script_counts().get(row as usize).filter(|_| self.counts) else { return };
        let word = match ending {
            ReloadEnd::Ok => script::RELOADED,
            ReloadEnd::Refused => script::REFUSED,
            ReloadEnd::Failed => script::FAILED_TRIALS,
        };
        add(&row.words, word, 1);
    }

    /// The counts of a script.
    pub fn script_counts(&self, row: u32) -> ScriptCounts {
        let Some(row) = self.map.script_counts().get(row as usize) else { return ScriptCounts::default() };
        let word = |at: usize| read(&row.words, at);
        ScriptCounts {
            ok: word(script::OK),
            declined: word(script::DECLINED),
            error: word(script::ERROR),
            time_limit: word(script::TIME_LIMIT),
            memory_limit: word(script::MEMORY_LIMIT),
            sum_us: word(script::SUM_NS) / 1000,
            reloads: [word(script::RELOADED), word(script::REFUSED), word(script::FAILED_TRIALS)],
        }
    }
}

/// Counts how an attempt ended.
#[cold]
fn count_ending(words: &[AtomicU64; 32], attempt: &AttemptEnd) {
    if let Some(word) = OF_ATTEMPTS.get(attempt.ending as usize) {
        add(words, *word, 1);
    }
    if let Some(class) = attempt.class() {
        add(words, member::RESPONSES[class], 1);
    }
}

impl Counters for Table {
    fn count_attempt(&self, slot: Slot, incarnation: u32, attempt: &AttemptEnd) {
        if self.counts_of(slot, incarnation).is_some() {
            self.count_attempt_of_live(slot, attempt);
        }
    }

    #[inline]
    fn count_request(&self, pool: PoolId, request: &RequestEnd) {
        let Some(row) = self.map.pool_counts().get(pool.0 as usize).filter(|_| self.counts) else { return };
        let words = &row.words;
        match request.ending {
            Ending::Ok => add(words, pool::OK, 1),
            other => add(words, OF_REQUESTS[other as usize], 1),
        }
        observe(words, (pool::SUM_US, pool::BUCKETS), request.took_us);
        if request.retries != [0; 3] {
            for (at, more) in (pool::RETRIES..).zip(request.retries) {
                add(words, at, u64::from(more));
            }
        }
        if let Some(waited_us) = request.waited_us {
            observe(words, (pool::QUEUE_SUM_US, pool::QUEUE_BUCKETS), waited_us);
        }
        if let Some(session) = request.session {
            let word = match session {
                SessionEnd::Kept => pool::KEPT,
                SessionEnd::Moved => pool::MOVED,
                SessionEnd::New => pool::NEW,
                SessionEnd::Lost => pool::LOST,
            };
            add(words, word, 1);
        }
    }

    fn count_check(&self, slot: Slot, incarnation: u32, passed: bool) {
        let word = if passed { member::CHECKS_OK } else { member::CHECKS_FAILED };
        self.count_of_member(slot, incarnation, word);
    }

    fn count_ejection(&self, slot: Slot, incarnation: u32) {
        self.count_of_member(slot, incarnation, member::EJECTIONS);
    }

    fn member_counts(&self, slot: Slot) -> MemberCounts {
        let Some(row) = self.map.member_counts().get(slot as usize) else { return MemberCounts::default() };
        let word = |at: usize| read(&row.words, at);
        MemberCounts {
            ok: word(member::OK),
            connect: word(member::CONNECT),
            reset: word(member::RESET),
            timeout: word(member::TIMEOUT),
            status: word(member::STATUS),
            aborted: word(member::ABORTED),
            responses: member::RESPONSES.map(word),
            sent_bytes: word(member::SENT),
            received_bytes: word(member::RECEIVED),
            histogram: self.member_histogram(slot),
            ejections: word(member::EJECTIONS),
            transitions: word(member::TRANSITIONS),
            checks_ok: word(member::CHECKS_OK),
            checks_failed: word(member::CHECKS_FAILED),
        }
    }

    fn pool_counts(&self, pool: PoolId) -> PoolCounts {
        let Some(row) = self.map.pool_counts().get(pool.0 as usize) else { return PoolCounts::default() };
        let word = |at: usize| read(&row.words, at);
        PoolCounts {
            ok: word(pool::OK),
            status: word(pool::STATUS),
            connect: word(pool::CONNECT),
            reset: word(pool::RESET),
            timeout: word(pool::TIMEOUT),
            aborted: word(pool::ABORTED),
            no_member: word(pool::NO_MEMBER),
            queue_timeout: word(pool::QUEUE_TIMEOUT),
            queue_full: word(pool::QUEUE_FULL),
            script: word(pool::SCRIPT),
            retries: std::array::from_fn(|at| word(pool::RETRIES + at)),
            histogram: histogram(&row.words, pool::SUM_US, pool::BUCKETS),
            queue_histogram: histogram(&row.words, pool::QUEUE_SUM_US, pool::QUEUE_BUCKETS),
            sessions: SessionCounts {
                kept: word(pool::KEPT),
                moved: word(pool::MOVED),
                new: word(pool::NEW),
                lost: word(pool::LOST),
            },
        }
    }
    fn member_recent(&self, slot: Slot, incarnation: u32, counts: &MemberCounts) -> Histogram {
        self.recent_of_member(slot, incarnation, counts)
    }

    fn pool_recent(&self, pool: PoolId, counts: &PoolCounts) -> Histogram {
        self.recent_of_pool(pool, counts)
    }

    fn note_check(&self, slot: Slot, incarnation: u32, report: &CheckReport) {
        self.note_last_check(slot, incarnation, report);
    }

    fn last_check(&self, slot: Slot, incarnation: u32) -> Option<CheckReport> {
        self.read_last_check(slot, incarnation)
    }
}
