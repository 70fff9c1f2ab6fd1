// SPDX-License-Identifier: Apache-2.0
//! Doors and their URLs, who may change something, and the headers of all answers.

use super::{Ask, header, house, json, on, refused, text};
use crate::{Admin, Door};

const MEMBER: &str = "/api/v1/pools/app/members/a";
const DRAIN: &str = r#"{"admin":"drain"}"#;

fn patch() -> Ask {
    Ask::new("PATCH", MEMBER).body(DRAIN)
}

#[test]
fn every_answer_has_the_headers_of_a_page_that_loads_nothing_from_elsewhere() {
    let house = house();
    for (method, path) in [("GET", "/"), ("GET", "/api/v1/nothing"), ("PUT", "/metrics"), ("GET", "/metrics")]
    {
        let response = house.ask(method, path, "");
        let policy = header(&response, "content-security-policy").expect("a policy");
        for part in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"]
        {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
        assert_eq!(header(&response, "referrer-policy"), Some("no-referrer"));
        assert_eq!(header(&response, "cache-control"), Some("no-store"));
        assert!(response.headers.iter().all(|(name, _)| !name.starts_with("Access-Control")));
    }
}

#[test]
fn a_child_whose_table_was_replaced_sends_its_clients_to_others() {
    let house = house();
    house.superseded.set(true);
    for path in ["/", "/api/v1/pools", MEMBER, "/metrics", "/api/v1/events", "/api/v1/status"] {
        let response = house.ask("GET", path, "");
        refused(&response, 503, "larger table");
        assert_eq!(header(&response, "retry-after"), Some("1"), "{path}");
    }
    for request in [patch(), Ask::new("POST", "/api/v1/batch").body("[]")] {
        refused(&request.of(&house), 503, "larger table");
    }
    for path in ["/health", "/api/v1/", "/api/v1/openapi.json"] {
        assert_eq!(house.ask("GET", path, "").status, 200, "{path}");
    }
    house.superseded.set(false);
    assert_eq!(house.get(MEMBER)["state"], "up");
}

#[test]
fn a_part_of_the_page_may_be_kept_for_ever() {
    let house = house();
    let page = text(&house.ask("GET", "/", ""));
    let (_, rest) = page.split_once("href=\"assets/").expect("a style sheet");
    let name = rest.split('"').next().expect("its name");
    let response = house.ask("GET", &format!("/assets/{name}"), "");
    assert_eq!(response.status, 200);
    assert_eq!(header(&response, "content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(header(&response, "cache-control"), Some("public, max-age=31536000, immutable"));
    refused(&house.ask("GET", "/assets/other.css", ""), 404, "nothing here");
}

#[test]
fn a_head_is_a_get_without_its_body() {
    let house = house();
    for path in ["/", "/api/v1/pools", MEMBER, "/health", "/metrics", "/api/v1/openapi.json"] {
        let (get, head) = (house.ask("GET", path, ""), house.ask("HEAD", path, ""));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(header(&head, "content-length"), Some(&*get.body.len().to_string()), "{path}");
        for name in ["content-type", "etag"] {
            assert_eq!(header(&head, name), header(&get, name), "{path}");
        }
    }
}

#[test]
fn other_methods_are_answered_with_those_that_there_are() {
    let house = house();
    for (method, path, allow) in [
        ("POST", "/api/v1/pools", "GET, HEAD, OPTIONS"),
        ("DELETE", "/api/v1/pools/app/members", "GET, HEAD, POST, PUT, OPTIONS"),
        ("PUT", MEMBER, "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("GET", "/api/v1/batch", "POST, OPTIONS"),
        ("TRACE", "/", "GET, HEAD, OPTIONS"),
        ("get", "/", "GET, HEAD, OPTIONS"),
        ("", "/metrics", "GET, HEAD, OPTIONS"),
    ] {
        let response = house.ask(method, path, "");
        refused(&response, 405, "takes");
        assert_eq!(header(&response, "allow"), Some(allow), "{method} {path}");
    }
    let response = house.ask("OPTIONS", MEMBER, "");
    assert_eq!(
        (response.status, header(&response, "allow")),
        (204, Some("GET, HEAD, PATCH, DELETE, OPTIONS"))
    );
}

#[test]
fn the_base_without_its_slash_leads_to_the_one_with_it() {
    let house = house();
    for (base, query, place) in
        [("/lb", None, "./lb/"), ("/a/b", Some("x=1"), "./b/?x=1"), ("/http:x", None, "./http:x/")]
    {
        let url = query.map_or_else(|| "/".to_owned(), |query| format!("/?{query}"));
        let response = Ask::new("GET", &url).handler(None, Admin::default()).base(base, "").of(&house);
        assert_eq!((response.status, header(&response, "location")), (308, Some(place)));
    }
}

#[test]
fn the_listener_has_metrics_and_health_alone() {
    let house = house();
    for path in ["/metrics", "/health"] {
        assert_eq!(Ask::new("GET", path).door(Door::Metrics).of(&house).status, 200, "{path}");
    }
    for path in ["/", "/api/v1/", "/api/v1/status", "/api/v1/pools", MEMBER] {
        refused(&Ask::new("GET", path).door(Door::Metrics).of(&house), 404, "");
    }
    refused(&patch().door(Door::Metrics).of(&house), 404, "only /metrics");
    refused(&Ask::new("POST", "/metrics").door(Door::Metrics).of(&house), 405, "");
}

#[test]
fn the_socket_takes_every_change() {
    let house = house();
    house.may_change.set(false);
    let response = patch().header("sec-fetch-site", "cross-site").header("origin", "http://evil").of(&house);
    assert_eq!(response.status, 200, "{}", text(&response));
    assert!(house.lines()[0].ends_with("(by root)"));
}

#[test]
fn without_the_directive_nothing_is_changed() {
    let house = house();
    for (method, path) in [
        ("PATCH", MEMBER),
        ("DELETE", MEMBER),
        ("POST", "/api/v1/pools/app/members"),
        ("PUT", "/api/v1/pools/app/members?dry_run=1"),
        ("POST", "/api/v1/batch"),
    ] {
        let ask = Ask::new(method, path).body("{}").handler(Some("alice"), Admin::default());
        refused(&ask.of(&house), 403, "LuaBalancerAdmin");
    }
    let read = Ask::new("GET", MEMBER).handler(None, Admin::default()).of(&house);
    assert_eq!(json(&read)["state"], "up");
    assert!(house.lines().is_empty());
}

#[test]
fn a_change_needs_a_user_unless_the_directive_says_otherwise() {
    let house = house();
    refused(&patch().handler(None, on()).of(&house), 403, "needs a user");
    assert_eq!(patch().handler(Some("alice"), on()).of(&house).status, 200);
    let anonymous = Admin { anonymous: true, ..on() };
    let response = Ask::new("PATCH", MEMBER).body(r#"{"admin":"ready"}"#).handler(None, anonymous).of(&house);
    assert_eq!(response.status, 200, "{}", text(&response));
    let lines = house.lines();
    assert_eq!(lines[0], "pool app: member a: up -> draining (by alice from 10.0.0.5)");
    assert_eq!(lines[1], "pool app: member a: draining -> up (by somebody from 10.0.0.5)");
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let house = house();
    let sent = |headers: &[(&str, &str)]| {
        let mut ask = patch();
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        ask.handler(Some("alice"), on()).of(&house)
    };
    for headers in [
        &[][..],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
        // TLS may end in front.
        &[("origin", "https://lb.example.org")],
        &[("origin", "http://lb.example.org")],
        &[("sec-fetch-site", "same-origin"), ("origin", "http://evil")],
    ] {
        assert_eq!(sent(headers).status, 200, "{headers:?}");
    }
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "")],
        &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://lb.example.org")],
        &[("origin", "http://evil")],
        &[("origin", "null")],
        &[("origin", "http://lb.example.org:8080")],
        &[("origin", "http://lb.example.org.evil")],
        &[("origin", "http://lb.example.org"), ("origin", "http://evil")],
    ] {
        refused(&sent(headers), 403, "own pages");
    }
    // Reading changes nothing.
    let read = Ask::new("GET", MEMBER).header("sec-fetch-site", "cross-site").handler(None, on()).of(&house);
    assert_eq!(read.status, 200);
}

#[test]
fn one_other_origin_may_be_allowed_by_name() {
    let house = house();
    let admin = Admin { origin: Some("https://admin.example.org".into()), ..on() };
    let sent = |origin: &str| {
        let ask = patch().header("sec-fetch-site", "cross-site").header("origin", origin);
        ask.handler(Some("alice"), admin.clone()).of(&house)
    };
    let response = sent("https://admin.example.org");
    assert_eq!(response.status, 200);
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://admin.example.org"));
    assert_eq!(header(&response, "vary"), Some("Origin"));
    for other in ["http://admin.example.org", "https://admin.example.org.evil", "null", ""] {
        let response = sent(other);
        refused(&response, 403, "own pages");
        assert_eq!(header(&response, "access-control-allow-origin"), None);
    }
    let asked = Ask::new("OPTIONS", MEMBER).header("origin", "https://admin.example.org");
    let response = asked.handler(None, admin.clone()).of(&house);
    assert_eq!(response.status, 204);
    let methods = header(&response, "access-control-allow-methods").expect("methods");
    assert!(methods.contains("PATCH"), "{methods}");
}

#[test]
fn an_anonymous_door_answers_to_its_own_names_alone() {
    let house = house();
    let names = vec!["lb.example.org".into(), "*.lb.example".into()];
    let admin = Admin { on: true, anonymous: true, names, ..Admin::default() };
    let asked = |method: &str, host: &str| {
        let ask = Ask::new(method, MEMBER).body(if method == "GET" { "" } else { DRAIN });
        ask.header("host", host).handler(None, admin.clone()).of(&house).status
    };
    for host in [
        "lb.example.org",
        "LB.example.org:8080",
        "a.lb.example",
        "127.0.0.1",
        "[::1]:80",
        "localhost",
        "localhost.:1",
    ] {
        assert_eq!((asked("PATCH", host), asked("GET", host)), (200, 200), "{host}");
    }
    for host in
        ["evil.example", "lb.example.org.evil", "", "[lb.example.org]", "localhost.evil", "127.0.0.1.evil"]
    {
        assert_eq!((asked("PATCH", host), asked("GET", host)), (421, 421), "{host}");
    }
    // A server that has named itself may be called by any name.
    let named = patch().header("host", "evil.example").handler(Some("alice"), on()).of(&house);
    assert_eq!(named.status, 200);
}

#[test]
fn too_many_changes_are_told_when_to_come_again() {
    let house = house();
    house.may_change.set(false);
    let response = patch().handler(Some("alice"), on()).of(&house);
    refused(&response, 429, "a second");
    assert_eq!(header(&response, "retry-after"), Some("1"));
    assert_eq!(Ask::new("GET", MEMBER).handler(None, on()).of(&house).status, 200);
}

/// Heads whose bodies are on their way yet.
#[test]
fn a_head_is_refused_for_what_it_says_before_there_is_a_body() {
    let house = house();
    let json = |ask: Ask| ask.header("content-type", "application/json");
    let list = "/api/v1/pools/app/members";
    for (ask, status) in [
        (json(Ask::new("PUT", "/api/v1/nothing")), 404),
        (json(Ask::new("PUT", "/api/v1/status")), 405),
        (json(Ask::new("PUT", list)).header("content-length", "1048577"), 413),
        (json(Ask::new("PUT", list)).header("content-length", "99999999999999999999"), 413),
        (json(Ask::new("PUT", list)).header("content-length", "1048576"), 0),
        (Ask::new("PUT", list).header("content-type", "text/plain"), 415),
        (Ask::new("POST", "/api/v1/explain").header("content-length", "2"), 415),
        (json(Ask::new("PUT", list)).header("content-encoding", "gzip"), 415),
        (Ask::new("DELETE", MEMBER).header("content-length", "0"), 0),
        (Ask::new("DELETE", MEMBER).header("content-length", "2"), 415),
        (json(Ask::new("PUT", &format!("{list}?dry_run=1"))), 0),
        (json(Ask::new("PUT", list)).handler(None, on()), 403),
        (json(Ask::new("PUT", list)).handler(Some("alice"), Admin::default()), 403),
        (json(Ask::new("PUT", list)).header("origin", "http://evil").handler(Some("alice"), on()), 403),
    ] {
        let (said, head) = ask.admitted(&house);
        assert_eq!(said, status, "{head}");
    }
    house.may_change.set(false);
    assert_eq!(json(Ask::new("PUT", list)).handler(Some("alice"), on()).admitted(&house).0, 429);
}
