// SPDX-License-Identifier: Apache-2.0
//! Stores with other people's keys, without their history, and with users whose passwords change.

use server_tests::{Backend, Client, Etcd, Request};

use super::*;

const FOREIGN: usize = 50_000;
/// Most operations of a transaction of etcd.
const AT_ONCE: usize = 128;

fn to_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |at: usize| three.get(at).copied().map_or(0, u32::from);
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63] as char;
            text.push(if place > three.len() { '=' } else { digit });
        }
    }
    text
}

fn port(etcd: &Etcd) -> u16 {
    etcd.endpoint().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

fn put_all(etcd: &Etcd, keys: &[(String, String)]) {
    let mut client = Client::new(port(etcd));
    for some in keys.chunks(AT_ONCE) {
        let put = |(key, value): &(String, String)| {
            let (key, value) = (to_base64(key.as_bytes()), to_base64(value.as_bytes()));
            format!(r#"{{"requestPut":{{"key":"{key}","value":"{value}"}}}}"#)
        };
        let puts: Vec<String> = some.iter().map(put).collect();
        let body = format!(r#"{{"success":[{}]}}"#, puts.join(","));
        let answer = client.send(&Request::json("POST", "/v3/kv/txn", body));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn orders_are_shared_among_tens_of_thousands_of_foreign_keys_and_long_values() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let one = front(&etcd.endpoint(), &line(&a));
    let foreign: Vec<(String, String)> = (0..FOREIGN)
        .map(|at| {
            (format!("/lb/test/orders/{}/x{at}", ["app", "other"][at % 2]), "{\"weight\":2}".to_owned())
        })
        .collect();
    put_all(&etcd, &foreign);
    put_all(&etcd, &[("/lb/test/orders/app/long".to_owned(), "x".repeat(1_000_000))]);
    let other = front(&etcd.endpoint(), &line(&a));
    for (weight, (from, to)) in [(3, (&one, &other)), (4, (&other, &one)), (5, (&one, &other))] {
        wait_until("an order to be taken", SOON, || {
            patch(from, "a", &format!(r#"{{"weight":{weight}}}"#)).status == 200
        });
        wait_for(to, "a", "weight", weight);
    }
    // A value that long of the member itself is one that cannot be read.
    put_all(&etcd, &[("/lb/test/orders/app/a".to_owned(), "x".repeat(1_000_000))]);
    for front in [&one, &other] {
        wait_until("a warning", SOON, || warnings(front, "order_not_held").len() == 1);
        assert_eq!(member(front, "a")["weight"], 5);
        front.assert_no_crash();
    }
    wait_until("an order to be taken", SOON, || patch(&one, "a", r#"{"weight":6}"#).status == 200);
    wait_for(&other, "a", "weight", 6);
}

#[test]
fn orders_go_on_where_the_store_forgets_its_history_again_and_again() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let (one, other) = (front(&etcd.endpoint(), &line(&a)), front(&etcd.endpoint(), &line(&a)));
    for weight in 2..12 {
        assert_eq!(patch(&one, "a", &format!(r#"{{"weight":{weight}}}"#)).status, 200);
        etcd.compact();
        wait_for(&other, "a", "weight", weight);
    }
    for front in [&one, &other] {
        assert_eq!(front.count_log("the store of shared orders is away"), 0);
        assert_eq!(front.count_log("was replaced or went back"), 0);
    }
}

#[test]
fn a_password_that_is_changed_keeps_orders_away_until_its_file_has_the_new_one() {
    let [a] = Backend::named(["a"]);
    // Tokens of two seconds.
    let mut etcd = Etcd::start_with("http", &[], |_| vec!["--auth-token-ttl=2".to_owned()]);
    for arguments in [
        &["user", "add", "root:root-secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "sharer"],
        &["role", "grant-permission", "sharer", "readwrite", "--prefix=true", "/lb/"],
        &["user", "add", "lb:old-secret"],
        &["user", "grant-role", "lb", "sharer"],
        &["auth", "enable"],
    ] {
        etcd.control(arguments);
    }
    etcd.set_options(&["--user=root:root-secret"]);
    let config = format!(
        "LuaBalancerStore etcd:{}/lb/test user=lb password_file=password\nLuaBalancerShare orders\n\
         <LuaBalancerPool app>\n{}</LuaBalancerPool>\n",
        etcd.endpoint(),
        line(&a)
    );
    let httpd = Httpd::builder().config(&config).file("password", "old-secret\n").start();
    wait_until("an order to be taken", SOON, || patch(&httpd, "a", r#"{"weight":2}"#).status == 200);
    etcd.control(&["user", "delete", "lb"]);
    etcd.control(&["user", "add", "lb:new-secret"]);
    etcd.control(&["user", "grant-role", "lb", "sharer"]);
    etcd.kill();
    etcd.start_again();
    wait_until("the store to be away", SOON, || number(&httpd, "luabalancer_store_up") == Some(0));
    let answer = patch(&httpd, "a", r#"{"weight":3}"#);
    assert_eq!(answer.status, 503, "{}", answer.text());
    httpd.write("password", "new-secret\n");
    wait_until("an order to be taken", SOON, || patch(&httpd, "a", r#"{"weight":4}"#).status == 200);
    assert_eq!(stored(&etcd, "a")["weight"], 4.0);
    let log = httpd.error_log();
    assert!(log.contains("authentication failed") && !log.contains("-secret"), "{log}");
}
