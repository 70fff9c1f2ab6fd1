// SPDX-License-Identifier: Apache-2.0
//! `POST /api/v1/explain`: who may ask, and which descriptions are taken.

use render::explained::{CandidateDoc, DecisionDoc, ExplainedDoc, HookDoc};

use super::{Ask, house, json, refused, text};
use crate::{Admin, Described};

const PATH: &str = "/api/v1/explain";

/// An explanation.
pub(super) fn explained() -> ExplainedDoc {
    ExplainedDoc {
        hook: Some(HookDoc {
            directive: "LuaHookTranslate".into(),
            script: "route.lua".into(),
            function: "select".into(),
            line: Some(3),
            version: 2,
            seconds: Some(0.000_123),
            returned: "member a".into(),
        }),
        decision: DecisionDoc {
            pool: Some("app".into()),
            view: None,
            method: Some("round_robin".into()),
            member: Some("a".into()),
            status: None,
            because: "the script asked round_robin, which picked it".into(),
        },
        candidates: vec![CandidateDoc {
            member: "a".into(),
            considered: true,
            why: "chosen".into(),
            weight: 5.0,
            inflight: 0,
            score: Some(0.5),
        }],
        session: None,
        then: vec!["b".into()],
        unknown: Vec::new(),
    }
}

#[test]
fn a_description_reaches_the_server_as_it_is_written() {
    let house = house();
    let whole = r#"{"method":"POST","uri":"/x?y=1","headers":{"Cookie":["a=1","b=2"],"host":"other"},
        "client":"2001:db8::1","user":"alice","host":"www.example.org:8080"}"#;
    let response = house.ask("POST", PATH, whole);
    assert_eq!(response.status, 200, "{}", text(&response));
    let document = json(&response);
    assert_eq!(document["decision"]["member"], "a");
    assert_eq!(document["candidates"][0]["why"], "chosen");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = Described {
        method: "POST".into(),
        uri: "/x?y=1".into(),
        headers: vec![pair("Host", "www.example.org:8080"), pair("Cookie", "a=1"), pair("Cookie", "b=2")],
        client: Some("2001:db8::1".parse().expect("an address")),
        user: Some("alice".into()),
        port: Some(8080),
    };
    assert_eq!(house.described.take(), [expected]);

    assert_eq!(house.ask("POST", PATH, r#"{"uri":"/"}"#).status, 200);
    let plain = Described { method: "GET".into(), uri: "/".into(), ..Described::default() };
    assert_eq!(house.described.take(), [plain]);

    for (uri, host, port) in [
        ("http://www.example.org:8081/x:9?y=http://z:7/", None, Some(8081)),
        ("http://[::1]:8082", None, Some(8082)),
        ("http://[::1]/", None, Some(80)),
        ("https://www.example.org/", Some("www.example.org"), Some(443)),
        ("https://www.example.org:8083/", Some("www.example.org:8084"), Some(8084)),
        ("/x?y=http://z:7/", None, None),
    ] {
        let body = serde_json::json!({ "uri": uri, "host": host }).to_string();
        assert_eq!(house.ask("POST", PATH, &body).status, 200);
        let described = house.described.take();
        assert_eq!(described.first().and_then(|described| described.port), port, "{uri}");
    }
}

#[test]
fn wrong_descriptions_are_refused_by_the_key_that_is_wrong() {
    let house = house();
    for (body, key) in [
        ("[]", "body"),
        ("{}", "uri"),
        (r#"{"uri":null}"#, "uri"),
        (r#"{"uri":7}"#, "uri"),
        (r#"{"uri":"x"}"#, "uri"),
        (r#"{"uri":"/a b"}"#, "uri"),
        (r#"{"uri":"/\u0000"}"#, "uri"),
        (r#"{"uri":"*"}"#, "uri"),
        (r#"{"uri":"ftp://x/"}"#, "uri"),
        (r#"{"uri":"/","what":1}"#, "what"),
        (r#"{"uri":"/","method":"G T"}"#, "method"),
        (r#"{"uri":"/","method":""}"#, "method"),
        (r#"{"uri":"/","client":"localhost"}"#, "client"),
        (r#"{"uri":"/","user":"a\nb"}"#, "user"),
        (r#"{"uri":"/","host":"a/b"}"#, "host"),
        (r#"{"uri":"/","headers":[]}"#, "headers"),
        (r#"{"uri":"/","headers":{"a b":"c"}}"#, "headers.a b"),
        (r#"{"uri":"/","headers":{"A":7}}"#, "headers.A"),
        (r#"{"uri":"/","headers":{"A":"x\r\nB: y"}}"#, "headers.A"),
    ] {
        let response = house.ask("POST", PATH, body);
        refused(&response, 422, "");
        assert_eq!(json(&response)["field"], key, "{body}: {}", text(&response));
    }
    let long = format!(r#"{{"uri":"/{}"}}"#, "x".repeat(8190));
    refused(&house.ask("POST", PATH, &long), 422, "uri");
    let large = format!(r#"{{"uri":"/","headers":{{"A":"{}"}}}}"#, "x".repeat(65_537));
    refused(&house.ask("POST", PATH, &large), 422, "headers.A");
    refused(&house.ask("POST", PATH, "{"), 400, "");
    refused(&house.ask("GET", PATH, ""), 405, "");
    assert!(house.described.take().is_empty());
}

#[test]
fn a_request_that_cannot_be_explained_now_gets_the_reason() {
    let house = house();
    let busy = house.ask("POST", PATH, r#"{"uri":"/busy"}"#);
    refused(&busy, 503, "");
    assert!(busy.headers.iter().any(|(name, _)| *name == "Retry-After"));
    refused(&house.ask("POST", PATH, r#"{"uri":"/broken"}"#), 500, "broken");
}

#[test]
fn readers_may_ask_but_for_pages_of_others() {
    let house = house();
    house.may_change.set(false);
    let ask = || Ask::new("POST", PATH).body(r#"{"uri":"/"}"#).handler(None, Admin::default());
    assert_eq!(ask().of(&house).status, 200);
    refused(&ask().header("sec-fetch-site", "cross-site").of(&house), 403, "");
    refused(&ask().header("origin", "http://evil").of(&house), 403, "");
    refused(&ask().header("content-type", "text/plain").of(&house), 415, "");
}
