// SPDX-License-Identifier: Apache-2.0
//! A thread's handle of the engine.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::{Engine, MAX_VIEWS, Part, Whole};
use crate::api::{Balancer, Change, ChangeError, Membership, NoMember, PoolId, Query, Stats, View};
use crate::compiled::{Compiled, MemberNow};
use crate::event::{By, Event, MemberEvent, What, Why};
use crate::explanation::{Considered, Explanation, LeftOut};
use crate::lifecycle::{self, Subject};
use crate::live::{CursorId, Slot, UNBOUNDED};
use crate::member::{Member, MemberSpec};
use crate::methods::Picking;
use crate::order::Order;
use crate::rng::Rng;
use crate::session::{Routed, Routes, SessionSearch};
use crate::settings::PoolSettings;
use crate::status::Status;
use crate::steering::{self, Steering};
use crate::steps::MemberStep;
use crate::store::Store;
use crate::tier;
use crate::told;

/// One a thread.
pub struct Handle<S: Store> {
    engine: Arc<Engine<S>>,
    rng: Rng,
    pools: RefCell<Vec<Option<Rc<Cached>>>>,
    /// Rows by a hash of the name, as guesses; 0 for none, else the row plus one.
    names: [Cell<u32>; NAMES],
}

/// Names that a thread remembers the rows of.
const NAMES: usize = 64;

struct Cached {
    whole: Arc<Whole>,
    views: RefCell<Vec<(View, Arc<Part>)>>,
}

/// A pool as it is at one moment, in one thread: reading it counts no references that other threads
/// count as well.
pub struct Now(Rc<Cached>);

impl Now {
    /// Its members.
    pub fn membership(&self) -> &Membership {
        &self.0.whole.membership
    }

    /// Its settings.
    pub fn settings(&self) -> &PoolSettings {
        &self.0.whole.settings
    }
}

impl<S: Store> Handle<S> {
    /// A thread's handle; threads have different seeds.
    pub fn new(engine: Arc<Engine<S>>, seed: u64) -> Self {
        Handle {
            engine,
            rng: Rng::new(seed),
            pools: RefCell::default(),
            names: [const { Cell::new(0) }; NAMES],
        }
    }

    /// Restarts the draws from this seed, for comparisons. Returns as [`Rng::restart`] does.
    pub fn draw_from(&self, seed: u64) -> u64 {
        self.rng.restart(seed)
    }

    /// The store of the members.
    #[inline]
    pub fn store(&self) -> &S {
        &self.engine.store
    }

    /// The pool as it is now. None when there is no such pool (any more).
    #[inline]
    pub fn now(&self, pool: PoolId) -> Option<Now> {
        self.cached(pool).map(Now)
    }

    /// Picks, in the pool as it was a moment ago; as [`Balancer::pick`] otherwise. The member is
    /// lent by the pool where that is possible: to count a reference that all threads count costs
    /// as much as a pick.
    pub fn pick_in<'n>(&self, now: &'n Now, query: &Query<'_>) -> Result<Cow<'n, Arc<Member>>, NoMember> {
        let whole = &*now.0.whole;
        match query.view {
            None => match self.choose(query, &whole.compiled, whole.cursor) {
                Some(member) => Ok(Cow::Borrowed(member)),
                None => self.next_tier(query, whole, &whole.compiled, whole.cursor).map(Cow::Owned),
            },
            Some(view) => self.pick_in_view(now, view, query).map(Cow::Owned),
        }
    }

    #[inline(never)]
    fn pick_in_view(&self, now: &Now, view: &View, query: &Query<'_>) -> Result<Arc<Member>, NoMember> {
        let (whole, part) = (&*now.0.whole, self.part(query.pool, view, &now.0));
        match self.choose(query, &part.compiled, part.cursor) {
            Some(member) => Ok(member.clone()),
            None => self.next_tier(query, whole, &part.compiled, part.cursor),
        }
    }

    #[inline]
    fn choose<'c>(&self, query: &Query<'_>, pool: &'c Compiled, cursor: CursorId) -> Option<&'c Arc<Member>> {
        let picking = Picking { pool, live: &self.engine.store, cursor, avoid: query.avoid };
        picking.pick(query.method, query.key, &self.rng)
    }

