// SPDX-License-Identifier: Apache-2.0
//! Changes of single members: what is set is what the next GET reads, and the log says so once.

use serde_json::{Value, json};

use super::{Ask, Heap, NOON, fill, header, house, on, refused, text};

const MEMBER: &str = "/api/v1/pools/app/members/a";

/// The document that a PATCH of member a answers.
#[track_caller]
fn patch(house: &Heap, body: &Value) -> Value {
    let ask = Ask::new("PATCH", MEMBER).body(body.to_string()).handler(Some("alice"), on());
    let response = ask.of(house);
    assert_eq!(response.status, 200, "{}", text(&response));
    let document = super::json(&response);
    assert_eq!(document, house.get(MEMBER), "the answer is what the next GET reads");
    document
}

#[test]
fn orders_set_the_state_and_null_takes_them_back() {
    let house = house();
    for (admin, state, overrides) in [
        ("drain", "draining", json!(["admin"])),
        ("disabled", "disabled", json!(["admin"])),
        ("drain", "draining", json!(["admin"])),
        ("ready", "up", json!([])),
        ("disabled", "disabled", json!(["admin"])),
    ] {
        let member = patch(&house, &json!({ "admin": admin }));
        assert_eq!((&member["admin"], &member["state"]), (&admin.into(), &state.into()));
        assert_eq!(member["overrides"], overrides);
    }
    let member = patch(&house, &json!({ "admin": null }));
    assert_eq!((&member["admin"], &member["overrides"]), (&"ready".into(), &json!([])));
    assert_eq!(
        house.lines(),
        [
            "pool app: member a: up -> draining (by alice from 10.0.0.5)",
            "pool app: member a: draining -> disabled (by alice from 10.0.0.5)",
            "pool app: member a: disabled -> draining (by alice from 10.0.0.5)",
            "pool app: member a: draining -> up (by alice from 10.0.0.5)",
            "pool app: member a: up -> disabled (by alice from 10.0.0.5)",
            "pool app: member a: disabled -> up (by alice from 10.0.0.5)",
        ]
    );
}

