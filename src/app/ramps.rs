//! Slow start, as the leader drives it: whoever brings a member up sets the first step in the same change, and the leader
//! takes the others. The step itself is in the table, so that another leader goes on from there.

use std::collections::HashMap;
use std::sync::Arc;

use balance::api::{Membership, PoolId};
use balance::live::Live;
use balance::member::Member;
use balance::slow_start;
use balance::store::Store;
use table::Table;

use crate::httpd::memory;

/// Members whose weight is coming back.
#[derive(Default)]
pub(super) struct Ramps {
    /// By slot and incarnation.
    running: HashMap<(u32, u32), Ramp>,
}

struct Ramp {
    /// When it began, or would have begun to be where it was found.
    began_ms: u64,
    /// The step that was set last.
    reached: u8,
    slow_start_ms: u64,
}

impl Ramps {
    /// Takes every member's next step.
    pub(super) fn advance(&mut self, table: &Table, pools: &[(PoolId, Arc<Membership>)]) {
        let now_ms = memory::monotonic_ms();
        let mut before = std::mem::take(&mut self.running);
        for member in pools.iter().flat_map(|(_, membership)| &membership.members) {
            let reached = table.status(member.slot).ramp();
            if reached == u8::MAX {
                continue;
            }
            let key = (member.slot, member.incarnation);
            // Another step than this child's own: it came up anew, or another child led meanwhile.
            let known = before.remove(&key).filter(|ramp| ramp.reached == reached);
            let mut ramp = known.unwrap_or_else(|| Ramp::found(table, member, reached, now_ms));
            ramp.step(table, member, now_ms);
            self.running.insert(key, ramp);
        }
    }
}

impl Ramp {
    fn found(table: &Table, member: &Member, reached: u8, now_ms: u64) -> Self {
        let slow_start_ms = table.slow_start_ms(member);
        let began_ms = now_ms.saturating_sub(slow_start::elapsed_ms(reached, slow_start_ms));
        Ramp { began_ms, reached, slow_start_ms }
    }

    fn step(&mut self, table: &Table, member: &Member, now_ms: u64) {
        let step = slow_start::ramp(now_ms.saturating_sub(self.began_ms), self.slow_start_ms);
        if step == self.reached {
            return;
        }
        let reached = self.reached;
        let _ = table.update(member.slot, member.incarnation, &mut |status| {
            if status.ramp() == reached { status.with_ramp(step) } else { status }
        });
        self.reached = step;
    }
}
