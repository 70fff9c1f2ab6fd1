// SPDX-License-Identifier: Apache-2.0
//! Rows of pools.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use balance::api::{ChangeError, PoolId};
use balance::part::LimitPart;
use xxhash_rust::xxh64::xxh64;

use crate::layout::PoolRow;
use crate::members::{PATIENCE, TRIES};
use crate::place::PoolRef;
use crate::primitive::step;
use crate::protocol::contest::{self, ContestEnd, Rivals};
use crate::protocol::life::{self, Life, LifePhase};
use crate::protocol::text;
use crate::{Table, counts};

/// Longest name of a pool, in bytes.
const MAX_POOL_NAME: usize = balance::names::MAX;

/// Identity of a name or a URL. Two names of equal hash count as one name.
pub(crate) fn hash(text: &str) -> u64 {
    xxh64(text.as_bytes(), 0)
}

/// Identity of a pool's name, which has no case.
fn pool_key(name: &str) -> u64 {
    hash(&name.to_ascii_lowercase())
}

/// Tags of text chunks, see [`crate::members::member_tag`].
pub(crate) fn pool_tag(row: usize) -> u32 {
    (row as u32) << 1 | 1
}

fn name_words(name: &str) -> [u64; 8] {
    let mut bytes = [0; 64];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    std::array::from_fn(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at * 8..][..8]);
        u64::from_le_bytes(word)
    })
}

fn check_name(name: &str) -> Result<(), ChangeError> {
    if balance::names::is_name(name) {
        return Ok(());
    }
    Err(ChangeError::Invalid(format!(
        "{name:?} cannot name a pool: letters, digits, _ - . and at most {MAX_POOL_NAME} of them, such as app"
    )))
}

impl Table {
    pub(crate) fn pools_used(&self) -> usize {
        (self.map.header().pools_used.load(SeqCst) as usize).min(self.map.pools().len())
    }

    pub(crate) fn pool_ref(&self, row: usize) -> Option<PoolRef> {
        let life = Life::load(&self.map.pools().get(row)?.life);
        life.is_live().then(|| PoolRef { row, incarnation: life.incarnation() })
    }

    pub(crate) fn is_pool(&self, pool: PoolRef) -> bool {
        self.pool_ref(pool.row) == Some(pool)
    }

    pub(crate) fn all_pools(&self) -> impl Iterator<Item = PoolRef> {
        (0..self.pools_used()).filter_map(|row| self.pool_ref(row))
    }

    pub(crate) fn pool_by_name(&self, name: &str) -> Option<PoolRef> {
        let key = pool_key(name);
        self.all_pools().find(|&pool| {
            self.map.pools()[pool.row].key.load(SeqCst) == key
                && self.pool_name(pool).is_some_and(|found| found.eq_ignore_ascii_case(name))
        })
    }

