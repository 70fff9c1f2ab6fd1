// SPDX-License-Identifier: Apache-2.0
//! Each key of the file: ordered, stopped, with another configuration or the same, started.

use std::fs;

use server_tests::{Backend, Httpd, assert_says, pool, wait_until};

use super::{MEMBER, SOON, file, kept, patch, read, stop_and_start, wait_for_file};

/// A name, the order, the edit while the server is stopped (a text, and the one in its place), the
/// words of the member's document then, and those of the log.
type Case<'c> = (&'c str, &'c str, (&'c str, &'c str), &'c [&'c str], Option<&'c str>);

#[test]
fn each_key_holds_until_the_configuration_says_otherwise() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let nothing = ("weight=5", "weight=5");
    let cases: [Case<'_>; 14] = [
        ("weight", r#"{"weight":2}"#, nothing, &[r#""weight":2"#, r#""overrides":["weight"]"#], None),
        ("weight", r#"{"weight":0}"#, nothing, &[r#""weight":0"#], None),
        ("weight", r#"{"weight":2}"#, ("weight=5", "weight=9"), &[r#""weight":9"#], Some("weight")),
        ("admin", r#"{"admin":"disabled"}"#, nothing, &[r#""state":"disabled""#], None),
        (
            "admin",
            r#"{"admin":"drain"}"#,
            ("weight=5", "weight=5 status=+D"),
            &["\"disabled\""],
            Some("admin"),
        ),
        (
            "until",
            r#"{"admin":"drain","until":"2099-01-01T00:00:00Z","then":"disabled"}"#,
            nothing,
            &[r#""until":"2099-01-01T00:00:00Z","then":"disabled""#],
            None,
        ),
        ("note", r#"{"admin":"drain","note":"why"}"#, nothing, &[r#""note":"why""#], None),
        ("max_inflight", r#"{"max_inflight":7}"#, nothing, &[r#""max_inflight":7"#], None),
        (
            "max_inflight",
            r#"{"max_inflight":7}"#,
            ("weight=5", "weight=5 max_inflight=3"),
            &[r#""max_inflight":3"#],
            Some("max_inflight"),
        ),
        (
            "meta",
            r#"{"meta":{"version":"3","x":"y"}}"#,
            nothing,
            &[r#""meta":{"version":"3","x":"y"}"#],
            None,
        ),
        (
            "meta",
            r#"{"meta":{"version":"3"}}"#,
            ("meta.version=1", "meta.version=2"),
            &[r#""meta":{"version":"2"}"#],
            Some("meta"),
        ),
        (
            "url",
            r#"{"admin":"drain","weight":2}"#,
            ("127.0.0.1:", "127.0.0.2:"),
            &["127.0.0.2", r#""state":"draining""#, r#""weight":2"#],
            Some("health"),
        ),
        // Orders about other keys than the edited one hold.
        ("others", r#"{"admin":"drain"}"#, ("weight=5", "weight=9"), &["draining", r#""weight":9"#], None),
        ("zone", r#"{"weight":2}"#, ("weight=5", "weight=5 zone=eu"), &[r#""weight":2"#, "eu"], None),
    ];
    let mut httpd = kept(&a, &b).start();
    let original = fs::read_to_string(httpd.dir().join("httpd.conf")).expect("the configuration");
    for (what, order, (from, to), expected, dropped) in cases {
        patch(&httpd, order);
        httpd.stop();
        httpd.edit_config(from, to);
        httpd.start_again();
        assert_says(&read(&httpd), expected);
        let lines = httpd.count_log("lua_balancer:notice.*the state file: pool app: member [ab]: dropped");
        assert_eq!(lines > 0, dropped.is_some(), "{what} {order}: {}", httpd.error_log());
        if let Some(dropped) = dropped {
            assert_says(&httpd.error_log(), &[&format!("member a: dropped {dropped} (")]);
        }
        httpd.stop();
        fs::remove_file(file(&httpd)).expect("remove the file");
        httpd.write("httpd.conf", &original);
        httpd.start_again();
        assert_says(&read(&httpd), &[r#""overrides":[]"#]);
    }
}

#[test]
fn an_added_member_comes_back_with_its_whole_line() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    let body = r#"{"url":"http://127.0.0.1:9/base","name":"x","weight":4,"zone":"eu","route":"r9","lbset":1,
                   "max_inflight":12,"slow_start":"30s","meta":{"version":"9"},"timeout":"7s","secret":"hush"}"#;
    let added = httpd.order("POST", "/api/v1/pools/app/members", body);
    assert_eq!(added.status, 201, "{}", added.text());
    let shown = || httpd_member(&httpd, "x");
    let before = shown();
    assert_says(&before, &["http://127.0.0.1:9/base", r#""weight":4"#, r#""zone":"eu""#, r#""route":"r9""#]);
    stop_and_start(&mut httpd);
    let after = httpd_member(&httpd, "x");
    let lasting = |text: &str| -> serde_json::Value {
        let mut all: serde_json::Value = serde_json::from_str(text).expect("JSON");
        // Its slow start was over by the time of the stop, or is now.
        for moving in ["since", "check", "weights", "latency", "usable"] {
            all.as_object_mut().expect("an object").remove(moving);
        }
        all
    };
    assert_eq!(lasting(&after), lasting(&before));
    let secret = fs::read_to_string(file(&httpd)).expect("the file");
    assert!(secret.contains("hush") && !httpd.socket().get("/api/v1/state").text().contains("hush"));
}

fn httpd_member(httpd: &Httpd, name: &str) -> String {
    httpd.socket().get(&format!("/api/v1/pools/app/members/{name}")).text()
}

#[test]
fn a_member_may_turn_from_added_to_configured_and_back() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    let body = r#"{"url":"http://127.0.0.1:9","name":"x","weight":4}"#;
    let added = httpd.order("POST", "/api/v1/pools/app/members", body);
    assert_eq!(added.status, 201, "{}", added.text());
    let order = r#"{"admin":"drain","weight":2}"#;
    assert_eq!(httpd.order("PATCH", "/api/v1/pools/app/members/x", order).status, 200);
    httpd.stop();
    let line = "  LuaBalancerMember http://127.0.0.1:9 name=x weight=4\n</LuaBalancerPool>";
    httpd.edit_config("</LuaBalancerPool>", line);
    httpd.start_again();
    assert_says(&httpd_member(&httpd, "x"), &["draining", r#""weight":2"#, r#""kind":"config""#]);
    httpd.wait_for_log("notice.*member x: dropped added");
    stop_and_start(&mut httpd);
    assert_says(&httpd_member(&httpd, "x"), &["draining", r#""weight":2"#]);
    assert_eq!(httpd.count_log("dropped"), 0, "{}", httpd.error_log());
    // The configuration has it no more: what is ordered of it waits, and it is not added by itself.
    httpd.stop();
    httpd.edit_config(line, "</LuaBalancerPool>");
    httpd.start_again();
    assert_eq!(httpd.socket().get("/api/v1/pools/app/members/x").status, 404);
    wait_for_file(&httpd, "unknown_since");
    // Somebody adds it again, and all of it ends at once: that is what is true then.
    let added = httpd.order("POST", "/api/v1/pools/app/members", body);
    assert_eq!(added.status, 201, "{}", added.text());
    wait_for_file(&httpd, "\"added\"");
    httpd.kill();
    httpd.start_again();
    assert_says(&httpd_member(&httpd, "x"), &[r#""state":"up""#, r#""weight":4"#]);
    assert_eq!(httpd.count_log("lua_balancer:(error|warn)"), 0, "{}", httpd.error_log());
}

#[test]
fn orders_of_a_pool_that_is_renamed_wait_for_its_name() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    patch(&httpd, r#"{"admin":"drain","weight":2}"#);
    httpd.stop();
    let (from, to) = ("<LuaBalancerPool app>", "<LuaBalancerPool other>");
    httpd.edit_config(from, to);
    httpd.edit_config("lb://app", "lb://other");
    httpd.start_again();
    assert_says(
        &httpd.socket().get("/api/v1/pools/other/members/a").text(),
        &[r#""state":"up""#, r#""weight":5"#],
    );
    wait_for_file(&httpd, "unknown_since");
    httpd.kill();
    httpd.edit_config(to, from);
    httpd.edit_config("lb://other", "lb://app");
    httpd.start_again();
    assert_says(&read(&httpd), &["draining", r#""weight":2"#]);
}

#[test]
fn values_that_a_script_has_set_hold_again() {
    let a = Backend::new("a");
    let script = "function translate(r)\n  local a = lb.pool('app'):member('a')\n  a:set_weight(2)\n  a:drain()\n  \
                  return 204\nend\n";
    let mut httpd = Httpd::builder()
        .file("set.lua", script)
        .config("LuaBalancerStateFile kept/state.json")
        .config(&pool("app", &[(&a, "weight=5")], ""))
        .config("<Location /set>\n  LuaHookTranslate set.lua\n</Location>")
        .start();
    assert_eq!(httpd.client().get("/set").status, 204, "{}", httpd.error_log());
    wait_for_file(&httpd, "by_script");
    stop_and_start(&mut httpd);
    assert_says(&read(&httpd), &[r#""state":"draining""#, r#""weight":2"#]);
}

#[test]
fn health_holds_while_it_is_young() {
    let [a, b] = ["a", "b"].map(Backend::new);
    a.refuse();
    for (age, is_kept) in [("60s", true), ("1s", false)] {
        let check = "LuaBalancerHealthCheck tcp interval=100ms fall=1 rise=1";
        let mut httpd = Httpd::builder()
            .config(&format!("LuaBalancerStateFile kept/state.json health_age={age}"))
            .config(&pool("app", &[(&a, ""), (&b, "")], check))
            .start();
        wait_until("a check", SOON, || read(&httpd).contains(r#""state":"down""#));
        wait_for_file(&httpd, "\"down\": true");
        httpd.stop();
        let stopped = std::time::Instant::now();
        wait_until("a while", SOON, || is_kept || stopped.elapsed().as_secs() >= 3);
        httpd.start_again();
        wait_until("a check", SOON, || read(&httpd).contains(r#""state":"down""#));
        // It was down from the start on, or a check has found it down again.
        let changes = httpd.count_log("member a is down");
        assert_eq!(changes, usize::from(!is_kept), "{age}: {}", httpd.error_log());
    }
}

#[test]
fn a_member_that_was_to_be_removed_by_now_does_not_come_back() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = kept(&a, &b).start();
    let body = r#"{"url":"http://127.0.0.1:9","name":"x"}"#;
    assert_eq!(httpd.order("POST", "/api/v1/pools/app/members", body).status, 201);
    assert_eq!(httpd.order("DELETE", "/api/v1/pools/app/members/x?drain=2s", "").status, 202);
    wait_for_file(&httpd, "removed");
    httpd.kill();
    let ended = std::time::Instant::now();
    wait_until("the order's end", SOON, || ended.elapsed().as_secs() >= 3);
    httpd.start_again();
    assert_eq!(httpd.socket().get("/api/v1/pools/app/members/x").status, 404);
    httpd.wait_for_log("notice.*member x: dropped added .it was to be removed by now");
    assert_says(&httpd.socket().get(MEMBER).text(), &["up"]);
}
