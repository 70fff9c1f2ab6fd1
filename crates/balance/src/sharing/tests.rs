// SPDX-License-Identifier: Apache-2.0
//! The rule, and servers that go by it: whatever gets lost, they agree in the end.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const DEFINED: Defined = Defined { admin: AdminState::Ready, weight: 100 };
const NOW: u64 = 1000;
const STORE: u64 = 5;

fn drain() -> Order {
    Order { admin: Some(AdminState::Drain), at: 5, by: Some("ann".into()), ..Order::default() }
}

fn stored(revision: u64, order: Order) -> StoredOrder {
    StoredOrder { revision, order, nonce: revision }
}

#[test]
fn the_store_is_right_unless_something_was_ordered_here_alone_since() {
    let at = |revision| Some(StoreRevision { store: STORE, revision });
    let here = |revision| Order { local: at(revision), ..drain() };
    let weigh = Order { weight: Some(200), ..Order::default() };
    for (there, own, says) in [
        (None, None, Sharing::Same),
        (None, Some(drain()), Sharing::Offer { revision: 0, order: drain() }),
        (Some(stored(7, drain())), Some(drain()), Sharing::Same),
        (Some(stored(7, drain())), None, Sharing::Take(Some(drain()))),
        (Some(stored(7, Order::default())), Some(drain()), Sharing::Take(None)),
        // Known and not newer: what was ordered here alone is put there.
        (Some(stored(7, weigh.clone())), Some(here(7)), Sharing::Offer { revision: 7, order: drain() }),
        (Some(stored(8, weigh.clone())), Some(here(7)), Sharing::Take(Some(weigh))),
        // It is there: the mark goes.
        (Some(stored(8, drain())), Some(here(7)), Sharing::Take(Some(drain()))),
        (None, Some(Order { local: at(7), ..Order::default() }), Sharing::Take(None)),
    ] {
        assert_eq!(share(there.as_ref(), own.as_ref(), DEFINED, STORE, NOW), says, "{there:?} and {own:?}");
    }
}

#[test]
fn an_order_that_has_just_been_put_there_holds_here_whatever_its_definition_fulfils() {
    let fulfilled = Order { weight: Some(DEFINED.weight), ..drain() };
    let marked = Order { local: Some(StoreRevision { store: STORE, revision: 7 }), ..drain() };
    assert!(holds_here(&fulfilled, Some(&marked), DEFINED, NOW));
    assert!(holds_here(&Order { admin: None, ..fulfilled.clone() }, None, DEFINED, NOW));
    assert!(!holds_here(&fulfilled, None, DEFINED, NOW));
    assert!(!holds_here(&Order { weight: Some(200), ..drain() }, Some(&marked), DEFINED, NOW));
    // Its end has come, and was not carried out here yet.
    let over = Order { until: Some(NOW), ..drain() };
    assert!(holds_here(&over, Some(&over), DEFINED, NOW) && holds_here(&over, None, DEFINED, NOW));
}

#[test]
fn the_revision_of_another_store_says_nothing() {
    for (store, is_put) in [(STORE, true), (STORE + 1, false), (0, false)] {
        let here = Order { local: Some(StoreRevision { store, revision: 900 }), ..drain() };
        let weigh = Order { weight: Some(200), ..Order::default() };
        let says = share(Some(&stored(7, weigh.clone())), Some(&here), DEFINED, STORE, NOW);
        assert_eq!(matches!(says, Sharing::Offer { revision: 7, .. }), is_put, "{says:?}");
        assert_eq!(says == Sharing::Take(Some(weigh)), !is_put, "{says:?}");
        let says = share(None, Some(&here), DEFINED, STORE, NOW);
        assert_eq!(says, Sharing::Offer { revision: 0, order: drain() }, "nothing is there");
    }
}

#[test]
fn each_server_keeps_what_is_its_own() {
    let here = Order { max_inflight: Some(3), gone: Some(9), ..Order::default() };
    let both = Order { max_inflight: Some(3), gone: Some(9), ..drain() };
    let says = share(Some(&stored(7, drain())), Some(&here), DEFINED, STORE, NOW);
    assert_eq!(says, Sharing::Take(Some(both.clone())));
    let says = share(Some(&stored(8, Order::default())), Some(&both), DEFINED, STORE, NOW);
    assert_eq!(says, Sharing::Take(Some(here.clone())));
    assert_eq!(share(None, Some(&here), DEFINED, STORE, NOW), Sharing::Same, "nothing of it is shared");
    let goes = Order { then: Some(Then::Removed), until: Some(2000), ..drain() };
    assert_eq!(
        share(None, Some(&goes), DEFINED, STORE, NOW),
        Sharing::Same,
        "others may not have the member"
    );
}

