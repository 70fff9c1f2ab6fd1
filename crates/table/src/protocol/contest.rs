// SPDX-License-Identifier: Apache-2.0
//! Two writers that add one name: exactly one row goes live.
//!
//! A writer announces its filled row first and looks at all others then, so of two writers at least
//! one sees the other's row. Before it goes live it must have retired every announced rival, and a
//! rival's way to live and its retirement are compare-and-swaps on the same word: two rows of one
//! name are never live together, and nobody waits for one that is stopped.

use super::life::{self, Life, LifePhase};
use crate::primitive::{AtomicU64, pause, step, total_order};

/// How a contest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContestEnd {
    /// The row is live.
    Live(Life),
    /// Another row of that name is live, or held; this one is retired.
    Taken(usize),
    /// A rival retired this row: build a new one.
    Retired,
}

/// The rows that may hold rivals.
pub struct Rivals<'a> {
    /// How many rows there are to look at.
    pub rows: usize,
    /// The life word of a row.
    pub life: &'a dyn Fn(usize) -> &'a AtomicU64,
    /// Whether a row, live or announced, has the same name.
    pub same_name: &'a dyn Fn(usize) -> bool,
    /// How often to give way to an announced rival in a lower row before retiring it.
    pub patience: u32,
}

/// Brings the announced row number `mine` to life. `allowed` is asked last: false retires the row.
pub fn run(field: &Rivals<'_>, mine: usize, announced: Life, allowed: &dyn Fn() -> bool) -> ContestEnd {
    total_order();
    let cell = (field.life)(mine);
    for rival in (0..field.rows).filter(|&row| row != mine) {
        if beaten_by(field, rival, mine) {
            life::retire(cell, announced);
            return ContestEnd::Taken(rival);
        }
    }
    step();
    if !allowed() {
        life::retire(cell, announced);
        return ContestEnd::Retired;
    }
    step();
    match life::go_live(cell, announced) {
        Some(live) => ContestEnd::Live(live),
        None => ContestEnd::Retired,
    }
}

/// The same for rows that are held: the first row of a name of theirs that is live. When there is
/// none nobody else of these names gets there any more, since a row that announces itself finds a
/// row that is held. `same_name` says no of the held rows themselves, and of those that go with the
/// same change.
pub fn rival_of_held(field: &Rivals<'_>) -> Option<usize> {
    total_order();
    (0..field.rows).find(|rival| beaten_by(field, *rival, field.rows))
}

/// Retires an announced rival; true when the rival is live, or held.
fn beaten_by(field: &Rivals<'_>, rival: usize, mine: usize) -> bool {
    let cell = (field.life)(rival);
    let mut patience = if rival < mine { field.patience } else { 0 };
    loop {
        let seen = Life::load(cell);
        let counts = matches!(seen.phase(), LifePhase::Live | LifePhase::Announced | LifePhase::Held);
        if !counts || !(field.same_name)(rival) {
            return false;
        }
        if !Life::load(cell).same_as(seen) {
            continue;
        }
        if seen.is_live() || seen.phase() == LifePhase::Held {
            return true;
        }
        if patience > 0 {
            patience -= 1;
            pause();
        } else if life::retire(cell, seen) {
            return false;
        }
    }
}
