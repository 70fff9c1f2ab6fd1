// SPDX-License-Identifier: Apache-2.0
//! The counts of requests, as values: of a member, a pool, a script. They only grow; the store
//! keeps them for all children.

/// Upper bounds of the buckets of [`Histogram`], in microseconds. Longer ones are in the last one.
pub const BOUNDS_US: [u64; 11] =
    [2_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000];

/// The same bounds as texts of seconds, as they are shown.
pub const BOUNDS_S: [&str; 11] =
    ["0.002", "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "10"];

/// Why another member was asked, in the order of [`PoolCounts::retries`].
pub const RETRY_REASONS: [&str; 3] = ["connect", "reset", "timeout"];
/// The results of saved versions of scripts, in the order of [`ScriptCounts::reloads`].
pub const RELOAD_RESULTS: [&str; 3] = ["ok", "refused", "failed"];

/// The bucket of the shortest duration with so many leading zeros in its microseconds.
const FIRST_BUCKET: [u8; 64] = {
    let mut first = [0; 64];
    let mut zeros = 0;
    while zeros < first.len() {
        let shortest = 1_u64 << 63 >> zeros;
        while (first[zeros] as usize) < BOUNDS_US.len() && BOUNDS_US[first[zeros] as usize] < shortest {
            first[zeros] += 1;
        }
        let longest = shortest - 1 + shortest;
        let next = first[zeros] as usize + 1;
        assert!(next >= BOUNDS_US.len() || BOUNDS_US[next] >= longest, "two bounds between powers of two");
        zeros += 1;
    }
    first
};

/// Durations. A duration that is a bound is in that bound's bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Histogram {
    /// How many were so long: one for each of [`BOUNDS_US`], and those beyond. Not cumulated.
    pub buckets: [u64; 12],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

/// The counts of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MemberCounts {
    /// Attempts: complete answers below 500.
    pub ok: u64,
    /// Attempts: no connection.
    pub connect: u64,
    /// Attempts: the connection ended before or within the answer.
    pub reset: u64,
    /// Attempts: no answer in time.
    pub timeout: u64,
    /// Attempts: complete answers of 500 and more.
    pub status: u64,
    /// Attempts: the client went away.
    pub aborted: u64,
    /// Answers by class: 1xx to 5xx.
    pub responses: [u64; 5],
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// How long attempts took.
    pub histogram: Histogram,
    /// How often it was ejected.
    pub ejections: u64,
    /// How often its state became another one.
    pub transitions: u64,
    /// Checks that passed.
    pub checks_ok: u64,
    /// Checks that failed.
    pub checks_failed: u64,
}

/// The counts of a pool. A request has one result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PoolCounts {
    /// Requests: answered below 500.
    pub ok: u64,
    /// Requests: answered with 500 and more.
    pub status: u64,
    /// Requests: the last attempt got no connection.
    pub connect: u64,
    /// Requests: the connection of the last attempt ended.
    pub reset: u64,
    /// Requests: the last attempt got no answer in time.
    pub timeout: u64,
    /// Requests: the client went away.
    pub aborted: u64,
    /// Requests: there was no member.
    pub no_member: u64,
    /// Requests: they waited for a place as long as they may.
    pub queue_timeout: u64,
    /// Requests: too many waited already.
    pub queue_full: u64,
    /// Requests: the script failed.
    pub script: u64,
    /// How often another member was asked, in the order of [`RETRY_REASONS`].
    pub retries: [u64; 3],
    /// How long requests took.
    pub histogram: Histogram,
    /// How long requests waited for a place.
    pub queue_histogram: Histogram,
    /// How sessions ended.
    pub sessions: SessionCounts,
}

/// How the sessions of a pool's requests ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SessionCounts {
    /// They stayed with their member.
    pub kept: u64,
    /// Their member was out: another one took over.
    pub moved: u64,
    /// They began.
    pub new: u64,
    /// Their member was out, and nobody else may have them.
    pub lost: u64,
}

/// The counts of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ScriptCounts {
    /// Calls that decided.
    pub ok: u64,
    /// Calls that left the decision to others.
    pub declined: u64,
    /// Calls that failed.
    pub error: u64,
    /// Calls that took too long.
    pub time_limit: u64,
    /// Calls that wanted too much memory.
    pub memory_limit: u64,
    /// How long all calls took together, in microseconds.
    pub sum_us: u64,
    /// Saved versions, in the order of [`RELOAD_RESULTS`].
    pub reloads: [u64; 3],
}

impl Histogram {
    /// The bucket of a duration.
    #[inline]
    pub fn bucket(micros: u64) -> usize {
        // Between two powers of two there is one bound at most.
        let first = FIRST_BUCKET[(micros | 1).leading_zeros() as usize] as usize;
        first + BOUNDS_US.get(first).map_or(0, |bound| usize::from(micros > *bound))
    }