#[test]
fn an_order_whose_end_has_come_holds_as_it_says_for_then() {
    let until = Order { until: Some(NOW), note: Some("kernel".into()), ..drain() };
    let there = stored(7, until.clone());
    // The end was seen to here, and there it stands as before.
    assert_eq!(share(Some(&there), None, DEFINED, STORE, NOW), Sharing::Same);
    assert_eq!(share(Some(&there), None, DEFINED, STORE, NOW - 1), Sharing::Take(Some(until.clone())));
    let disabled = Order { then: Some(Then::AdminState(AdminState::Disabled)), ..until };
    match share(Some(&stored(7, disabled)), None, DEFINED, STORE, NOW) {
        Sharing::Take(Some(order)) => {
            assert_eq!((order.admin, order.until, order.note), (Some(AdminState::Disabled), None, None));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_order_that_a_definition_fulfils_is_the_same_as_none() {
    let defined = Defined { admin: AdminState::Drain, weight: 200 };
    let order = Order { weight: Some(200), ..drain() };
    assert_eq!(share(Some(&stored(7, order)), None, defined, STORE, NOW), Sharing::Same);
}

#[test]
fn words_that_say_the_same_as_the_definition_stay_in_the_store() {
    let other = Defined { admin: AdminState::Drain, weight: 200 };
    let there = Order { weight: Some(200), ..drain() };
    let heavy = Order { weight: Some(700), at: 9, ..Order::default() };
    for (order, says) in [
        (Some(heavy.clone()), Order { admin: Some(AdminState::Drain), ..heavy.clone() }),
        (None, there.clone()),
        (Some(Order { max_inflight: Some(3), ..Order::default() }), there.clone()),
    ] {
        assert_eq!(put_in_place(Some(&there), order.as_ref(), other, NOW), says, "{order:?}");
        assert_eq!(put_in_place(Some(&there), order.as_ref(), DEFINED, NOW), shared_part(order.as_ref()));
        assert_eq!(put_in_place(None, order.as_ref(), other, NOW), shared_part(order.as_ref()));
    }
    // One whose end has come: the word for then stays.
    let ended = Order { until: Some(NOW), then: Some(Then::AdminState(AdminState::Drain)), ..there };
    let says = put_in_place(Some(&ended), Some(&heavy), other, NOW);
    assert_eq!(says, Order { admin: Some(AdminState::Drain), ..heavy.clone() });
    // One that is given here alone is put there so as well.
    let local = Some(StoreRevision { store: STORE, revision: 7 });
    let says = share(Some(&stored(7, drain())), Some(&Order { local, ..heavy.clone() }), other, STORE, NOW);
    let order = Order { admin: Some(AdminState::Drain), ..heavy };
    assert_eq!(says, Sharing::Offer { revision: 7, order });
}

/// One server, as far as one member of it goes.
#[derive(Default)]
struct Server {
    here: Option<Order>,
    /// Changes that the watch brings, in their order.
    news: VecDeque<StoredOrder>,
    seen: Option<StoredOrder>,
    /// It hears and reaches the store.
    is_linked: bool,
    /// Nonces of changes that were sent and never answered.
    disowned: Vec<u64>,
}

/// The store with one key.
#[derive(Default)]
struct Shelf {
    revision: u64,
    stored: Option<StoredOrder>,
}

impl Shelf {
    fn put(&mut self, expected: u64, order: Order, nonce: u64) -> bool {
        if self.stored.as_ref().map_or(0, |stored| stored.revision) != expected {
            return false;
        }
        self.revision += 1;
        self.stored = Some(StoredOrder { revision: self.revision, order, nonce });
        true
    }
}

impl Server {
    /// A person's order: by the store, or here alone where the store is away. `lost`: the answer.
    fn order(&mut self, order: Order, shelf: &mut Shelf, nonce: u64, lost: bool) -> bool {
        if !self.is_linked {
            let known = self.seen.as_ref().map_or(0, |seen| seen.revision);
            self.here = Some(Order { local: Some(StoreRevision { store: STORE, revision: known }), ..order });
            return true;
        }
        let there = shelf.stored.clone();
        if there.is_some() && share(there.as_ref(), self.here.as_ref(), DEFINED, STORE, NOW) != Sharing::Same
        {
            // 412: it was changed meanwhile.
            return false;
        }
        let landed = shelf.put(there.map_or(0, |there| there.revision), order.clone(), nonce);
        if lost {
            self.disowned.push(nonce);
            return false;
        }
        if landed {
            self.here = Some(order).filter(|order| !order.is_empty());
        }
        landed
    }

    /// The leading child goes by the rule.
    fn turn(&mut self, shelf: &mut Shelf) {
        if !self.is_linked {
            return;
        }
        if let Some(news) = self.news.pop_front() {
            self.seen = Some(news);
        }
        if let Some(seen) = self.seen.clone().filter(|seen| self.disowned.contains(&seen.nonce)) {
            // Nobody was told that it holds: back to what holds here.
            shelf.put(seen.revision, shared_part(self.here.as_ref()), 0);
            return;
        }
        match share(self.seen.as_ref(), self.here.as_ref(), DEFINED, STORE, NOW) {
            Sharing::Same => {}
            Sharing::Take(order) => self.here = order,
            Sharing::Offer { revision, order } => {
                shelf.put(revision, order, 0);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Order { server: usize, word: u8, lost: bool },
    Turn { server: usize },
    Link { server: usize, is: bool },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..2usize, 0..4u8, proptest::bool::weighted(0.2))
            .prop_map(|(server, word, lost)| Act::Order { server, word, lost }),
        6 => (0..2usize).prop_map(|server| Act::Turn { server }),
        1 => (0..2usize, any::<bool>()).prop_map(|(server, is)| Act::Link { server, is }),
    ]
}

fn word(word: u8) -> Order {
    let weight = (word == 2 || word == 3).then_some(300);
    let admin = (word == 1 || word == 3).then_some(AdminState::Drain);
    Order { admin, weight, ..Order::default() }
}

fn defined() -> impl Strategy<Value = Defined> {
    let admin = prop_oneof![Just(AdminState::Ready), Just(AdminState::Drain), Just(AdminState::Disabled)];
    (admin, 1..4u32).prop_map(|(admin, weight)| Defined { admin, weight: 100 * weight })
}

/// An order of two states and its end, and a weight.
fn any_order() -> impl Strategy<Value = Order> {
    let admin = || proptest::option::of(defined().prop_map(|defined| defined.admin));
    let until = proptest::option::of(NOW - 1..NOW + 2);
    (admin(), admin(), until, proptest::option::of(1..4u32)).prop_map(|(admin, then, until, weight)| Order {
        until: until.filter(|_| admin.is_some()),
        then: then.filter(|_| admin.is_some() && until.is_some()).map(Then::AdminState),
        admin,
        weight: weight.map(|weight| 100 * weight),
        ..Order::default()
    })
}

/// The state and the weight that hold where an order of the store is taken.
fn effect(stored: &Order, defined: Defined) -> (AdminState, u32) {
    let order = holding(stored, defined, NOW);
    (order.admin.unwrap_or(defined.admin), order.weight.unwrap_or(defined.weight))
}

proptest! {
    #[test]
    fn a_change_of_one_word_leaves_the_other_as_it_is_at_servers_that_define_it_otherwise(
        there in any_order(), here in defined(), other in defined(), said in defined(), is_weight: bool,
    ) {
        let mut after = holding(&there, here, NOW);
        if is_weight {
            after.weight = Some(said.weight).filter(|weight| *weight != here.weight);
        } else {
            (after.until, after.then) = (None, None);
            after.admin = Some(said.admin).filter(|admin| *admin != here.admin);
        }
        let put = put_in_place(Some(&there), Some(&after), here, NOW);
        let (before, now) = (effect(&there, other), effect(&put, other));
        prop_assert!(if is_weight { before.0 == now.0 } else { before.1 == now.1 }, "{there:?} {put:?}");
        // It holds here as it was said, and an order that was there as it is.
        let own = effect(&put, here);
        prop_assert_eq!(own, effect(&after, here));
        prop_assert_eq!(put_in_place(Some(&there), Some(&holding(&there, here, NOW)), here, NOW), due(&there, NOW));
    }

    #[test]
    fn servers_agree_once_they_hear_each_other_and_nobody_overwrites_a_newer_order(
        acts in proptest::collection::vec(act(), 0..60)
    ) {
        let (mut shelf, mut servers) = (Shelf::default(), [Server::default(), Server::default()]);
        servers.iter_mut().for_each(|server| server.is_linked = true);
        let mut nonce = 100;
        // The last order that somebody was told holds for all.
        let mut confirmed: Option<(u64, Order)> = None;
        let mut told = 0;
        for act in acts {
            match act {
                Act::Order { server, word: said, lost } => {
                    nonce += 1;
                    let was_linked = servers[server].is_linked;
                    if servers[server].order(word(said), &mut shelf, nonce, lost) && was_linked {
                        confirmed = Some((shelf.revision, word(said)));
                    }
                }
                Act::Turn { server } => servers[server].turn(&mut shelf),
                Act::Link { server, is } => {
                    servers[server].is_linked = is;
                    if is {
                        // All keys of now are asked for.
                        servers[server].news = shelf.stored.clone().into_iter().collect();
                    }
                }
            }
            if shelf.revision > told {
                told = shelf.revision;
                for server in servers.iter_mut().filter(|server| server.is_linked) {
                    server.news.extend(shelf.stored.clone());
                }
            }
        }
        for server in &mut servers {
            server.is_linked = true;
            server.news = shelf.stored.clone().into_iter().collect();
        }
        let at_end = shelf.revision;
        for _ in 0..20 {
            for at in 0..2 {
                servers[at].turn(&mut shelf);
                if shelf.revision > told {
                    told = shelf.revision;
                    for server in &mut servers {
                        server.news.extend(shelf.stored.clone());
                    }
                }
            }
        }
        let there = shelf.stored.as_ref().map(|stored| stored.order.clone());
        for server in &servers {
            prop_assert!(shares_the_same(server.here.as_ref(), there.as_ref()), "{:?} {there:?}", server.here);
            prop_assert_eq!(server.here.as_ref().and_then(|here| here.local), None);
        }
        // Nothing is written without end.
        prop_assert!(shelf.revision <= at_end + 4, "{} after {at_end}", shelf.revision);
        if let Some((revision, order)) = confirmed
            && shelf.revision == revision
        {
            prop_assert!(shares_the_same(there.as_ref(), Some(&order)));
        }
    }
}
