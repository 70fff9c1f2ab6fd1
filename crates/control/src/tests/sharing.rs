// SPDX-License-Identifier: Apache-2.0
//! Orders that go to a store first.

use std::cell::{Cell, RefCell};

use balance::order::{AdminState, StoreRevision};
use balance::settings::PoolSettings;
use balance::sharing::{OrderDraft, PutFailure};
use balance::store::Store as _;

use super::{Heap, house, json, text};
use crate::types::OrderStore;

/// A store that says as a test wants.
#[derive(Default)]
pub struct FakeStore {
    pub away: Cell<bool>,
    /// Something newer was taken meanwhile.
    pub newer: Cell<bool>,
    pub fails: RefCell<Option<PutFailure>>,
    pub taken: RefCell<Vec<OrderDraft>>,
}

impl OrderStore for FakeStore {
    fn shares(&self, pool: &PoolSettings) -> bool {
        pool.share.is_none_or(|share| share.orders)
    }

    fn there(&self) -> Result<(), String> {
        if self.away.get() { Err("no answer since 12:00:00Z".into()) } else { Ok(()) }
    }

    fn revision(&self) -> StoreRevision {
        StoreRevision { store: 5, revision: 7 }
    }

    fn put(&self, orders: &[OrderDraft], _: &dyn Fn() -> bool) -> Result<u64, PutFailure> {
        match self.fails.borrow_mut().take() {
            Some(failure) => Err(failure),
            None => {
                self.taken.borrow_mut().extend_from_slice(orders);
                Ok(8)
            }
        }
    }

    fn holds(&self, revision: u64) -> bool {
        assert_eq!(revision, 8);
        !self.newer.get()
    }
}

fn sharing() -> Heap {
    Heap { orders: Some(FakeStore::default()), ..house() }
}

fn store(house: &Heap) -> &FakeStore {
    house.orders.as_ref().expect("a store")
}

const A: &str = "/api/v1/pools/app/members/a";

