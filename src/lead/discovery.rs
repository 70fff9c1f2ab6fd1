// SPDX-License-Identifier: Apache-2.0
//! Members found by sources (`LuaBalancerDiscovery`): threads look at them, here it is decided
//! what becomes of their lists, and done.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use balance::api::PoolId;
use balance::event::By;
use balance::reconcile::{ListDifference, Listing};
use balance::settings::SourcePlace;
use balance::steering::Steering;
use balance::store::Store;
use discover::{Lookout, Sighting, SourcePlan};

use super::source::{LedSource, Taking};
use super::{Lease, Rest, Task};
use crate::httpd::{log, memory};
use crate::serve::child::{Child, Thread};
use crate::serve::generation::generation;
use crate::serve::reach;

/// How long what a source has found drains that no configuration names any more.
const FORGOTTEN_MS: u64 = 30_000;
/// How soon a thread that was not to be had is asked for again.
const AGAIN: Duration = Duration::from_secs(1);
/// How soon sightings and wishes are looked at while a list settles.
const LOOK: Duration = Duration::from_millis(50);

/// See the module.
pub struct Finder {
    thread: Thread,
    /// The pools by which the sources were made.
    seen: u64,
    sources: Vec<LedSource>,
    search: Option<Lookout>,
    /// Not before.
    rest: Option<Instant>,
    /// Pools in which members were looked for that no source has any more.
    swept: HashSet<PoolId>,
}

impl Finder {
    /// With a thread's own values.
    pub fn new(child: &Child) -> Self {
        Finder {
            thread: Thread::new(child),
            seen: 0,
            sources: Vec::new(),
            search: None,
            rest: None,
            swept: HashSet::new(),
        }
    }

    /// Makes the sources anew where the pools have others.
    fn renew(&mut self, lease: &Lease<'_>) {
        if self.seen == lease.pools.number() {
            return;
        }
        self.seen = lease.pools.number();
        let images = lease.pools.images().iter();
        let wanted = images.flat_map(|image| image.settings.discovery.iter().map(move |one| (image, one)));
        let wanted: Vec<_> = wanted.collect();
        let is_same = wanted.len() == self.sources.len()
            && wanted
                .iter()
                .zip(&self.sources)
                .all(|((image, settings), source)| source.is_of(&image.membership, settings));
        if is_same {
            return;
        }
        self.search = None;
        self.swept.clear();
        let table = &lease.child.table;
        let known: Vec<_> =
            wanted.iter().map(|(image, one)| (image.membership.name.clone(), one.name.clone())).collect();
        table.retain_sources(&known);
        let sources = wanted.into_iter().map(|(image, settings)| {
            let known: Vec<String> = image.settings.discovery.iter().map(|one| one.name.clone()).collect();
            LedSource::new(table, &image.membership, settings, known)
        });
        self.sources = sources.collect();
    }

    /// Has threads look, if there is anything to look at.
    fn watch(&mut self, lease: &Lease<'_>) {
        let is_resting = self.rest.is_some_and(|rest| rest > Instant::now());
        if self.sources.is_empty() || self.search.is_some() || is_resting {
            return;
        }
        let background = &lease.child.background;
        let root = generation().map(|generation| generation.server_root.clone()).unwrap_or_default();
        let store = lease.child.main_config.config.store.place.as_ref();
        let ask = lease.child.lists.asker();
        let plan = |source: &LedSource| {
            let mut settings = source.settings.clone();
            if let (SourcePlace::Etcd(place), Some(store)) = (&mut settings.source, store)
                && place.is_in_store()
            {
                *place = place.in_store(store);
            }
            SourcePlan::of(&settings, &root, reach::misfit, &ask)
        };
        let plans = self.sources.iter().map(plan).collect();
        match Lookout::start(plans, || background.wake(), &mut |name, job| background.aside(name, job)) {
            Ok(search) => self.search = Some(search),
            Err(error) => {
                let text = format!("members cannot be looked for (LuaBalancerDiscovery): {error}");
                log::server(messages::discovery::CANNOT_LOOK, &text);
                self.rest = Some(Instant::now() + AGAIN);
            }
        }
    }