    /// The name; None when the pool is gone.
    pub(crate) fn pool_name(&self, pool: PoolRef) -> Option<String> {
        let row = &self.map.pools()[pool.row];
        let mut bytes = Vec::with_capacity(64);
        for cell in &row.name {
            bytes.extend_from_slice(&cell.load(Relaxed).to_le_bytes());
        }
        fence(Acquire);
        if !self.is_pool(pool) {
            return None;
        }
        bytes.truncate(bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len()));
        String::from_utf8(bytes).ok()
    }

    /// Spells a pool's name as it was defined last. A reader at that moment may see letters of
    /// both.
    pub(crate) fn spell_pool(&self, pool: PoolRef, name: &str) {
        if self.pool_name(pool).is_some_and(|known| known != name && known.eq_ignore_ascii_case(name)) {
            for (cell, word) in self.map.pools()[pool.row].name.iter().zip(name_words(name)) {
                cell.store(word, Release);
            }
        }
    }

    /// Finds a pool or makes an empty one.
    pub(crate) fn find_or_make_pool(&self, name: &str, origin: u64) -> Result<PoolRef, ChangeError> {
        check_name(name)?;
        for _ in 0..TRIES {
            if let Some(pool) = self.pool_by_name(name) {
                return Ok(pool);
            }
            let (row, building) = self.claim_pool()?;
            step();
            if let Some(pool) = self.raise_pool(row, building, name, origin) {
                return Ok(pool);
            }
            self.recycle_pool(row);
        }
        Err(ChangeError::Invalid(format!("other processes make and remove the pool {name} over and over")))
    }

    fn claim_pool(&self) -> Result<(usize, Life), ChangeError> {
        for phase in [LifePhase::Free, LifePhase::Removed] {
            for (row, cells) in self.map.pools().iter().enumerate() {
                let seen = Life::load(&cells.life);
                if seen.phase() != phase {
                    continue;
                }
                if let Some(building) = life::claim(&cells.life, seen, self.pid) {
                    self.map.header().pools_used.fetch_max(row as u64 + 1, SeqCst);
                    return Ok((row, building));
                }
            }
        }
        Err(ChangeError::Full { what: "pool" })
    }

    fn raise_pool(&self, row: usize, building: Life, name: &str, origin: u64) -> Option<PoolRef> {
        let pools = self.map.pools();
        let cells = &pools[row];
        let key = pool_key(name);
        cells.key.store(key, SeqCst);
        for (cell, word) in cells.name.iter().zip(name_words(name)) {
            cell.store(word, Release);
        }
        for cell in [&cells.wanted, &cells.done, &cells.cursor, &cells.limit_part] {
            cell.store(0, SeqCst);
        }
        cells.origin.store(origin, SeqCst);
        counts::clear(&self.map.pool_counts()[row].words);
        self.empty_pool_text(cells);
        step();
        // Version and epoch go on from the row's last pool, so that nobody takes a cached one for
        // this.
        bump(cells);
        let announced = life::announce(&cells.life, building)?;
        step();
        let field = Rivals {
            rows: self.pools_used(),
            life: &|row| &pools[row].life,
            same_name: &|row| pools[row].key.load(SeqCst) == key,
            patience: PATIENCE,
        };
        match contest::run(&field, row, announced, &|| true) {
            ContestEnd::Live(live) => Some(PoolRef { row, incarnation: live.incarnation() }),
            ContestEnd::Taken(_) | ContestEnd::Retired => None,
        }
    }

    fn empty_pool_text(&self, cells: &PoolRow) {
        loop {
            let seen = cells.text.load(SeqCst);
            if seen as u32 == 0 || text::unlink(self.map.chunks(), &cells.text, seen) {
                return;
            }
        }
    }

    /// Empties and frees a removed row.
    pub(crate) fn recycle_pool(&self, row: usize) {
        let cells = &self.map.pools()[row];
        let text_word = cells.text.load(SeqCst);
        let seen = Life::load(&cells.life);
        if seen.phase() != LifePhase::Removed {
            return;
        }
        if text_word as u32 != 0 {
            text::unlink(self.map.chunks(), &cells.text, text_word);
        }
        step();
        life::free(&cells.life, seen);
    }

    /// Removes a pool with all its members.
    pub(crate) fn remove_pool(&self, pool: PoolRef) {
        let cells = &self.map.pools()[pool.row];
        if !life::retire_live(&cells.life, pool.incarnation) {
            return;
        }
        step();
        bump(cells);
        self.remove_members_of(pool);
        self.recycle_pool(pool.row);
    }

    /// Removes what is left of a pool that is gone.
    pub(crate) fn remove_members_of(&self, pool: PoolRef) {
        for (row, seen) in self.rows_of(pool, &[LifePhase::Live, LifePhase::Announced]) {
            let cell = &self.map.keys()[row].life;
            let retired = match seen.phase() {
                LifePhase::Live => life::retire_live(cell, seen.incarnation()),
                _ => life::retire(cell, seen),
            };
            step();
            if retired {
                self.recycle_member(row);
            }
        }
    }

    /// This part of the limits is this server's in a pool from now on. If it was another one, all
    /// requests that wait for a place there look for one.
    pub fn set_part(&self, pool: PoolId, part: LimitPart, now_ms: u64) {
        let Some(cells) = self.map.pools().get(pool.0 as usize) else { return };
        if cells.limit_part.swap(part.to_bits(), SeqCst) != part.to_bits() {
            step();
            cells.epoch.fetch_add(1, SeqCst);
            for _ in 0..self.queue_length(pool.0) {
                self.call_queue(pool.0, || now_ms);
            }
        }
    }

    /// Announces a change of membership or settings.
    pub(crate) fn bump_pool(&self, pool: PoolRef) {
        if let Some(cells) = self.map.pools().get(pool.row) {
            bump(cells);
        }
    }

    pub(crate) fn bump_all(&self) {
        for cells in &self.map.pools()[..self.pools_used()] {
            bump(cells);
        }
    }
}

fn bump(cells: &PoolRow) {
    cells.version.fetch_add(1, SeqCst);
    step();
    cells.epoch.fetch_add(1, SeqCst);
}
