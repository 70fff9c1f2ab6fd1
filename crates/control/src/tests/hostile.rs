// SPDX-License-Identifier: Apache-2.0
//! Bodies and URLs of those who mean no good, and of those who are careless.

use proptest::prelude::*;
use serde_json::json;

use super::{Ask, house, json as parsed, refused, text};
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

#[test]
fn urls_that_cannot_be_a_members_are_refused_wherever_they_come_in() {
    let house = house();
    let long = format!("http://h/{}", "p".repeat(400));
    for (url, expected) in [
        ("unix:/../../x|http://localhost", "without .. in it"),
        ("unix:x|http://localhost", "absolute path"),
        ("unix:/run/a.sock", "unix:/path/of.sock|http://localhost"),
        ("unix:|http://localhost", "absolute path"),
        ("unix:/run/a.sock|", "a scheme after the |"),
        ("http://alice:secret@h", "no user name or password"),
        ("http://h/#part", "no query and no fragment"),
        ("http://h/?q", "no query and no fragment"),
        ("http://h/a b", "no blanks and no control characters"),
        ("http://h/\n", "no blanks and no control characters"),
        ("http://h\u{0}", "no blanks and no control characters"),
        ("http://h/\u{85}", "no blanks and no control characters"),
        ("http://b\u{fc}cher", "letters, digits, dots and dashes"),
        ("http://\u{2139}", "letters, digits, dots and dashes"),
        ("http://h:0", "a port of 1 to 65535"),
        ("http://h:65536", "a port of 1 to 65535"),
        ("http://h:", "a port of 1 to 65535"),
        ("http://:80", "a host name or address"),
        ("http://", "a host name or address"),
        ("", "scheme://host"),
        ("gopher://h", "one of http https"),
        (&long, "at most 383 bytes"),
    ] {
        let element = json!({ "url": url, "name": "new" });
        let before = house.names();
        for (method, path, body, field) in [
            ("POST", "/api/v1/pools/app/members", element.clone(), "url"),
            ("PUT", "/api/v1/pools/app/members", json!([element]), "[0].url"),
            ("PUT", "/api/v1/pools/app/members?dry_run=1", json!([element]), "[0].url"),
        ] {
            let response = house.ask(method, path, &body.to_string());
            refused(&response, 422, "expected");
            let problem = parsed(&response);
            assert_eq!(problem["field"], field, "{method} {url:?}: {problem}");
            let says = problem["expected"].as_str().unwrap_or_default();
            assert!(says.contains(expected), "{method} {url:?}: {problem}");
            assert!(!text(&response).contains("secret"), "{problem}");
        }
        let batch = json!([{ "method": "POST", "path": "/api/v1/pools/app/members", "body": element }]);
        let response = house.ask("POST", "/api/v1/batch", &batch.to_string());
        assert!(text(&response).contains(expected), "{url:?}: {}", text(&response));
        assert_eq!(house.names(), before, "{url:?}");
    }
    let response = house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"url":"http://h"}"#);
    refused(&response, 422, "url");
}
