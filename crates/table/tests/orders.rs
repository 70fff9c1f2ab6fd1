// SPDX-License-Identifier: Apache-2.0
//! Orders of people, over the shared table and over the store on the heap: what is kept beside a
//! member, what it changes, and what becomes of it when its time is over.
#![cfg(not(loom))]

use std::sync::Arc;

use balance::api::{Change, ChangeError};
use balance::event::{By, Person};
use balance::lifecycle::{self, Deadlines, Subject};
use balance::live::Live;
use balance::member::{Member, MemberSpec};
use balance::memory::MemoryStore;
use balance::order::{AdminState, MAX_ORDER_TEXT, Order, Then};
use balance::settings::PoolSettings;
use balance::snapshot::{self, Extent, MemberState};
use balance::status::{State, Status};
use balance::store::{Origin, Store, Vitals};
use table::{Geometry, Needs, Table};

const NOW_S: u64 = 1_700_000_000;

fn specs() -> Vec<MemberSpec> {
    ["http://10.0.0.1:80 name=a weight=2 meta.v=1", "http://10.0.0.2:80 name=b"].map(spec).to_vec()
}

fn spec(line: &str) -> MemberSpec {
    MemberSpec::from_line(line).expect("a line")
}

fn table(members: u32) -> Table {
    let needs = Needs { members, children: 2, pools: 2, ..Needs::default() };
    Table::on_heap(Geometry::for_config(needs)).expect("a table").with_clock(|| NOW_S)
}

fn memory() -> MemoryStore {
    let memory = MemoryStore::new();
    memory.set_now_s(NOW_S);
    memory
}

/// Runs a body with both stores.
macro_rules! both {
    ($store:ident => $body:block) => {{
        {
            let $store = &table(8);
            $store.define("app", &PoolSettings::default(), &specs(), 1).expect("room");
            $body
            $store.check().expect("a table in order");
        }
        {
            let $store = &memory();
            $store.define("app", &PoolSettings::default(), &specs(), 1).expect("room");
            $body
        }
    }};
}

fn member(store: &impl Store, name: &str) -> Arc<Member> {
    let image = store.read_pool(store.find_pool("app").expect("the pool")).expect("an image");
    image.membership.members.iter().find(|member| member.spec.name == name).expect("a member").clone()
}

fn shown(store: &impl Vitals, name: &str) -> MemberState {
    let pools = snapshot::pools(store, Extent::All);
    pools[0].members.iter().find(|member| member.spec.name == name).cloned().expect("a member")
}

fn switch(store: &impl Store, name: &str, admin: AdminState) {
    let member = member(store, name);
    let of = Subject { pool: &"app".into(), member: &member };
    let by = By::Script(None);
    lifecycle::ordered(store, of, Change::Switch(admin.flags()), &by).expect("it is there");
}

fn alice() -> Order {
    Order { by: Some("alice".into()), from: Some("10.0.0.5".into()), at: NOW_S, ..Order::default() }
}

/// The events of a look at this time.
fn look(store: &impl Store, deadlines: &mut Deadlines, now_s: u64) -> Vec<String> {
    let image = store.read_pool(store.find_pool("app").expect("the pool")).expect("an image");
    let events = deadlines.advance(store, [&image.membership].into_iter(), now_s);
    events.iter().map(ToString::to_string).collect()
}

#[test]
fn an_order_is_kept_and_taken_back() {
    both!(store => {
        let a = member(store, "a");
        assert_eq!(store.order(a.slot), None);
        let order = Order { note: Some("deploy 42".into()), until: Some(NOW_S + 5), ..alice() };
        store.set_order(&a, Some(&order)).expect("room");
        assert_eq!(store.order(a.slot), Some(order.clone()));
        assert_eq!(shown(store, "a").order, Some(order));
        assert_eq!(shown(store, "b").order, None);
        store.set_order(&a, None).expect("room");
        assert_eq!(store.order(a.slot), None);
        assert_eq!(*member(store, "a"), *a);
    });
}

