// SPDX-License-Identifier: Apache-2.0
//! Orders that several servers share: a thread listens to their store, here the orders of members
//! are brought into step with it, by the rule of [`balance::sharing`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use balance::api::Membership;
use balance::journal::EventKind;
use balance::member::Member;
use balance::order::{AdminState, StoreRevision};
use balance::sharing::{self, Defined, Sharing as Rule};
use balance::steering::Steering;
use balance::store::Store;
use control::OrderStore as _;
use share::{News, OfferSender, OrderKeeper, OrderOffer, StoredOrders};
use table::Table;

use super::taking::{MemberNames, OrderTaking, Take, Todo, Untaken};
use super::{Lease, Rest, Task};
use crate::httpd::{log, memory};
use crate::keep::events;
use crate::serve::child::{Child, Thread};
use crate::serve::store::{ChangeState, OrderShelf};

/// How often orders are looked at where the store has no news: members come, and ends of orders.
const PACE: Duration = Duration::from_secs(1);
/// How long an offer may be on its way.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How long the store may lack a revision that it has had: then it was wiped.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most orders that are on their way to the store.
const MOST_OFFERED: usize = 1000;
/// Most orders that cannot be read and are remembered as said.
const MOST_WRONG: usize = 1000;
/// How soon a thread that was not to be had is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// The way to the thread.
struct Wire {
    offers: OfferSender,
    told: Receiver<News>,
}

/// See the module.
pub struct OrderSharing {
    thread: Thread,
    wire: Option<Wire>,
    /// Not before.
    rest: Option<Instant>,
    stored: Option<Arc<StoredOrders>>,
    /// Since when the store's revision is behind the one that is needed.
    behind: Option<Instant>,
    looked: Option<Instant>,
    /// Revisions of which something was offered in place, and when.
    offered: HashMap<(String, String), (u64, Instant)>,
    /// Members whose stored orders were said to be wrong.
    wrong: HashSet<(String, String)>,
    /// Members whose stored orders were said not to hold here.
    untaken: Untaken,
}

impl OrderSharing {
    /// With a thread's own values.
    pub fn new(child: &Child) -> Self {
        OrderSharing {
            thread: Thread::new(child),
            wire: None,
            rest: None,
            stored: None,
            behind: None,
            looked: None,
            offered: HashMap::new(),
            wrong: HashSet::new(),
            untaken: Untaken::new(),
        }
    }

    fn listen(&mut self, lease: &Lease<'_>, shelf: &OrderShelf) {
        if self.wire.is_some() || self.rest.is_some_and(|rest| rest > Instant::now()) {
            return;
        }
        let background = &lease.child.background;
        let (keeper, offers) = OrderKeeper::new(shelf.place().clone(), shelf.heard());
        let (send, told) = channel();
        let job = move || {
            keeper.run(&|news| {
                let _ = send.send(news);
                background.wake();
            });
        };
        match background.aside("lua-balancer-sh", job) {
            true => self.wire = Some(Wire { offers, told }),
            false => self.rest = Some(Instant::now() + AGAIN),
        }
    }

    /// Takes news in. True when the orders of the store are others.
    fn hear(&mut self, lease: &Lease<'_>, shelf: &OrderShelf) -> bool {
        let news: Vec<News> = self.wire.iter().flat_map(|wire| wire.told.try_iter()).collect();
        let table = &lease.child.table;
        let mut is_new = false;
        for one in news {
            match one {
                News::Away(why) => {
                    if shelf.note(false) {
                        let text =
                            format!("the store of shared orders is away, they stay as they are: {why}");
                        events::note(table, EventKind::Order, messages::sharing::AWAY, &text);
                    }
                    continue;
                }
                News::Orders(orders) => {
                    if shelf.knows(orders.at) {
                        (self.behind, self.looked) = (None, None);
                        self.offered.clear();
                        let text = "the store of shared orders was replaced or went back: its orders hold, and \
                                    those that it lacks are put there";
                        events::note(table, EventKind::Order, messages::sharing::REPLACED, text);
                    }
                    (self.stored, is_new) = (Some(orders), true);
                }
                News::There(endpoint) => shelf.answers_at(endpoint),
            }
            let is_first = shelf.state().is_none();
            if shelf.note(true) {
                let again = if is_first { "" } else { " again" };
                let text = format!("the store of shared orders answers{again}");
                events::note(table, EventKind::Order, messages::sharing::THERE, &text);
            }
        }
        is_new
    }