#[test]
fn an_order_is_in_the_store_before_it_holds_here() {
    let house = sharing();
    let answer = house.ask("PATCH", A, r#"{"admin":"drain","note":"kernel","max_inflight":3}"#);
    assert_eq!(answer.status, 200, "{}", text(&answer));
    let taken = store(&house).taken.borrow();
    assert_eq!((taken.len(), &*taken[0].pool, &*taken[0].member), (1, "app", "a"));
    let order = taken[0].after.as_ref().expect("an order");
    assert_eq!((order.admin, order.note.as_deref()), (Some(AdminState::Drain), Some("kernel")));
    assert_eq!((taken[0].before.as_ref(), taken[0].defined.weight), (None, 500));
    assert_eq!(house.get(A)["admin"], "drain");
}

#[test]
fn orders_of_a_pool_that_shares_none_are_this_servers_own() {
    let house = sharing();
    let none = PoolSettings::from_text("LuaBalancerShare none\n").expect("settings");
    house.store().define("app", &none, &[super::spec("http://10.0.0.1:8080 name=a")], 2).expect("a pool");
    store(&house).away.set(true);
    let answer = house.ask("PATCH", A, r#"{"admin":"drain"}"#);
    assert_eq!((answer.status, json(&answer)["local"].is_null()), (200, true), "{}", text(&answer));
    assert_eq!(store(&house).taken.borrow().len(), 0);
}

#[test]
fn limits_and_meta_keys_are_each_servers_own() {
    let house = sharing();
    store(&house).away.set(true);
    for body in [r#"{"max_inflight":3}"#, r#"{"meta":{"x":"1"}}"#, r#"{"reset":true}"#, r#"{"admin":null}"#] {
        assert_eq!(house.ask("PATCH", A, body).status, 200, "{body}");
    }
    assert_eq!(house.ask("POST", "/api/v1/pools/app/members", r#"{"url":"http://10.0.0.9"}"#).status, 201);
    assert_eq!(store(&house).taken.borrow().len(), 0);
}

#[test]
fn nothing_changes_here_that_the_store_has_not_taken() {
    let house = sharing();
    for (failure, status, says) in [
        (PutFailure::Newer("app/a".into()), 412, "another server has just changed the order of app/a"),
        (PutFailure::Refused("no space".into()), 409, "the store has not taken the order: no space"),
        (PutFailure::Away("refused".into()), 503, "their store is away: refused; ?local=1 orders here alone"),
        (
            PutFailure::Unknown("silent".into()),
            503,
            "silent; should it have taken the order, it is taken back",
        ),
    ] {
        store(&house).fails.replace(Some(failure));
        let answer = house.ask("PATCH", A, r#"{"admin":"drain","max_inflight":3}"#);
        assert_eq!(
            (answer.status, json(&answer)["detail"].as_str().is_some_and(|text| text.contains(says))),
            (status, true),
            "{}",
            text(&answer)
        );
        let now = house.get(A);
        assert_eq!((&now["admin"], &now["max_inflight"]), (&"ready".into(), &0.into()));
    }
    store(&house).away.set(true);
    let answer = house.ask("PATCH", A, r#"{"admin":"drain"}"#);
    assert_eq!(answer.status, 503, "{}", text(&answer));
    assert!(
        text(&answer).contains("no answer since 12:00:00Z; ?local=1 orders here alone"),
        "{}",
        text(&answer)
    );
}

#[test]
fn an_order_here_alone_is_marked_until_the_store_has_it() {
    let house = sharing();
    store(&house).away.set(true);
    let local = format!("{A}?local=1");
    assert_eq!(house.ask("PATCH", &local, r#"{"weight":3}"#).status, 200);
    let now = house.get(A);
    assert_eq!((&now["weight"], &now["local"]), (&3.into(), &true.into()));
    // Taking it back is an order as well, which others have not heard of.
    assert_eq!(house.ask("PATCH", &local, r#"{"weight":null}"#).status, 200);
    assert_eq!(house.get(A)["local"], true);
    store(&house).away.set(false);
    assert_eq!(house.ask("PATCH", A, r#"{"weight":4}"#).status, 200);
    assert_eq!(house.get(A)["local"], serde_json::Value::Null);
    assert_eq!(house.ask("PATCH", &format!("{A}?local=x"), r#"{"weight":5}"#).status, 422);
}

#[test]
fn a_list_is_put_in_the_store_as_one() {
    let house = sharing();
    let before = house.get("/api/v1/pools/app/members");
    let mut list = before.as_array().expect("a list").clone();
    list.iter_mut().for_each(|member| member["weight"] = 7.into());
    let answer = house.ask("PUT", "/api/v1/pools/app/members", &serde_json::Value::Array(list).to_string());
    assert_eq!(answer.status, 200, "{}", text(&answer));
    assert_eq!(store(&house).taken.borrow().len(), 3);
    // One that goes takes its order along, here alone.
    assert_eq!(house.ask("DELETE", &format!("{A}?force=1"), "").status, 204);
    assert_eq!(house.ask("DELETE", "/api/v1/pools/app/members/b?force=1&drain=30s", "").status, 202);
    assert_eq!(store(&house).taken.borrow().len(), 3);
}

#[test]
fn an_order_does_not_hold_where_a_newer_one_has_come_meanwhile() {
    let house = sharing();
    assert_eq!(house.ask("PATCH", A, r#"{"weight":3}"#).status, 200);
    store(&house).newer.set(true);
    let answer = house.ask("PATCH", A, r#"{"admin":"drain","weight":4,"max_inflight":6}"#);
    assert_eq!(answer.status, 200, "{}", text(&answer));
    let now = house.get(A);
    assert_eq!(
        (&now["admin"], &now["weight"], &now["max_inflight"]),
        (&"ready".into(), &3.into(), &6.into())
    );
}
