// SPDX-License-Identifier: Apache-2.0
//! The life word of a row: which incarnation it is, and what phase it is in.
//!
//! | bits    | holds |
//! |---------|-------|
//! | 0..=2   | phase |
//! | 3..=31  | incarnation, grows when a row is retired |
//! | 32..=63 | pid of the writer (building, announced, held); confirmations (live) |
//!
//! `Free → Building(pid) → Announced(pid) → Live → Removed → Free`; a row of a dead writer goes
//! from building or announced straight to removed. A row that is a part of a larger change
//! ([`super::journal`]) is `Held(pid)` in place of announced. Every step is one compare-and-swap.

use crate::primitive::{AtomicU64, Ordering::SeqCst};

const INCARNATIONS: u32 = (1 << 29) - 1;

/// The state of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifePhase {
    /// Nothing; zeroed memory reads as this.
    Free = 0,
    /// A writer fills it; nobody else looks.
    Building = 1,
    /// Filled; its writer looks for a row of the same name before it goes live.
    Announced = 2,
    /// In use.
    Live = 3,
    /// Gone; becomes free when nobody has a request there.
    Removed = 4,
    /// Filled, as a part of a change that is not made yet; nobody else may have its name.
    Held = 5,
}

/// A life word's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life(pub u64);

impl Life {
    /// Packs a word.
    pub fn new(phase: LifePhase, incarnation: u32, upper: u32) -> Self {
        Life(phase as u64 | u64::from(incarnation & INCARNATIONS) << 3 | u64::from(upper) << 32)
    }

    /// Reads a cell.
    #[inline]
    pub fn load(cell: &AtomicU64) -> Self {
        Life(cell.load(SeqCst))
    }

    /// The phase. Values that no writer makes read as removed, so that a damaged row is reclaimed.
    #[inline]
    pub fn phase(self) -> LifePhase {
        match self.0 & 7 {
            0 => LifePhase::Free,
            1 => LifePhase::Building,
            2 => LifePhase::Announced,
            3 => LifePhase::Live,
            5 => LifePhase::Held,
            _ => LifePhase::Removed,
        }
    }

    /// The incarnation.
    #[inline]
    pub fn incarnation(self) -> u32 {
        (self.0 >> 3) as u32 & INCARNATIONS
    }

    /// The writer, while there is one.
    pub fn writer(self) -> Option<i32> {
        matches!(self.phase(), LifePhase::Building | LifePhase::Announced | LifePhase::Held)
            .then_some((self.0 >> 32) as i32)
    }

    /// Whether the row is live.
    #[inline]
    pub fn is_live(self) -> bool {
        self.phase() == LifePhase::Live
    }

    /// Whether this is that incarnation, live.
    #[inline]
    pub fn is_live_as(self, incarnation: u32) -> bool {
        self.0 as u32 == Life::new(LifePhase::Live, incarnation, 0).0 as u32
    }

    /// Whether two words are the same incarnation in the same phase.
    #[inline]
    pub fn same_as(self, other: Life) -> bool {
        self.0 as u32 == other.0 as u32
    }
}

fn step(cell: &AtomicU64, from: Life, to: Life) -> Option<Life> {
    cell.compare_exchange(from.0, to.0, SeqCst, SeqCst).ok().map(|_| to)
}

/// Takes a free row, or a removed one that the caller has found idle, for the writer `pid`.
pub fn claim(cell: &AtomicU64, seen: Life, pid: i32) -> Option<Life> {
    match seen.phase() {
        LifePhase::Free | LifePhase::Removed => {
            step(cell, seen, Life::new(LifePhase::Building, seen.incarnation(), pid as u32))
        }
        _ => None,
    }
}

/// Shows a filled row to the other writers.
pub fn announce(cell: &AtomicU64, building: Life) -> Option<Life> {
    let upper = (building.0 >> 32) as u32;
    step(cell, building, Life::new(LifePhase::Announced, building.incarnation(), upper))
}

/// Keeps a filled row, with its name, for later.
pub fn hold(cell: &AtomicU64, building: Life) -> Option<Life> {
    let upper = (building.0 >> 32) as u32;
    step(cell, building, Life::new(LifePhase::Held, building.incarnation(), upper))
}

/// Shows an announced or held row to everybody. Fails when another writer has retired it meanwhile.
pub fn go_live(cell: &AtomicU64, announced: Life) -> Option<Life> {
    step(cell, announced, Life::new(LifePhase::Live, announced.incarnation(), 0))
}

/// Confirms a live row: a process that means to retire it on an older reading will fail.
pub fn confirm(cell: &AtomicU64, seen: Life) -> bool {
    let confirmations = ((seen.0 >> 32) as u32).wrapping_add(1);
    seen.is_live()
        && step(cell, seen, Life::new(LifePhase::Live, seen.incarnation(), confirmations)).is_some()
}

/// Retires a row that still is exactly as seen, and starts the next incarnation.
pub fn retire(cell: &AtomicU64, seen: Life) -> bool {
    step(cell, seen, Life::new(LifePhase::Removed, seen.incarnation().wrapping_add(1), 0)).is_some()
}

/// Retires a live incarnation, however often it is confirmed meanwhile.
pub fn retire_live(cell: &AtomicU64, incarnation: u32) -> bool {
    loop {
        let seen = Life::load(cell);
        if !seen.is_live_as(incarnation) {
            return false;
        }
        if retire(cell, seen) {
            return true;
        }
    }
}

/// Frees a removed row that the caller has found idle and emptied.
pub fn free(cell: &AtomicU64, seen: Life) -> bool {
    seen.phase() == LifePhase::Removed
        && step(cell, seen, Life::new(LifePhase::Free, seen.incarnation(), 0)).is_some()
}
