// SPDX-License-Identifier: Apache-2.0
//! The store of shared orders (`LuaBalancerStore`), as all children of a configuration know it: the
//! leading one listens to it, any of them puts orders there.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use balance::api::Membership;
use balance::member::Member;
use balance::order::StoreRevision;
use balance::settings::PoolSettings;
use balance::sharing::{OrderDraft, PutFailure};
use balance::store::Store as _;
use config::StoreSetting;
use control::OrderStore;
use render::time::Time;
use share::{Desk, KnownStore, StorePlace};
use table::Table;

use crate::httpd::memory::{self, SharedWords};
use crate::keep::orders::{self, StoreWords};

/// How long the leading child may be silent about it: it is asked every two seconds, and may take
/// as long for an answer.
const SILENCE_MS: u64 = 10_000;
/// How long somebody waits until it is known whether it is there.
const UNHEARD: Duration = Duration::from_secs(2);
/// Changes that are under way, or were never answered.
const CHANGES: usize = 64;
const WORDS: usize = UNHELD + 2 * MOST_UNHELD;
/// How long a change may be under way besides the answers that it waits for, as long as its process
/// lives.
const UNDER_WAY_MS: u64 = 10_000;
/// A change waits for so many answers at most.
const ANSWERS: u64 = 4;
/// In place of the time when a change has begun: it was never answered.
const DISOWNED: u64 = u64::MAX;
/// [`UNKNOWN`], [`THERE`] or [`AWAY`].
const STATE: usize = 0;
/// Since when: epoch seconds.
const SINCE: usize = 1;
/// When it answered last, by the table's clock.
const HEARD: usize = 2;
/// The revision of the orders that the leading child knows.
const KNOWN: usize = 3;
/// The revision of the last order that a child here has put there.
const NEEDED: usize = 4;
/// The revision of the orders that were last taken here.
const TAKEN: usize = 5;
/// The identity of the store that all revisions are of.
const STORE: usize = 6;
/// The number of the endpoint that has answered last.
const ENDPOINT: usize = 7;
/// The first of the changes: a nonce, when it has begun by the table's clock, or [`DISOWNED`], and
/// its revision once that is known, and its process.
const FIRST: usize = 8;
/// The first of the members whose orders do not hold here: a digest of its names, and since when in
/// epoch seconds.
const UNHELD: usize = FIRST + 4 * CHANGES;
const MOST_UNHELD: usize = 16;

const UNKNOWN: u64 = 0;
const THERE: u64 = 1;
const AWAY: u64 = 2;

/// See the module.
pub struct OrderShelf {
    place: StorePlace,
    setting: StoreSetting,
    desk: Desk,
    /// They go on over restarts.
    words: ManuallyDrop<SharedWords<WORDS>>,
}

impl OrderShelf {
    /// For the children that are made from now on.
    ///
    /// # Errors
    /// The system gives no memory.
    pub fn new(place: StorePlace, setting: StoreSetting) -> Result<Self, String> {
        let words = orders::words(StoreWords::Orders, place.prefix())?;
        Ok(OrderShelf { desk: Desk::new(place.clone()), place, setting, words })
    }

    /// Where it is.
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

    /// Notes that it answers, or does not. True when that is news.
    pub fn note(&self, is_there: bool) -> bool {
        let state = if is_there { THERE } else { AWAY };
        if is_there {
            self.set(HEARD, memory::monotonic_ms());
        }
        let before = self.words.get(STATE).map_or(state, |word| word.swap(state, Ordering::AcqRel));
        if before != state {
            self.set(SINCE, memory::epoch_s());
        }
        before != state
    }

    /// Notes which endpoint has answered.
    pub fn answers_at(&self, endpoint: usize) {
        self.set(ENDPOINT, endpoint as u64);
    }

    /// Notes which revision is known here. True when it is one of another store than those before,
    /// which are void then.
    pub fn knows(&self, known: StoreRevision) -> bool {
        let before = self.word(STORE);
        let is_other = before != 0 && before != known.store;
        if is_other {
            self.set(NEEDED, 0);
            self.set(TAKEN, 0);
        }
        self.set(KNOWN, known.revision);
        // The last one: who reads it has no older ones than of this store.
        self.set(STORE, known.store);
        is_other
    }

    /// Whether it answers, and since when; None: nobody has heard of it yet.
    pub fn state(&self) -> Option<(bool, u64)> {
        let state = self.word(STATE);
        (state != UNKNOWN).then(|| (state == THERE, self.word(SINCE)))
    }

    /// The revision that the leading child has heard of last.
    pub fn heard(&self) -> StoreRevision {
        let store = self.word(STORE);
        StoreRevision { store, revision: self.word(KNOWN) }
    }

    /// The revision of the last order that was put there from here: what is older is not to hold.
    pub fn needed(&self) -> u64 {
        self.word(NEEDED)
    }

    /// The revisions have begun anew.
    pub fn forgets_needed(&self) {
        self.set(NEEDED, 0);
    }

    /// Notes that the orders of this revision were taken here; with the pen.
    pub fn takes(&self, revision: u64) {
        self.set(TAKEN, revision);
    }

