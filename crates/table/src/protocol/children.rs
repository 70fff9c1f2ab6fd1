// SPDX-License-Identifier: Apache-2.0
//! Rows of the children: who owns which lane.
//!
//! A dead child's lane is emptied by every process that sees it dead; several may do that at once
//! and each may die doing it. A slow one must not empty the lane when it belongs to another child
//! already. So reapers enter their pid in the row before they look at it, and a child that takes a
//! lane does so first and looks for reapers then: one of them sees the other.

use crate::primitive::{AtomicU64, Ordering::SeqCst, step, total_order};

/// How many may empty one lane at once.
pub const REAPERS: usize = 4;

/// A child's row.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct ChildRow {
    /// Bits 0..=1 phase, 2..=31 stamp (grows when the row is taken), 32..=63 pid.
    pub owner: AtomicU64,
    /// The configuration generation of the child.
    pub generation: AtomicU64,
    /// Pids of those who empty the lane now.
    pub reapers: [AtomicU64; REAPERS],
    /// The owner's word, once that child takes no connections at the control plane's doors any
    /// more. The child writes it; one that dies before is waited for in vain, for a bounded time.
    pub closed: AtomicU64,
    /// Room for later versions.
    pub spare: AtomicU64,
}

impl ChildRow {
    /// A free row.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        ChildRow {
            owner: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            reapers: std::array::from_fn(|_| AtomicU64::new(0)),
            closed: AtomicU64::new(0),
            spare: AtomicU64::new(0),
        }
    }
}

const STAMPS: u32 = (1 << 30) - 1;

/// The state of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LanePhase {
    /// Nobody's.
    Free = 0,
    /// A child's.
    Joined = 1,
    /// Being emptied; anybody may help.
    Leaving = 2,
}

/// An owner word's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner(pub u64);

impl Owner {
    fn new(phase: LanePhase, stamp: u32, pid: i32) -> Self {
        Owner(phase as u64 | u64::from(stamp & STAMPS) << 2 | u64::from(pid as u32) << 32)
    }

    /// Reads a cell.
    pub fn load(cell: &AtomicU64) -> Self {
        Owner(cell.load(SeqCst))
    }

    /// The phase. Values that no writer makes read as leaving, so that a damaged row is emptied.
    pub fn phase(self) -> LanePhase {
        match self.0 & 3 {
            0 => LanePhase::Free,
            1 => LanePhase::Joined,
            _ => LanePhase::Leaving,
        }
    }

    /// How often the row was taken.
    pub fn stamp(self) -> u32 {
        (self.0 >> 2) as u32 & STAMPS
    }

    /// The owner.
    pub fn pid(self) -> i32 {
        (self.0 >> 32) as i32
    }
}

/// Takes a free row for `pid`. None when it is not free, or somebody still empties its lane.
pub fn take(row: &ChildRow, pid: i32, alive: &dyn Fn(i32) -> bool) -> Option<Owner> {
    let seen = Owner::load(&row.owner);
    if seen.phase() != LanePhase::Free {
        return None;
    }
    let mine = Owner::new(LanePhase::Joined, seen.stamp().wrapping_add(1), pid);
    row.owner.compare_exchange(seen.0, mine.0, SeqCst, SeqCst).ok()?;
    step();
    total_order();
    let busy = row.reapers.iter().any(|cell| {
        let reaper = cell.load(SeqCst);
        reaper != 0 && (alive(reaper as i32) || cell.compare_exchange(reaper, 0, SeqCst, SeqCst).is_err())
    });
    if !busy {
        return Some(mine);
    }
    let back = Owner::new(LanePhase::Free, mine.stamp(), 0);
    // Failing means that another has taken this row for a dead child's; it is freed there.
    let _ = row.owner.compare_exchange(mine.0, back.0, SeqCst, SeqCst);
    None
}

/// Empties the lane of the owner `seen` with `clear` and frees the row. Returns what `clear` gave
/// back, 0 when others have done it. `me` is the pid of the caller. Idempotent; does nothing when
/// the row is somebody else's already.
pub fn reap(
    row: &ChildRow,
    seen: Owner,
    me: i32,
    alive: &dyn Fn(i32) -> bool,
    clear: &mut dyn FnMut() -> u32,
) -> u32 {
    let Some(entry) = enter(row, me, alive) else {
        mark(row, seen);
        return 0;
    };
    step();
    total_order();
    let mut given_back = 0;
    if mark(row, seen) {
        step();
        given_back = clear();
        step();
        let leaving = Owner::new(LanePhase::Leaving, seen.stamp(), seen.pid());
        let freed = Owner::new(LanePhase::Free, seen.stamp(), 0);
        // Failing means that a helper was faster.
        let _ = row.owner.compare_exchange(leaving.0, freed.0, SeqCst, SeqCst);
        step();
    }
    // Failing means that the entry was cleared by one who takes this process for dead.
    let _ = entry.compare_exchange(u64::from(me as u32), 0, SeqCst, SeqCst);
    given_back
}

fn enter<'a>(row: &'a ChildRow, me: i32, alive: &dyn Fn(i32) -> bool) -> Option<&'a AtomicU64> {
    row.reapers.iter().find(|cell| {
        let seen = cell.load(SeqCst);
        (seen == 0 || !alive(seen as i32))
            && cell.compare_exchange(seen, u64::from(me as u32), SeqCst, SeqCst).is_ok()
    })
}

/// Marks the row as leaving. True while it is that owner's and not yet free.
fn mark(row: &ChildRow, seen: Owner) -> bool {
    loop {
        let now = Owner::load(&row.owner);
        if now.phase() == LanePhase::Free || now.stamp() != seen.stamp() || now.pid() != seen.pid() {
            return false;
        }
        if now.0 & 3 == LanePhase::Leaving as u64 {
            return true;
        }
        let leaving = Owner::new(LanePhase::Leaving, seen.stamp(), seen.pid());
        if row.owner.compare_exchange(now.0, leaving.0, SeqCst, SeqCst).is_ok() {
            return true;
        }
    }
}