    /// Puts a duration in.
    pub fn observe(&mut self, micros: u64) {
        let bucket = &mut self.buckets[Self::bucket(micros)];
        *bucket = bucket.saturating_add(1);
        self.sum_us = self.sum_us.saturating_add(micros);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum.saturating_add(*bucket))
    }

    /// The counts since an earlier reading of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Histogram) -> Histogram {
        let mut buckets = self.buckets;
        for (bucket, before) in buckets.iter_mut().zip(earlier.buckets) {
            *bucket = bucket.saturating_sub(before);
        }
        Histogram { buckets, sum_us: self.sum_us.saturating_sub(earlier.sum_us) }
    }

    /// The seconds that this part (0 to 1) of the durations does not exceed, as straight lines
    /// within the buckets have it. The last bucket has no end: its beginning stands for it. None
    /// when there are none.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = part.clamp(0.0, 1.0) * count as f64;
        let (mut below, mut start) = (0.0, 0.0);
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_US) {
            let (held, end) = (*bucket as f64, bound as f64);
            if held > 0.0 && below + held >= rank {
                return Some((start + (end - start) * ((rank - below) / held).max(0.0)) / 1e6);
            }
            (below, start) = (below + held, end);
        }
        Some(start / 1e6)
    }
}

impl MemberCounts {
    /// The outcomes of attempts, with their words.
    pub fn attempts(&self) -> [(&'static str, u64); 6] {
        [
            ("ok", self.ok),
            ("connect", self.connect),
            ("reset", self.reset),
            ("timeout", self.timeout),
            ("status", self.status),
            ("aborted", self.aborted),
        ]
    }
}

impl MemberCounts {
    /// Answers, with the words of their classes.
    pub fn classes(&self) -> [(&'static str, u64); 5] {
        let [first, second, third, fourth, fifth] = self.responses;
        [("1xx", first), ("2xx", second), ("3xx", third), ("4xx", fourth), ("5xx", fifth)]
    }

    /// Checks, with the words of their results.
    pub fn checks(&self) -> [(&'static str, u64); 2] {
        [("ok", self.checks_ok), ("failed", self.checks_failed)]
    }
}

impl SessionCounts {
    /// How sessions ended, each with its word.
    pub fn kinds(&self) -> [(&'static str, u64); 4] {
        [("kept", self.kept), ("moved", self.moved), ("new", self.new), ("lost", self.lost)]
    }
}

impl ScriptCounts {
    /// Calls, however they ended.
    pub fn calls(&self) -> u64 {
        self.by_result().iter().map(|(_, count)| count).sum()
    }

    /// The results of saved versions, with the words.
    pub fn reloads_by_result(&self) -> [(&'static str, u64); 3] {
        let [ok, refused, failed] = self.reloads;
        [(RELOAD_RESULTS[0], ok), (RELOAD_RESULTS[1], refused), (RELOAD_RESULTS[2], failed)]
    }

    /// The results of calls, with their words.
    pub fn by_result(&self) -> [(&'static str, u64); 5] {
        [
            ("ok", self.ok),
            ("declined", self.declined),
            ("error", self.error),
            ("time_limit", self.time_limit),
            ("memory_limit", self.memory_limit),
        ]
    }
}

impl PoolCounts {
    /// How often another member was asked, with the reasons.
    pub fn retries_by_reason(&self) -> [(&'static str, u64); 3] {
        let [connect, reset, timeout] = self.retries;
        [(RETRY_REASONS[0], connect), (RETRY_REASONS[1], reset), (RETRY_REASONS[2], timeout)]
    }

    /// Requests that failed: all but those that were answered below 500, and those whose client
    /// went away.
    pub fn errors(&self) -> u64 {
        let PoolCounts { status, connect, reset, timeout, .. } = *self;
        let PoolCounts { no_member, queue_timeout, queue_full, script, .. } = *self;
        let all = [status, connect, reset, timeout, no_member, queue_timeout, queue_full, script];
        all.into_iter().fold(0, u64::wrapping_add)
    }

    /// The results of requests, with their words.
    pub fn requests(&self) -> [(&'static str, u64); 10] {
        [
            ("ok", self.ok),
            ("status", self.status),
            ("connect", self.connect),
            ("reset", self.reset),
            ("timeout", self.timeout),
            ("aborted", self.aborted),
            ("no_member", self.no_member),
            ("queue_timeout", self.queue_timeout),
            ("queue_full", self.queue_full),
            ("script", self.script),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_in_its_own_bucket() {
        assert_eq!(Histogram::bucket(0), 0);
        for (place, bound) in BOUNDS_US.iter().enumerate() {
            assert_eq!(Histogram::bucket(*bound), place);
            assert_eq!(Histogram::bucket(bound + 1), place + 1);
        }
        assert_eq!(Histogram::bucket(u64::MAX), 11);
    }

    #[test]
    fn the_texts_of_the_bounds_are_the_bounds() {
        for (text, micros) in BOUNDS_S.iter().zip(BOUNDS_US) {
            assert_eq!(text.parse::<f64>().map(|seconds| (seconds * 1e6).round() as u64), Ok(micros));
        }
    }

    #[test]
    fn quantiles_lie_on_straight_lines_within_the_buckets() {
        let mut all = Histogram::default();
        assert_eq!(all.quantile(0.5), None);
        (0..10).for_each(|_| all.observe(1_500));
        assert_eq!(all.quantile(0.5), Some(0.001));
        assert_eq!(all.quantile(1.0), Some(0.002));
        all.observe(60_000_000);
        assert_eq!(all.quantile(1.0), Some(10.0));
        assert_eq!((all.count(), all.sum_us), (11, 60_015_000));
    }

    #[test]
    fn the_difference_is_all_that_came_since() {
        let mut all = Histogram::default();
        all.observe(1);
        let earlier = all;
        all.observe(3_000);
        let since = all.since(&earlier);
        assert_eq!((since.buckets[1], since.count(), since.sum_us), (1, 1, 3_000));
        assert_eq!(earlier.since(&all), Histogram::default());
    }
}
