// SPDX-License-Identifier: Apache-2.0
//! Keeps this server among those that share something: a thread renews its lease and hears of the
//! others, here each pool gets this server's part of their limits.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use share::{FrontHold, FrontKeeper, FrontNews, FrontSelf};

use super::opinions::Opinions;
use super::{Lease, Rest, Task};
use crate::httpd::log;
use crate::serve::fronts::{self, FrontShelf};

/// How soon a thread that was not to be had is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// How long the sharing of orders may take to hear that the store is away.
const HEARSAY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Default)]
pub struct Fronts {
    wire: Option<(FrontHold, Receiver<FrontNews>)>,
    /// No thread is asked for before.
    rest: Option<Instant>,
    /// The number of the pools that have their parts.
    spread: Option<u64>,
    opinions: Opinions,
    /// Why the store is away, and since when, as long as that is not said.
    away: Option<(String, Instant)>,
}

impl Fronts {
    fn listen(&mut self, lease: &Lease<'_>, shelf: &FrontShelf) {
        if self.wire.is_some() || self.rest.is_some_and(|rest| rest > Instant::now()) {
            return;
        }
        let child = lease.child;
        let own = FrontSelf {
            id: shelf.id(),
            lease: shelf.lease(),
            host: host(),
            since_s: child.doors.started_s,
            version: env!("CARGO_PKG_VERSION"),
        };
        let hears = shelf.hears_opinions(lease.pools.images().iter().map(|image| &image.settings));
        let (keeper, hold) = FrontKeeper::new(shelf.place().clone(), own, hears);
        let (send, told) = channel();
        let job = move || {
            keeper.run(&|news| {
                let _ = send.send(news);
                child.background.wake();
            });
        };
        match child.background.aside("lua-balancer-fr", job) {
            true => self.wire = Some((hold, told)),
            false => self.rest = Some(Instant::now() + AGAIN),
        }
    }

    fn hear(&mut self, shelf: &FrontShelf) {
        let news: Vec<FrontNews> = self.wire.iter().flat_map(|(_, told)| told.try_iter()).collect();
        for one in news {
            self.spread = None;
            match one {
                FrontNews::Lease(lease) => shelf.has_lease(lease),
                FrontNews::Alive(ids) => {
                    let Some(at) = ids.iter().position(|id| *id == shelf.id()) else { continue };
                    shelf.note(true);
                    self.away = None;
                    if shelf.is_among(at, ids.len()) {
                        let text =
                            format!("servers that are alive by the store that they share: {}", ids.len());
                        log::server(messages::sharing::FRONTS, &text);
                    }
                    self.opinions.are_alive(ids);
                }
                FrontNews::Opinions(all) => self.opinions.are(all),
                FrontNews::Deaf(why) => {
                    self.opinions.are_unheard();
                    let text = format!("the opinions of other servers about members cannot be heard: {why}");
                    log::server(messages::sharing::DEAF, &text);
                }
                FrontNews::Away(why) => {
                    if shelf.note(false) {
                        self.away = Some((why, Instant::now()));
                    }
                }
            }
        }
    }

    /// Says that the store is away, unless the sharing of orders does so: a store may refuse one of
    /// them alone.
    fn say_away(&mut self, lease: &Lease<'_>) {
        let orders = lease.child.store.as_ref();
        let is_own = orders.is_none_or(|store| store.state().is_some_and(|(is_there, _)| is_there));
        let wait = if orders.is_some() { HEARSAY } else { Duration::ZERO };
        if let Some((why, _)) = self.away.take_if(|(_, since)| is_own && since.elapsed() >= wait) {
            let text = format!("the store of what servers share is away, parts stay as they are: {why}");
            log::server(messages::sharing::FRONTS_AWAY, &text);
        }
    }
}

/// The name of this machine.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().filter(|c| !c.is_control()).take(255).collect()
}

impl Task for Fronts {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        let shelf = lease.child.fronts.clone()?;
        self.listen(lease, &shelf);
        self.hear(&shelf);
        self.say_away(lease);
        if shelf.settle() {
            self.spread = None;
        }
        if let Some(own) = self.opinions.look(lease, &shelf)
            && let Some((hold, _)) = &self.wire
        {
            hold.say(own);
        }
        let number = lease.pools.number();
        if self.spread != Some(number) && lease.holds() {
            fronts::spread(&lease.child.table, Some(&shelf), lease.pools.images().iter().map(AsRef::as_ref));
            self.spread = Some(number);
        }
        None
    }

    /// Another leader has a thread of its own, and goes on with the lease.
    fn rest(&mut self, _: Rest) {
        (self.wire, self.spread, self.opinions) = (None, None, Opinions::default());
    }
}