#[test]
fn limits_and_meta_of_an_order_stand_for_those_of_the_line() {
    both!(store => {
        let (a, pool) = (member(store, "a"), store.find_pool("app").expect("the pool"));
        let version = store.version(pool);
        let meta = vec![("x".to_owned(), "y z".to_owned())];
        let order = Order { max_inflight: Some(7), meta: Some(meta.clone()), ..alice() };
        store.set_order(&a, Some(&order)).expect("room");
        assert!(store.version(pool) > version, "whoever has read the pool reads it again");
        let now = member(store, "a");
        assert_eq!((now.spec.max_inflight, &now.spec.meta), (7, &meta));
        assert_eq!((now.slot, now.incarnation), (a.slot, a.incarnation));
        assert_eq!(shown(store, "a").max_inflight, 7);
        store.set_order(&now, None).expect("room");
        assert_eq!(member(store, "a").spec, a.spec);
    });
}

#[test]
fn a_definition_leaves_orders_and_changes_the_line_under_them() {
    both!(store => {
        let order = Order { max_inflight: Some(7), note: Some("n".into()), ..alice() };
        store.set_order(&member(store, "a"), Some(&order)).expect("room");
        let mut specs = specs();
        specs[0].zone = Some("eu".into());
        store.define("app", &PoolSettings::default(), &specs, 2).expect("room");
        let now = member(store, "a");
        assert_eq!((now.spec.zone.as_deref(), now.spec.max_inflight), (Some("eu"), 7));
        assert_eq!(store.order(now.slot), Some(order));
        store.define("app", &PoolSettings::default(), &specs[1..], 3).expect("room");
        store.define("app", &PoolSettings::default(), &specs, 4).expect("room");
        assert_eq!(store.order(member(store, "a").slot), None, "another member of that name");
    });
}

#[test]
fn orders_of_members_that_are_gone_or_too_long_are_refused() {
    both!(store => {
        let b = member(store, "b");
        let long = Order { note: Some("x".repeat(MAX_ORDER_TEXT)), ..alice() };
        assert!(matches!(store.set_order(&b, Some(&long)), Err(ChangeError::Invalid(_))));
        store.remove(store.find_pool("app").expect("the pool"), "b").expect("removed");
        assert_eq!(store.set_order(&b, Some(&alice())), Err(ChangeError::Removed));
    });
}

#[test]
fn the_author_of_an_order_is_named_as_long_as_it_holds() {
    both!(store => {
        switch(store, "a", AdminState::Drain);
        let cause = |name: &str| shown(store, name).why[0].by.clone();
        assert_eq!(cause("a"), By::Somebody);
        let order = Order { admin: Some(AdminState::Drain), note: Some("n".into()), ..alice() };
        store.set_order(&member(store, "a"), Some(&order)).expect("room");
        let person = Person { name: Some("alice".into()), from: Some("10.0.0.5".into()), note: Some("n".into()) };
        assert_eq!(cause("a"), By::Person(person));
        switch(store, "a", AdminState::Disabled);
        assert_eq!(cause("a"), By::Somebody, "that was somebody else");
    });
}

#[test]
fn the_state_that_an_order_names_for_then_holds_when_its_time_is_over() {
    both!(store => {
        let mut deadlines = Deadlines::default();
        assert!(look(store, &mut deadlines, NOW_S).is_empty());
        for (then, state, line) in [
            (None, State::Up, "draining -> up"),
            (Some(Then::AdminState(AdminState::Disabled)), State::Disabled, "draining -> disabled"),
        ] {
            switch(store, "a", AdminState::Drain);
            let order = Order { admin: Some(AdminState::Drain), until: Some(NOW_S + 9), then, max_inflight: Some(3), ..alice() };
            store.set_order(&member(store, "a"), Some(&order)).expect("room");
            assert!(look(store, &mut deadlines, NOW_S + 8).is_empty());
            let told = look(store, &mut deadlines, NOW_S + 9);
            assert_eq!(told, [format!("pool app: member a: {line} (the time is over of an order by alice from 10.0.0.5)")]);
            assert_eq!(shown(store, "a").state, state);
            let left = store.order(member(store, "a").slot).expect("the rest of it");
            assert_eq!((left.until, left.then, left.max_inflight), (None, None, Some(3)));
            assert!(look(store, &mut deadlines, NOW_S + 99).is_empty(), "once");
        }
    });
}

