// SPDX-License-Identifier: Apache-2.0
//! The balancer of a child: compiled pools by epoch, shared by its threads, and a handle for each
//! thread.
//!
//! A pick compares the cached epoch with the table's (one load) and goes on with the compiled pool
//! that the thread has. Only when they differ is the child's cache asked, under a lock, and only
//! one thread compiles.

mod handle;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::api::{Membership, PoolId, View};
use crate::compiled::{Compiled, MemberNow};
use crate::event::Event;
use crate::live::{CursorId, room};
use crate::member::Member;
use crate::methods::rings::Rings;
use crate::session::Routes;
use crate::settings::PoolSettings;
use crate::store::Store;

pub use self::handle::{Handle, Now};

/// Most views that are kept compiled for one pool.
const MAX_VIEWS: usize = 64;

/// Gets what this engine changes of pools and members.
pub type Notice = Box<dyn Fn(&Event) + Send + Sync>;

/// One a child.
pub struct Engine<S: Store> {
    store: S,
    notice: Notice,
    pools: Mutex<HashMap<PoolId, Shared>>,
}

/// A pool as the child knows it.
struct Shared {
    whole: Arc<Whole>,
    views: Vec<(View, Arc<Part>)>,
}

/// A pool at one epoch.
struct Whole {
    epoch: u64,
    version: u64,
    membership: Arc<Membership>,
    settings: Arc<PoolSettings>,
    cursor: CursorId,
    compiled: Compiled,
    /// Made by the first request that comes with a session.
    routes: Arc<OnceLock<Routes>>,
}

/// A view of a pool at one epoch.
struct Part {
    epoch: u64,
    cursor: CursorId,
    compiled: Compiled,
    /// Nobody is in it, so that it is not kept.
    is_empty: bool,
}

impl<S: Store> Engine<S> {
    /// Over a store.
    pub fn new(store: S, notice: Notice) -> Arc<Self> {
        Arc::new(Engine { store, notice, pools: Mutex::default() })
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    fn pools(&self) -> MutexGuard<'_, HashMap<PoolId, Shared>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool at this epoch or a later one. None when there is no such pool.
    fn whole(&self, pool: PoolId) -> Option<Arc<Whole>> {
        let mut pools = self.pools();
        // Read before the pool itself: what changes in between is seen by the next pick.
        let (epoch, version) = (self.store.epoch(pool), self.store.version(pool));
        let known = pools.get(&pool).map(|shared| shared.whole.clone());
        if let Some(whole) = known.as_ref().filter(|whole| whole.epoch == epoch) {
            return Some(whole.clone());
        }
        let same = known.as_ref().filter(|whole| whole.version == version);
        let (membership, settings) = match same {
            Some(whole) => (whole.membership.clone(), whole.settings.clone()),
            None => match self.store.read_pool(pool) {
                Some(image) => (Arc::new(image.membership), Arc::new(image.settings)),
                None => {
                    pools.remove(&pool);
                    return None;
                }
            },
        };
        let rings = known.as_ref().and_then(|whole| whole.compiled.rings_made().cloned());
        let compiled = self.compile(membership.members.clone(), &settings, rings.as_ref());
        let cursor = self.store.cursor(pool);
        let routes = same.map(|whole| whole.routes.clone()).unwrap_or_default();
        let whole = Arc::new(Whole { epoch, version, membership, settings, cursor, compiled, routes });
        match pools.get_mut(&pool) {
            Some(shared) => shared.whole = whole.clone(),
            None => {
                pools.insert(pool, Shared { whole: whole.clone(), views: Vec::new() });
            }
        }
        Some(whole)
    }

    fn part(&self, pool: PoolId, view: &View, whole: &Whole) -> Arc<Part> {
        let mut pools = self.pools();
        let shared = pools.get_mut(&pool);
        let known = shared.as_ref().and_then(|shared| shared.views.iter().find(|(known, _)| known == view));
        if let Some((_, part)) = known.filter(|(_, part)| part.epoch == whole.epoch) {
            return part.clone();
        }
        let rings: Option<Arc<Rings>> = known.and_then(|(_, part)| part.compiled.rings_made().cloned());
        let members: Arc<[Arc<Member>]> =
            whole.membership.members.iter().filter(|member| view.holds(member)).cloned().collect();
        if members.is_empty() {
            // By a text that a client has sent, perhaps: there are as many such views as clients
            // like, and nobody takes turns there.
            let compiled = self.compile(members, &whole.settings, None);
            return Arc::new(Part { epoch: whole.epoch, cursor: whole.cursor, compiled, is_empty: true });
        }
        let part = Arc::new(Part {
            is_empty: false,
            epoch: whole.epoch,
            cursor: self.store.view_cursor(pool, view.fingerprint()),
            compiled: self.compile(members, &whole.settings, rings.as_ref()),
        });
        if let Some(shared) = shared {
            shared.views.retain(|(known, _)| known != view);
            if shared.views.len() >= MAX_VIEWS {
                shared.views.remove(0);
            }
            shared.views.push((view.clone(), part.clone()));
        }
        part
    }

    fn now(&self, member: &Member) -> MemberNow {
        MemberNow {
            status: self.store.status(member.slot),
            percent: self.store.advice(member.slot).percent,
            room: room(&self.store, member),
        }
    }

    fn compile(
        &self,
        members: Arc<[Arc<Member>]>,
        settings: &PoolSettings,
        rings: Option<&Arc<Rings>>,
    ) -> Compiled {
        Compiled::build(members, |member| self.now(member), &settings.set, None, rings)
    }
}
