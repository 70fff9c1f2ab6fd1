// SPDX-License-Identifier: Apache-2.0
//! Events, as the API tells them: each change once, at every door, over restarts and deaths, and as
//! soon as it is there.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use server_tests::{
    Backend, Builder, Httpd, Mpm, Request, Response, eventually, on_every_mpm, patience, pool, wait_until,
};

const SOON: Duration = Duration::from_secs(15);
const MEMBER: &str = "/api/v1/pools/app/members/a";

/// An answer of the server.
struct Told(Value);

impl Told {
    fn of(response: &Response) -> Self {
        assert_eq!(response.status, 200, "{}", response.text());
        Told(serde_json::from_str(&response.text()).expect("JSON"))
    }

    fn events(&self) -> &[Value] {
        self.0["events"].as_array().expect("a list")
    }

    fn next(&self) -> u64 {
        self.0["next"].as_u64().expect("a number")
    }

    fn lost(&self) -> u64 {
        self.0["lost"].as_u64().expect("a number")
    }
}

fn events(httpd: &Httpd, query: &str) -> Told {
    Told::of(&httpd.socket().get(&format!("/api/v1/events{query}")))
}

/// `kind pool/member old>new by (note)`, without what is not there.
fn short(event: &Value) -> String {
    let text = |key: &str| event[key].as_str();
    let mut parts = vec![text("kind").unwrap_or("no kind").to_owned()];
    parts.extend(
        text("pool").map(|pool| text("member").map_or(pool.to_owned(), |member| format!("{pool}/{member}"))),
    );
    parts.extend(text("old").zip(text("new")).map(|(old, new)| format!("{old}>{new}")));
    parts.extend(text("by").map(|by| by.rsplit('/').next().unwrap_or_default().to_owned()));
    parts.extend(text("note").map(|note| format!("({note})")));
    parts.join(" ")
}

/// Events of pool `app` since the last look, in the API and in the log.
struct Watch {
    from: u64,
    lines: usize,
}

impl Watch {
    const LINES: &str = r"lua_balancer:(notice|warn).* pool app";

    fn begin(httpd: &Httpd) -> Self {
        Watch { from: next(httpd), lines: httpd.count_log(Self::LINES) }
    }

    /// Exactly these events have happened, in any order, each with one line.
    #[track_caller]
    fn sees(&mut self, httpd: &Httpd, what: &str, expected: &[&str]) {
        let told = eventually(&format!("events of {what}"), SOON, || {
            let told = events(httpd, &format!("?since={}&pool=app", self.from));
            (told.events().len() >= expected.len()).then_some(told)
        });
        let mut found: Vec<String> = told.events().iter().map(short).collect();
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{what}: {:?}\n{}", told.0, httpd.error_log());
        assert_eq!(told.lost(), 0);
        self.from = told.next();
        let lines = httpd.count_log(Self::LINES);
        assert_eq!(lines - self.lines, expected.len(), "{what}: lines of the log\n{}", httpd.error_log());
        self.lines = lines;
        for event in told.events() {
            let message = event["message"].as_str().expect("a message");
            let pattern: String =
                message.chars().map(|c| if c.is_alphanumeric() { c } else { '.' }).collect();
            assert_eq!(httpd.count_log(&pattern), 1, "{message}\n{}", httpd.error_log());
        }
    }
}

fn next(httpd: &Httpd) -> u64 {
    events(httpd, "").next()
}

fn json(method: &str, target: &str, body: &str) -> Request {
    let request = Request::post(target, body).with_method(method);
    request.header("Content-Type", "application/json").header("Host", "localhost")
}

fn change(httpd: &Httpd, method: &str, target: &str, body: &str) {
    let response = httpd.socket().send(&json(method, target, body));
    assert!((200..300).contains(&response.status), "{}", response.text());
}

/// Three members, an API at `/lb`, and a script that drains.
fn server(mpm: Mpm, backends: &[Backend; 3], lines: &str) -> Builder {
    let members = backends.each_ref().map(|backend| (backend, ""));
    let script =
        "function translate(r)\n  local pool = lb.pool('app')\n  pool:member('b'):drain()\n  return 204\nend";
    Httpd::builder()
        .mpm(mpm)
        .children(2)
        .file("drains.lua", script)
        .config(&pool("app", &members, lines))
        .config("ProxyPass /app lb://app\n<Location /drains>\n  LuaHookTranslate drains.lua\n</Location>")
        .config("<Location /lb>\n  SetHandler lua-balancer\n  LuaBalancerAdmin on anonymous=on\n</Location>")
}

fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective())
        .ok()
        .flatten()
        .map_or_else(String::new, |user| user.name)
}

on_every_mpm!(
    each_order_is_one_event_and_one_line_at_every_door,
    checks_requests_and_time_have_their_events,
    numbers_go_on_over_restarts_and_killed_leaders,
    a_waiting_call_is_answered_with_the_event,
    a_waiting_call_is_answered_before_its_child_ends
);

fn each_order_is_one_event_and_one_line_at_every_door(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let mut httpd = server(mpm, &backends, "").start();
    let me = &user();
    let own = |text: &str| text.replace('@', me);
    let mut watch = Watch::begin(&httpd);
    let order = r#"{"admin":"drain","until":"2099-01-01T00:00:00Z","note":"deploy 42"}"#;
    change(&httpd, "PATCH", MEMBER, order);
    watch.sees(
        &httpd,
        "an order with its end and its note",
        &[&own("order app/a up>draining @ (deploy 42)")],
    );
    let response = httpd.client().send(&json("PATCH", &format!("/lb{MEMBER}"), r#"{"admin":"ready"}"#));
    assert_eq!(response.status, 200, "{}", response.text());
    watch.sees(&httpd, "the handler", &["order app/a draining>up"]);
    let last = events(&httpd, "?limit=1&pool=app");
    assert_eq!(last.events()[0]["from"], "127.0.0.1", "{:?}", last.0);
    change(&httpd, "PATCH", MEMBER, r#"{"max_inflight":7,"meta":{"x":"1"}}"#);
    watch.sees(&httpd, "limits", &[&own("order app/a @")]);
    let batch = r#"[{"method":"PATCH","path":"/api/v1/pools/app/members/a","body":{"admin":"drain","note":"one"}},
        {"method":"PATCH","path":"/api/v1/pools/app/members/b","body":{"admin":"disabled","note":"two"}}]"#;
    change(&httpd, "POST", "/api/v1/batch", batch);
    let both = [&*own("order app/a up>draining @ (one)"), &own("order app/b up>disabled @ (two)")];
    watch.sees(&httpd, "a batch", &both);
    let list = httpd.socket().get("/api/v1/pools/app/members").text();
    let mut list: Value = serde_json::from_str(&list).expect("JSON");
    list.as_array_mut()
        .expect("a list")
        .push(serde_json::json!({ "url": "http://127.0.0.1:9", "name": "d" }));
    list[2]["weight"] = 3.into();
    change(&httpd, "PUT", "/api/v1/pools/app/members", &list.to_string());
    watch.sees(&httpd, "a list", &[&own("member app/d @"), &own("order app/c @")]);
    change(&httpd, "DELETE", "/api/v1/pools/app/members/d", "");
    watch.sees(&httpd, "a removal", &[&own("member app/d @")]);
    change(&httpd, "PATCH", "/api/v1/pools/app/members/b", r#"{"admin":"ready"}"#);
    watch.sees(&httpd, "back", &[&own("order app/b disabled>up @")]);
    assert_eq!(httpd.client().get("/drains").status, 204);
    watch.sees(&httpd, "a script's order", &["order app/b up>draining drains.lua"]);
    httpd.edit_config("name=b ", "name=b zone=eu ");
    httpd.edit_config("name=c ", "name=c weight=9 ");
    httpd
        .edit_config("</LuaBalancerPool>", "LuaBalancerMember http://127.0.0.1:8 name=e\n</LuaBalancerPool>");
    httpd.graceful();
    watch.sees(&httpd, "another configuration", &["member app/e configuration", "order app/c configuration"]);
    change(&httpd, "PATCH", MEMBER, r#"{"admin":"disabled","until":1,"note":"a moment"}"#);
    let ended = own("order app/a disabled>up @ (a moment)");
    watch.sees(&httpd, "an order's end", &[&own("order app/a draining>disabled @ (a moment)"), &ended]);
    httpd.assert_no_crash();
}

fn checks_requests_and_time_have_their_events(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let lines = "LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1\n\
                 LuaBalancerOutlier on failures=2 ejection=1s count=connect,5xx";
    let httpd = server(mpm, &backends, lines).start();
    let mut watch = Watch::begin(&httpd);
    backends[0].health_status(500);
    watch.sees(&httpd, "a failed check", &["state app/a up>down checks"]);
    let last = events(&httpd, "?limit=1&pool=app");
    let why = last.events()[0]["why"].as_str().expect("a reason");
    assert!(why.starts_with("1 checks failed") && why.contains("500"), "{why}");
    backends[0].health_status(200);
    watch.sees(&httpd, "a passed check", &["state app/a down>up checks"]);
    backends[1].health_status(200);
    backends[1].status(503);
    let mut client = httpd.client();
    wait_until("an ejection", SOON, || {
        client.get("/app/");
        httpd.count_log("member b ejected") > 0
    });
    backends[1].answer();
    watch.sees(
        &httpd,
        "an ejection and its end",
        &["state app/b ejected>up time", "state app/b up>ejected requests"],
    );
    httpd.assert_no_crash();
}

/// A script that is saved, one that is refused, and one on trial that fails.
#[test]
fn saved_scripts_have_their_events() {
    let script = |n: u8| format!("function translate(r) return 20{n} end");
    let httpd = Httpd::builder()
        .file("plain.lua", &script(4))
        .file("tried.lua", &script(4))
        .config("<Location /plain>\n  LuaHookTranslate plain.lua\n</Location>")
        .config("<VirtualHost *:*>\n  ServerName tried\n  LuaBalancerRollout percent=100% for=60s errors=1%\n  LuaHookTranslate tried.lua\n</VirtualHost>")
        .start();
    let from = next(&httpd);
    let told = |count: usize| {
        let found = eventually(&format!("{count} events of scripts"), SOON, || {
            let told = events(&httpd, &format!("?since={from}"));
            let found: Vec<String> = told
                .events()
                .iter()
                .filter(|event| event["kind"] == "script")
                .map(|event| event["message"].as_str().expect("a message").to_owned())
                .collect();
            (found.len() >= count).then_some(found)
        });
        assert_eq!(found.len(), count, "{found:?}");
        found[count - 1].clone()
    };
    httpd.write("plain.lua", &script(3));
    assert!(told(1).contains("plain.lua: version 2 is in service"), "{}", told(1));
    httpd.write("plain.lua", "function translate(");
    let refused = told(2);
    assert!(refused.contains("plain.lua:1:") && refused.contains("not taken"), "{refused}");
    httpd.write("tried.lua", "function translate(r) error('broken on purpose') end");
    assert!(told(3).contains("tried.lua: the saved version is on trial"), "{}", told(3));
    wait_until("the end of the trial", SOON, || {
        httpd.client().get("/x");
        httpd.count_log("the saved version is not taken") > 0
    });
    let failed = told(4);
    assert!(failed.contains("tried.lua") && failed.contains("the one before serves everything"), "{failed}");
}

fn leader(httpd: &Httpd) -> Option<(u32, String)> {
    let status: Value = serde_json::from_str(&httpd.socket().get("/api/v1/status").text()).ok()?;
    let leader = &status["leader"];
    Some((u32::try_from(leader["pid"].as_u64()?).ok()?, leader["since"].as_str()?.to_owned()))
}

fn lead_changes(httpd: &Httpd) -> u64 {
    let text = httpd.socket().get("/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix("luabalancer_lead_changes_total "));
    line.expect("the metric").parse().expect("a number")
}

fn numbers_go_on_over_restarts_and_killed_leaders(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let mut httpd = server(mpm, &backends, "").start();
    let (mut seen, mut from): (Vec<u64>, u64) = (Vec::new(), 1);
    let (mut weights, mut leads) = (Vec::new(), 0);
    let mut take = |httpd: &Httpd| {
        let told = events(httpd, &format!("?since={from}"));
        assert_eq!(told.lost(), 0, "{:?}", told.0);
        seen.extend(told.events().iter().map(|event| event["seq"].as_u64().expect("a number")));
        weights.extend(
            told.events()
                .iter()
                .filter(|event| event["kind"] == "order")
                .map(|event| event["message"].to_string()),
        );
        leads += told.events().iter().filter(|event| event["kind"] == "lead").count() as u64;
        from = told.next();
        (leads, weights.len())
    };
    for round in 0..20u32 {
        change(&httpd, "PATCH", MEMBER, &format!(r#"{{"weight":{}}}"#, round + 2));
        if round % 5 == 0 {
            // The one before may still be named, and be gone by now.
            eventually("a leader that can be killed", SOON, || {
                let (pid, _) = leader(&httpd).filter(|(pid, _)| httpd.children().contains(pid))?;
                httpd.signal(pid, Signal::SIGKILL);
                Some(())
            });
        }
        if round == 9 {
            // A larger table.
            httpd.edit_config("<Location /lb>", "LuaBalancerDecisions size=5000\n<Location /lb>");
        }
        httpd.graceful();
        take(&httpd);
    }
    let (_, since) = eventually("a leader", SOON, || leader(&httpd));
    assert!(since.ends_with('Z'), "{since}");
    let changes = eventually("as many events as changes of the lead", SOON, || {
        let changes = lead_changes(&httpd);
        (take(&httpd).0 == changes).then_some(changes)
    });
    assert!(changes > 10, "{changes} changes of the lead");
    let (_, orders) = take(&httpd);
    assert_eq!(orders, 20, "{weights:?}");
    assert_eq!(weights.iter().collect::<std::collections::BTreeSet<_>>().len(), 20, "{weights:?}");
    let expected: Vec<u64> = (1..from).collect();
    assert_eq!(seen, expected);
}

/// How long a call takes, and what it gets.
fn timed(httpd: &Httpd, query: &str) -> (Duration, Told, Response) {
    let mut socket = httpd.socket();
    let start = Instant::now();
    let response = socket.get(&format!("/api/v1/events{query}"));
    (start.elapsed(), Told::of(&response), response)
}

fn a_waiting_call_is_answered_with_the_event(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let httpd = server(mpm, &backends, "").start();
    eventually("a leader", SOON, || leader(&httpd));
    let from = next(&httpd);
    thread::scope(|scope| {
        // One waits for the next event, the other one for the one after that.
        let call = |at: u64| {
            let query = format!("?since={}&pool=app&wait=20s", from + at);
            let httpd = &httpd;
            scope.spawn(move || timed(httpd, &query).1)
        };
        let (first, second) = (call(0), call(1));
        thread::sleep(Duration::from_millis(300));
        // Other calls are answered meanwhile.
        assert_eq!(httpd.socket().get("/health").status, 200);
        assert!(!first.is_finished() && !second.is_finished(), "somebody did not wait");
        for (at, (waiting, body)) in
            [(first, r#"{"admin":"drain"}"#), (second, r#"{"admin":"ready"}"#)].into_iter().enumerate()
        {
            change(&httpd, "PATCH", MEMBER, body);
            let changed = Instant::now();
            let told = waiting.join().expect("an answer");
            assert!(changed.elapsed() < patience(Duration::from_millis(100)), "{:?}", changed.elapsed());
            assert_eq!((told.events().len(), told.next()), (1, from + 1 + at as u64), "{:?}", told.0);
        }
    });
    let (took, told, _) = timed(&httpd, &format!("?since={}&wait=500ms", next(&httpd)));
    assert_eq!((told.events().len(), told.lost()), (0, 0), "{:?}", told.0);
    assert!(took >= Duration::from_millis(500) && took < patience(Duration::from_millis(900)), "{took:?}");
    // A call does not wait for an event that is there.
    let (took, told, _) = timed(&httpd, &format!("?since={from}&wait=20s"));
    assert!(!told.events().is_empty() && took < patience(Duration::from_secs(2)), "{took:?}");
}

fn a_waiting_call_is_answered_before_its_child_ends(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let mut httpd = server(mpm, &backends, "").start();
    for end in ["graceful", "restart", "stop"] {
        // Of a pool without events: the event of a new leader does not end the call.
        let path = httpd.socket_path();
        eventually("a leader", SOON, || leader(&httpd));
        let calls: Vec<_> = (0..6)
            .map(|_| {
                let path = path.clone();
                let target = format!("/api/v1/events?since={}&pool=none&wait=60s", next(&httpd));
                thread::spawn(move || {
                    let mut socket = server_tests::SocketClient::new(&path);
                    socket.try_send(&Request::get(&target))
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(300));
        let start = Instant::now();
        match end {
            "graceful" => httpd.graceful(),
            "restart" => httpd.restart(),
            _ => drop(httpd.stop()),
        }
        for call in calls {
            let response = call.join().expect("a client").unwrap_or_else(|error| panic!("{end}: {error}"));
            let told = Told::of(&response);
            assert_eq!(told.events().len(), 0, "{end}: {:?}", told.0);
            assert!(response.headers.lists("Connection", "close"), "{end}: {}", response.text());
        }
        assert!(start.elapsed() < patience(Duration::from_secs(10)), "{end}: {:?}", start.elapsed());
    }
    httpd.assert_no_crash();
}

#[test]
fn events_that_have_made_room_for_others_are_counted() {
    let members: String =
        (0..300).map(|at| format!("LuaBalancerMember http://127.0.0.1:{} name=m{at}\n", at + 1)).collect();
    let httpd =
        Httpd::builder().config(&format!("<LuaBalancerPool app>\n{members}</LuaBalancerPool>")).start();
    for round in 2..7 {
        let patches: Vec<String> = (0..300).map(|at| format!(
            r#"{{"method":"PATCH","path":"/api/v1/pools/app/members/m{at}","body":{{"weight":{round}}}}}"#
        )).collect();
        change(&httpd, "POST", "/api/v1/batch", &format!("[{}]", patches.join(",")));
    }
    let told = events(&httpd, "?since=1");
    let last = told.next() - 1;
    assert!(last >= 1500, "{last}");
    assert_eq!((told.events().len(), told.lost()), (1024, last - 1024));
    assert_eq!(told.events()[0]["seq"].as_u64(), Some(last - 1023));
    let told = events(&httpd, &format!("?since={}", last - 1025));
    assert_eq!((told.events().len(), told.lost()), (1024, 2));
    // In parts, as a program reads that comes late.
    let (mut from, mut count) = (last - 1023, 0);
    while from <= last {
        let told = events(&httpd, &format!("?since={from}&limit=100"));
        assert!((1..=100).contains(&told.events().len()) && told.lost() == 0);
        (from, count) = (told.next(), count + told.events().len());
    }
    assert_eq!(count, 1024);
    assert_eq!(events(&httpd, "").lost(), 0);
    // A number of the server before its last stop.
    let told = events(&httpd, "?since=999999");
    assert_eq!((told.events().len(), told.lost(), told.next()), (1024, 0, last + 1));
}

#[test]
fn wrong_parameters_are_refused_with_what_was_expected() {
    let httpd = server(Mpm::Event, &Backend::named(["a", "b", "c"]), "").start();
    for (query, key) in [
        ("since=", "since"),
        ("since=-1", "since"),
        ("since=x", "since"),
        ("since=1.5", "since"),
        ("since=99999999999999999999", "since"),
        ("since=1&since=2", "since"),
        ("limit=0", "limit"),
        ("limit=1025", "limit"),
        ("limit=+5", "limit"),
        ("wait=", "wait"),
        ("wait=forever", "wait"),
        ("wait=-1s", "wait"),
        ("wait=6m", "wait"),
    ] {
        let response = httpd.socket().get(&format!("/api/v1/events?{query}"));
        assert_eq!(response.status, 422, "{query}: {}", response.text());
        let problem: Value = serde_json::from_str(&response.text()).expect("JSON");
        assert_eq!(problem["field"], key, "{query}: {problem}");
    }
    let at_handler =
        httpd.client().send(&Request::get("/lb/api/v1/events?wait=1s").header("Host", "localhost"));
    assert_eq!(at_handler.status, 422, "{}", at_handler.text());
    assert!(at_handler.text().contains("socket"), "{}", at_handler.text());
    let at_handler = httpd.client().send(&Request::get("/lb/api/v1/events").header("Host", "localhost"));
    assert_eq!(at_handler.text(), httpd.socket().get("/api/v1/events").text());
    assert_eq!(httpd.socket().send(&json("POST", "/api/v1/events", "{}")).status, 405);
}

#[test]
fn lbctl_follows_what_happens() {
    use std::io::{BufRead, BufReader};
    let httpd = server(Mpm::Event, &Backend::named(["a", "b", "c"]), "").start();
    change(&httpd, "PATCH", MEMBER, r#"{"admin":"drain","note":"deploy 42"}"#);
    let shown = httpd.lbctl(&["events"]).done();
    assert!(shown.out.contains("order app/a up → draining"), "{}", shown.out);
    assert!(shown.out.contains("deploy 42"), "{}", shown.out);
    let mut follower = httpd.lbctl_beside(&["events", "-f", "--pool", "app", "-o", "json"]);
    let mut lines = BufReader::new(follower.stdout.take().expect("its output")).lines();
    let first: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
    assert_eq!((&first["kind"], &first["new"]), (&"order".into(), &"draining".into()));
    change(&httpd, "PATCH", MEMBER, r#"{"admin":"ready"}"#);
    let second: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
    assert_eq!((&second["old"], &second["new"]), (&"draining".into(), &"up".into()));
    follower.kill().expect("its end");
    follower.wait().expect("its end");
}