#[test]
fn a_member_that_drains_until_it_is_removed_goes_then() {
    both!(store => {
        let pool = store.find_pool("app").expect("the pool");
        let added = store.add(pool, &spec("http://10.0.0.9:80 name=x")).expect("room");
        let order = Order { admin: Some(AdminState::Drain), until: Some(NOW_S + 30), then: Some(Then::Removed), ..alice() };
        store.set_order(&added, Some(&order)).expect("room");
        let mut deadlines = Deadlines::default();
        assert!(look(store, &mut deadlines, NOW_S + 29).is_empty());
        let told = look(store, &mut deadlines, NOW_S + 31);
        assert_eq!(told, ["pool app: member x: removed (the time is over of an order by alice from 10.0.0.5)"]);
        assert!(!store.is_current(added.slot, added.incarnation));
    });
}

#[test]
fn a_change_that_somebody_made_meanwhile_stays() {
    both!(store => {
        switch(store, "a", AdminState::Drain);
        let order = Order { admin: Some(AdminState::Drain), until: Some(NOW_S + 9), ..alice() };
        store.set_order(&member(store, "a"), Some(&order)).expect("room");
        switch(store, "a", AdminState::Disabled);
        assert!(look(store, &mut Deadlines::default(), NOW_S + 9).is_empty());
        assert_eq!(shown(store, "a").state, State::Disabled);
        assert_eq!(store.order(member(store, "a").slot).and_then(|order| order.until), None);
    });
}

#[test]
fn a_count_from_nought_leaves_what_holds() {
    both!(store => {
        let a = member(store, "a");
        store.update_health(a.slot, a.incarnation, |_| u64::MAX);
        store.update_outlier(a.slot, a.incarnation, |_| u64::MAX);
        store.update(a.slot, a.incarnation, &mut |s| s.with(Status::EJECTED | Status::CHECK_DOWN)).expect("there");
        let of = Subject { pool: &"app".into(), member: &a };
        let events = lifecycle::ordered(store, of, Change::Recount, &By::Somebody).expect("there");
        assert!(events.is_empty(), "it is down as before");
        assert_eq!((store.outlier(a.slot), store.health(a.slot)), (0, !u64::from(u32::MAX)));
        assert_eq!(store.status(a.slot).0 & (Status::EJECTED | Status::CHECK_DOWN), Status::CHECK_DOWN);
    });
}

#[test]
fn a_bigger_table_takes_orders_over() {
    let (old, new) = (table(8), table(64));
    old.define_from(Origin::Configuration, "app", &PoolSettings::default(), &specs(), 1).expect("room");
    let order = Order { max_inflight: Some(7), note: Some("n".into()), ..alice() };
    old.set_order(&member(&old, "a"), Some(&order)).expect("room");
    new.carry_over(&old).expect("room");
    let now = member(&new, "a");
    assert_eq!((new.order(now.slot), now.spec.max_inflight), (Some(order), 7));
    new.check().expect("a table in order");
}

#[test]
fn a_table_without_room_for_another_text_says_so_and_keeps_the_order_that_there_is() {
    let store = &table(2);
    store.define("app", &PoolSettings::default(), &specs(), 1).expect("room");
    let a = member(store, "a");
    store.set_order(&a, Some(&alice())).expect("room");
    let mut kept = Some(alice());
    for length in 1..=200 {
        let order = Order { note: Some("x".repeat(length * 4)), ..alice() };
        match store.set_order(&a, Some(&order)) {
            Ok(()) => kept = Some(order),
            Err(error) => assert!(error.to_string().contains("LuaBalancerMaxMembers"), "{error}"),
        }
        assert_eq!(store.order(a.slot), kept);
    }
    store.check().expect("a table in order");
}
