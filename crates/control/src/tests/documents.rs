// SPDX-License-Identifier: Apache-2.0
//! Reading: what is asked for, health, metrics, and marks of markup.

use balance::api::Change;
use balance::event::By;
use balance::snapshot::{Extent, LeadState};
use render::metrics::{Histograms, Members, Options};

use serde_json::json;

use super::{Ask, fill, header, house, house_of, refused, text};
use crate::House;

#[test]
fn health_is_that_of_the_lead_and_of_a_pool() {
    let house = house();
    let status = |path: &str| house.ask("GET", path, "").status;
    assert_eq!(status("/health"), 200);
    assert_eq!(status("/health?pool=app&min=2"), 200);
    assert_eq!(status("/health?pool=APP"), 200);
    assert_eq!(status("/health?pool=app&min=3"), 503);
    assert_eq!(status("/health?pool=api"), 503);
    assert_eq!(status("/health?pool=api&min=0"), 200);
    assert_eq!(status("/health?pool=other"), 404);
    assert_eq!(house.snapshots.get(), 0, "no more is read than that");
    house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"admin":"drain"}"#);
    assert_eq!(super::json(&house.ask("GET", "/health?pool=aPP&min=0", ""))["usable"], 1);
    for min in ["", "x", "-1", "1.5", "99999999999999999999", "1&min=2"] {
        refused(&house.ask("GET", &format!("/health?pool=app&min={min}"), ""), 422, "min");
    }
    for lead in [None, Some(LeadState { pid: 1, generation: 1, fresh: false, since_s: 0 })] {
        house.lead.set(lead);
        refused(&house.ask("GET", "/health", ""), 503, "leads");
        assert_eq!(super::json(&house.ask("GET", "/api/v1/status", ""))["leader"], serde_json::Value::Null);
    }
}

#[test]
fn unknown_things_are_not_found() {
    let house = house();
    for path in [
        "/nothing",
        "/api/v1",
        "/api/v1/pools/",
        "/api/v1/pools/other",
        "/api/v1/pools/app/members/x",
        "/api/v1/pools/app/members/A",
        "/api/v1/pools/app/members/a/b",
        "/api/v1/pools/app/members/a%2Fb",
        "/api/v1//pools",
        "/api/v2/pools",
        "//",
    ] {
        refused(&house.ask("GET", path, ""), 404, "");
    }
    for path in
        ["/api/v1/pools/%00", "/api/v1/pools/a%0d%0ab", "/api/v1/pools/%ff", "/api/v1/pools/app?fields=%zz"]
    {
        refused(&house.ask("GET", path, ""), 400, "");
    }
    assert_eq!(house.ask("GET", "/api/v1/pools/a%70p", "").status, 200);
}

#[test]
fn parts_of_a_document_are_asked_for_by_their_paths() {
    let house = house();
    let get = |query: &str| house.get(&format!("/api/v1/pools/app?{query}"));
    assert_eq!(get("fields=name,usable"), json!({"name": "app", "usable": 2}));
    let all = json!({"pools": [{"name": "app", "usable": 2}, {"name": "api", "usable": 0}]});
    assert_eq!(house.get("/api/v1/pools?fields=name,usable"), all);
    assert_eq!(house.get("/api/v1/pools?fields=pools.name,pools.usable"), all);
    let states = get("fields=members.state&state=draining");
    assert_eq!(states, json!({"members": [{"state": "draining"}]}));
    assert_eq!(house.get("/api/v1/pools/app/members?state=down"), json!([]));
    for query in ["fields=", "fields=a..b", "state=", "state=UP", "state=up&state=down"] {
        refused(&house.ask("GET", &format!("/api/v1/pools?{query}"), ""), 422, "");
    }
}

#[test]
fn a_table_is_for_those_who_want_plain_text() {
    let house = house();
    let kind = |accept: &str| {
        let response = Ask::new("GET", "/").header("accept", accept).of(&house);
        header(&response, "content-type").expect("a type").split(';').next().map(str::to_owned)
    };
    assert_eq!(kind("text/plain").as_deref(), Some("text/plain"));
    assert_eq!(kind("text/plain;q=0.9, text/html;q=0.8").as_deref(), Some("text/plain"));
    for accept in ["*/*", "", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "text/*", "text/plain;q=0"] {
        assert_eq!(kind(accept).as_deref(), Some("text/html"), "{accept}");
    }
}

#[test]
fn open_metrics_are_for_those_who_ask_for_them() {
    let house = house();
    let kind = |accept: &str| {
        let response = Ask::new("GET", "/metrics").header("accept", accept).of(&house);
        let is_open =
            header(&response, "content-type").expect("a type").starts_with("application/openmetrics-text");
        assert_eq!(is_open, text(&response).ends_with("# EOF\n"));
        is_open
    };
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert!(kind(prometheus));
    assert!(kind("application/openmetrics-text"));
    assert!(!kind("*/*") && !kind("") && !kind("text/plain"));
    assert!(!kind("application/openmetrics-text;q=0.1, text/plain"));
}

