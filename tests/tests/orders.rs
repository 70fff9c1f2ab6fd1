// SPDX-License-Identifier: Apache-2.0
//! Orders that people give over the API: kept over restarts, ended by the leader of the time, and
//! read by every child at once.

use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, Mpm, Request, assert_says, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);
const MEMBER: &str = "/api/v1/pools/app/members/a";
const MEMBERS: &str = "/api/v1/pools/app/members";

fn two(a: &Backend, b: &Backend) -> Builder {
    Httpd::builder()
        .config(&pool("app", &[(a, "meta.version=1"), (b, "meta.version=1")], ""))
        .config("ProxyPass /app lb://app")
}

fn patch(httpd: &Httpd, body: &str) -> String {
    httpd.patch(MEMBER, body)
}

fn read(httpd: &Httpd) -> String {
    httpd.socket().get(MEMBER).text()
}

fn a_drain_with_its_note_and_end_stays_over_restarts(mpm: Mpm) {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = two(&a, &b).mpm(mpm).children(2).start();
    let order = r#"{"admin":"drain","until":"2099-01-01T00:00:00Z","note":"deploy 42","weight":3}"#;
    let given = patch(&httpd, order);
    let parts = [
        r#""state":"draining""#,
        r#""until":"2099-01-01T00:00:00Z","then":"ready","note":"deploy 42","weight":3"#,
        r#""overrides":["admin","weight"]"#,
    ];
    assert_says(&given, &parts);
    let line = httpd.wait_for_log("lua_balancer:notice.*member a: up -> draining");
    assert!(line.contains(": deploy 42)"), "{line}");
    for kind in ["graceful", "restart", "line"] {
        match kind {
            "graceful" => httpd.graceful(),
            "restart" => httpd.restart(),
            _ => {
                httpd.edit_config("meta.version=1", "meta.version=1 zone=eu");
                httpd.graceful();
            }
        }
        let now = read(&httpd);
        assert_says(&now, &parts);
        assert_eq!(now.contains(r#""zone":"eu""#), kind == "line", "{now}");
        let path = format!("/app/{kind}");
        assert_eq!(httpd.client().get(&path).backend(), b.name(), "{}", httpd.error_log());
    }
    httpd.assert_no_crash();
}

fn the_leader_ends_an_order_whoever_it_is_by_then(mpm: Mpm) {
    let [a, b] = ["a", "b"].map(Backend::new);
    let httpd = two(&a, &b).mpm(mpm).children(2).start();
    patch(&httpd, r#"{"admin":"drain","until":2,"then":"disabled","note":"soon off"}"#);
    for pid in httpd.children() {
        httpd.kill_child(pid);
    }
    wait_until("the order's end", SOON, || read(&httpd).contains(r#""state":"disabled""#));
    assert_says(&read(&httpd), &[r#""until":null,"then":null,"note":null"#]);
    let line = httpd.wait_for_log("lua_balancer:notice.*member a: draining -> disabled");
    assert!(line.contains("the time is over of an order by") && line.contains("soon off"), "{line}");
}

on_every_mpm!(
    a_drain_with_its_note_and_end_stays_over_restarts,
    the_leader_ends_an_order_whoever_it_is_by_then
);

#[test]
fn a_member_that_drains_before_it_goes_is_gone_then() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::new);
    let httpd = two(&a, &b).start();
    let added = httpd.order("POST", MEMBERS, &format!(r#"{{"url":"{}","name":"x"}}"#, c.url()));
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(added.header("Location"), Some("/api/v1/pools/app/members/x"));
    let going = httpd.socket().send(&Request::new("DELETE", &format!("{MEMBERS}/x?drain=1s")));
    assert_eq!(going.status, 202, "{}", going.text());
    assert_says(&going.text(), &[r#""state":"draining""#, r#""then":"removed""#]);
    wait_until("its removal", SOON, || httpd.socket().get(&format!("{MEMBERS}/x")).status == 404);
    httpd.wait_for_log("lua_balancer:notice.*member x: removed .the time is over of an order by");
}

#[test]
fn a_configured_member_names_its_line_and_comes_back_with_a_graceful() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let mut httpd = two(&a, &b).start();
    let kept = httpd.socket().send(&Request::new("DELETE", MEMBER));
    assert_eq!(kept.status, 409);
    assert_says(&kept.text(), &["by the configuration, ", "disable it instead", "force=1"]);
    assert_eq!(httpd.socket().send(&Request::new("DELETE", &format!("{MEMBER}?force=1"))).status, 204);
    assert_eq!(httpd.socket().get(MEMBER).status, 404);
    httpd.graceful();
    assert_eq!(httpd.socket().get(MEMBER).status, 200);
}

fn an_order_for_a_member_is_seen_by_scripts_of_every_child_at_once(mpm: Mpm) {
    let [a, b] = ["a", "b"].map(Backend::new);
    let script = "function select(r) return lb.pool('app'):where({ version = '2' }) end";
    let httpd = two(&a, &b)
        .mpm(mpm)
        .children(3)
        .file("pick.lua", script)
        .config("<Location /script>\nLuaHookSelect pick.lua\n</Location>")
        .start();
    let served = || {
        let answers = (0..12).map(|_| httpd.client().get("/script"));
        answers.map(|response| (response.status, response.backend().to_owned())).collect::<Vec<_>>()
    };
    assert!(served().iter().all(|(status, _)| *status == 503), "nobody is of version 2");
    patch(&httpd, r#"{"meta":{"version":"2"}}"#);
    assert!(served().iter().all(|found| *found == (200, a.name().to_owned())), "{}", httpd.error_log());
    patch(&httpd, r#"{"meta":null}"#);
    assert!(served().iter().all(|(status, _)| *status == 503), "back to what is configured");
    httpd.assert_no_crash();
}

on_every_mpm!(an_order_for_a_member_is_seen_by_scripts_of_every_child_at_once);

#[test]
fn a_list_of_a_thousand_members_is_whole_after_its_child_is_killed_in_the_middle() {
    let [a, b] = ["a", "b"].map(Backend::new);
    let httpd = two(&a, &b).children(2).config("LuaBalancerMaxMembers 2000").start();
    let list: Vec<String> = (0..1_000)
        .map(|at| {
            format!(r#"{{"url":"http://127.0.1.{}:{}","name":"m{at}"}}"#, at % 250 + 1, 9_000 + at / 250)
        })
        .chain(
            [("a", &a), ("b", &b)].map(|(name, at)| format!(r#"{{"url":"{}","name":"{name}"}}"#, at.url())),
        )
        .collect();
    let body = format!("[{}]", list.join(","));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let _ = httpd.socket().try_send(&Request::json("PUT", MEMBERS, body.as_str()));
        });
        std::thread::sleep(Duration::from_millis(30));
        httpd.children().into_iter().for_each(|pid| httpd.kill_child(pid));
        asked.join().expect("the thread of the list");
    });
    wait_until("an answer", server_tests::patience(Duration::from_secs(2)), || {
        httpd.socket().try_send(&Request::get(MEMBERS)).is_ok_and(|response| response.status == 200)
    });
    let again = httpd.order("PUT", MEMBERS, &body);
    assert_eq!(again.status, 200, "{}", again.text());
    let dry = httpd.order("PUT", &format!("{MEMBERS}?dry_run=1"), &body);
    assert_eq!(dry.text(), r#"{"add":[],"change":[],"remove":[],"refused":[]}"#);
    assert_eq!(httpd.client().get("/app/x").status / 100, 2, "{}", httpd.error_log());
}
