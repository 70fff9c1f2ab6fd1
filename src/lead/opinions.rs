// SPDX-License-Identifier: Apache-2.0
//! What this server says of members to the others (`LuaBalancerShare health`), and members that are
//! down by what all of them say (`health=quorum`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::counting::Counters as _;
use balance::event::MemberEvent;
use balance::health::HealthState;
use balance::live::Live as _;
use balance::member::Member;
use balance::quorum::{self, OwnFinding, Votes};
use balance::settings::SharedHealth;
use balance::status::Status;
use balance::store::{PoolImage, Store as _, Vitals as _};
use share::{AllOpinions, Opinion, OwnOpinions};
use table::Table;

use super::Lease;
use crate::httpd::{log, memory};
use crate::keep::events;
use crate::serve::fronts::FrontShelf;

/// How often members are looked at.
const PACE: Duration = Duration::from_millis(400);

/// See the module.
#[derive(Default)]
pub struct Opinions {
    /// Servers that are alive, this one among them, by their names.
    alive: Vec<String>,
    all: Arc<AllOpinions>,
    /// Nobody knows those of others.
    is_deaf: bool,
    own: OwnOpinions,
    /// Whether the others were told so.
    has_said: bool,
    looked: Option<Instant>,
    /// The ones that children show.
    shown: Option<Arc<AllOpinions>>,
}

impl Opinions {
    /// These servers are alive.
    pub fn are_alive(&mut self, ids: Vec<String>) {
        (self.alive, self.looked) = (ids, None);
    }

    /// All say this.
    pub fn are(&mut self, all: Arc<AllOpinions>) {
        (self.all, self.looked, self.is_deaf) = (all, None, false);
    }

    /// Nobody knows the opinions of others any more: this server goes by its own checks.
    pub fn are_unheard(&mut self) {
        (self.all, self.looked, self.is_deaf) = (Arc::default(), None, true);
    }

    /// Looks at the members of pools that share their health. Returns what this server says now, if
    /// that is something else than before.
    pub fn look(&mut self, lease: &Lease<'_>, shelf: &FrontShelf) -> Option<OwnOpinions> {
        if self.looked.is_some_and(|looked| looked.elapsed() < PACE) {
            return None;
        }
        self.looked = Some(Instant::now());
        let table = &lease.child.table;
        let mut own = OwnOpinions::new();
        for image in lease.pools.images() {
            let Some(health) = shelf.health_of(&image.settings) else { continue };
            for member in image.membership.members.iter() {
                let of = (image.membership.name.to_string(), member.spec.name.clone());
                if let Some(opinion) = opinion(table, member, self.own.get(&of)) {
                    own.insert(of, opinion);
                }
            }
            if health == SharedHealth::Quorum && lease.holds() {
                events::tell_all(table, self.decide(table, image, shelf));
            }
        }
        self.show(lease, shelf);
        // Opinions of the leader before are taken back where there are none any more.
        let is_other = own != self.own || !self.has_said;
        (self.own, self.has_said) = (own, true);
        is_other.then(|| self.own.clone())
    }

    /// Opinions of others are not shown once nobody knows whether they still hold.
    fn show(&mut self, lease: &Lease<'_>, shelf: &FrontShelf) {
        let all = if shelf.is_alone() { Arc::default() } else { self.all.clone() };
        if self.shown.as_ref().is_none_or(|shown| *shown != all) && lease.holds() {
            if !shelf.opinions().keep(&all) {
                log::server(
                    messages::sharing::OPINIONS_LEFT_OUT,
                    "too many opinions of servers about members: none is shown",
                );
            }
            self.shown = Some(all);
        }
    }

    fn decide(&self, table: &Table, image: &PoolImage, shelf: &FrontShelf) -> Vec<MemberEvent> {
        let Some(check) = &image.settings.health else { return Vec::new() };
        let pool = &image.membership;
        let is_alone = self.is_deaf || shelf.is_alone();
        let votes = |member: &Member, own: OwnFinding| {
            let own = usize::from(own == OwnFinding::Down);
            if is_alone {
                return Votes { down: own, alive: 1 };
            }
            let of = (pool.name.to_string(), member.spec.name.clone());
            let said = self.all.get(&of).into_iter().flatten();
            let others = said.filter(|(front, opinion)| {
                *front != shelf.id() && opinion.state == "down" && self.alive.contains(front)
            });
            Votes { down: own + others.count(), alive: self.alive.len().max(1) }
        };
        quorum::follow(table, pool, check, &votes)
    }
}

/// This server's opinion about a member; the same as before as long as its state is.
fn opinion(table: &Table, member: &Member, before: Option<&Opinion>) -> Option<Opinion> {
    let sight = OwnFinding::of(HealthState::from_bits(table.health(member.slot)));
    let status = table.status(member.slot);
    // An ejection takes nothing from what checks say.
    let word = match sight {
        OwnFinding::Down => "down",
        _ if status.has(Status::EJECTED) => "ejected",
        other => other.word()?,
    };
    if let Some(before) = before.filter(|before| before.state == word) {
        return Some(before.clone());
    }
    let is_new = before.is_some() || status.has(Status::CHECK_DOWN) != (sight == OwnFinding::Down);
    let since = if is_new { memory::epoch_s() } else { table.stats(member.slot).since };
    let found = table.last_check(member.slot, member.incarnation).filter(|_| word == "down");
    Some(Opinion {
        state: word.to_owned(),
        since,
        reason: found.map(|found| found.detail).unwrap_or_default(),
    })
}
