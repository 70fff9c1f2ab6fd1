// SPDX-License-Identifier: Apache-2.0
//! Counting: what the end of an attempt, of a request, of a check and of a script's call adds to
//! the numbers of [`crate::counts`], and who keeps them.

use crate::api::PoolId;
use crate::counts::{Histogram, MemberCounts, PoolCounts};
use crate::history::CheckReport;
use crate::live::Slot;
use crate::relay::Outcome;

/// How an attempt or a request ended. An attempt ends in one of the first six.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A complete answer below 500.
    Ok,
    /// A complete answer of 500 and more; or httpd's own, in place of an attempt that the member
    /// never heard of.
    Status,
    /// No connection.
    Connect,
    /// The connection ended before or within the answer.
    Reset,
    /// No answer in time.
    Timeout,
    /// The client has gone, or its request broke off.
    Aborted,
    /// Nobody could be asked.
    NoMember,
    /// The request waited for a place as long as it may.
    QueueTimeout,
    /// Too many waited for a place already.
    QueueFull,
    /// The pool's script failed.
    Script,
}

impl Ending {
    /// All of them.
    pub const ALL: [Ending; 10] = [
        Ending::Ok,
        Ending::Status,
        Ending::Connect,
        Ending::Reset,
        Ending::Timeout,
        Ending::Aborted,
        Ending::NoMember,
        Ending::QueueTimeout,
        Ending::QueueFull,
        Ending::Script,
    ];

    /// The ending of an attempt, by its outcome and the status that came of it. `aborted`: the
    /// client has gone.
    #[inline]
    pub fn of(outcome: Outcome, status: u16, aborted: bool) -> Self {
        match outcome {
            _ if aborted => Ending::Aborted,
            Outcome::Answered(status) if status < 500 => Ending::Ok,
            Outcome::Answered(_) => Ending::Status,
            Outcome::Connect | Outcome::NoWorker => Ending::Connect,
            Outcome::Reset | Outcome::Stale | Outcome::Broken => Ending::Reset,
            Outcome::Timeout => Ending::Timeout,
            Outcome::NotTheMember if status >= 500 => Ending::Status,
            Outcome::NotTheMember => Ending::Aborted,
        }
    }

    /// Its place in [`PoolCounts::retries`], where another attempt follows.
    pub fn as_reason(self) -> Option<usize> {
        match self {
            Ending::Connect => Some(0),
            Ending::Reset => Some(1),
            Ending::Timeout => Some(2),
            _ => None,
        }
    }
}

/// The end of an attempt at a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptEnd {
    /// How it ended.
    pub ending: Ending,
    /// The status of the answer, if a complete one came: its class is counted.
    pub answered: Option<u16>,
    /// How long it took, microseconds.
    pub took_us: u64,
    /// Bytes sent to the member since the attempt before.
    pub sent: u64,
    /// Bytes received from it.
    pub received: u64,
}

impl AttemptEnd {
    /// The place of the answer's class in [`MemberCounts::responses`].
    #[inline]
    pub fn class(&self) -> Option<usize> {
        let status = self.answered.filter(|_| matches!(self.ending, Ending::Ok | Ending::Status))?;
        Some(match status {
            200..300 => 1,
            0..200 => 0,
            300..400 => 2,
            400..500 => 3,
            500.. => 4,
        })
    }
}

/// How the session of a request to a sticky pool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionEnd {
    /// Its member has answered.
    Kept,
    /// Another member had the request.
    Moved,
    /// There was none before.
    New,
    /// Its member was out, and nobody else may have it.
    Lost,
}

/// The end of a request to a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestEnd {
    /// How it ended.
    pub ending: Ending,
    /// How long it took, microseconds, its wait for a place included.
    pub took_us: u64,
    /// How long it waited for a place, if it did.
    pub waited_us: Option<u64>,
    /// Further attempts, in the order of [`crate::counts::RETRY_REASONS`].
    pub retries: [u32; 3],
    /// Its session, in a sticky pool.
    pub session: Option<SessionEnd>,
}