    #[inline]
    fn cached(&self, pool: PoolId) -> Option<Rc<Cached>> {
        let epoch = self.engine.store.epoch(pool);
        let cached = self.pools.try_borrow().ok().and_then(|pools| {
            let cached = pools.get(pool.0 as usize)?.as_ref()?;
            (cached.whole.epoch == epoch).then(|| cached.clone())
        });
        cached.or_else(|| self.refresh(pool))
    }

    /// Runs `body` with the pool as it is now. The cache is not borrowed while `body` runs.
    fn with<T>(&self, pool: PoolId, body: impl FnOnce(&Rc<Cached>) -> T) -> Option<T> {
        self.cached(pool).map(|cached| body(&cached))
    }

    #[cold]
    fn refresh(&self, pool: PoolId) -> Option<Rc<Cached>> {
        let whole = self.engine.whole(pool);
        let index = pool.0 as usize;
        let mut pools = self.pools.try_borrow_mut().ok();
        let place = pools.as_mut().and_then(|pools| {
            if pools.len() <= index && whole.is_some() {
                pools.resize_with(index + 1, || None);
            }
            pools.get_mut(index)
        });
        // Views of the epoch before keep their rings.
        let before = place.as_ref().and_then(|place| place.as_ref());
        let views = before.map(|cached| cached.views.take()).unwrap_or_default();
        let cached = whole.map(|whole| Rc::new(Cached { whole, views: RefCell::new(views) }));
        if let Some(place) = place {
            place.clone_from(&cached);
        }
        cached
    }

    /// The view at the epoch of the pool.
    fn part(&self, pool: PoolId, view: &View, cached: &Cached) -> Arc<Part> {
        let known = cached.views.try_borrow().ok().and_then(|views| {
            let (_, part) = views.iter().find(|(known, _)| known == view)?;
            (part.epoch == cached.whole.epoch).then(|| part.clone())
        });
        if let Some(part) = known {
            return part;
        }
        let part = self.engine.part(pool, view, &cached.whole);
        if !part.is_empty
            && let Ok(mut views) = cached.views.try_borrow_mut()
        {
            views.retain(|(known, _)| known != view);
            if views.len() >= MAX_VIEWS {
                views.remove(0);
            }
            views.push((view.clone(), part.clone()));
        }
        part
    }

    /// The row where the name was found last, if it is still that pool's.
    fn guess(&self, name: &[u8]) -> (usize, Option<PoolId>) {
        // FNV-1a, 32 bits.
        let hash = name
            .iter()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        let place = hash as usize % NAMES;
        let guess = self.names[place].get().checked_sub(1).map(PoolId);
        let is_it = |known: &[u8]| known == name || known.eq_ignore_ascii_case(name);
        let is_of = |now: Now| is_it(now.membership().name.as_bytes());
        (place, guess.filter(|pool| self.now(*pool).is_some_and(is_of)))
    }

    /// [`Balancer::find`] by what may be no text; no pool has such a name.
    pub fn find_bytes(&self, name: &[u8]) -> Option<PoolId> {
        let (place, guess) = self.guess(name);
        if guess.is_some() {
            return guess;
        }
        let found = std::str::from_utf8(name).ok().and_then(|name| self.engine.store.find_pool(name));
        self.names[place].set(found.map_or(0, |pool| pool.0 + 1));
        found
    }

    fn routed(&self, whole: &Whole, view: Option<&View>, route: &[u8], avoid: &[Slot]) -> Routed {
        let members = &whole.membership.members;
        let store = &self.engine.store;
        let status = |place: usize| store.status(members[place].slot);
        // A candidate serves in panic as well, when health is ignored.
        let candidate = |place: usize| whole.compiled.place.get(place).is_some_and(|at| *at != u32::MAX);
        let search = SessionSearch {
            members,
            routes: whole.routes.get_or_init(|| Routes::of(members)),
            inside: &|place| view.is_none_or(|view| view.holds(&members[place])),
            standby: &|place| status(place).has(Status::STANDBY),
            serves: &|place| {
                let member = &members[place];
                !avoid.contains(&member.slot)
                    && store.is_current(member.slot, member.incarnation)
                    && (status(place).serves_sessions() || candidate(place))
            },
        };
        search.route(route)
    }