    /// Whether the known orders are those of now. Something newer was put there from here, or they
    /// begin anew.
    fn is_current(&mut self, stored: &StoredOrders, shelf: &OrderShelf) -> bool {
        if stored.at.revision >= shelf.needed() {
            self.behind = None;
            return true;
        }
        if self.behind.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            shelf.forgets_needed();
        }
        false
    }

    /// Returns whether orders are left for the next turn.
    fn share(&mut self, lease: &Lease<'_>, shelf: &OrderShelf) -> bool {
        let Some(stored) = self.stored.clone() else { return false };
        if !self.is_current(&stored, shelf) {
            return false;
        }
        let (table, known) = (&lease.child.table, (&*stored, shelf));
        self.offered.retain(|(pool, member), (revision, at)| {
            let there = stored.pools.get(pool).and_then(|orders| orders.get(member)?.as_ref().ok());
            at.elapsed() < UNDER_WAY && there.map_or(0, |there| there.revision) == *revision
        });
        self.wrong.retain(|(pool, member)| {
            stored.pools.get(pool).and_then(|orders| orders.get(member)).is_some_and(Result::is_err)
        });
        let mut todo = Todo::default();
        for image in lease.pools.images().iter().filter(|image| shelf.shares(&image.settings)) {
            let pool = &image.membership;
            self.say_wrong(pool, &stored);
            self.look(table, pool, &|_| true, known, &mut todo);
        }
        self.forget_untaken(&todo);
        self.show_unheld(shelf);
        if todo.takes.is_empty() && todo.offers.is_empty() || !lease.holds() {
            return false;
        }
        let later = todo.limit(&self.untaken);
        let members = todo.members(&|name| table.find_pool(name));
        let steering = self.thread.balancer.clone();
        let mut taking = OrderTaking::new(steering.as_ref());
        let mut offers = Vec::new();
        steering.with_pen(&mut || {
            // Somebody may have put something newer there just now, or leads instead.
            if stored.at.revision < shelf.needed() || !lease.holds() {
                return;
            }
            let mut now = Todo::default();
            for (pool, members) in &members {
                let is_one = |member: &Member| members.contains(&*member.spec.name);
                let seen = lease.pools.memberships().find(|seen| seen.pool == *pool);
                match seen.filter(|seen| table.version(*pool) == seen.version) {
                    Some(seen) => self.look(table, seen, &is_one, known, &mut now),
                    None => {
                        let Some(image) = table.read_pool(*pool) else { continue };
                        self.look(table, &image.membership, &is_one, known, &mut now);
                    }
                }
            }
            now.limit(&self.untaken);
            taking.take_all(std::mem::take(&mut now.takes), &self.untaken);
            let later = later.iter().filter(|take| !self.untaken.contains_key(&take.names()));
            let left = later.map(|take| take.revision).chain(taking.left.iter().copied());
            shelf.takes(todo.taken(stored.at.revision, left));
            offers = std::mem::take(&mut now.offers);
        });
        let OrderTaking { events, untaken, left, .. } = taking;
        steering.tell_all(&events);
        let is_more = !left.is_empty() || later.iter().any(|take| !self.untaken.contains_key(&take.names()));
        self.say_untaken(untaken);
        self.show_unheld(shelf);
        offers.into_iter().for_each(|(offer, is_undo)| self.offer(table, offer, is_undo));
        is_more
    }

    /// Adds the deeds about some members of a pool.
    fn look(
        &self,
        table: &Table,
        pool: &Membership,
        is_one: &dyn Fn(&Member) -> bool,
        (stored, shelf): (&StoredOrders, &OrderShelf),
        todo: &mut Todo,
    ) {
        let orders = stored.pools.get(&*pool.name);
        for member in pool.members.iter().filter(|member| is_one(member)) {
            let there = match orders.and_then(|orders| orders.get(&member.spec.name)) {
                Some(Ok(there)) => Some(there),
                Some(Err(_)) => continue,
                None => None,
            };
            let here = table.order(member.slot);
            if there.is_none() && here.is_none() {
                continue;
            }
            let admin = AdminState::of(member.spec.flags & AdminState::FLAGS);
            let defined = Defined { admin, weight: member.spec.weight };
            let names = (pool.name.to_string(), member.spec.name.clone());
            let may_offer = |todo: &Todo, revision| {
                let is_offered = self.offered.get(&names).is_some_and(|(known, _)| *known == revision);
                !is_offered && self.offered.len() + todo.offers.len() < MOST_OFFERED
            };
            let offer = |revision, order| {
                let (pool, member) = names.clone();
                let at = StoreRevision { revision, ..stored.at };
                OrderOffer { pool, member, at, order }
            };
            match there.and_then(|there| Some((there, shelf.change(there.nonce)?))) {
                // The one who has sent it sees to it.
                Some((there, ChangeState::UnderWay)) => {
                    let before = there.revision.saturating_sub(1);
                    todo.taken = Some(todo.taken.map_or(before, |taken| taken.min(before)));
                    continue;
                }
                Some((there, ChangeState::Disowned)) => {
                    if may_offer(todo, there.revision) {
                        // The end of the change that is taken back is not waited for.
                        let stored = Some(&there.order);
                        let order = sharing::put_in_place(stored, here.as_ref(), defined, 0);
                        todo.offers.push((offer(there.revision, order), true));
                    }
                    continue;
                }
                None => {}
            }
            match sharing::share(there, here.as_ref(), defined, stored.at.store, memory::epoch_s()) {
                Rule::Same => {}
                Rule::Take(order) => todo.takes.push(Take {
                    pool: (pool.pool, pool.name.clone()),
                    member: member.clone(),
                    before: here,
                    after: order,
                    revision: there.map_or(0, |there| there.revision),
                }),
                Rule::Offer { revision, order } if may_offer(todo, revision) => {
                    todo.offers.push((offer(revision, order), false));
                }
                Rule::Offer { .. } => {}
            }
        }
    }

    fn offer(&mut self, table: &Table, offer: OrderOffer, is_undo: bool) {
        if is_undo {
            let text = format!(
                "pool {}: member {}: a change that the store had not answered has come there after all, and \
                 is taken back",
                offer.pool, offer.member
            );
            events::note(table, EventKind::Order, messages::sharing::TAKEN_BACK, &text);
        }
        self.offered.insert((offer.pool.clone(), offer.member.clone()), (offer.at.revision, Instant::now()));
        if let Some(wire) = &self.wire {
            wire.offers.send(offer);
        }
    }

    /// Forgets those that were said not to hold here, and need not any more.
    fn forget_untaken(&mut self, todo: &Todo) {
        if !self.untaken.is_empty() {
            let names: HashSet<MemberNames> = todo.takes.iter().map(Take::names).collect();
            self.untaken.retain(|known, _| names.contains(known));
        }
    }

    /// Says once of each order that cannot hold here, until it can.
    fn say_untaken(&mut self, untaken: Vec<(MemberNames, String)>) {
        for ((pool, member), why) in untaken {
            let why = why.replace(char::is_control, "?");
            let text =
                format!("pool {pool}: member {member}: its order in the store does not hold here: {why}");
            let is_new = self.untaken.insert((pool, member), Instant::now()).is_none();
            if is_new && self.untaken.len() <= MOST_WRONG {
                log::server(messages::sharing::DOES_NOT_HOLD, &text);
            }
        }
    }

    /// The first ones are shown, in an order that stays.
    fn show_unheld(&self, shelf: &OrderShelf) {
        let mut names: Vec<&MemberNames> = self.untaken.keys().chain(&self.wrong).collect();
        names.sort_unstable();
        shelf.lacks(names.into_iter().map(|(pool, member)| (&**pool, &**member)));
    }

    /// Says once of each order that cannot be read.
    fn say_wrong(&mut self, pool: &Membership, stored: &StoredOrders) {
        let Some(orders) = stored.pools.get(&*pool.name) else { return };
        for member in pool.members.iter().map(|member| &member.spec.name) {
            let Some(Err(why)) = orders.get(member) else { continue };
            let names = (pool.name.to_string(), member.clone());
            if self.wrong.len() < MOST_WRONG && self.wrong.insert(names) {
                let text = format!(
                    "pool {}: member {member}: its order in the store is left alone, since it cannot be read: {}",
                    pool.name,
                    why.replace(char::is_control, "?")
                );
                log::server(messages::sharing::UNREADABLE, &text);
            }
        }
    }
}

impl Task for OrderSharing {
    fn turn(&mut self, lease: &Lease<'_>) -> Option<Instant> {
        let shelf = lease.child.store.clone()?;
        self.listen(lease, &shelf);
        let is_new = self.hear(lease, &shelf);
        let is_there = shelf.state().is_some_and(|(is_there, _)| is_there);
        let is_due = is_new || self.looked.is_none_or(|looked| looked.elapsed() >= PACE);
        if is_there && is_due {
            self.looked = Some(Instant::now());
            if self.share(lease, &shelf) {
                // The lead is renewed between two turns.
                self.looked = None;
                return Some(Instant::now());
            }
        }
        None
    }

    /// Another leader has a thread of its own.
    fn rest(&mut self, _: Rest) {
        if self.wire.take().is_some() {
            (self.stored, self.looked, self.behind) = (None, None, None);
            self.offered.clear();
        }
    }
}
