// SPDX-License-Identifier: Apache-2.0
//! What has happened: which part of it is answered, and when a call waits.

use std::time::Duration;

use serde_json::Value;

use super::{Ask, Heap, house, json, refused};
use crate::{Door, WaitingCall};

/// A house in which each of these weights was ordered.
fn ordered(weights: std::ops::Range<u32>) -> Heap {
    let house = house();
    for weight in weights {
        let body = format!(r#"{{"weight":{weight}}}"#);
        assert_eq!(house.ask("PATCH", "/api/v1/pools/app/members/a", &body).status, 200);
    }
    house
}

fn numbers(document: &Value) -> Vec<u64> {
    let events = document["events"].as_array().expect("a list").iter();
    events.map(|event| event["seq"].as_u64().expect("a number")).collect()
}

#[test]
fn a_part_begins_where_it_is_asked_for() {
    let house = ordered(10..20);
    for (query, expected, next) in [
        ("", (1..11).collect::<Vec<u64>>(), 11),
        ("?since=0", (1..11).collect(), 11),
        ("?since=8", vec![8, 9, 10], 11),
        ("?since=11", vec![], 11),
        ("?limit=2", vec![9, 10], 11),
        ("?since=3&limit=2", vec![3, 4], 5),
        ("?since=3&pool=api", vec![], 11),
        ("?since=9&pool=App", vec![9, 10], 11),
        // Of another start.
        ("?since=12", (1..11).collect(), 11),
    ] {
        let document = house.get(&format!("/api/v1/events{query}"));
        assert_eq!((numbers(&document), &document["next"]), (expected, &next.into()), "{query}");
        assert_eq!(document["lost"], 0, "{query}");
    }
    house.forgotten.set(4);
    let document = house.get("/api/v1/events?since=2");
    assert_eq!((numbers(&document), &document["lost"]), ((5..11).collect(), &3.into()));
}

#[test]
fn each_member_of_a_batch_has_its_own_note() {
    let house = house();
    let item = |member: &str, note: &str| {
        format!(
            r#"{{"method":"PATCH","path":"/api/v1/pools/app/members/{member}","body":{{"admin":"drain","note":"{note}"}}}}"#
        )
    };
    let batch = format!("[{},{}]", item("a", "one"), item("b", "two"));
    assert_eq!(house.ask("POST", "/api/v1/batch", &batch).status, 200);
    let document = house.get("/api/v1/events");
    let notes: Vec<&Value> =
        document["events"].as_array().expect("a list").iter().map(|event| &event["note"]).collect();
    assert_eq!(notes, ["one", "two"], "{document}");
}

#[test]
fn wrong_parameters_name_what_was_expected() {
    let house = house();
    for (query, key) in [
        ("since=x", "since"),
        ("limit=0", "limit"),
        ("limit=1025", "limit"),
        ("wait=1x", "wait"),
        ("wait=301s", "wait"),
    ] {
        refused(&house.ask("GET", &format!("/api/v1/events?{query}"), ""), 422, key);
    }
    let at_handler = Ask::new("GET", "/api/v1/events?wait=1s").handler(Some("alice"), super::on()).of(&house);
    refused(&at_handler, 422, "wait");
    assert_eq!(json(&at_handler)["expected"], "no wait: only the Unix socket has one (LuaBalancerSocket)");
}

#[test]
fn a_call_waits_while_there_is_nothing_to_say() {
    let house = ordered(10..12);
    let waiting = |url: &str| WaitingCall::of(&Ask::new("GET", url).request());
    for url in [
        "/api/v1/events",
        "/api/v1/events?wait=0",
        "/api/v1/events?wait=x",
        "/api/v1/pools?wait=1s",
        "/api/v1/events?wait=1s&wait=2s",
    ] {
        assert!(waiting(url).is_none(), "{url}");
    }
    let mut known = waiting("/api/v1/events?since=1&wait=30s").expect("it waits");
    assert!(known.is_over(&house));
    let mut next = waiting("/api/v1/events?since=3&wait=1500ms").expect("it waits");
    let mut other = waiting("/api/v1/events?since=3&wait=30s&pool=api").expect("it waits");
    assert_eq!(next.longest(), Duration::from_millis(1500));
    assert!(!next.is_over(&house) && !other.is_over(&house) && !next.is_over(&house));
    house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"weight":9}"#);
    assert!(next.is_over(&house) && !other.is_over(&house));
    // Events that it has not looked at are gone: there is something to say.
    house.forgotten.set(4);
    house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"weight":8}"#);
    assert!(other.is_over(&house));
    let at_handler = Ask::new("GET", "/api/v1/events?wait=1s").door(Door::Handler);
    assert!(WaitingCall::of(&at_handler.request()).is_none());
}

#[test]
fn a_call_that_waits_looks_at_each_event_once() {
    let house = ordered(10..20);
    let url = |query: &str| format!("/api/v1/events?wait=30s&pool=api{query}");
    for (query, first) in [("&since=3", Some(3)), ("", None)] {
        let mut call = WaitingCall::of(&Ask::new("GET", &url(query)).request()).expect("it waits");
        let from = house.get("/api/v1/events")["next"].as_u64().expect("a number");
        house.read_from.take();
        assert!(!call.is_over(&house) && !call.is_over(&house));
        house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"weight":9}"#);
        assert!(!call.is_over(&house));
        house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"weight":8}"#);
        assert!(!call.is_over(&house));
        assert_eq!(house.read_from.take(), [first, Some(from), Some(from + 1)]);
    }
}

#[test]
fn a_call_waits_for_the_number_that_it_names() {
    let house = house();
    // As a number of the next start, it stands for all; there is nothing.
    let request = "/api/v1/events?wait=30s&since=2";
    let mut call = WaitingCall::of(&Ask::new("GET", request).request()).expect("it waits");
    assert!(!call.is_over(&house));
    house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"weight":9}"#);
    assert!(!call.is_over(&house), "the event before that one");
    house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"weight":8}"#);
    assert!(call.is_over(&house));
}
