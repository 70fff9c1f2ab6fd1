// SPDX-License-Identifier: Apache-2.0
//! A pool made ready for picking: who may be picked now, with everything that makes a pick cheap.
//! Built when the pool's epoch changes, shared by all threads of a child. The tables of a method
//! are made by the first pick that asks for them: most pools are asked by one method only, and in
//! large ones the tables take longer than the rest.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use crate::live::{Slot, UNBOUNDED};
use crate::member::Member;
use crate::methods::alias::AliasTable;
use crate::methods::rings::Rings;
use crate::schedule::Schedule;
use crate::settings::Set;
use crate::status::Status;
use crate::tier;

/// A member that picks choose among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its row.
    pub slot: Slot,
    /// Effective weight in hundredths, > 0.
    pub weight: u32,
    /// Most requests at once from here, [`UNBOUNDED`] for no limit.
    pub room: u32,
    /// Its index in [`Compiled::members`].
    pub member: u32,
}

/// A member as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberNow {
    /// Its status.
    pub status: Status,
    /// Percent of the weight, by its agent.
    pub percent: u16,
    /// Most requests at once from here, [`UNBOUNDED`] for no limit.
    pub room: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Compiled {
    /// All members of the pool or view, in configured order.
    pub members: Arc<[Arc<Member>]>,
    /// The members that may be picked, in configured order.
    pub candidates: Vec<Candidate>,
    /// Index of each member among the candidates, `u32::MAX` for none.
    pub(crate) place: Vec<u32>,
    /// Configured weight of each member, hundredths.
    configured: Box<[u32]>,
    schedule: OnceLock<Schedule>,
    alias: OnceLock<AliasTable>,
    rings: OnceLock<Arc<Rings>>,
    /// Of an earlier build.
    rings_before: Option<Arc<Rings>>,
    /// Mean latency of those that were measured, as bits of a float, and for how many uses more it
    /// does << 32.
    pub(crate) mean_latency: AtomicU64,
    /// Whether all candidates have the same weight.
    pub(crate) even: bool,
    /// Whether any candidate has a limit of requests.
    pub(crate) limited: bool,
}

impl Compiled {
    /// Builds it. `seen` says how each member is now; `panic` whether health is ignored, by
    /// default as the statuses say. `rings` of an earlier build are used again when members and
    /// configured weights are still the same.
    pub fn build(
        members: Arc<[Arc<Member>]>,
        seen: impl Fn(&Member) -> MemberNow,
        set: &Set,
        panic: Option<bool>,
        rings: Option<&Arc<Rings>>,
    ) -> Self {
        let seen: Vec<MemberNow> = members.iter().map(|member| seen(member)).collect();
        let states: Vec<Status> = seen.iter().map(|now| now.status).collect();
        let panic = panic.unwrap_or_else(|| tier::is_panic(&states, set));
        let candidates: Vec<Candidate> = tier::active(&members, &states, set, panic)
            .into_iter()
            .map(|index| Candidate {
                slot: members[index].slot,
                weight: states[index].share(seen[index].percent),
                room: seen[index].room,
                member: index as u32,
            })
            .collect();
        let mut place = vec![u32::MAX; members.len()];
        for (index, candidate) in candidates.iter().enumerate() {
            place[candidate.member as usize] = index as u32;
        }
        Compiled {
            schedule: OnceLock::new(),
            alias: OnceLock::new(),
            rings: OnceLock::new(),
            rings_before: rings.cloned(),
            configured: states.iter().map(|state| state.weight()).collect(),
            limited: candidates.iter().any(|candidate| candidate.room != UNBOUNDED),
            mean_latency: AtomicU64::new(0),
            even: candidates.windows(2).all(|two| two[0].weight == two[1].weight),
            members,
            candidates,
            place,
        }
    }

    /// The round robin sequence.
    #[inline]
    pub(crate) fn schedule(&self) -> &Schedule {
        self.schedule.get_or_init(|| Schedule::new(&self.weights()))
    }

    /// For weighted random.
    #[inline]
    pub(crate) fn alias(&self) -> &AliasTable {
        self.alias.get_or_init(|| AliasTable::new(&self.weights()))
    }

    /// The rings of the hash methods: they depend on members and configured weights alone.
    #[inline]
    pub(crate) fn rings(&self) -> &Rings {
        self.rings.get_or_init(|| self.make_rings())
    }

    fn weights(&self) -> Vec<u32> {
        self.candidates.iter().map(|candidate| candidate.weight).collect()
    }

    #[cold]
    fn make_rings(&self) -> Arc<Rings> {
        let key = Rings::key_of(&self.members, &self.configured);
        let same = self.rings_before.as_ref().filter(|rings| rings.key() == key);
        same.cloned().unwrap_or_else(|| Arc::new(Rings::new(&self.members, &self.configured, key)))
    }

    /// The rings that were made last, for the next build.
    pub fn rings_made(&self) -> Option<&Arc<Rings>> {
        self.rings.get().or(self.rings_before.as_ref())
    }

    /// The member of a candidate.
    pub(crate) fn member_of(&self, candidate: usize) -> Option<&Arc<Member>> {
        self.members.get(self.candidates.get(candidate)?.member as usize)
    }
}
