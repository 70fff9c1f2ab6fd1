// SPDX-License-Identifier: Apache-2.0
//! Slow start, as the leader drives it. The first step is set in the change that brings a member
//! up, and the leader takes the others. The step itself is in the table, so that another leader
//! goes on from there.

use std::collections::HashMap;

use super::Subject;
use crate::api::Membership;
use crate::event::{By, MemberEvent, What, Why};
use crate::member::Member;
use crate::slow_start;
use crate::store::Store;

/// Members whose weight is coming back.
#[derive(Debug, Default)]
pub struct Ramps {
    /// By slot and incarnation.
    running: HashMap<(u32, u32), Ramp>,
}

#[derive(Debug)]
struct Ramp {
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
        for (pool, member) in pools.flat_map(|pool| pool.members.iter().map(|member| (&pool.name, member))) {
            let reached = store.status(member.slot).ramp();
            if reached == u8::MAX {
                continue;
            }
            let key = (member.slot, member.incarnation);
            // Another step than this process's own: it came up anew, or another child led
            // meanwhile.
            let known = before.remove(&key).filter(|ramp| ramp.reached == reached);
            let mut ramp = known.unwrap_or_else(|| Ramp::found(store, member, reached, now_ms));
            events.extend(ramp.step(store, Subject { pool, member }, now_ms));
            self.running.insert(key, ramp);
        }
        events
    }
}

impl Ramp {
    fn found(store: &impl Store, member: &Member, reached: u8, now_ms: u64) -> Self {
        let slow_start_ms = store.slow_start_ms(member);
        let began_ms = now_ms.saturating_sub(slow_start::elapsed_ms(reached, slow_start_ms));
        Ramp { began_ms, reached, slow_start_ms }
    }

    fn step(&mut self, store: &impl Store, of: Subject<'_>, now_ms: u64) -> Option<MemberEvent> {
        let step = slow_start::ramp(now_ms.saturating_sub(self.began_ms), self.slow_start_ms);
        if step == self.reached {
            return None;
        }
        let reached = self.reached;
        let changed = store.update(of.member.slot, of.member.incarnation, &mut |status| {
            if status.ramp() == reached { status.with_ramp(step) } else { status }
        });
        self.reached = step;
        let (before, after) = changed.ok()?;
        let is_over = before != after && after.ramp() == u8::MAX;
        is_over.then(|| of.event(store.now_s(), What::WholeWeight, Why::SlowStartOver, By::Time))
    }
}
