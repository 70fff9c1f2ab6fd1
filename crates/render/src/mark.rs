// SPDX-License-Identifier: Apache-2.0
//! Marks of documents: the `"C.N"` of `ETag`. C changes with membership, orders and state, N with
//! any number that is shown but for what hangs on the moment of asking. Both are hashes of what
//! they stand for, so that every child has the same one for the same state.

use std::fmt;
use std::hash::{Hash, Hasher};

use balance::history::CheckReport;
use balance::snapshot::{CheckState, MemberState, PoolState};
use xxhash_rust::xxh64::Xxh64;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The hash of membership, orders and state.
    pub change: u64,
    /// The hash of numbers.
    pub number: u64,
}

impl Mark {
    /// The mark of a member.
    pub fn of_member(member: &MemberState) -> Self {
        Mark::made(|mark| mark.member(member))
    }

    /// The mark of a pool, and of the list of its members.
    pub fn of_pool(pool: &PoolState) -> Self {
        Mark::made(|mark| mark.pool(pool))
    }

    /// The mark of several pools.
    pub fn of_pools(pools: &[PoolState]) -> Self {
        Mark::made(|mark| pools.iter().for_each(|pool| mark.pool(pool)))
    }

    fn made(body: impl FnOnce(&mut Making)) -> Self {
        let mut making = Making { change: Xxh64::new(0), number: Xxh64::new(0) };
        body(&mut making);
        Mark { change: making.change.finish(), number: making.number.finish() }
    }

    /// Reads one, without its quotes.
    pub fn parse(text: &str) -> Option<Self> {
        let (change, number) = text.split_once('.')?;
        let word = |text: &str| {
            let plain = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            plain.then(|| u64::from_str_radix(text, 16).ok())?
        };
        Some(Mark { change: word(change)?, number: word(number)? })
    }
}

/// As it stands in `ETag`, with its quotes.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{:016x}.{:016x}\"", self.change, self.number)
    }
}

struct Making {
    change: Xxh64,
    number: Xxh64,
}

impl Making {
    fn pool(&mut self, pool: &PoolState) {
        let PoolState { name, origin: _, settings, panic, usable, inflight, queued, counts, .. } = pool;
        (name, settings.to_text()).hash(&mut self.change);
        (panic, usable, inflight, queued).hash(&mut self.number);
        (counts, &pool.recent).hash(&mut self.number);
        pool.members.iter().for_each(|member| self.member(member));
    }

    fn member(&mut self, member: &MemberState) {
        let spec = &member.spec;
        // Without the secret: a hash of it would give it away to everybody who can guess.
        let connection = balance::member::ConnectionSettings { secret: None, ..spec.connection.clone() };
        (&spec.url, &spec.name, &spec.route, &spec.redirect, &spec.zone, &spec.meta).hash(&mut self.change);
        (spec.weight, spec.lbset, spec.flags, spec.max_inflight).hash(&mut self.change);
        (spec.slow_start_ms, spec.first_ejection_ms, connection).hash(&mut self.change);
        let why = member.why.iter().map(|cause| cause.flag as u8);
        why.for_each(|flag| flag.hash(&mut self.change));
        (member.state as u8, member.role as u8, member.weights.ordered, member.lbset).hash(&mut self.change);
        (&member.order, member.added).hash(&mut self.change);
        self.numbers(member);
    }

    fn numbers(&mut self, member: &MemberState) {
        let to = &mut self.number;
        (member.healthy, member.usable, member.since, member.weights.agent_percent).hash(to);
        (member.inflight, member.max_inflight, member.latency.ewma_ms.to_bits()).hash(to);
        if let Some(CheckState { ok, row, down, rise, fall }) = member.check {
            (ok, row, down, rise, fall).hash(to);
        }
        member.opinions.hash(to);
        (member.outlier.ejected, member.outlier.failures, member.outlier.ejections).hash(to);
        (member.outlier.until_ms, &member.counts, &member.recent).hash(to);
        if let Some(CheckReport { at_s, took_us, due_ms: _, detail }) = &member.last_check {
            (at_s, took_us, detail).hash(to);
        }
    }
}