#[test]
fn null_goes_back_to_the_configured_value() {
    let house = house();
    let patch = |body: &str| {
        assert_eq!(house.ask("PATCH", "/api/v1/pools/app/members/c", body).status, 200);
        let member = house.get("/api/v1/pools/app/members/c");
        (member["admin"].clone(), member["overrides"].clone())
    };
    assert_eq!(patch(r#"{"admin":"ready"}"#), ("ready".into(), json!(["admin"])));
    assert_eq!(patch(r#"{"admin":null}"#), ("drain".into(), json!([])));
    assert_eq!(patch(r#"{"admin":"drain"}"#), ("drain".into(), json!([])));
}

#[test]
fn a_note_and_an_end_stand_beside_the_order_and_go_with_it() {
    let house = house();
    let member =
        patch(&house, &json!({ "admin": "drain", "until": "30m", "then": "disabled", "note": "deploy 42" }));
    assert_eq!(member["until"], "2026-11-29T12:30:00Z");
    assert_eq!((&member["then"], &member["note"]), (&"disabled".into(), &"deploy 42".into()));
    let why = json!([{ "flag": "draining", "by": "alice", "from": "10.0.0.5", "at": "2026-11-29T12:00:00Z",
                       "until": "2026-11-29T12:30:00Z", "note": "deploy 42" }]);
    assert_eq!(member["why"], why);
    assert_eq!(house.lines(), ["pool app: member a: up -> draining (by alice from 10.0.0.5: deploy 42)"]);
    let member = patch(&house, &json!({ "weight": 2 }));
    assert_eq!(member["note"], "deploy 42", "another order beside it leaves it");
    let member = patch(&house, &json!({ "admin": "ready" }));
    for key in ["until", "then", "note"] {
        assert_eq!(member[key], Value::Null, "{key}");
    }
    let member = patch(&house, &json!({ "note": "look at me" }));
    assert_eq!((&member["note"], &member["state"]), (&"look at me".into(), &"up".into()));
}

#[test]
fn ends_are_times_to_come_or_durations() {
    let house = house();
    for (until, at) in [
        (json!("2026-11-29T13:00:00+01:00"), None),
        (json!("2026-11-29T13:30:00+01:00"), Some("2026-11-29T12:30:00Z")),
        (json!("90s"), Some("2026-11-29T12:01:30Z")),
        (json!("500ms"), Some("2026-11-29T12:00:01Z")),
        (json!(90), Some("2026-11-29T12:01:30Z")),
        (json!(0.5), Some("2026-11-29T12:00:01Z")),
        (json!("0s"), None),
        (json!(0), None),
        (json!(-5), None),
        (json!(1e300), None),
        (json!("2020-01-01T00:00:00Z"), None),
        (json!("tomorrow"), None),
        (json!(""), None),
        (json!(true), None),
        (json!({}), None),
    ] {
        let body = json!({ "admin": "drain", "until": until });
        match at {
            Some(at) => assert_eq!(patch(&house, &body)["until"], at, "{until}"),
            None => refused(&house.ask("PATCH", MEMBER, &body.to_string()), 422, "until: found"),
        }
    }
    let member = patch(&house, &json!({ "until": null }));
    assert_eq!((&member["until"], &member["then"]), (&Value::Null, &Value::Null));
    refused(&house.ask("PATCH", MEMBER, r#"{"then":"drain"}"#), 422, "then: found no until");
}

#[test]
fn weights_limits_and_meta_are_ordered_and_taken_back() {
    let house = house();
    let member =
        patch(&house, &json!({ "weight": 1.5, "max_inflight": 7, "meta": { "version": "3", "x": "y" } }));
    assert_eq!((&member["weight"], &member["max_inflight"]), (&json!(1.5), &json!(7)));
    assert_eq!(member["meta"], json!({ "version": "3", "x": "y" }));
    assert_eq!(member["weights"]["configured"], 5);
    assert_eq!(member["overrides"], json!(["weight", "max_inflight", "meta"]));
    let member = patch(&house, &json!({ "meta": { "version": null } }));
    assert_eq!(member["meta"], json!({ "x": "y" }));
    let member = patch(&house, &json!({ "weight": null, "max_inflight": null, "meta": null }));
    assert_eq!((&member["weight"], &member["max_inflight"]), (&json!(5), &json!(0)));
    assert_eq!((&member["meta"], &member["overrides"]), (&json!({ "version": "2" }), &json!([])));
    let by = "(by alice from 10.0.0.5)";
    assert_eq!(
        house.lines(),
        [
            format!("pool app: member a: weight 5 -> 1.5 {by}"),
            format!(
                "pool app: member a: max_inflight configured -> 7, meta configured -> version=3 x=y {by}"
            ),
            format!("pool app: member a: meta version=3 x=y -> x=y {by}"),
            format!("pool app: member a: weight 1.5 -> 5 {by}"),
            format!("pool app: member a: max_inflight 7 -> configured, meta x=y -> configured {by}"),
        ]
    );
}

#[test]
fn a_member_without_weight_says_who_took_it() {
    let house = house();
    let member = patch(&house, &json!({ "weight": 0, "note": "too slow" }));
    assert_eq!(member["why"][0]["flag"], "no_weight");
    assert_eq!((&member["why"][0]["by"], &member["why"][0]["note"]), (&"alice".into(), &"too slow".into()));
}

#[test]
fn nothing_new_is_no_line_in_the_log() {
    let house = house();
    let before = house.get(MEMBER);
    for body in [
        json!({}),
        json!({ "weight": 5 }),
        json!({ "admin": "ready" }),
        json!({ "max_inflight": null, "reset": false }),
    ] {
        assert_eq!(patch(&house, &body), before, "{body}");
    }
    assert!(house.lines().is_empty());
}

#[test]
fn a_reset_ends_an_ejection_and_counts_anew() {
    use balance::status::Status;
    use balance::store::{Store, Vitals};
    let house = house();
    let slot = house.slot("a");
    let outlier = balance::settings::Outlier { failures: 1, ..Default::default() };
    house.store().update_outlier(slot, 1, |word| {
        balance::outlier::OutlierState::from_bits(word).failed(&outlier, None, 1_000_000, true).0.to_bits()
    });
    let eject = &mut |status: Status| status.with(Status::EJECTED);
    house.store().update(slot, 1, eject).expect("ejected");
    assert_eq!(house.get(MEMBER)["state"], "ejected");
    let member = patch(&house, &json!({ "reset": true }));
    assert_eq!((&member["state"], &member["outlier"]["ejected"]), (&"up".into(), &false.into()));
    assert_eq!((&member["outlier"]["ejections"], &member["check"]["row"]), (&0.into(), &0.into()));
    let by = "(by alice from 10.0.0.5)";
    let lines = ["ejected -> up", "failures and checks count from 0"];
    assert_eq!(house.lines(), lines.map(|line| format!("pool app: member a: {line} {by}")));
}

#[test]
fn wrong_values_are_named_and_nothing_is_half_applied() {
    let house = house();
    let before = house.get(MEMBER);
    for (body, field) in [
        (json!({ "weight": "3" }), "weight"),
        (json!({ "weight": 1e300 }), "weight"),
        (json!({ "weight": -1 }), "weight"),
        (json!({ "weight": true }), "weight"),
        (json!({ "weight": 65536 }), "weight"),
        (json!({ "admin": "up" }), "admin"),
        (json!({ "admin": "READY" }), "admin"),
        (json!({ "admin": 1 }), "admin"),
        (json!({ "then": "removed", "until": "5m" }), "then"),
        (json!({ "note": "x".repeat(201) }), "note"),
        (json!({ "note": "a\nb" }), "note"),
        (json!({ "note": 5 }), "note"),
        (json!({ "max_inflight": 1.5 }), "max_inflight"),
        (json!({ "max_inflight": 4_294_967_296_u64 }), "max_inflight"),
        (json!({ "meta": [] }), "meta"),
        (json!({ "meta": { "a b": "1" } }), "meta.a b"),
        (json!({ "meta": { "a": 1 } }), "meta.a"),
        (json!({ "meta": { "a": "x\u{7f}" } }), "meta.a"),
        (json!({ "reset": "yes" }), "reset"),
        (json!({ "state": "up" }), "state"),
        (json!({ "url": "http://x" }), "url"),
        (json!({ "": 1 }), ""),
        (json!([]), "body"),
        (json!("x"), "body"),
        (json!(null), "body"),
    ] {
        // Together with what could be done.
        let mut whole = body.clone();
        if let Some(keys) = whole.as_object_mut().filter(|keys| !keys.contains_key("admin")) {
            keys.insert("admin".into(), "drain".into());
        }
        let response = house.ask("PATCH", MEMBER, &whole.to_string());
        refused(&response, 422, "");
        let problem = super::json(&response);
        assert_eq!(problem["field"], field, "{problem}");
        assert!(problem["expected"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
    assert_eq!(house.get(MEMBER), before);
    assert!(house.lines().is_empty());
}

#[test]
fn an_order_has_a_bounded_size() {
    let house = house();
    let meta = json!({ "meta": { "a": "x".repeat(1000), "b": "y".repeat(100) } });
    refused(&house.ask("PATCH", MEMBER, &meta.to_string()), 422, "1024 bytes");
}

#[test]
fn a_new_member_is_there_with_its_place() {
    let house = house();
    let body = r#"{"url":"http://[::1]:9000","weight":2.5,"meta":{"k":"v w"},"timeout":"5s","state":"down"}"#;
    let ask = Ask::new("POST", "/api/v1/pools/APP/members").body(body).handler(Some("alice"), on());
    let response = ask.of(&house);
    assert_eq!(response.status, 201, "{}", text(&response));
    assert_eq!(header(&response, "location"), Some("/lb/api/v1/pools/app/members/%5B::1%5D:9000"));
    let member = super::json(&response);
    assert_eq!((&member["name"], &member["weight"]), (&"[::1]:9000".into(), &2.5.into()));
    assert_eq!((&member["state"], &member["source"]["kind"]), (&"up".into(), &"api".into()));
    assert_eq!(house.get("/api/v1/pools/app/members/%5B::1%5D:9000"), member);
    assert_eq!(
        house.lines(),
        ["pool app: member [::1]:9000 (http://[::1]:9000) added, weight 2.5 (by alice from 10.0.0.5)"]
    );
    let twin = house.ask("POST", "/api/v1/pools/app/members", r#"{"url":"http://[::1]:9000/x"}"#);
    assert_eq!(super::json(&twin)["name"], "[::1]:9000-2");
}

#[test]
fn a_name_that_is_taken_and_a_full_table_are_refused() {
    let house = house();
    let post = |body: &str| house.ask("POST", "/api/v1/pools/app/members", body);
    refused(&post(r#"{"url":"http://10.0.0.9","name":"a"}"#), 409, "already has a member named a");
    refused(&post("[]"), 422, "an object");
    refused(&post("{}"), 422, "url");
    refused(&house.ask("POST", "/api/v1/pools/none/members", r#"{"url":"http://x"}"#), 404, "no pool none");
    house.fill.set(Some(fill(64, 64)));
    refused(&post(r#"{"url":"http://10.0.0.9"}"#), 507, "LuaBalancerMaxMembers");
    assert_eq!(house.names(), ["a", "b", "c"]);
}

#[test]
fn a_member_that_was_added_goes_at_once() {
    let house = house();
    house.ask("POST", "/api/v1/pools/app/members", r#"{"url":"http://10.0.0.9","name":"x"}"#);
    let response = house.ask("DELETE", "/api/v1/pools/app/members/x", "");
    assert_eq!((response.status, response.body.len()), (204, 0));
    assert_eq!(house.names(), ["a", "b", "c"]);
    refused(&house.ask("DELETE", "/api/v1/pools/app/members/x", ""), 404, "no member named x");
    assert_eq!(house.lines()[1], "pool app: member x removed (by root)");
}

#[test]
fn a_configured_member_goes_only_by_force() {
    let house = house();
    refused(&house.ask("DELETE", MEMBER, ""), 409, "");
    assert_eq!(house.names(), ["a", "b", "c"]);
    refused(&house.ask("DELETE", &format!("{MEMBER}?force=yes"), ""), 422, "force");
    assert_eq!(house.ask("DELETE", &format!("{MEMBER}?force=1"), "").status, 204);
    assert_eq!(house.names(), ["b", "c"]);
}

#[test]
fn a_member_may_drain_before_it_goes() {
    let house = house();
    house.ask("POST", "/api/v1/pools/app/members", r#"{"url":"http://10.0.0.9","name":"x"}"#);
    let response = house.ask("DELETE", "/api/v1/pools/app/members/x?drain=30s", "");
    assert_eq!(response.status, 202, "{}", text(&response));
    let member = super::json(&response);
    assert_eq!((&member["state"], &member["then"]), (&"draining".into(), &"removed".into()));
    assert_eq!(member["until"], "2026-11-29T12:00:30Z");
    for drain in ["", "soon", "-5s", "1e9"] {
        refused(
            &house.ask("DELETE", &format!("/api/v1/pools/app/members/x?drain={drain}"), ""),
            422,
            "drain",
        );
    }
    let back = house.ask("PATCH", "/api/v1/pools/app/members/x", r#"{"admin":"ready"}"#);
    assert_eq!(super::json(&back)["then"], Value::Null, "an order takes it back");
    assert_eq!(house.now_s.get(), NOON);
}
