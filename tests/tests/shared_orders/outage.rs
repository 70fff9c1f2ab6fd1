// SPDX-License-Identifier: Apache-2.0
//! Writers beside each other, and a store that is silent for long.

use std::collections::BTreeSet;
use std::time::Instant;

use nix::sys::signal::Signal;
use server_tests::{Backend, Client, Etcd, Load, Request};

use super::*;

const TIMES: usize = 1000;
const SILENCE: Duration = Duration::from_secs(60);
/// `/lb/test/orders/app/a` as JSON of the gateway has it.
const KEY: &str = "L2xiL3Rlc3Qvb3JkZXJzL2FwcC9h";

/// The weights of a member that the store has had since a revision, by its history.
fn weights(etcd: &Etcd, revisions: std::ops::RangeInclusive<i64>) -> Vec<usize> {
    let port = etcd.endpoint().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let mut client = Client::new(port);
    let mut seen = BTreeSet::new();
    let mut weights = Vec::new();
    for revision in revisions {
        let body = format!(r#"{{"key":"{KEY}","revision":"{revision}"}}"#);
        let answer = json(&client.send(&Request::json("POST", "/v3/kv/range", body)));
        let kv = &answer["kvs"][0];
        if !kv["mod_revision"].is_null() && seen.insert(kv["mod_revision"].to_string()) {
            let value = kv["value"].as_str().expect("a text");
            let order: Value = serde_json::from_slice(&from_base64(value)).expect("JSON");
            weights.push(order["weight"].as_f64().expect("a weight") as usize);
        }
    }
    weights
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let (mut bytes, mut bits, mut has) = (Vec::new(), 0, 0);
    for digit in digits {
        (bits, has) = (bits << 6 | digit, has + 6);
        if has >= 8 {
            has -= 8;
            bytes.push((bits >> has) as u8);
            bits &= (1 << has) - 1;
        }
    }
    bytes
}

#[test]
fn each_of_thousands_of_writes_is_in_the_history_of_the_store_or_was_refused() {
    let [a] = Backend::named(["a"]);
    let etcd = Etcd::start();
    let fronts = [0; 2].map(|_| front(&etcd.endpoint(), &line(&a)));
    let first = etcd.revision() + 1;
    let taken: Vec<usize> = std::thread::scope(|scope| {
        let writers: Vec<_> = fronts
            .iter()
            .enumerate()
            .map(|(at, front)| {
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    for number in 0..TIMES {
                        let weight = 2 + 2 * number + at;
                        let answer = patch(front, "a", &format!(r#"{{"weight":{weight}}}"#));
                        match answer.status {
                            200 => taken.push(weight),
                            status => assert_eq!(status, 412, "{}", answer.text()),
                        }
                    }
                    taken
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect()
    });
    let mut history = weights(&etcd, first..=etcd.revision());
    let last = *history.last().expect("an order");
    for front in &fronts {
        wait_for(front, "a", "weight", last);
        front.assert_no_crash();
    }
    let mut taken = taken;
    println!("{} of {} writes were taken", taken.len(), 2 * TIMES);
    taken.sort_unstable();
    history.sort_unstable();
    assert_eq!(taken, history, "each write that was taken is there once, and no other one");
}

#[test]
fn a_store_that_is_silent_for_a_minute_costs_no_request_and_no_newer_order() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    let fronts = [0; 2].map(|_| front(&etcd.endpoint(), &(line(&a) + &line(&b))));
    assert_eq!(patch(&fronts[0], "a", r#"{"weight":2}"#).status, 200);
    wait_for(&fronts[1], "a", "weight", 2);
    let loads = fronts.each_ref().map(|front| Load::start(front.port(), "/app/", 1));
    etcd.signal(Signal::SIGSTOP);
    let begin = Instant::now();
    for front in &fronts {
        wait_until("the store to be away", SOON, || number(front, "luabalancer_store_up") == Some(0));
    }
    // One and the same member, here and there, and another one.
    assert_eq!(patch(&fronts[0], "a?local=1", r#"{"weight":5}"#).status, 200);
    assert_eq!(patch(&fronts[1], "a?local=1", r#"{"weight":6}"#).status, 200);
    assert_eq!(patch(&fronts[1], "b?local=1", r#"{"note":"kernel"}"#).status, 200);
    while begin.elapsed() < SILENCE {
        for front in &fronts {
            let answer = patch(front, "a", r#"{"weight":9}"#);
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert!(answer.text().contains("their store is away"), "{}", answer.text());
        }
        loads.iter().for_each(|load| load.wait_for(50));
    }
    etcd.signal(Signal::SIGCONT);
    for front in &fronts {
        wait_for(front, "b", "note", "kernel");
        wait_for(front, "a", "local", Value::Null);
    }
    // The first of the two orders is in the store; the other one was of before it.
    let weight = stored(&etcd, "a")["weight"].as_f64().expect("a weight");
    assert!([5.0, 6.0].contains(&weight), "{weight}");
    for front in &fronts {
        wait_until("the order of the store", SOON, || member(front, "a")["weight"].as_f64() == Some(weight));
        front.assert_no_crash();
    }
    wait_until("an order to be taken", SOON, || patch(&fronts[1], "a", r#"{"weight":8}"#).status == 200);
    wait_for(&fronts[0], "a", "weight", 8);
    loads.into_iter().for_each(|load| load.stop().assert_all_ok());
}
