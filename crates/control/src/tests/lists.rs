// SPDX-License-Identifier: Apache-2.0
//! Whole lists of members, and batches: all or nothing.

use balance::snapshot::Extent;
use serde_json::{Value, json};

use super::{Heap, fill, house, house_of, refused, text};

const LIST: &str = "/api/v1/pools/app/members";
const TRY: &str = "/api/v1/pools/app/members?dry_run=1";

#[track_caller]
fn put(house: &Heap, url: &str, list: &Value) -> Value {
    let response = house.ask("PUT", url, &list.to_string());
    assert_eq!(response.status, 200, "{}", text(&response));
    super::json(&response)
}

#[test]
fn a_list_that_was_read_may_be_put_back() {
    let house = house();
    house.ask(
        "PATCH",
        "/api/v1/pools/app/members/a",
        r#"{"admin":"drain","weight":2,"max_inflight":3,"note":"n"}"#,
    );
    house.ask("POST", LIST, r#"{"url":"http://10.0.0.9","zone":"us","timeout":"7s"}"#);
    house.lines();
    let before = house.get(LIST);
    let difference = put(&house, TRY, &before);
    assert_eq!(difference, json!({ "add": [], "change": [], "remove": [], "refused": [] }));
    assert_eq!(put(&house, LIST, &before), before);
    assert!(house.lines().is_empty());
}

#[test]
fn the_difference_is_said_and_applied() {
    let house = house();
    house.ask("POST", LIST, r#"{"url":"http://10.0.0.8","name":"old"}"#);
    house.ask("POST", LIST, r#"{"url":"http://10.0.0.7","name":"moved","zone":"us"}"#);
    house.lines();
    let list = json!([
        { "url": "http://10.0.0.1:8080", "name": "a", "weight": 7, "meta": { "version": "9" } },
        { "url": "http://10.0.0.2:8080", "name": "b" },
        { "url": "http://10.0.0.3:8080", "name": "c" },
        { "url": "http://10.0.0.77", "name": "moved" },
        { "url": "http://10.0.0.6", "name": "new" },
    ]);
    let before = house.get(LIST);
    let difference = put(&house, TRY, &list);
    assert_eq!(
        difference,
        json!({
            "add": [{ "name": "new", "url": "http://10.0.0.6" }],
            "change": [{ "name": "a", "keys": ["weight", "meta"] }, { "name": "moved", "keys": ["url"] }],
            "remove": [{ "name": "old", "url": "http://10.0.0.8" }],
            "refused": [],
        })
    );
    assert_eq!(house.get(LIST), before, "a dry run changes nothing");
    assert!(house.lines().is_empty());
    let after = put(&house, LIST, &list);
    assert_eq!(after, house.get(LIST));
    assert_eq!(house.names(), ["a", "b", "c", "moved", "new"]);
    assert_eq!((&after[0]["weight"], &after[0]["meta"]), (&7.into(), &json!({ "version": "9" })));
    assert_eq!((&after[3]["url"], &after[3]["zone"]), (&"http://10.0.0.77".into(), &"us".into()));
    assert_eq!(put(&house, TRY, &list)["change"], json!([]), "twice is once");
}

#[test]
fn a_list_against_the_configuration_is_refused_and_then_nothing_is_done() {
    let house = house();
    let list = json!([
        { "url": "http://10.0.0.1:8080", "name": "a", "zone": "us" },
        { "url": "http://10.0.0.22:8080", "name": "b" },
        { "url": "http://10.0.0.6", "name": "new" },
    ]);
    let refusals = put(&house, TRY, &list)["refused"].clone();
    let names: Vec<_> = refusals.as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let detail = refusals[2]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("?force=1") && detail.contains("disabled"), "{detail}");
    refused(&house.ask("PUT", LIST, &list.to_string()), 409, "member a");
    assert_eq!(house.names(), ["a", "b", "c"]);
    assert!(house.lines().is_empty());
    let rest = json!([{ "url": "http://10.0.0.1:8080", "name": "a" }]);
    put(&house, &format!("{LIST}?force=1"), &rest);
    assert_eq!(house.names(), ["a"]);
}

#[test]
fn wrong_lists_name_the_element() {
    let house = house();
    for (list, status, says) in [
        (json!({}), 422, "a list of members"),
        (json!([1]), 422, "element 0: "),
        (json!([{ "url": "http://a" }, { "url": "http://b", "weight": "3" }]), 422, "element 1: weight"),
        (json!([{ "url": "http://a" }, {}]), 422, "element 1: url"),
        (json!([{ "url": "http://a", "name": "x/y" }]), 422, "element 0: name"),
        (
            json!([{ "url": "http://a", "name": "x" }, { "url": "http://b", "name": "x" }]),
            409,
            "names x twice",
        ),
    ] {
        refused(&house.ask("PUT", LIST, &list.to_string()), status, says);
    }
    let response = house.ask("PUT", LIST, &json!([{ "url": "http://a", "lbset": 100 }]).to_string());
    assert_eq!(super::json(&response)["field"], "[0].lbset");
    assert_eq!(house.names(), ["a", "b", "c"]);
}

#[test]
fn twins_without_names_are_told_apart() {
    let house = house_of(&[]);
    let list = json!([{ "url": "http://h/1" }, { "url": "http://h/2" }, { "url": "http://h/3" }]);
    put(&house, LIST, &list);
    assert_eq!(house.names(), ["h:80", "h:80-2", "h:80-3"]);
    assert_eq!(put(&house, TRY, &list)["add"], json!([]), "and found again");
}

#[test]
fn ten_thousand_members_are_taken_or_refused_whole() {
    let house = house_of(&[]);
    house.fill.set(Some(fill(0, 20_000)));
    let member = |at: usize| json!({ "url": format!("http://10.0.{}.{}:80", at / 250, at % 250) });
    let mut list: Vec<Value> = (0..10_000).map(member).collect();
    list.push(json!({ "url": "http://x", "weight": 1e300 }));
    refused(&house.ask("PUT", LIST, &json!(list).to_string()), 422, "element 10000: weight");
    list.pop();
    house.fill.set(Some(fill(0, 9_999)));
    refused(&house.ask("PUT", LIST, &json!(list).to_string()), 507, "LuaBalancerMaxMembers");
    assert_eq!(house.names().len(), 0);
    let thousand = json!(list[..1_000]);
    house.fill.set(Some(fill(0, 20_000)));
    put(&house, LIST, &thousand);
    assert_eq!(house.names().len(), 1_000);
}

#[test]
fn a_batch_does_all_in_order() {
    let house = house();
    let batch = json!([
        { "method": "POST", "path": LIST, "body": { "url": "http://10.0.0.9", "name": "x" } },
        { "method": "PATCH", "path": "/api/v1/pools/app/members/x", "body": { "weight": 3 } },
        { "method": "PATCH", "path": "/api/v1/pools/app/members/a", "body": { "admin": "drain" } },
        { "method": "DELETE", "path": "/api/v1/pools/app/members/b?force=1" },
        { "method": "GET", "path": "/api/v1/pools/app" },
    ]);
    let response = house.ask("POST", "/api/v1/batch", &batch.to_string());
    assert_eq!(response.status, 200, "{}", text(&response));
    let answers = super::json(&response);
    let statuses: Vec<_> =
        answers.as_array().expect("a list").iter().map(|one| one["status"].clone()).collect();
    assert_eq!(statuses, [201, 200, 200, 204, 200]);
    assert_eq!((&answers[0]["body"]["name"], &answers[1]["body"]["weight"]), (&"x".into(), &3.into()));
    assert_eq!((&answers[2]["body"]["state"], &answers[3]["body"]), (&"draining".into(), &Value::Null));
    assert_eq!(answers[4]["body"]["total"], 3);
    assert_eq!(house.names(), ["a", "c", "x"]);
}

#[test]
fn a_batch_with_one_that_fails_does_nothing() {
    let house = house();
    let before = house.get("/api/v1/pools");
    let drain =
        json!({ "method": "PATCH", "path": "/api/v1/pools/app/members/a", "body": { "admin": "drain" } });
    for (bad, status) in [
        (json!({ "method": "PATCH", "path": "/api/v1/pools/app/members/none", "body": {} }), 404),
        (json!({ "method": "PATCH", "path": "/api/v1/pools/app/members/b", "body": { "weight": "x" } }), 422),
        (json!({ "method": "DELETE", "path": "/api/v1/pools/app/members/b" }), 409),
        (json!({ "method": "PUT", "path": LIST, "body": [] }), 409),
        (json!({ "method": "POST", "path": LIST, "body": { "url": "http://x", "name": "a" } }), 409),
        (json!({ "method": "TRACE", "path": LIST }), 405),
        (json!({ "method": "POST", "path": "/api/v1/batch", "body": [] }), 404),
        (json!({ "method": "GET", "path": "/health" }), 404),
        (json!({ "method": "GET", "path": "/api/v1/pools/%00" }), 400),
        (json!({ "method": "GET", "path": "nothing" }), 404),
    ] {
        let response = house.ask("POST", "/api/v1/batch", &json!([drain, bad, drain]).to_string());
        assert_eq!(response.status, 200, "{}", text(&response));
        let answers = super::json(&response);
        let statuses: Vec<_> =
            answers.as_array().expect("a list").iter().map(|one| one["status"].clone()).collect();
        assert_eq!(statuses, [json!(424), json!(status), json!(424)], "{bad}");
        assert!(answers[1]["body"]["detail"].is_string(), "{answers}");
    }
    for body in [
        json!({}),
        json!([1]),
        json!([{}]),
        json!([{ "method": "GET" }]),
        json!([{ "method": "GET", "path": "/", "x": 1 }]),
    ] {
        refused(&house.ask("POST", "/api/v1/batch", &body.to_string()), 422, "");
    }
    assert_eq!(house.get("/api/v1/pools"), before);
    assert!(house.lines().is_empty());
    assert_eq!(super::json(&house.ask("POST", "/api/v1/batch", "[]")), json!([]));
}

/// Processor time of this thread.
fn spent() -> std::time::Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = told.split(' ').next().and_then(|nanos| nanos.parse().ok());
    std::time::Duration::from_nanos(nanos.expect("a number"))
}

#[test]
#[ignore = "prints how long it takes"]
fn a_thousand_members_are_shown_fast() {
    let house = house_of(&[]);
    house.fill.set(Some(fill(0, 20_000)));
    let member = |at: usize| json!({ "url": format!("http://10.0.{}.{}:80", at / 250, at % 250), "zone": "eu", "meta": { "version": "2" } });
    put(&house, LIST, &json!((0..1_000).map(member).collect::<Vec<_>>()));
    let all = crate::House::snapshot(&house, Extent::All);
    let began = spent();
    let times = 20;
    (0..times).for_each(|_| drop(crate::House::snapshot(&house, Extent::All)));
    println!("snapshot: {:?}", (spent() - began) / times);
    for path in ["/api/v1/pools/app", "/api/v1/pools?fields=name,members.name", "/metrics", "/"] {
        let began = spent();
        let mut bytes = 0;
        (0..times).for_each(|_| bytes = house.ask("GET", path, "").body.len());
        println!("{path}: {:?}, {bytes} bytes", (spent() - began) / times);
    }
    let began = spent();
    (0..times).for_each(|_| {
        std::hint::black_box(render::mark::Mark::of_pools(&all.pools));
    });
    println!("mark: {:?}", (spent() - began) / times);
}
