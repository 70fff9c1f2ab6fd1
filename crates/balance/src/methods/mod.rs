// SPDX-License-Identifier: Apache-2.0
//! The ways to pick. All of them choose among the candidates of a [`Compiled`] pool, leave out the
//! members to avoid and those at `max_inflight`, do a bounded amount of work, and end in a plain
//! scan when their own way meets too many of those.

pub mod alias;
mod hashes;
mod index;
mod load;
pub mod maglev;
pub mod rings;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::compiled::{Candidate, Compiled};
use crate::live::{CursorId, Live, Slot, UNBOUNDED};
use crate::member::Member;
use crate::rng::Rng;
use crate::settings::Method;

/// Draws that may miss before a scan ends the search.
const MISSES: usize = 20;

/// The needs of a pick besides the compiled pool.
pub struct Picking<'p, 'a, L: Live> {
    /// The pool.
    pub pool: &'p Compiled,
    /// Live state.
    pub live: &'a L,
    /// The round robin sequence.
    pub cursor: CursorId,
    /// Rows not to pick.
    pub avoid: &'a [Slot],
}

impl<'p, L: Live> Picking<'p, '_, L> {
    /// Picks by a method. None: no candidate is left. [`Method::Lua`] picks as round robin does.
    /// Short methods are inlined here, the others are not, so that a short pick does not save
    /// registers for a long one.
    #[inline]
    pub fn pick(&self, method: &Method, key: &[u8], rng: &Rng) -> Option<&'p Arc<Member>> {
        if self.pool.candidates.is_empty() {
            return None;
        }
        let found = match method {
            Method::RoundRobin | Method::Lua { .. } => self.round_robin(),
            Method::Random => self.draw(rng, usize::MAX),
            Method::LeastConnections => self.least_connections(),
            Method::PowerOfTwo => self.power_of_two(rng),
            Method::LeastLatency => self.least_latency(rng),
            Method::First if self.free_at(0) => Some(0),
            Method::First => self.scan(0),
            Method::ConsistentHash { balance_factor } => self.consistent_hash(key, *balance_factor),
            Method::Maglev => self.maglev(key),
            Method::Rendezvous => self.rendezvous(key),
            Method::Hash => self.hash(key),
        };
        self.pool.member_of(found?)
    }

    #[inline]
    fn candidate(&self, index: usize) -> Option<&Candidate> {
        self.pool.candidates.get(index)
    }

    /// Whether a candidate may be picked by this request.
    #[inline(always)]
    fn is_free(&self, candidate: &Candidate) -> bool {
        self.avoid.is_empty() && candidate.room == UNBOUNDED || self.is_free_now(candidate)
    }

    #[inline(never)]
    fn is_free_now(&self, candidate: &Candidate) -> bool {
        !self.avoid.contains(&candidate.slot)
            && (candidate.room == UNBOUNDED || self.live.inflight(candidate.slot) < candidate.room)
    }

    /// The same, when its requests are known.
    #[inline]
    fn is_free_with(&self, candidate: &Candidate, inflight: u32) -> bool {
        (self.avoid.is_empty() || !self.avoid.contains(&candidate.slot))
            && (candidate.room == UNBOUNDED || inflight < candidate.room)
    }

    #[inline]
    fn free_at(&self, index: usize) -> bool {
        self.candidate(index).is_some_and(|candidate| self.is_free(candidate))
    }

    /// The first free candidate from an index on, around the end.
    #[cold]
    fn scan(&self, from: usize) -> Option<usize> {
        let count = self.pool.candidates.len();
        let from = if from < count { from } else { 0 };
        (from..count).chain(0..from).find(|index| self.free_at(*index))
    }

    /// The free candidate that stands for a member (by index), if it is one.
    #[inline]
    fn free_member(&self, member: u32) -> Option<usize> {
        let index = *self.pool.place.get(member as usize)? as usize;
        self.free_at(index).then_some(index)
    }

    #[inline]
    fn round_robin(&self) -> Option<usize> {
        let first = self.pool.schedule().at(self.live.advance(self.cursor))?;
        if self.free_at(first) { Some(first) } else { self.round_robin_on(first) }
    }

    #[cold]
    fn round_robin_on(&self, mut last: usize) -> Option<usize> {
        for _ in 1..MISSES {
            last = self.pool.schedule().at(self.live.advance(self.cursor))?;
            if self.free_at(last) {
                return Some(last);
            }
        }
        self.scan(last)
    }

    /// A weighted draw of a free candidate that is not `other`.
    #[inline]
    fn draw(&self, rng: &Rng, other: usize) -> Option<usize> {
        let index = self.pool.alias().draw(rng);
        if index != other && self.free_at(index) { Some(index) } else { self.draw_on(rng, other) }
    }

    #[inline(never)]
    fn draw_on(&self, rng: &Rng, other: usize) -> Option<usize> {
        for _ in 1..MISSES {
            let index = self.pool.alias().draw(rng);
            if index != other && self.free_at(index) {
                return Some(index);
            }
        }
        self.weighted_scan(rng, other)
    }

    /// A weighted draw by going through all candidates: for when few of many are free.
    #[cold]
    fn weighted_scan(&self, rng: &Rng, other: usize) -> Option<usize> {
        let free = |index: &usize| *index != other && self.free_at(*index);
        let weight = |index: usize| self.candidate(index).map_or(0, |candidate| u64::from(candidate.weight));
        let all = 0..self.pool.candidates.len();
        let total: u64 = all.clone().filter(free).map(weight).sum();
        let mut left = rng.below(total);
        all.filter(free).find(|index| {
            let weight = weight(*index);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        })
    }
}
