// SPDX-License-Identifier: Apache-2.0
//! Sources of members, and what somebody wants of them.

use balance::guard::{SourceAsk, SourceStage, SourceStanding};
use balance::settings::{Discovery, PoolSettings, SourcePlace};
use balance::snapshot::{SourceNote, SourceState};
use balance::store::Store;
use serde_json::json;

use super::{Heap, house, json, spec, text};

fn source(stage: SourceStage) -> SourceState {
    let standing = SourceStanding {
        stage,
        seen_ms: 990_000,
        failing_ms: if stage == SourceStage::Stale { 995_000 } else { 0 },
        failures: 2,
        held_ms: 980_000,
        held_seen: 2,
        listed: 1,
        taken_ms: 900_000,
    };
    let settings = Discovery::of("file-1".into(), SourcePlace::File("/etc/lb/app.json".into()));
    let note = SourceNote { standing, error: "line 2: <b>".into(), held: "a b".into(), gone: 5 };
    SourceState { pool: "app".into(), settings, members: 3, note, updates: [1, 2, 3, 4] }
}

fn house_with(stage: SourceStage) -> Heap {
    let house = house();
    house.sources.replace(vec![source(stage)]);
    house
}

#[test]
fn a_source_says_how_it_does() {
    let held = house_with(SourceStage::HeldShrunk);
    let row = held.get("/api/v1/discovery")["discovery"][0].clone();
    let expected = json!({
        "pool": "app", "source": "file-1", "kind": "file", "where": "/etc/lb/app.json", "state": "held",
        "members": 3, "listed": 1, "last_success": "2026-11-29T11:59:50Z", "failing_since": null,
        "held": {"why": "shrunk", "since": "2026-11-29T11:59:40Z", "seen": 2, "gone": ["a", "b"], "more": 3},
        "updates": {"applied": 1, "unchanged": 2, "held": 3, "failed": 4}, "last_error": "line 2: <b>",
    });
    assert_eq!(row, expected);
    let warned = |house: &Heap| {
        let warnings = house.get("/api/v1/status")["warnings"].clone();
        let of =
            |one: &serde_json::Value| one["code"].as_str().is_some_and(|code| code.starts_with("discovery"));
        warnings.as_array().into_iter().flatten().find(|one| of(one)).cloned()
    };
    let warning = warned(&held).expect("a warning");
    assert_eq!(
        (&warning["code"], &warning["since"]),
        (&"discovery_held".into(), &"2026-11-29T11:59:40Z".into())
    );
    let stale = warned(&house_with(SourceStage::Stale)).expect("a warning");
    assert_eq!(stale["message"], "pool app: source file-1 fails, its last list stays: line 2: <b>");
    assert_eq!(warned(&house_with(SourceStage::Ok)), None);
    let metrics = text(&held.ask("GET", "/metrics", ""));
    for line in [
        "luabalancer_discovery_up{pool=\"app\",source=\"file-1\"} 1",
        "luabalancer_discovery_members{pool=\"app\",source=\"file-1\"} 3",
        "luabalancer_discovery_updates_total{pool=\"app\",source=\"file-1\",result=\"failed\"} 4",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn wishes_go_to_the_leading_child() {
    let house = house_with(SourceStage::HeldEmpty);
    for (verb, ask) in [("refresh", SourceAsk::Refresh), ("accept", SourceAsk::Accept)] {
        let response = house.ask("POST", &format!("/api/v1/discovery/App/file-1/{verb}"), "");
        assert_eq!(response.status, 200, "{}", text(&response));
        assert_eq!(json(&response)["source"], "file-1");
        assert_eq!(house.asked.borrow_mut().pop(), Some(("app".into(), "file-1".into(), ask)));
    }
    assert_eq!(house.lines(), ["pool app: source file-1: what is held is taken (by root)"]);
    for (path, status) in [
        ("/api/v1/discovery/app/none/refresh", 404),
        ("/api/v1/discovery/api/file-1/refresh", 404),
        ("/api/v1/discovery/app/file-1/none", 404),
    ] {
        assert_eq!(house.ask("POST", path, "").status, status, "{path}");
    }
    house.sources.replace(vec![source(SourceStage::Ok)]);
    let refused = house.ask("POST", "/api/v1/discovery/app/file-1/accept", "");
    assert_eq!(json(&refused)["detail"], "nothing of the source file-1 of pool app is held");
    assert_eq!((refused.status, house.asked.borrow().len()), (409, 0));
    house.may_prune.set(false);
    assert_eq!(house.ask("POST", "/api/v1/discovery/app/file-1/refresh", "{}").status, 503);
}

#[test]
fn found_members_are_changed_by_orders_and_removed_by_nobody() {
    let house = house();
    let app = house.store().find_pool("app").expect("the pool");
    let discovery = vec![Discovery::of("file-1".into(), SourcePlace::File("/etc/lb/app.json".into()))];
    let image = house.store().read_pool(app).expect("the pool");
    let members: Vec<_> = image.membership.members.iter().map(|member| member.spec.clone()).collect();
    let settings = PoolSettings { discovery, ..image.settings };
    house.store().define("app", &settings, &members, 2).expect("a pool");
    let line = "http://10.0.0.9:80 name=x zone=eu discovered=file-1";
    house.store().add(app, &spec(line)).expect("a member");
    let x = "/api/v1/pools/app/members/x";
    assert_eq!(house.get(x)["source"], json!({"kind": "file", "where": "/etc/lb/app.json"}));
    for path in [x.to_owned(), format!("{x}?force=1"), format!("{x}?drain=5s")] {
        let refused = house.ask("DELETE", &path, "");
        assert_eq!(refused.status, 409, "{path}");
        let says =
            "member x of pool app is named by its source file-1 (file:/etc/lb/app.json): take it out there";
        assert!(text(&refused).contains(says), "{}", text(&refused));
    }
    let list = house.get("/api/v1/pools/app/members");
    let put = |list: &serde_json::Value| {
        json(&house.ask("PUT", "/api/v1/pools/app/members?dry_run=1", &list.to_string()))
    };
    let nothing = json!({"add": [], "change": [], "remove": [], "refused": []});
    assert_eq!(put(&list), nothing, "a list that was read may be put back");
    let mut without = list.clone();
    without.as_array_mut().expect("a list").retain(|member| member["name"] != "x");
    assert_eq!(put(&without)["refused"][0]["name"], "x");
    let mut moved = list;
    let found = moved.as_array_mut().expect("a list").iter_mut().find(|member| member["name"] == "x");
    found.expect("x")["zone"] = "us".into();
    let refused = put(&moved)["refused"][0]["detail"].to_string();
    assert!(
        refused.contains("file-1 (file:/etc/lb/app.json): only weight, max_inflight and meta"),
        "{refused}"
    );
    let patched = house.ask("PATCH", x, r#"{"admin":"drain","weight":3,"note":"deploy"}"#);
    assert_eq!((patched.status, &json(&patched)["state"]), (200, &"draining".into()));
}