    /// Takes in what was seen.
    fn hear(&mut self, lease: &Lease<'_>) {
        let table = &lease.child.table;
        let told: Vec<Sighting> = self.search.iter().flat_map(Lookout::told).collect();
        for sighting in told {
            let Some(source) = self.sources.get_mut(sighting.source) else { continue };
            let image = lease.pools.images().iter().find(|image| image.membership.pool == source.pool);
            if let Some(image) = image {
                source.see(table, &image.membership, sighting);
            }
        }
    }

    /// Sees to the wishes about sources.
    fn obey(&mut self, lease: &Lease<'_>) {
        let table = &lease.child.table;
        for source in &mut self.sources {
            if source.is_to_be_asked(table)
                && let Some(search) = &self.search
            {
                search.refresh();
            }
            let image = lease.pools.images().iter().find(|image| image.membership.pool == source.pool);
            if let Some(image) = image {
                source.accept(table, &image.membership);
            }
        }
    }

    /// Puts lists in service whose time has come. Returns when the next one's does.
    fn take(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        let (table, now_ms) = (&lease.child.table, memory::monotonic_ms());
        let mut next = None;
        for source in &mut self.sources {
            let image = lease.pools.images().iter().find(|image| image.membership.pool == source.pool);
            let Some(image) = image else { continue };
            source.look_again(table, &image.membership);
            match source.is_due(now_ms) {
                Taking::Now if lease.holds() => source.take(table, self.thread.balancer.as_ref()),
                Taking::Now | Taking::Never => {}
                Taking::At(at_ms) => {
                    let at = Instant::now() + Duration::from_millis(at_ms.saturating_sub(now_ms));
                    next = Some(next.map_or(at, |next: Instant| next.min(at)));
                }
            }
            source.note(table);
        }
        next
    }

    /// Drains the members that no source of the configuration has found. Only in pools whose
    /// sources have all given a list: one of another name may have found them as well.
    fn sweep(&mut self, lease: &Lease<'_>) {
        let (table, steering) = (&lease.child.table, self.thread.balancer.as_ref());
        for image in lease.pools.images() {
            let pool = image.membership.pool;
            let mut own = self.sources.iter().filter(|source| source.pool == pool);
            if self.swept.contains(&pool) || !own.all(LedSource::is_in_service) || !lease.holds() {
                continue;
            }
            let known: Vec<&str> = image.settings.discovery.iter().map(|one| one.name.as_str()).collect();
            let members = image.membership.members.iter();
            let finders = members.filter_map(|member| member.spec.discovered.as_deref());
            let forgotten: BTreeSet<&str> = finders.filter(|source| !known.contains(source)).collect();
            let mut is_swept = true;
            for source in forgotten {
                let mut events = Vec::new();
                // Somebody else may have the pen: then at the next turn.
                is_swept &= steering.with_pen(&mut || {
                    // As the pool is now: another source may just have taken them over.
                    let Some(now) = table.read_pool(pool) else { return };
                    let none = HashSet::new();
                    let listing = Listing {
                        source,
                        known: &known,
                        members: &[],
                        prints: &[],
                        absent: &none,
                        drain_ms: FORGOTTEN_MS,
                    };
                    let steps = ListDifference::of(table, &now.membership, listing, memory::epoch_s()).steps;
                    let by = By::Source(source.to_owned());
                    events = steering.carry_out(&steps, &by).unwrap_or_default();
                });
                steering.tell_all(&events);
            }
            if is_swept {
                self.swept.insert(pool);
            }
        }
    }
}

impl Task for Finder {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        self.renew(lease);
        self.watch(lease);
        self.hear(lease);
        self.obey(lease);
        let next = self.take(lease);
        self.sweep(lease);
        // One list that settles holds up no other, nor anybody's wish.
        next.map(|at| at.min(Instant::now() + LOOK))
    }

    /// Another leader may have changed everything meanwhile.
    fn rest(&mut self, _: Rest) {
        if self.seen > 0 {
            (self.seen, self.search, self.rest) = (0, None, None);
            self.sources.clear();
            self.swept.clear();
        }
    }
}
