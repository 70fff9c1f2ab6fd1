// SPDX-License-Identifier: Apache-2.0
//! Slow start, as the leader drives it. The first step is set in the change that brings a member
//! up, and the leader takes the others. The step itself is in the table, so that another leader
//! goes on from there.

use std::collections::HashMap;
use std::sync::Arc;

use super::Subject;
use super::looks::Looks;
use crate::api::{Membership, PoolId};
use crate::event::{By, MemberEvent, What, Why};
use crate::member::Member;
use crate::slow_start;
use crate::store::Store;

/// Members whose weight is coming back.
#[derive(Debug, Default)]
pub struct Ramps {
    looks: Looks,
    running: HashMap<PoolId, Vec<Ramp>>,
}

#[derive(Debug)]
struct Ramp {
    member: Arc<Member>,
    /// When it began, or would have begun to be where it was found.
    began_ms: u64,
    /// The step that was set last.
    reached: u8,
    slow_start_ms: u64,
}

impl Ramps {
    /// Takes every member's next step.
    pub fn advance<'m>(
        &mut self,
        store: &impl Store,
        pools: impl Iterator<Item = &'m Membership>,
        now_ms: u64,
    ) -> Vec<MemberEvent> {
        let mut before = std::mem::take(&mut self.running);
        let mut events = Vec::new();
        for pool in pools {
            let mut ramps = before.remove(&pool.pool).unwrap_or_default();
            if self.looks.is_due(store, pool, now_ms) {
                ramps = found(store, pool, ramps, now_ms);
            }
            for ramp in &mut ramps {
                events.extend(ramp.step(store, &pool.name, now_ms));
            }
            ramps.retain(|ramp| ramp.reached != u8::MAX);
            if !ramps.is_empty() {
                self.running.insert(pool.pool, ramps);
            }
        }
        events
    }
}

/// The members of a pool whose weight is coming back, as they are now.
fn found(store: &impl Store, pool: &Membership, known: Vec<Ramp>, now_ms: u64) -> Vec<Ramp> {
    let key = |member: &Member| (member.slot, member.incarnation);
    let mut known: HashMap<_, Ramp> = known.into_iter().map(|ramp| (key(&ramp.member), ramp)).collect();
    let mut ramps = Vec::new();
    for member in pool.members.iter() {
        let reached = store.status(member.slot).ramp();
        if reached == u8::MAX {
            continue;
        }
        // Another step than this process's own: it came up anew, or another child led meanwhile.
        let own = known.remove(&key(member)).filter(|ramp| ramp.reached == reached);
        ramps.push(own.unwrap_or_else(|| Ramp::found(store, member, reached, now_ms)));
    }
    ramps
}

impl Ramp {
    fn found(store: &impl Store, member: &Arc<Member>, reached: u8, now_ms: u64) -> Self {
        let slow_start_ms = store.slow_start_ms(member);
        let began_ms = now_ms.saturating_sub(slow_start::elapsed_ms(reached, slow_start_ms));
        Ramp { member: member.clone(), began_ms, reached, slow_start_ms }
    }

    fn step(&mut self, store: &impl Store, pool: &Arc<str>, now_ms: u64) -> Option<MemberEvent> {
        let step = slow_start::ramp(now_ms.saturating_sub(self.began_ms), self.slow_start_ms);
        if step == self.reached {
            return None;
        }
        let (reached, member) = (self.reached, &*self.member);
        let changed = store.update(member.slot, member.incarnation, &mut |status| {
            if status.ramp() == reached { status.with_ramp(step) } else { status }
        });
        self.reached = step;
        let (before, after) = changed.ok()?;
        let is_over = before != after && after.ramp() == u8::MAX;
        let of = Subject { pool, member };
        is_over.then(|| of.event(store.now_s(), What::WholeWeight, Why::SlowStartOver, By::Time))
    }
}
