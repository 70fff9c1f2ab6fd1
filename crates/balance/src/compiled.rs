// SPDX-License-Identifier: Apache-2.0
//! A pool made ready for picking: who may be picked now, with everything that makes a pick cheap.
//! Built when the pool's epoch changes, shared by all threads of a child.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::live::{Advice, Slot};
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
    /// Most requests at once, 0 for no limit.
    pub max_inflight: u32,
    /// Its index in [`Compiled::members`].
    pub member: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Compiled {
    /// All members of the pool or view, in configured order.
    pub members: Vec<Arc<Member>>,
    /// The members that may be picked, in configured order.
    pub candidates: Vec<Candidate>,
    /// Index of each member among the candidates, `u32::MAX` for none.
    pub(crate) place: Vec<u32>,
    /// Round robin.
    pub(crate) schedule: Schedule,
    /// Weighted random.
    pub(crate) alias: AliasTable,
    /// The rings of the hash methods: they depend on members and configured weights alone.
    pub(crate) rings: Arc<Rings>,
    /// Mean latency of those that were measured, as bits of a float, and for how many uses more it
    /// does << 32.
    pub(crate) mean_latency: AtomicU64,
    /// Whether all candidates have the same weight.
    pub(crate) even: bool,
    /// Whether any candidate has a `max_inflight`.
    pub(crate) limited: bool,
}

impl Compiled {
    /// Builds it. `status` says as well what an agent wants; `panic` whether health is ignored, by
    /// default as the statuses say. `rings` of an earlier build are used again when members and
    /// configured weights are still the same.
    pub fn build(
        members: Vec<Arc<Member>>,
        status: impl Fn(&Member) -> (Status, Advice),
        set: &Set,
        panic: Option<bool>,
        rings: Option<&Arc<Rings>>,
    ) -> Self {
        let (states, advice): (Vec<Status>, Vec<Advice>) =
            members.iter().map(|member| status(member)).unzip();
        let panic = panic.unwrap_or_else(|| tier::is_panic(&states, set));
        let candidates: Vec<Candidate> = tier::active(&members, &states, set, panic)
            .into_iter()
            .map(|index| Candidate {
                slot: members[index].slot,
                weight: states[index].share(advice[index].percent),
                max_inflight: advice[index].limit(&members[index].spec),
                member: index as u32,
            })
            .collect();
        let mut place = vec![u32::MAX; members.len()];
        for (index, candidate) in candidates.iter().enumerate() {
            place[candidate.member as usize] = index as u32;
        }
        let weights: Vec<u32> = candidates.iter().map(|candidate| candidate.weight).collect();
        let configured: Vec<u32> = states.iter().map(|state| state.weight()).collect();
        let key = Rings::key_of(&members, &configured);
        let rings = rings
            .filter(|rings| rings.key() == key)
            .cloned()
            .unwrap_or_else(|| Arc::new(Rings::new(&members, configured, key)));
        Compiled {
            schedule: Schedule::new(&weights),
            alias: AliasTable::new(&weights),
            limited: candidates.iter().any(|candidate| candidate.max_inflight > 0),
            mean_latency: AtomicU64::new(0),
            even: weights.windows(2).all(|two| two[0] == two[1]),
            members,
            candidates,
            place,
            rings,
        }
    }

    /// The rings, for the next build.
    pub fn rings(&self) -> &Arc<Rings> {
        &self.rings
    }

    /// The member of a candidate.
    pub(crate) fn member_of(&self, candidate: usize) -> Option<&Arc<Member>> {
        self.members.get(self.candidates.get(candidate)?.member as usize)
    }
}
