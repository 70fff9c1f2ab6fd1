// SPDX-License-Identifier: Apache-2.0
//! Orders that people give over the API: kept over restarts, ended by the leader of the time, and
//! read by every child at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use server_tests::{
    Backend, Builder, Httpd, Mpm, Request, Response, SocketClient, assert_says, on_every_mpm, pool,
    wait_until,
};

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

/// A person who gives one order after the other of a member, and reads each of them.
struct Orderer<'s> {
    send: &'s mut dyn FnMut(&Request) -> Option<Response>,
    path: String,
    /// Where the order that was answered last is to be read. None: the answer to it got lost.
    known: Option<u64>,
    given: u64,
}

impl Orderer<'_> {
    /// One order, or another try of it, and a look at it.
    fn turn(&mut self) {
        let next = self.given + 1;
        let body = format!(r#"{{"max_inflight":{next}}}"#);
        let request = Request::json("PATCH", &self.path, body).header("Host", "localhost");
        match (self.send)(&request) {
            Some(response) if response.status == 200 => (self.known, self.given) = (Some(next), next),
            // More than 200 in a second: somebody who orders waits, and tries again.
            Some(response) if response.status == 429 => thread::sleep(Duration::from_millis(20)),
            Some(response) => refuses_for_a_moment(&response),
            None => (self.known, self.given) = (None, next),
        }
        match (self.send)(&Request::get(&self.path).header("Host", "localhost")) {
            Some(response) if response.status == 200 => self.compare(&response.text()),
            Some(response) => refuses_for_a_moment(&response),
            None => {}
        }
    }

    fn compare(&mut self, document: &str) {
        let Some(known) = self.known else { return };
        let expected = format!(r#""max_inflight":{known},"#);
        assert!(known == 0 || document.contains(&expected), "order {known} is lost: {document}");
    }
}

#[track_caller]
fn refuses_for_a_moment(response: &Response) {
    let found = (response.status, response.header("Retry-After"));
    assert_eq!(found, (503, Some("1")), "{}", response.text());
    std::thread::sleep(Duration::from_millis(5));
}

/// All end with this value, also when a thread panics.
struct EndsAll<'e>(&'e AtomicBool);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn orders_that_were_answered_outlive_larger_tables(mpm: Mpm) {
    let members = ["a", "b", "c"].map(Backend::new);
    let lines = members.each_ref().map(|member| (member, ""));
    members.iter().for_each(|member| member.slow(Duration::from_millis(700)));
    let mut httpd = Httpd::builder()
        .mpm(mpm)
        .children(2)
        .config(&pool("app", &lines, ""))
        .config("ProxyPass /app lb://app\nLuaBalancerDecisions size=100")
        .config("<Location /lb>\n  SetHandler lua-balancer\n  LuaBalancerAdmin on anonymous=on\n</Location>")
        .start();
    let (ends, turns) = (AtomicBool::new(false), AtomicU64::new(0));
    let ends = &EndsAll(&ends);
    let order = |member: &str, base: &str, send: &mut dyn FnMut(&Request) -> Option<Response>| {
        let path = format!("{base}/api/v1/pools/app/members/{member}");
        let mut orderer = Orderer { send, path, known: Some(0), given: 0 };
        let _all = EndsAll(ends.0);
        while !ends.0.load(Ordering::Relaxed) {
            orderer.turn();
            turns.fetch_add(1, Ordering::Relaxed);
        }
    };
    let (path, order) = (httpd.socket_path(), &order);
    std::thread::scope(|scope| {
        let _all = EndsAll(ends.0);
        // Two at the socket, of whom one keeps its connection, and one at the handler.
        let mut kept = SocketClient::new(&path);
        scope.spawn(move || order("a", "", &mut |request| kept.try_send(request).ok()));
        scope.spawn(|| order("b", "", &mut |request| SocketClient::new(&path).try_send(request).ok()));
        let mut client = httpd.client();
        scope.spawn(move || order("c", "/lb", &mut |request| client.try_send(request).ok()));
        for size in 101..107 {
            // The children of before stay for this one.
            let mut slow = httpd.client();
            scope.spawn(move || slow.try_send(&Request::get("/app/")).map(drop));
            wait_until("a request in flight", SOON, || members.iter().any(|member| member.in_flight() > 0));
            httpd.edit_config(&format!("size={}", size - 1), &format!("size={size}"));
            httpd.graceful();
            let before = turns.load(Ordering::Relaxed);
            wait_until("some orders more", SOON, || turns.load(Ordering::Relaxed) > before + 30);
        }
        drop(EndsAll(ends.0));
    });
    httpd.assert_no_crash();
}

on_every_mpm!(
    orders_that_were_answered_outlive_larger_tables,
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