    /// No candidate is left. When they were tried or are at `max_inflight`: without them, other
    /// zones, spares, the next lbset or standbys come in.
    #[cold]
    fn next_tier(
        &self,
        query: &Query<'_>,
        whole: &Whole,
        compiled: &Compiled,
        cursor: CursorId,
    ) -> Result<Arc<Member>, NoMember> {
        if query.avoid.is_empty() && !compiled.limited {
            return Err(Self::nobody(query, whole, compiled));
        }
        let store = &self.engine.store;
        let status = |member: &Member| {
            let now = self.engine.now(member);
            let is_full = || now.room != UNBOUNDED && store.inflight(member.slot) >= now.room;
            let out = query.avoid.contains(&member.slot) || is_full();
            MemberNow { status: if out { now.status.with(Status::STOPPED) } else { now.status }, ..now }
        };
        // A member that was tried or is full is healthy all the same.
        let set = &whole.settings.set;
        let all: Vec<Status> = compiled.members.iter().map(|member| store.status(member.slot)).collect();
        let panic = Some(tier::is_panic(&all, set));
        let rest = Compiled::build(compiled.members.clone(), status, set, panic, None);
        let picked = self.choose(query, &rest, cursor).cloned();
        picked.ok_or_else(|| Self::nobody(query, whole, compiled))
    }

    #[cold]
    fn nobody(query: &Query<'_>, whole: &Whole, compiled: &Compiled) -> NoMember {
        let name = whole.membership.name.clone();
        let untried =
            compiled.candidates.iter().filter(|candidate| !query.avoid.contains(&candidate.slot)).count();
        if whole.membership.members.is_empty() {
            NoMember::Empty(name)
        } else if compiled.members.is_empty() {
            NoMember::NoMatch(name)
        } else if untried > 0 {
            NoMember::Full(name, untried)
        } else {
            NoMember::NoneUsable(name, compiled.candidates.len(), compiled.members.len())
        }
    }

    /// The members that may be picked, and those that are left out; its text is one line, for
    /// `LogLevel trace2`.
    pub fn explain(&self, pool: PoolId, view: Option<&View>) -> Explanation {
        let explained = self.with(pool, |cached| {
            let whole = &cached.whole;
            let part = view.map(|view| self.part(pool, view, cached));
            let compiled = part.as_ref().map_or(&whole.compiled, |part| &part.compiled);
            let members = compiled.members.iter().zip(&compiled.place);
            Explanation {
                pool: Some(whole.membership.name.clone()),
                members: members.map(|(member, place)| self.consider(member, *place != u32::MAX)).collect(),
            }
        });
        explained.unwrap_or(Explanation { pool: None, members: Vec::new() })
    }

    fn consider(&self, member: &Member, is_candidate: bool) -> Considered {
        let MemberNow { status, percent, .. } = self.engine.now(member);
        Considered {
            name: member.spec.name.clone(),
            state: status.state(),
            weight: status.share(percent),
            inflight: self.engine.store.inflight(member.slot),
            left_out: (!is_candidate).then(|| LeftOut::of(status)),
        }
    }

    /// The pool's name. The thread's copy of the pool may be of an earlier state; it is not renewed
    /// for a name alone.
    fn name(&self, pool: PoolId) -> Arc<str> {
        let known = self.pools.try_borrow().ok().and_then(|pools| {
            let cached = pools.get(pool.0 as usize)?.as_ref()?;
            Some(cached.whole.membership.name.clone())
        });
        let known = known.filter(|name| self.engine.store.find_pool(name) == Some(pool));
        known.or_else(|| self.now(pool).map(|now| now.membership().name.clone())).unwrap_or_default()
    }

    /// A number below `bound`, at random.
    #[inline]
    pub fn draw(&self, bound: u32) -> u32 {
        self.rng.below(u64::from(bound)) as u32
    }

    fn tell(&self, event: impl Into<Event>) {
        (self.engine.notice)(&event.into());
    }

    /// An order at a member of this pool has been carried out.
    fn tell_order(&self, pool: PoolId, member: &str, what: What, by: &By) {
        let pool = self.name(pool);
        let (at, member) = (self.engine.store.now_s(), member.to_owned());
        self.tell(MemberEvent { pool, member, at, what, why: Why::Order, by: by.clone() });
    }
}

impl<S: Store> Balancer for Handle<S> {
    fn find(&self, name: &str) -> Option<PoolId> {
        self.find_bytes(name.as_bytes())
    }

    fn names(&self) -> Vec<String> {
        self.engine.store.pool_names()
    }

    fn membership(&self, pool: PoolId) -> Option<Arc<Membership>> {
        self.with(pool, |cached| cached.whole.membership.clone())
    }