    /// Notes the members whose orders do not hold here, by pool and name; the first ones, if they
    /// are many.
    pub fn lacks<'n>(&self, members: impl Iterator<Item = (&'n str, &'n str)>) {
        let places = || (UNHELD..).step_by(2).take(MOST_UNHELD);
        let before: Vec<(u64, u64)> = places().map(|at| (self.word(at), self.word(at + 1))).collect();
        let mut now = members.map(|(pool, member)| digest(pool, member));
        for at in places() {
            let digest = now.next().unwrap_or_default();
            let since = before.iter().find(|(known, _)| *known == digest && digest != 0);
            self.set(at + 1, since.map_or_else(memory::epoch_s, |(_, since)| *since));
            self.set(at, digest);
        }
    }

    /// The members of [`OrderShelf::lacks`], by pool and name, and since when.
    pub fn unheld(&self, table: &Table) -> Vec<(String, String, u64)> {
        let noted = (UNHELD..).step_by(2).take(MOST_UNHELD).map(|at| (self.word(at), self.word(at + 1)));
        let noted: HashMap<u64, u64> = noted.filter(|(digest, _)| *digest != 0).collect();
        if noted.is_empty() {
            return Vec::new();
        }
        let pools = table.pool_names().into_iter().filter_map(|name| table.find_pool(&name));
        let members = pools.filter_map(|pool| table.read_pool(pool)).flat_map(|image| {
            let Membership { name, members, .. } = image.membership;
            let of = |member: &Arc<Member>| (name.to_string(), member.spec.name.clone());
            members.iter().map(of).collect::<Vec<_>>()
        });
        members
            .filter_map(|(pool, member)| {
                let since = *noted.get(&digest(&pool, &member))?;
                Some((pool, member, since))
            })
            .collect()
    }

    /// How a change of this nonce is, which was sent from here. None: it holds, or is another
    /// server's.
    pub fn change(&self, nonce: u64) -> Option<ChangeState> {
        let at = self.changes().find(|at| nonce != 0 && self.word(*at) == nonce)?;
        self.change_at(at)
    }

    fn change_at(&self, at: usize) -> Option<ChangeState> {
        let (begun_ms, revision) = (self.word(at + 1), self.word(at + 2));
        let longest_ms = UNDER_WAY_MS + ANSWERS * self.place.timeout().as_millis() as u64;
        if begun_ms == DISOWNED {
            return Some(ChangeState::Disowned);
        }
        let is_settled = revision != 0 && revision <= self.word(NEEDED);
        let is_young = memory::monotonic_ms().saturating_sub(begun_ms) < longest_ms;
        let is_alive = || i32::try_from(self.word(at + 3)).is_ok_and(memory::alive);
        (is_young && !is_settled && is_alive()).then_some(ChangeState::UnderWay)
    }

    fn changes(&self) -> impl Iterator<Item = usize> {
        (0..CHANGES).map(|at| FIRST + 4 * at)
    }

    /// Notes a change before it is sent. None: too many are under way.
    fn begin(&self, nonce: u64) -> Option<usize> {
        let is_free = |at: &usize| self.word(*at) == 0 || self.change_at(*at).is_none();
        let is_old = |at: &usize| self.change_at(*at) == Some(ChangeState::Disowned);
        self.changes().filter(is_free).chain(self.changes().filter(is_old)).find(|at| {
            let before = self.word(*at);
            let word = self.words.get(*at);
            let is_taken = word.is_some_and(|word| {
                word.compare_exchange(before, nonce, Ordering::AcqRel, Ordering::Acquire).is_ok()
            });
            if is_taken {
                self.set(at + 2, 0);
                self.set(at + 3, u64::try_from(memory::pid()).unwrap_or_default());
                self.set(at + 1, memory::monotonic_ms());
            }
            is_taken
        })
    }
}

/// The same in all processes; never 0.
fn digest(pool: &str, member: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (pool, member).hash(&mut hasher);
    hasher.finish() | 1
}

/// How a change is that was sent from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeState {
    /// Its answer is waited for.
    UnderWay,
    /// It has not come: the change is not to hold.
    Disowned,
}

impl OrderStore for OrderShelf {
    fn shares(&self, pool: &PoolSettings) -> bool {
        self.setting.of_pool(pool).orders
    }

    fn there(&self) -> Result<(), String> {
        // After a restart the leading child asks it at once.
        let until = Instant::now() + UNHEARD;
        while self.state().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let silent_ms = memory::monotonic_ms().saturating_sub(self.word(HEARD));
        match self.state() {
            None => Err("nobody has heard of it yet".into()),
            Some((false, since_s)) => Err(format!("it has not answered since {}", Time(since_s))),
            Some((true, _)) if silent_ms > SILENCE_MS => {
                Err(format!("no child has heard of it for {} s", silent_ms / 1000))
            }
            Some((true, _)) => Ok(()),
        }
    }

    fn revision(&self) -> StoreRevision {
        let known = self.heard();
        StoreRevision { revision: known.revision.max(self.needed()), ..known }
    }

    fn put(&self, orders: &[OrderDraft], ends: &dyn Fn() -> bool) -> Result<u64, PutFailure> {
        // 0 is nobody's.
        let nonce = RandomState::new().build_hasher().finish() | 1;
        let Some(at) = self.begin(nonce) else {
            return Err(PutFailure::Away("too many orders are under way".into()));
        };
        let known = KnownStore { store: self.word(STORE), endpoint: self.word(ENDPOINT) as usize };
        let done = self.desk.put(orders, known, nonce, memory::epoch_s(), ends);
        match &done {
            Err(PutFailure::Unknown(_)) => self.set(at + 1, DISOWNED),
            // It is under way until it holds here.
            Ok(revision) => self.set(at + 2, *revision),
            Err(_) => self.set(at, 0),
        }
        done
    }

    fn holds(&self, revision: u64) -> bool {
        if let Some(word) = self.words.get(NEEDED) {
            word.fetch_max(revision, Ordering::AcqRel);
        }
        self.word(TAKEN) < revision
    }
}
