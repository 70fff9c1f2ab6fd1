// SPDX-License-Identifier: Apache-2.0
//! The servers that share something by a store (`LuaBalancerShare`), as all children of a
//! configuration know them: the leading one keeps this server among them.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};

use balance::part::LimitPart;
use balance::settings::{PoolSettings, SharedHealth};
use balance::store::{PoolImage, Store as _};
use config::StoreSetting;
use share::StorePlace;
use table::Table;

use crate::httpd::memory::{self, SharedWords};
use crate::keep::orders::{self, StoreWords};
use crate::serve::opinions::OpinionText;

/// How long the others have to shrink when one comes, and requests to end.
const SETTLE_MS: u64 = 1000;
const WORDS: usize = 8;
/// The name of this server, made at its start.
const ID: usize = 0;
/// Its lease.
const LEASE: usize = 1;
/// [`THERE`] or [`AWAY`]; 0: nobody has heard of the store yet.
const STATE: usize = 2;
/// Since when: epoch seconds.
const SINCE: usize = 3;
/// How many servers are alive; 0: nobody knows.
const COUNT: usize = 4;
/// [`LimitPart`].
const PART: usize = 5;
/// When that changed last, by the table's clock.
const CHANGED: usize = 6;
/// Since when the store answers or does not, by the table's clock: that of the day may jump.
const SINCE_MS: usize = 7;

const THERE: u64 = 1;
const AWAY: u64 = 2;

/// See the module.
pub struct FrontShelf {
    place: StorePlace,
    setting: StoreSetting,
    /// They go on over restarts.
    words: ManuallyDrop<SharedWords<WORDS>>,
    opinions: OpinionText,
    /// When a lease was lost that this server had, by the table's clock; 0: never.
    lost_ms: AtomicU64,
}

impl FrontShelf {
    /// For the children that are made from now on.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn new(place: StorePlace, setting: StoreSetting) -> Result<Self, String> {
        let opinions = OpinionText::new(&place)?;
        let words = orders::words(StoreWords::Fronts, place.prefix())?;
        let shelf = FrontShelf { words, place, setting, opinions, lost_ms: AtomicU64::new(0) };
        if shelf.word(ID) == 0 {
            shelf.set(ID, RandomState::new().build_hasher().finish() | 1);
            shelf.set(PART, LimitPart::NEW.to_bits());
        }
        Ok(shelf)
    }

    /// Where the store is.
    pub fn place(&self) -> &StorePlace {
        &self.place
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// The opinions of all servers about members.
    pub fn opinions(&self) -> &OpinionText {
        &self.opinions
    }

    /// The name of this server among the others.
    pub fn id(&self) -> String {
        format!("{:016x}", self.word(ID))
    }

    /// Its lease, which the next leading child goes on with; 0: none.
    pub fn lease(&self) -> i64 {
        self.word(LEASE).cast_signed()
    }

    /// Notes another lease. Where that is not the first one, the others may have lost theirs as
    /// well, and be there again later than this server.
    pub fn has_lease(&self, lease: i64) {
        if self.lease() != 0 {
            self.lost_ms.store(memory::monotonic_ms(), Ordering::Release);
        }
        self.set(LEASE, lease.cast_unsigned());
    }

    /// Whether the store answers, and since when: epoch seconds. None: nobody has heard of it yet.
    pub fn state(&self) -> Option<(bool, u64)> {
        let state = self.word(STATE);
        (state != 0).then(|| (state == THERE, self.word(SINCE)))
    }

    /// How many servers are alive, by what was heard last. None: nothing was.
    pub fn count(&self) -> Option<u64> {
        Some(self.word(COUNT)).filter(|count| *count > 0)
    }

    /// Notes whether the store answers. True when that is news.
    pub fn note(&self, is_there: bool) -> bool {
        let state = if is_there { THERE } else { AWAY };
        let before = self.words.get(STATE).map_or(state, |word| word.swap(state, Ordering::AcqRel));
        if before != state {
            self.set(SINCE, memory::epoch_s());
            self.set(SINCE_MS, memory::monotonic_ms());
        }
        if !is_there && self.part() == LimitPart::NEW {
            // Nobody knows of others, and it has to serve.
            self.set(PART, LimitPart::WHOLE.to_bits());
        }
        before != state
    }

    /// Notes that this server is the one `at` (from 0 on) of so many. True when there were so many
    /// not before.
    pub fn is_among(&self, at: usize, of: usize) -> bool {
        let (before, count) = (self.part(), of as u64);
        let after = before.among(at, of);
        if after != before {
            self.set(CHANGED, memory::monotonic_ms());
            self.set(PART, after.to_bits());
        }
        self.words.get(COUNT).is_some_and(|word| word.swap(count, Ordering::AcqRel) != count)
    }

    /// Has the part of now hold as a whole, once the others had their time. True when it does so
    /// from now on.
    pub fn settle(&self) -> bool {
        let part = self.part();
        let (now_ms, lost_ms) = (memory::monotonic_ms(), self.lost_ms.load(Ordering::Acquire));
        let has_lost = lost_ms != 0 && now_ms.saturating_sub(lost_ms) < u64::from(share::LEASE_S) * 1000;
        let is_over = !has_lost && now_ms.saturating_sub(self.word(CHANGED)) >= SETTLE_MS;
        let settles = part.is_settling() && is_over;
        if settles {
            self.set(PART, part.settled().to_bits());
        }
        settles
    }

    /// The use that a pool makes of what the checks of all servers say. None: none.
    pub fn health_of(&self, pool: &PoolSettings) -> Option<SharedHealth> {
        self.setting.of_pool(pool).health
    }

    /// Whether any pool of these makes one.
    pub fn hears_opinions<'i>(&self, mut pools: impl Iterator<Item = &'i PoolSettings>) -> bool {
        self.setting.shared.health.is_some() || pools.any(|pool| self.health_of(pool).is_some())
    }

    /// Whether the others are unknown, or have not been heard of for as long as a lease lives: then
    /// this server has nobody's word but its own.
    pub fn is_alone(&self) -> bool {
        match self.state() {
            Some((true, _)) => false,
            Some((false, _)) => {
                let silent_ms = memory::monotonic_ms().saturating_sub(self.word(SINCE_MS));
                silent_ms >= u64::from(share::LEASE_S) * 1000
            }
            None => true,
        }
    }

    fn part(&self) -> LimitPart {
        LimitPart::from_bits(self.word(PART))
    }

    /// This server's part of the limits of a pool.
    pub fn part_of(&self, pool: &PoolSettings) -> LimitPart {
        if self.setting.of_pool(pool).limits { self.part() } else { LimitPart::WHOLE }
    }
}

/// Tells the table this server's part in each of these pools.
pub fn spread<'i>(table: &Table, shelf: Option<&FrontShelf>, pools: impl Iterator<Item = &'i PoolImage>) {
    for pool in pools {
        let part = shelf.map_or(LimitPart::WHOLE, |shelf| shelf.part_of(&pool.settings));
        table.set_part(pool.membership.pool, part, memory::monotonic_ms());
    }
}

/// The same for all pools that there are.
pub fn spread_all(table: &Table, shelf: Option<&FrontShelf>) {
    let pools = table.pool_names().into_iter().filter_map(|name| table.read_pool(table.find_pool(&name)?));
    spread(table, shelf, pools.collect::<Vec<_>>().iter());
}
