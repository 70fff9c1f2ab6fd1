// SPDX-License-Identifier: Apache-2.0
//! `ETag`, `If-None-Match` and `If-Match`.

use super::{Ask, Heap, header, house, json, refused, text};
use crate::Response;

const MEMBER: &str = "/api/v1/pools/app/members/a";
const ALL: [&str; 4] = ["/api/v1/pools", "/api/v1/pools/app", "/api/v1/pools/app/members", MEMBER];

fn tag(response: &Response) -> String {
    header(response, "etag").unwrap_or_else(|| panic!("no ETag: {}", text(response))).to_owned()
}

fn tag_of(house: &Heap, path: &str) -> String {
    tag(&house.ask("GET", path, ""))
}

fn parts(tag: &str) -> (String, String) {
    let inner = tag.trim_matches('"').split_once('.').expect("C.N");
    (inner.0.to_owned(), inner.1.to_owned())
}

#[test]
fn the_first_part_changes_with_orders_and_the_second_with_numbers() {
    let house = house();
    for path in ALL {
        let before = parts(&tag_of(&house, path));
        assert_eq!(parts(&tag_of(&house, path)), before, "{path}: nothing has happened");
        house.now_s.set(house.now_s.get() + 1);
        assert_eq!(parts(&tag_of(&house, path)), before, "{path}: time alone is nothing");
        house.store().set_inflight(house.slot("a"), house.now_s.get() as u32);
        let counted = parts(&tag_of(&house, path));
        assert_eq!(counted.0, before.0, "{path}: a number has changed");
        assert_ne!(counted.1, before.1, "{path}: a number has changed");
        let weight = format!("{{\"weight\":{}}}", house.now_s.get() % 1000 + 7);
        assert_eq!(house.ask("PATCH", MEMBER, &weight).status, 200);
        assert_ne!(parts(&tag_of(&house, path)).0, counted.0, "{path}: an order was given");
    }
}

#[test]
fn another_member_changes_the_pool_and_not_the_member() {
    let house = house();
    let [pool, member] = ["/api/v1/pools/app", MEMBER].map(|path| tag_of(&house, path));
    house.ask("PATCH", "/api/v1/pools/app/members/b", r#"{"admin":"drain"}"#);
    assert_ne!(tag_of(&house, "/api/v1/pools/app"), pool);
    assert_eq!(tag_of(&house, MEMBER), member);
}

#[test]
fn a_document_that_the_asker_has_is_not_sent_again() {
    let house = house();
    for path in ALL {
        let tag = tag_of(&house, path);
        let asked = |value: &str| Ask::new("GET", path).header("if-none-match", value).of(&house);
        for value in [&tag, &format!("W/{tag}"), "*", &format!("\"x\", {tag} ,\"y\"")] {
            let response = asked(value);
            assert_eq!((response.status, response.body.len()), (304, 0), "{path}: {value}");
            assert_eq!(header(&response, "etag"), Some(&*tag));
            assert_eq!(header(&response, "content-type"), None);
        }
        for garbage in ["", "\"", "x", "\"0.0\"", "\"\u{fffd}\"", ",,,", "W/", "\"zz.zz\""] {
            assert_eq!(asked(garbage).status, 200, "{path}: {garbage}");
        }
        house.store().set_inflight(house.slot("a"), path.len() as u32);
        assert_eq!(asked(&tag).status, 200, "{path}: a number has changed");
    }
}

#[test]
fn a_change_on_an_old_reading_is_refused_with_the_new_one() {
    let house = house();
    let old = tag_of(&house, MEMBER);
    house.store().set_inflight(house.slot("a"), 5);
    let sent =
        |tag: &str, body: &str| Ask::new("PATCH", MEMBER).body(body).header("if-match", tag).of(&house);
    let response = sent(&old, r#"{"weight":7}"#);
    assert_eq!(response.status, 200, "only a number had changed: {}", text(&response));
    assert_eq!(tag(&response), tag_of(&house, MEMBER));
    for tag in [&*old, "", "garbage", "\"0000000000000000.0000000000000000\"", "W/"] {
        let response = sent(tag, r#"{"weight":8}"#);
        assert_eq!(response.status, 412, "{tag}");
        assert_eq!((&json(&response)["weight"], &json(&response)["name"]), (&7.into(), &"a".into()));
        assert_eq!(super::header(&response, "etag"), Some(&*tag_of(&house, MEMBER)));
    }
    assert_eq!(sent("*", r#"{"weight":9}"#).status, 200);
    assert_eq!(sent(&format!("\"x\", {}", tag_of(&house, MEMBER)), r#"{"weight":8}"#).status, 200);
}

#[test]
fn every_change_of_a_pool_heeds_what_was_read() {
    let house = house();
    let old = tag_of(&house, "/api/v1/pools/app");
    house.ask("PATCH", MEMBER, r#"{"weight":2}"#);
    for (method, path, body) in [
        ("POST", "/api/v1/pools/app/members", r#"{"url":"http://10.0.0.9"}"#),
        ("PUT", "/api/v1/pools/app/members?dry_run=1", "[]"),
        ("DELETE", MEMBER, ""),
    ] {
        let response = Ask::new(method, path).body(body).header("if-match", &old).of(&house);
        assert_eq!(response.status, 412, "{method} {path}: {}", text(&response));
    }
    let now = tag_of(&house, "/api/v1/pools/app");
    let body = r#"{"url":"http://10.0.0.9"}"#;
    let added = Ask::new("POST", "/api/v1/pools/app/members").body(body).header("if-match", &now).of(&house);
    assert_eq!(added.status, 201);
    let gone = Ask::new("DELETE", "/api/v1/pools/app/members/10.0.0.9:80")
        .header("if-match", &tag(&added))
        .of(&house);
    assert_eq!(gone.status, 204);
    assert_eq!(tag(&gone), tag_of(&house, "/api/v1/pools/app"));
    refused(
        &Ask::new("PATCH", "/api/v1/pools/app/members/x").body("{}").header("if-match", "*").of(&house),
        404,
        "",
    );
}

#[test]
fn a_batch_is_made_only_where_nothing_has_changed_meanwhile() {
    let house = house();
    let seen = tag_of(&house, "/api/v1/pools");
    let body = format!(r#"[{{"method":"PATCH","path":"{MEMBER}","body":{{"admin":"drain"}}}}]"#);
    let ask = |seen: &str| {
        let asked = Ask::new("POST", "/api/v1/batch").header("if-match", seen);
        asked.body(&body).of(&house)
    };
    house.ask("PATCH", "/api/v1/pools/app/members/b", r#"{"weight":9}"#);
    let refused = ask(&seen);
    assert_eq!((refused.status, json(&refused)["pools"][0]["name"].as_str()), (412, Some("app")));
    assert_eq!(house.get(MEMBER)["admin"], "ready", "nothing is done");
    // Numbers may have changed.
    house.store().set_inflight(house.slot("a"), 3);
    assert_eq!(ask(&tag(&refused)).status, 200);
    assert_eq!(house.get(MEMBER)["admin"], "drain");
}