    fn settings(&self, pool: PoolId) -> Option<Arc<PoolSettings>> {
        self.with(pool, |cached| cached.whole.settings.clone())
    }

    fn pick(&self, query: Query<'_>) -> Result<Arc<Member>, NoMember> {
        let now = self.now(query.pool).ok_or(NoMember::UnknownPool)?;
        self.pick_in(&now, &query).map(Cow::into_owned)
    }

    fn pick_for(&self, query: Query<'_>, body: &mut dyn FnMut(&Arc<Member>)) -> Result<(), NoMember> {
        let now = self.now(query.pool).ok_or(NoMember::UnknownPool)?;
        self.pick_in(&now, &query).map(|member| body(&member))
    }

    fn route(&self, pool: PoolId, view: Option<&View>, route: &[u8], avoid: &[Slot]) -> Routed {
        self.with(pool, |cached| self.routed(&cached.whole, view, route, avoid)).unwrap_or(Routed::Unknown)
    }

    fn queued(&self, pool: PoolId) -> u32 {
        self.engine.store.queued(pool)
    }

    fn usable(&self, pool: PoolId, view: Option<&View>) -> usize {
        let count = self.with(pool, |cached| match view {
            None => cached.whole.compiled.candidates.len(),
            Some(view) => self.part(pool, view, cached).compiled.candidates.len(),
        });
        count.unwrap_or(0)
    }

    fn is_usable(&self, member: &Member) -> bool {
        self.status(member).is_some_and(Status::usable)
    }

    fn status(&self, member: &Member) -> Option<Status> {
        let store = &self.engine.store;
        store.is_current(member.slot, member.incarnation).then(|| store.status(member.slot))
    }

    fn stats(&self, member: &Member) -> Stats {
        let store = &self.engine.store;
        if store.is_current(member.slot, member.incarnation) {
            store.stats(member.slot)
        } else {
            Stats::default()
        }
    }

    fn change(&self, member: &Member, change: Change, by: &By) -> Result<(), ChangeError> {
        let store = &self.engine.store;
        let pool = store.pool_of(member.slot, member.incarnation);
        let pool = pool.map(|pool| self.name(pool)).unwrap_or_default();
        for event in lifecycle::ordered(store, Subject { pool: &pool, member }, change, by)? {
            self.tell(event);
        }
        Ok(())
    }

    fn order(&self, member: &Member, order: Option<&Order>) -> Result<(), ChangeError> {
        self.engine.store.set_order(member, order)
    }

    fn add(&self, pool: PoolId, spec: MemberSpec, by: &By) -> Result<Arc<Member>, ChangeError> {
        let member = Arc::new(self.engine.store.add(pool, &spec)?);
        let what = What::Added { url: spec.url.to_string(), weight: spec.weight };
        self.tell_order(pool, &spec.name, what, by);
        Ok(member)
    }

    fn remove(&self, pool: PoolId, name: &str, by: &By) -> Result<(), ChangeError> {
        self.engine.store.remove(pool, name)?;
        self.tell_order(pool, name, What::Removed, by);
        Ok(())
    }

    fn define(
        &self,
        name: &str,
        settings: PoolSettings,
        members: Vec<MemberSpec>,
        version: u64,
    ) -> Result<PoolId, ChangeError> {
        let before = self.find(name).map(|pool| self.engine.store.version(pool));
        let members_before = told::Before::of(&self.engine.store, name);
        let pool = self.engine.store.define(name, &settings, &members, version)?;
        if before != Some(self.engine.store.version(pool)) {
            self.tell(Event::Defined { pool: name.into(), members: members.len() });
            for event in members_before.tell(&self.engine.store, name, By::Definition) {
                self.tell(event);
            }
        }
        Ok(pool)
    }
}

impl<S: Store> Steering for Handle<S> {
    fn with_pen(&self, body: &mut dyn FnMut()) -> bool {
        self.engine.store.with_pen(body)
    }

    fn carry_out(&self, steps: &[MemberStep], by: &By) -> Result<Vec<Event>, ChangeError> {
        let store = &self.engine.store;
        let deeds = steering::deeds(store, steps)?;
        let words = store.carry_out(&deeds)?;
        Ok(steering::events(&deeds, &words, store.now_s(), by))
    }

    fn tell_all(&self, events: &[Event]) {
        events.iter().for_each(|event| (self.engine.notice)(event));
    }
}
