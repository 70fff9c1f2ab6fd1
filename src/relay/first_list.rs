// SPDX-License-Identifier: Apache-2.0
//! Waiting for the first list of a pool whose members come from sources (`wait=`): just after a
//! start they may not have been asked yet. Once all of them have failed, nobody waits: they are
//! asked again in seconds, and every request would take that long to fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use balance::engine::Now;
use balance::guard::SourceStage;
use balance::store::Store;
use table::Table;

use super::journey::{Journey, Serving};
use crate::httpd::client::{self, Presence};
use crate::httpd::memory;
use crate::httpd::mpm;

/// How often a request that waits looks.
const TURN: Duration = Duration::from_millis(10);
/// Most requests of a child that wait, and never more than half of its threads: the others are for
/// pools that have members.
const MOST: usize = 16;

static WAITING: AtomicUsize = AtomicUsize::new(0);

/// A place among those that wait.
struct Turnstile;

impl Turnstile {
    fn enter() -> Option<Self> {
        let most = MOST.min(mpm::threads() as usize / 2).max(1);
        let is_free = WAITING.fetch_add(1, Ordering::AcqRel) < most;
        let place = Turnstile;
        is_free.then_some(place)
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Waits until the pool has members, for a request that has found nobody. False: it has other
/// reasons, or the time is up.
#[cold]
pub fn has_come(serving: Serving<'_>, journey: &mut Journey, pool: Option<&Now>) -> bool {
    let Some(pool) = pool.filter(|pool| !pool.settings().discovery.is_empty()) else { return false };
    let (table, version) = (&serving.child.table, pool.membership().version);
    if !pool.membership().members.is_empty() || !is_to_come(table, pool) {
        return false;
    }
    let Some(_place) = Turnstile::enter() else { return false };
    let longest_ms = pool.settings().discovery.iter().map(|source| source.wait_ms).max().unwrap_or(0);
    let until_ms = *journey.first_list_ms.get_or_insert(memory::monotonic_ms().saturating_add(longest_ms));
    while memory::monotonic_ms() < until_ms && !serving.child.room.is_closed() {
        if table.version(pool.membership().pool) != version {
            journey.course.looks_again();
            return true;
        }
        if !is_to_come(table, pool) || client::look(serving.request) == Presence::Gone {
            return false;
        }
        std::thread::sleep(TURN);
    }
    false
}

/// Whether no source of the pool has ever given a list, and one of them has not failed either.
fn is_to_come(table: &Table, pool: &Now) -> bool {
    let standing = |source: &str| {
        let row = table.find_source(&pool.membership().name, source);
        row.and_then(|row| table.source_note(row)).map(|note| note.standing).unwrap_or_default()
    };
    let mut is_open = false;
    for source in &pool.settings().discovery {
        let now = standing(&source.name);
        if now.taken_ms > 0 {
            return false;
        }
        is_open |= !matches!(now.stage, SourceStage::Stale | SourceStage::Expired);
    }
    is_open
}