/// How a script's call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// It decided, or did what it is for.
    Ok,
    /// It left the decision to others.
    Declined,
    /// It failed.
    Error,
    /// It took too long.
    TimeLimit,
    /// It wanted too much memory.
    MemoryLimit,
}

/// The end of a version that was saved while another one served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadEnd {
    /// It serves.
    Ok,
    /// It was refused when it was vetted.
    Refused,
    /// Too many of its calls failed while it was on trial.
    Failed,
}

/// The keeper of the counts, for all processes together. Counts of a member or pool that has gone
/// are gone; a row that is replaced in the very instant of a count may get one that was meant for
/// its predecessor.
pub trait Counters {
    /// An attempt has ended.
    fn count_attempt(&self, slot: Slot, incarnation: u32, attempt: &AttemptEnd);
    /// A request has ended.
    fn count_request(&self, pool: PoolId, request: &RequestEnd);
    /// A check has ended.
    fn count_check(&self, slot: Slot, incarnation: u32, passed: bool);
    /// A member was ejected.
    fn count_ejection(&self, slot: Slot, incarnation: u32);
    /// The counts of a row.
    fn member_counts(&self, slot: Slot) -> MemberCounts;
    /// The counts of a pool.
    fn pool_counts(&self, pool: PoolId) -> PoolCounts;
    /// How long attempts of the last ten minutes took, by these counts and what was read then.
    fn member_recent(&self, slot: Slot, incarnation: u32, counts: &MemberCounts) -> Histogram;
    /// How long requests of the last ten minutes took.
    fn pool_recent(&self, pool: PoolId, counts: &PoolCounts) -> Histogram;
    /// Remembers what a check has found.
    fn note_check(&self, slot: Slot, incarnation: u32, report: &CheckReport);
    /// The finding of the last check.
    fn last_check(&self, slot: Slot, incarnation: u32) -> Option<CheckReport>;
}

impl MemberCounts {
    /// Adds an attempt.
    pub fn add(&mut self, attempt: &AttemptEnd) {
        match attempt.ending {
            Ending::Ok => self.ok += 1,
            Ending::Status => self.status += 1,
            Ending::Connect => self.connect += 1,
            Ending::Reset => self.reset += 1,
            Ending::Timeout => self.timeout += 1,
            Ending::Aborted => self.aborted += 1,
            Ending::NoMember | Ending::QueueTimeout | Ending::QueueFull | Ending::Script => {}
        }
        if let Some(class) = attempt.class() {
            self.responses[class] += 1;
        }
        self.sent_bytes += attempt.sent;
        self.received_bytes += attempt.received;
        self.histogram.observe(attempt.took_us);
    }
}

impl PoolCounts {
    /// Adds a request.
    pub fn add(&mut self, request: &RequestEnd) {
        let result = match request.ending {
            Ending::Ok => &mut self.ok,
            Ending::Status => &mut self.status,
            Ending::Connect => &mut self.connect,
            Ending::Reset => &mut self.reset,
            Ending::Timeout => &mut self.timeout,
            Ending::Aborted => &mut self.aborted,
            Ending::NoMember => &mut self.no_member,
            Ending::QueueTimeout => &mut self.queue_timeout,
            Ending::QueueFull => &mut self.queue_full,
            Ending::Script => &mut self.script,
        };
        *result += 1;
        self.histogram.observe(request.took_us);
        if let Some(waited_us) = request.waited_us {
            self.queue_histogram.observe(waited_us);
        }
        for (count, more) in self.retries.iter_mut().zip(request.retries) {
            *count += u64::from(more);
        }
        match request.session {
            Some(SessionEnd::Kept) => self.sessions.kept += 1,
            Some(SessionEnd::Moved) => self.sessions.moved += 1,
            Some(SessionEnd::New) => self.sessions.new += 1,
            Some(SessionEnd::Lost) => self.sessions.lost += 1,
            None => {}
        }
    }
}
