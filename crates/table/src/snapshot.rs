// SPDX-License-Identifier: Apache-2.0
//! Everything of the table that can be shown.

use std::sync::atomic::Ordering::SeqCst;

use balance::snapshot::{
    self, ChildState, Extent, Fill, LeadState, Room, ScriptState, ScriptVerdict, Snapshot,
};

use crate::protocol::lead;
use crate::protocol::life::{Life, LifePhase};
use crate::protocol::scripts::{self, ScriptRow};
use crate::protocol::text;
use crate::{Table, Whose};

impl Table {
    /// Everything that can be shown. `now_ms` is the clock that leases are made by. Labels of
    /// scripts and dictionaries are not in the table: the caller adds them. A larger change is in
    /// it as a whole, or not at all. Of the rest of the server there is something with
    /// [`Extent::All`] alone, and no fill with [`Extent::Member`].
    pub fn snapshot(&self, now_ms: u64, extent: Extent<'_>) -> Snapshot {
        self.settled(&|| self.snapshot_now(now_ms, extent))
    }

    fn snapshot_now(&self, now_ms: u64, extent: Extent<'_>) -> Snapshot {
        let pools = snapshot::pools(self, extent);
        if extent != Extent::All {
            let fill = (!matches!(extent, Extent::Member(..))).then(|| self.fill());
            return Snapshot { pools, fill, ..Snapshot::default() };
        }
        Snapshot {
            sources: self.source_states(&pools),
            pools,
            scripts: (0..).zip(self.map.scripts()).filter_map(|row| self.script_state(row)).collect(),
            dicts: Vec::new(),
            lead: self.lead_state(now_ms),
            children: self.child_states(),
            fill: Some(self.fill()),
        }
    }

    fn child_states(&self) -> Vec<ChildState> {
        let known = self.children_by_lane().into_iter();
        let state = |(lane, pid, generation): (u32, i32, u32)| {
            let last_error = self.trouble(Whose::Child(lane), u64::from(pid as u32));
            ChildState { pid, generation, last_error }
        };
        known.map(state).collect()
    }

    /// The leading child, by the clock that leases are made by. None: nobody leads.
    pub fn lead_state(&self, now_ms: u64) -> Option<LeadState> {
        let (pid, fresh) = lead::seen(&self.map.header().leader, now_ms)?;
        Some(LeadState { pid, generation: self.generation(), fresh, since_s: self.lead_changes().1 })
    }

    /// Rows that are live; removed ones that somebody has a request at are taken as well.
    fn fill(&self) -> Fill {
        let map = &self.map;
        let is_taken = |life: Life| life.phase() != LifePhase::Free;
        let (members, pools) = (map.keys(), map.pools());
        let used_members =
            members[..self.members_used()].iter().filter(|row| is_taken(Life::load(&row.life)));
        let used_pools = pools[..self.pools_used()].iter().filter(|row| is_taken(Life::load(&row.life)));
        Fill {
            members: Room { used: used_members.count(), of: members.len() },
            pools: Room { used: used_pools.count(), of: pools.len() },
            children: Room { used: self.children().len(), of: map.children().len() },
            text: Room {
                used: map.chunks().iter().filter(|chunk| text::is_used(chunk)).count(),
                of: map.chunks().len(),
            },
            scripts: Room {
                used: map.scripts().iter().filter(|row| row.key.load(SeqCst) != 0).count(),
                of: map.scripts().len(),
            },
        }
    }

    fn script_state(&self, (at, row): (u32, &ScriptRow)) -> Option<ScriptState> {
        if row.key.load(SeqCst) == 0 {
            return None;
        }
        let version = scripts::version(row);
        let verdict = match version {
            0 => ScriptVerdict::Missing,
            version if version == row.quarantined.load(SeqCst) => ScriptVerdict::Quarantined,
            _ => ScriptVerdict::Serves,
        };
        Some(ScriptState {
            row: Some(at),
            label: String::new(),
            version,
            verdict,
            counts: self.script_counts(at),
            trial: None,
            shadow: None,
            last_error: self.trouble(Whose::Call(at), version),
        })
    }
}
