// SPDX-License-Identifier: Apache-2.0
//! Bodies and URLs of those who mean no good, and of those who are careless.

use proptest::prelude::*;
use serde_json::json;

use super::{Ask, house, refused, text};
use crate::body::MAX_BODY;

const MEMBER: &str = "/api/v1/pools/app/members/a";
const CHANGES: [(&str, &str); 4] = [
    ("PATCH", MEMBER),
    ("POST", "/api/v1/pools/app/members"),
    ("PUT", "/api/v1/pools/app/members"),
    ("POST", "/api/v1/batch"),
];

#[test]
fn bodies_that_are_no_json_are_told_so() {
    let house = house();
    for (method, path) in CHANGES {
        for body in [
            &b"{"[..],
            b"NaN",
            b"{\"weight\":NaN}",
            b"{\"weight\":1e999}",
            b"\xff\xfe{\0}\0",
            b"{\"a\":1,\"a\":2}",
            b" ",
        ] {
            refused(&Ask::new(method, path).body(body).of(&house), 400, "not JSON");
        }
        let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
        refused(&Ask::new(method, path).body(deep).of(&house), 400, "deeper than 32");
        let empty = Ask::new(method, path).header("content-type", "application/json").of(&house);
        refused(&empty, 400, "not JSON");
        let large = format!("\"{}\"", "x".repeat(MAX_BODY - 1));
        refused(&Ask::new(method, path).body(large).of(&house), 413, "1048576");
    }
    assert_eq!(house.names(), ["a", "b", "c"]);
    assert!(house.lines().is_empty());
}

#[test]
fn a_body_of_the_largest_size_is_read() {
    let house = house();
    let note = format!("{{\"note\":\"{}\"}}", "x".repeat(MAX_BODY - 11));
    assert_eq!(note.len(), MAX_BODY);
    refused(&house.ask("PATCH", MEMBER, &note), 422, "note");
}

#[test]
fn bodies_are_json_and_say_so() {
    let house = house();
    for (method, path) in CHANGES {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "",
            "json",
            "application/json; charset=utf-16",
            "application/jsonx",
        ] {
            let ask = Ask::new(method, path).body("{}").header("content-type", kind);
            refused(&ask.of(&house), 415, "application/json");
        }
    }
    let twice = Ask::new("PATCH", MEMBER).body("{}").header("content-type", "application/json");
    refused(&twice.header("content-type", "text/plain").of(&house), 415, "application/json");
    let coded = Ask::new("PATCH", MEMBER).body("{}").header("content-type", "application/json");
    refused(&coded.header("content-encoding", "gzip").of(&house), 415, "Content-Encoding");
    for kind in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
        "application/merge-patch+json",
    ] {
        let response = Ask::new("PATCH", MEMBER).body("{}").header("content-type", kind).of(&house);
        assert_eq!(response.status, 200, "{kind}: {}", text(&response));
    }
    let merge = Ask::new("POST", "/api/v1/pools/app/members").body("{}");
    refused(&merge.header("content-type", "application/merge-patch+json").of(&house), 415, "");
}

#[test]
fn names_that_cannot_be_are_refused() {
    let house = house();
    for name in ["a/b", "a b", "", "ü", "a\u{0}", "<b>", "a;b", "../a"] {
        let body = json!({ "url": "http://10.0.0.9", "name": name });
        refused(&house.ask("POST", "/api/v1/pools/app/members", &body.to_string()), 422, "");
    }
    let long = json!({ "url": "http://10.0.0.9", "name": "x".repeat(64) });
    refused(&house.ask("POST", "/api/v1/pools/app/members", &long.to_string()), 422, "name");
    assert_eq!(house.names(), ["a", "b", "c"]);
}

#[test]
fn a_user_with_a_line_end_in_the_name_writes_one_line() {
    let house = house();
    let ask = Ask::new("PATCH", MEMBER).body(r#"{"admin":"drain"}"#);
    assert_eq!(ask.handler(Some("a\nb\u{1b}[2J"), super::on()).of(&house).status, 200);
    assert_eq!(house.lines(), ["pool app: member a: up -> draining (by a?b?[2J from 10.0.0.5)"]);
}

proptest! {
    #[test]
    fn no_request_is_answered_with_an_error_of_the_server(
        method in prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("PUT"), Just("PATCH"), Just("DELETE"), Just("OPTIONS")],
        path in prop_oneof![
            "/[ -~]{0,30}",
            "/api/v1/(pools|status|batch|scripts|openapi.json)(/[ -~]{0,10}){0,4}",
            Just(MEMBER.to_owned()),
            Just("/api/v1/pools/app/members?dry_run=1".to_owned()),
        ],
        body in prop_oneof!["[ -~]{0,40}", "[\\[\\]{}:,\"a0-9.e]{0,40}"],
        condition in "[ -~]{0,20}",
    ) {
        let house = house();
        let ask = Ask::new(method, &path).body(&body).header("if-match", &condition).header("accept", &condition);
        let response = ask.header("if-none-match", &condition).of(&house);
        prop_assert!(response.status < 500, "{} {} {}: {}", method, path, body, text(&response));
    }

    #[test]
    fn a_patch_is_taken_whole_or_not_at_all(
        keys in proptest::collection::btree_map(
            prop_oneof![Just("admin"), Just("until"), Just("then"), Just("note"), Just("weight"), Just("max_inflight"), Just("meta"), Just("reset"), Just("colour")],
            prop_oneof![
                Just(json!(null)), Just(json!("drain")), Just(json!("ready")), Just(json!("5m")), Just(json!(3)),
                Just(json!(1.5)), Just(json!(-1)), Just(json!(true)), Just(json!({"k": "v"})), Just(json!({"k": 1})), Just(json!([])),
            ],
            0..5,
        )
    ) {
        let house = house();
        let before = house.get(MEMBER);
        let response = house.ask("PATCH", MEMBER, &serde_json::to_string(&keys).unwrap_or_default());
        match response.status {
            200 => prop_assert_eq!(super::json(&response), house.get(MEMBER)),
            422 => prop_assert_eq!(house.get(MEMBER), before),
            other => prop_assert!(false, "{}: {}", other, text(&response)),
        }
    }
}
