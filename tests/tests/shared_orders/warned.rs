// SPDX-License-Identifier: Apache-2.0
//! Orders of the store that cannot hold here, that say the same as a definition, and keys of
//! members that nobody has.

use std::time::Instant;

use server_tests::{Backend, Etcd};

use super::*;

const CODE: &str = "order_not_held";

fn wait_for_warnings(httpd: &Httpd, members: &[&str]) {
    let begin = |name: &&str| {
        format!("pool app: member {name}: its order in the store of shared orders does not hold")
    };
    let expected: Vec<String> = members.iter().map(begin).collect();
    wait_until(&format!("warnings about {members:?}"), SOON, || {
        let now = warnings(httpd, CODE);
        now.len() == expected.len() && now.iter().zip(&expected).all(|(now, begin)| now.starts_with(begin))
    });
}

#[test]
fn an_order_that_cannot_hold_here_is_a_warning_until_it_can_or_is_gone() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let mut httpd = front(&etcd.endpoint(), &(line(&a) + &line(&b)));
    wait_for_warnings(&httpd, &[]);
    let long = "x".repeat(190);
    let meta = format!(r#"{{"meta":{{"k1":"{long}","k2":"{long}","k3":"{long}","k4":"{long}"}}}}"#);
    assert_eq!(patch(&httpd, "a", &meta).status, 200);
    let too_long = format!(r#"{{"admin":"drain","note":"{long}","by":"{long}"}}"#);
    etcd.put("/lb/test/orders/app/a", &too_long);
    wait_for_warnings(&httpd, &["a"]);
    etcd.put("/lb/test/orders/app/b", "[1]");
    etcd.put("/lb/test/orders/app/nobody", "[1]");
    wait_for_warnings(&httpd, &["a", "b"]);
    assert!(httpd.socket().get("/").text().contains("member a: its order in the store"), "the page has it");
    // The children of a later configuration know it as well.
    httpd.graceful();
    wait_for_warnings(&httpd, &["a", "b"]);
    // It can hold now; the other is gone; and it comes again.
    assert_eq!(patch(&httpd, "a?local=1", r#"{"meta":null}"#).status, 200);
    wait_for(&httpd, "a", "admin", "drain");
    wait_for_warnings(&httpd, &["b"]);
    etcd.delete("/lb/test/orders/app/b");
    wait_for_warnings(&httpd, &[]);
    etcd.put("/lb/test/orders/app/b", r#"{"weight":-1}"#);
    wait_for_warnings(&httpd, &["b"]);
}

#[test]
fn a_deleted_key_stays_away_where_no_server_has_the_member_and_comes_back_where_one_has() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let one = front(&etcd.endpoint(), &(line(&a) + &line(&b)));
    let other = front(&etcd.endpoint(), &line(&a));
    for name in ["a", "b"] {
        assert_eq!(patch(&one, name, r#"{"weight":7}"#).status, 200);
    }
    etcd.put("/lb/test/orders/app/gone", r#"{"weight":3}"#);
    etcd.put("/lb/test/orders/old/gone", r#"{"weight":3}"#);
    wait_for(&other, "a", "weight", 7);
    etcd.control(&["del", "--prefix", "/lb/test/orders/"]);
    for name in ["a", "b"] {
        wait_until("the order to be back", SOON, || stored(&etcd, name)["weight"] == 7.0);
    }
    // Later changes have been through both servers.
    assert_eq!(patch(&other, "a", r#"{"weight":8}"#).status, 200);
    wait_for(&one, "a", "weight", 8);
    let keys = etcd.control(&["get", "--prefix", "--keys-only", "/lb/test/orders/"]);
    let keys: Vec<&str> = keys.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(keys, ["/lb/test/orders/app/a", "/lb/test/orders/app/b"]);
}

#[test]
fn an_order_holds_at_others_after_a_change_at_a_server_that_defines_the_same() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let one = front(&etcd.endpoint(), &line(&a));
    let other = front(&etcd.endpoint(), &line(&a).replace("name=a", "name=a weight=5"));
    assert_eq!(patch(&one, "a", r#"{"weight":5}"#).status, 200);
    wait_until("the order to be there", SOON, || stored(&etcd, "a")["weight"] == 5.0);
    wait_until("an order to be taken", SOON, || patch(&other, "a", r#"{"admin":"drain"}"#).status == 200);
    wait_for(&one, "a", "admin", "drain");
    assert_eq!((&member(&one, "a")["weight"], &stored(&etcd, "a")["weight"]), (&5.into(), &5.0.into()));
    // Given here alone, and put there later.
    assert_eq!(patch(&other, "a?local=1", r#"{"admin":null}"#).status, 200);
    wait_for(&one, "a", "admin", "ready");
    assert_eq!((&member(&one, "a")["weight"], &stored(&etcd, "a")["weight"]), (&5.into(), &5.0.into()));
    // A weight of its own takes its place.
    assert_eq!(patch(&other, "a", r#"{"weight":7}"#).status, 200);
    wait_for(&one, "a", "weight", 7);
}

#[test]
fn a_change_right_after_a_local_one_is_not_taken_for_another_servers() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let one = front(&etcd.endpoint(), &line(&a));
    let other = front(&etcd.endpoint(), &line(&a).replace("name=a", "name=a weight=5"));
    for round in 0..10 {
        // The word that the definition of the other one fulfils stays in the store.
        let first = format!(r#"{{"weight":5,"admin":null,"note":"round {round}"}}"#);
        let put = || patch(&one, "a", &first).status == 200;
        wait_until("the first order to be taken", SOON, put);
        wait_for(&other, "a", "note", format!("round {round}"));
        assert_eq!(patch(&other, "a?local=1", r#"{"admin":"drain"}"#).status, 200);
        // It is there when the first server knows it, which may be before the one that has put it.
        let until = Instant::now() + SOON;
        while member(&one, "a")["admin"] != "drain" {
            assert!(Instant::now() < until, "round {round}: the order is not there");
        }
        let answer = patch(&other, "a", r#"{"weight":7}"#);
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
        wait_for(&one, "a", "weight", 7);
    }
}