#[test]
fn series_of_members_are_left_out_when_there_are_too_many() {
    let house = house();
    house.options.set(Options { max_series: 150, ..Options::default() });
    let metrics = text(&house.ask("GET", "/metrics", ""));
    assert!(metrics.contains("luabalancer_metrics_reduced 1\n"));
    assert!(!metrics.contains("member_up"), "{metrics}");
    assert!(metrics.contains("pool_usable_members"));
    house.options.set(Options { members: Members::On, histograms: Histograms::Off, max_series: 1 });
    let metrics = text(&house.ask("GET", "/metrics", ""));
    assert!(metrics.contains("luabalancer_metrics_reduced 0\n") && metrics.contains("member_up"));
    assert!(!metrics.contains("_bucket"));
    assert_eq!(*house.reduced.borrow(), [true, false]);
}

#[test]
fn a_removed_member_has_no_series_any_more() {
    let house = house();
    assert!(text(&house.ask("GET", "/metrics", "")).contains("member=\"a\""));
    assert_eq!(house.ask("DELETE", "/api/v1/pools/app/members/a?force=1", "").status, 204);
    assert!(!text(&house.ask("GET", "/metrics", "")).contains("member=\"a\""));
}

#[test]
fn warnings_name_what_somebody_should_look_at() {
    let house = house();
    let codes = || {
        let status = house.get("/api/v1/status");
        let all = status["warnings"].as_array().expect("a list").clone();
        all.iter().map(|one| one["code"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(codes(), ["pool_unusable"], "pool api has nobody");
    house.fill.set(Some(fill(58, 64)));
    assert_eq!(codes(), ["pool_unusable", "table_nearly_full"]);
    for name in ["a", "b"] {
        house.ask("PATCH", &format!("/api/v1/pools/app/members/{name}"), r#"{"admin":"disabled"}"#);
    }
    assert_eq!(codes(), ["pool_unusable", "pool_unusable", "table_nearly_full"]);
}

#[test]
fn markup_in_texts_stays_text() {
    let house = house_of(&["http://10.0.0.1 name=a"]);
    let note = r#"{"admin":"drain","note":"<script>alert(1)</script>\"'&"}"#;
    assert_eq!(house.ask("PATCH", "/api/v1/pools/app/members/a", note).status, 200);
    let page = text(&house.ask("GET", "/", ""));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));
    assert_eq!(page.matches("<script").count(), 1, "the page's own: {page}");
    let metrics = text(&house.ask("GET", "/metrics", ""));
    assert!(!metrics.contains("alert"), "no label holds what people write");
}

#[test]
fn a_drained_dead_member_is_down_and_both_stand_there() {
    let house = house();
    house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"admin":"drain"}"#);
    let down = |status: balance::status::Status| status.with(balance::status::Status::CHECK_DOWN);
    balance::store::Store::update(house.store(), house.slot("a"), 1, &mut |status| down(status))
        .expect("there");
    let member = house.get("/api/v1/pools/app/members/a");
    assert_eq!((&member["state"], &member["admin"]), (&"down".into(), &"drain".into()));
    let flags: Vec<_> =
        member["why"].as_array().expect("a list").iter().map(|why| why["flag"].clone()).collect();
    assert_eq!(flags, ["down", "draining"]);
    assert_eq!(member["why"][0]["by"], "checks");
    assert_eq!(member["why"][1]["by"], "root");
}

#[test]
fn secrets_stay_inside() {
    let house = house();
    for path in ["/", "/api/v1/pools", "/api/v1/pools/app/members/b", "/metrics"] {
        assert!(!text(&house.ask("GET", path, "")).contains("hush"), "{path}");
    }
    assert!(house.snapshot(Extent::All).pools[0].members[1].spec.connection.secret.is_some());
}

#[test]
fn a_script_that_drains_a_member_is_not_taken_for_the_user_of_an_older_order() {
    let house = house();
    house.ask("PATCH", "/api/v1/pools/app/members/a", r#"{"max_inflight":5,"note":"mine"}"#);
    let member = house.balancer().membership(balance::api::PoolId(0)).expect("a pool").members[0].clone();
    house.balancer().change(&member, Change::Drain, &By::Script(None)).expect("drained");
    let why = house.get("/api/v1/pools/app/members/a")["why"].clone();
    assert_eq!(
        why,
        json!([
            {"flag": "draining", "by": null, "from": null, "at": null, "until": null, "note": null}
        ])
    );
}
