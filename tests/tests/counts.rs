// SPDX-License-Identifier: Apache-2.0
//! What is counted of requests: each once, by how it ended, in all children together, and never
//! less than before.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use server_tests::{
    Backend, Builder, Httpd, Load, Mpm, Request, Step, on_every_mpm, patience, pool, slower, wait_until,
};

const SOON: Duration = Duration::from_secs(15);

/// The counts of a line, those of a histogram's buckets one by one.
type Counts = BTreeMap<String, u64>;

/// The line of the snapshot whose first word is this and whose second one ends so.
fn counts(httpd: &Httpd, kind: &str, name: &str) -> Counts {
    let text = httpd.snapshot();
    counts_in(&text, kind, name).unwrap_or_else(|| panic!("no {kind} of {name} in:\n{text}"))
}

fn counts_in(text: &str, kind: &str, name: &str) -> Option<Counts> {
    let line = text.lines().find(|line| {
        let mut words = line.split(' ');
        words.next() == Some(kind) && words.next().is_some_and(|word| word.trim_matches('"').ends_with(name))
    })?;
    let mut found = Counts::new();
    for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
        for (at, number) in value.split(',').enumerate() {
            let number = number.parse().unwrap_or_else(|_| panic!("{key}= is no count in {line}"));
            found.insert(if value.contains(',') { format!("{key}.{at}") } else { key.to_owned() }, number);
        }
    }
    Some(found)
}

fn of_pool(httpd: &Httpd, pool: &str) -> Counts {
    counts(httpd, "pool_counts", pool)
}

fn of_member(httpd: &Httpd, member: &str) -> Counts {
    counts(httpd, "member_counts", member)
}

/// What has become more, without durations and bytes.
fn more(before: &Counts, now: &Counts) -> Counts {
    let is_count = |key: &str| !["sum_us", "buckets", "bytes"].iter().any(|part| key.contains(part));
    let grown = now.iter().map(|(key, count)| {
        let before = before.get(key).copied().unwrap_or(0);
        assert!(*count >= before, "{key} was {before} and is {count}");
        (key.clone(), count - before)
    });
    grown.filter(|(key, count)| *count > 0 && is_count(key)).collect()
}

/// Counts as text: `ok=1 2xx=1`.
fn words(counts: &Counts) -> String {
    let words: Vec<String> = counts.iter().map(|(key, count)| format!("{key}={count}")).collect();
    words.join(" ")
}

fn sum(counts: &Counts, of: &str) -> u64 {
    counts.iter().filter(|(key, _)| key.starts_with(of)).map(|(_, count)| count).sum()
}

/// A request is counted when it is over, which may be a moment after its answer.
fn wait_for_more(what: &str, before: &Counts, wanted: &str, now: impl Fn() -> Counts) {
    let last = std::cell::RefCell::new(String::new());
    let is_there = || {
        last.replace(words(&more(before, &now())));
        *last.borrow() == wanted
    };
    let started = std::time::Instant::now();
    while !is_there() {
        assert!(started.elapsed() < patience(SOON), "{what}: expected {wanted:?}, found {:?}", last.borrow());
        thread::sleep(Duration::from_millis(10));
    }
}

/// One member, asked once for each request.
fn alone(mpm: Mpm, a: &Backend) -> Httpd {
    Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .config(&pool("app", &[(a, "timeout=1")], "LuaBalancerOutlier off\nLuaBalancerSet retries=0"))
        .config("ProxyPass /app lb://app")
        .start()
}

fn get(httpd: &Httpd) {
    httpd.client().get("/app/x");
}

/// Begins to read a long answer, and goes.
fn go_away(httpd: &Httpd) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, httpd.port())).expect("connect");
    stream.write_all(b"GET /app/long HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    let mut some = [0; 1000];
    stream.read_exact(&mut some).expect("the beginning of the answer");
}

/// How the backend behaves, what the client does, and what becomes more of the member and the pool.
type Case<'c> = (&'c dyn Fn(&Backend), fn(&Httpd), &'c str, &'c str);

on_every_mpm!(each_end_of_a_request_is_counted_once);

fn each_end_of_a_request_is_counted_once(mpm: Mpm) {
    let a = Backend::new("a");
    let httpd = alone(mpm, &a);
    let answer = |code: u16| move |a: &Backend| a.status(code);
    let endless = |a: &Backend| {
        let header = "HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n";
        a.play([Step::send(header), Step::Repeat("x".repeat(65_536), 4000)]);
    };
    let go_without = |httpd: &Httpd| drop(httpd.client().try_get("/app/x"));
    let cases: [Case<'_>; 11] = [
        (&Backend::answer, get, "2xx=1 ok=1", "ok=1"),
        (&answer(302), get, "3xx=1 ok=1", "ok=1"),
        (&answer(404), get, "4xx=1 ok=1", "ok=1"),
        (&answer(500), get, "5xx=1 status=1", "status=1"),
        (&answer(503), get, "5xx=1 status=1", "status=1"),
        (&Backend::refuse, get, "connect=1", "connect=1"),
        (&Backend::answer, get, "2xx=1 ok=1", "ok=1"),
        (&Backend::close_after_accept, get, "reset=1", "reset=1"),
        (&Backend::half_body, go_without, "reset=1", "reset=1"),
        (&Backend::hang, get, "timeout=1", "timeout=1"),
        (&endless, go_away, "aborted=1", "aborted=1"),
    ];
    for (nth, (manner, ask, of_a, of_app)) in cases.into_iter().enumerate() {
        let before = (of_member(&httpd, "app/a"), of_pool(&httpd, "app"));
        manner(&a);
        ask(&httpd);
        wait_for_more(&format!("member, case {nth}"), &before.0, of_a, || of_member(&httpd, "app/a"));
        wait_for_more(&format!("pool, case {nth}"), &before.1, of_app, || of_pool(&httpd, "app"));
    }
    let (of_a, of_app) = (of_member(&httpd, "app/a"), of_pool(&httpd, "app"));
    assert_eq!((sum(&of_a, "buckets."), sum(&of_app, "buckets.")), (11, 11), "a duration for each");
    assert!(of_a["sum_us"] >= 1_000_000 && of_app["sum_us"] >= of_a["sum_us"], "{of_a:?}, {of_app:?}");
    assert_eq!(sum(&of_app, "queue.buckets."), 0, "nobody waited for a place");
    httpd.assert_no_crash();
}

#[test]
fn a_handshake_and_a_protocol_of_its_own_are_answers_as_well() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "upgrade=websocket")], "LuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app")
        .start();
    let before = of_member(&httpd, "app/a");
    let upgrade = Request::get("/app/x").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let mut client = httpd.client();
    assert_eq!(client.send(&upgrade).status, 101);
    client.disconnect();
    wait_for_more("the upgrade", &before, "1xx=1 ok=1", || of_member(&httpd, "app/a"));
}

#[test]
fn bytes_and_durations_are_those_of_the_attempts() {
    let a = Backend::new("a");
    let httpd = alone(Mpm::Event, &a);
    a.play([Step::ReadBody, Step::answer(200, &"y".repeat(20_000))]);
    let answer = httpd.client().send(&Request::post("/app/x", vec![b'x'; 7000]));
    assert_eq!(answer.body.len(), 20_000);
    wait_until("the request to be counted", SOON, || of_member(&httpd, "app/a")["ok"] == 1);
    let of_a = of_member(&httpd, "app/a");
    assert!((7000..8000).contains(&of_a["sent_bytes"]), "{of_a:?}");
    assert!((20_000..21_000).contains(&of_a["received_bytes"]), "{of_a:?}");
    // Within 0.05 s (the fifth bucket) at the very best.
    a.slow(Duration::from_millis(60));
    get(&httpd);
    wait_until("the other one to be counted", SOON, || of_member(&httpd, "app/a")["ok"] == 2);
    let of_a = of_member(&httpd, "app/a");
    let late: u64 = (5..12).map(|at| of_a[&format!("buckets.{at}")]).sum();
    assert!(late >= 1 && of_a["sum_us"] >= 60_000, "{of_a:?}");
    assert!(of_pool(&httpd, "app")["sum_us"] >= 60_000);
}

#[test]
fn members_of_one_backend_have_their_own_bytes() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "")], ""))
        .config(&pool("other", &[(&a, "")], ""))
        .config("ProxyPass /app lb://app\nProxyPass /other lb://other")
        .start();
    a.play([Step::ReadBody, Step::answer(200, &"y".repeat(10_000))]);
    for (path, times) in [("/app/x", 1), ("/other/x", 2), ("/app/x", 1)] {
        for _ in 0..times {
            httpd.client().send(&Request::post(path, vec![b'x'; 3000]));
        }
    }
    for (name, times) in [("app/a", 2), ("other/a", 2)] {
        wait_until("all to be counted", SOON, || of_member(&httpd, name)["ok"] == times);
        let counts = of_member(&httpd, name);
        let (sent, received) = (counts["sent_bytes"], counts["received_bytes"]);
        assert!((3000..4000).contains(&(sent / times)), "{name}: {counts:?}");
        assert!((10_000..11_000).contains(&(received / times)), "{name}: {counts:?}");
    }
}

#[test]
fn an_error_document_from_another_pool_is_a_request_there() {
    let [a, b] = Backend::named(["a", "b"]);
    a.refuse();
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "")], "LuaBalancerOutlier off"))
        .config(&pool("excuses", &[(&b, "")], ""))
        .config("ProxyPass /app lb://app\nProxyPass /excuses lb://excuses\nErrorDocument 503 /excuses/sorry")
        .start();
    for _ in 0..3 {
        assert_eq!(httpd.client().get("/app/x").backend(), "b");
    }
    wait_for_more("the request", &Counts::new(), "connect=3", || of_pool(&httpd, "app"));
    wait_for_more("its page", &Counts::new(), "ok=3", || of_pool(&httpd, "excuses"));
    assert_eq!(of_member(&httpd, "excuses/b")["2xx"], 3);
}

#[test]
fn what_went_to_no_pool_is_counted_in_none() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = format!("function elsewhere(r) return '{}/x' end", b.url());
    let httpd = Httpd::builder()
        .with_member_states()
        .file("elsewhere.lua", &script)
        .config(&pool("app", &[(&a, "")], ""))
        .config("<Location /target>\n  LuaHookTranslate elsewhere.lua elsewhere\n</Location>")
        .start();
    assert_eq!(httpd.client().get("/target").backend(), "b");
    wait_until("the call", SOON, || counts(&httpd, "script_counts", "elsewhere.lua")["ok"] == 1);
    assert_eq!(words(&more(&Counts::new(), &of_pool(&httpd, "app"))), "");
}

#[test]
fn further_attempts_are_counted_by_their_reason_and_the_request_once() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines =
        "LuaBalancerMethod first\nLuaBalancerOutlier off\nLuaBalancerSet retry_on=connect,reset,timeout";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, "timeout=1"), (&b, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    type Manner = fn(&Backend);
    let cases: [(Manner, &str, &str); 3] = [
        (Backend::refuse, "connect", "ok=1 retries.connect=1"),
        (Backend::close_after_accept, "reset", "ok=1 retries.reset=1"),
        (Backend::hang, "timeout", "ok=1 retries.timeout=1"),
    ];
    for (manner, word, wanted) in cases {
        let of = |name: &str| of_member(&httpd, name);
        let before = (of("app/a"), of("app/b"), of_pool(&httpd, "app"));
        a.answer();
        manner(&a);
        assert_eq!(httpd.client().get("/app/x").backend(), "b", "{word}");
        wait_for_more(word, &before.0, &format!("{word}=1"), || of("app/a"));
        wait_for_more(word, &before.1, "2xx=1 ok=1", || of("app/b"));
        wait_for_more(word, &before.2, wanted, || of_pool(&httpd, "app"));
    }
    let of_app = of_pool(&httpd, "app");
    assert!(of_app["sum_us"] >= 1_000_000, "the attempt in vain belongs to the request: {of_app:?}");
}

#[test]
fn a_request_that_nobody_could_be_asked_for_says_why() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .with_member_states()
        .with_acts()
        .file("fails.lua", "function pick(pool, r) error('no idea') end")
        .config(&pool("app", &[(&a, "")], ""))
        .config(&pool("scripted", &[(&a, "")], "LuaBalancerMethod lua fails.lua pick"))
        .config("ProxyPass /app lb://app\nProxyPass /scripted lb://scripted")
        .start();
    httpd.act("app/disable/a");
    let before = (of_pool(&httpd, "app"), of_pool(&httpd, "scripted"));
    assert_eq!(httpd.client().get("/app/x").status, 503);
    wait_for_more("nobody", &before.0, "no_member=1", || of_pool(&httpd, "app"));
    assert_eq!(httpd.client().get("/scripted/x").status, 500);
    wait_for_more("a script", &before.1, "script=1", || of_pool(&httpd, "scripted"));
    assert_eq!(sum(&of_member(&httpd, "app/a"), "buckets."), 0, "nobody was asked");
}

fn waiting(a: &Backend, queue: &str, threads: usize) -> Httpd {
    let lines = format!("LuaBalancerOutlier off\nLuaBalancerSet queue={queue}");
    Httpd::builder()
        .children(1)
        .threads(threads)
        .with_member_states()
        .config(&pool("app", &[(a, "max_inflight=1")], &lines))
        .config("ProxyPass /app lb://app")
        .start()
}

/// Sends a request that is answered whenever there is a place.
fn ask(httpd: &Httpd) -> thread::JoinHandle<u16> {
    let mut client = httpd.client().timeout(Duration::from_secs(60));
    thread::spawn(move || client.get("/app/x").status)
}

#[test]
fn waits_for_a_place_are_counted_with_their_time() {
    let a = Backend::new("a");
    a.hang();
    let httpd = waiting(&a, "300ms", 32);
    let held = ask(&httpd);
    wait_until("a request", SOON, || a.in_flight() == 1);
    let before = of_pool(&httpd, "app");
    assert_eq!(httpd.client().get("/app/x").status, 503);
    wait_for_more("a wait in vain", &before, "queue_timeout=1", || of_pool(&httpd, "app"));
    let of_app = of_pool(&httpd, "app");
    assert_eq!(sum(&of_app, "queue.buckets."), 1);
    assert!(of_app["queue.sum_us"] >= 300_000 && of_app["sum_us"] >= 300_000, "{of_app:?}");
    a.answer();
    assert_eq!(held.join().expect("a client"), 200);

    let httpd = waiting(&a, "60s", 32);
    a.hang();
    let held = [ask(&httpd), ask(&httpd)];
    wait_until("a request in the queue", SOON, || {
        a.in_flight() == 1 && httpd.snapshot().lines().any(|line| line.contains(" queued=1 "))
    });
    a.answer();
    for request in held {
        assert_eq!(request.join().expect("a client"), 200);
    }
    wait_for_more("a wait", &Counts::new(), "ok=2", || of_pool(&httpd, "app"));
    assert_eq!(sum(&of_pool(&httpd, "app"), "queue.buckets."), 1, "only one has waited");
}

#[test]
fn a_full_queue_and_a_client_that_goes_from_it_are_told_apart() {
    let a = Backend::new("a");
    a.hang();
    // Of four threads two may wait.
    let httpd = waiting(&a, "60s", 4);
    let mut held = vec![ask(&httpd)];
    wait_until("a request", SOON, || a.in_flight() == 1);
    let mut gone = TcpStream::connect((Ipv4Addr::LOCALHOST, httpd.port())).expect("connect");
    gone.write_all(b"GET /app/gone HTTP/1.1\r\nHost: x\r\n\r\n").expect("send");
    held.push(ask(&httpd));
    wait_until("two in the queue", SOON, || httpd.snapshot().lines().any(|line| line.contains(" queued=2 ")));
    let before = of_pool(&httpd, "app");
    assert_eq!(httpd.client().get("/app/x").status, 503);
    wait_for_more("a full queue", &before, "queue_full=1", || of_pool(&httpd, "app"));
    let before = of_pool(&httpd, "app");
    drop(gone);
    wait_for_more("a client that goes", &before, "aborted=1", || of_pool(&httpd, "app"));
    a.answer();
    for request in held {
        assert_eq!(request.join().expect("a client"), 200);
    }
}

#[test]
fn sessions_are_kept_moved_new_and_lost() {
    let [a, b] = Backend::named(["a", "b"]);
    let sticky = |force: &str| format!("LuaBalancerSticky cookie=LB {force}\nLuaBalancerOutlier off");
    let httpd = Httpd::builder()
        .with_member_states()
        .with_acts()
        .config(&pool("app", &[(&a, ""), (&b, "")], &sticky("")))
        .config(&pool("forced", &[(&a, ""), (&b, "")], &sticky("force=on")))
        .config("ProxyPass /app lb://app\nProxyPass /forced lb://forced")
        .start();
    let before = of_pool(&httpd, "app");
    assert_eq!(httpd.client().get("/app/x").status, 200);
    wait_for_more("no session", &before, "ok=1 sessions.new=1", || of_pool(&httpd, "app"));
    let with = |path: &str| httpd.client().send(&Request::get(path).header("Cookie", "LB=.a"));
    let before = of_pool(&httpd, "app");
    assert_eq!(with("/app/x").backend(), "a");
    wait_for_more("a session", &before, "ok=1 sessions.kept=1", || of_pool(&httpd, "app"));
    httpd.act("app/disable/a");
    httpd.act("forced/disable/a");
    let before = of_pool(&httpd, "app");
    assert_eq!(with("/app/x").backend(), "b");
    wait_for_more("its member is out", &before, "ok=1 sessions.moved=1", || of_pool(&httpd, "app"));
    let before = of_pool(&httpd, "forced");
    assert_eq!(with("/forced/x").status, 503);
    wait_for_more("none may have it", &before, "no_member=1 sessions.lost=1", || of_pool(&httpd, "forced"));
}

#[test]
fn ejections_changes_of_state_and_checks_are_counted() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let lines = "LuaBalancerOutlier on failures=1 ejection=60s";
    let check = "LuaBalancerHealthCheck http uri=/health interval=50ms rise=1 fall=1";
    let httpd = Httpd::builder()
        .with_member_states()
        .with_acts()
        .config(&pool("app", &[(&a, ""), (&b, "")], lines))
        .config(&pool("checked", &[(&c, "")], check))
        .config("ProxyPass /app lb://app")
        .start();
    let before = of_member(&httpd, "app/a");
    a.refuse();
    wait_until("a to be ejected", SOON, || {
        httpd.client().get("/app/");
        httpd.member("app", "a").state == "ejected"
    });
    wait_for_more("a", &before, "connect=1 ejections=1 transitions=1", || of_member(&httpd, "app/a"));
    httpd.act("app/drain/b");
    wait_until("b's change", SOON, || of_member(&httpd, "app/b")["transitions"] == 1);
    wait_until("some checks", SOON, || of_member(&httpd, "checked/c")["checks_ok"] > 2);
    c.health_status(500);
    wait_until("c to be down", SOON, || httpd.member("checked", "c").state == "down");
    let of_c = of_member(&httpd, "checked/c");
    assert!(of_c["checks_failed"] >= 1 && of_c["transitions"] == 1, "{of_c:?}");
    assert_eq!(of_c["ok"], 0, "checks are no attempts");
}

const CALLS: &str = r#"
function decided(r) return lb.pool("app") end
function declined(r) return nil end
function failed(r) error("no idea") end
function endless(r) while true do end end
function greedy(r)
  local all = {}
  for n = 1, 1e9 do all[n] = ("x"):rep(1000) .. n end
end
function finished(r, result) end
function tick() end
"#;

#[test]
fn calls_of_a_script_are_counted_by_how_they_ended() {
    let a = Backend::new("a");
    let place =
        |name: &str| format!("<Location /{name}>\n  LuaHookTranslate calls.lua {name}\n</Location>\n");
    let httpd = Httpd::builder()
        .with_member_states()
        .file("calls.lua", CALLS)
        .config(&format!("LuaBalancerScriptLimit time={}ms memory=1M", 50 * slower()))
        .config(&pool("app", &[(&a, "")], ""))
        .config(&["decided", "declined", "failed", "endless", "greedy"].map(place).concat())
        .config("<Location /finished>\n  LuaHookFinish calls.lua finished\n</Location>")
        .config("ProxyPass /finished lb://app")
        .start();
    let of_script = || counts(&httpd, "script_counts", "calls.lua");
    for (path, wanted) in [
        ("/decided", "ok=1"),
        ("/declined", "declined=1"),
        ("/failed", "error=1"),
        ("/endless", "time_limit=1"),
        ("/greedy", "memory_limit=1"),
        ("/finished", "ok=1"),
    ] {
        let before = of_script();
        httpd.client().get(path);
        wait_for_more(path, &before, wanted, of_script);
    }
    let took = of_script()["sum_us"];
    assert!((50_000..60_000_000).contains(&took), "{took}");
}

#[test]
fn timers_are_calls_as_well() {
    let httpd = Httpd::builder()
        .with_member_states()
        .file("calls.lua", CALLS)
        .config("LuaBalancerTimer calls.lua tick every=50ms")
        .start();
    wait_until("some ticks", SOON, || counts(&httpd, "script_counts", "calls.lua")["ok"] > 2);
}

fn growing(a: &Backend, b: &Backend) -> Builder {
    let check = "LuaBalancerHealthCheck http uri=/health interval=100ms";
    Httpd::builder()
        .threads(16)
        .with_member_states()
        .file("calls.lua", CALLS)
        .config("KeepAliveTimeout 1\n<Location /decided>\n  LuaHookTranslate calls.lua decided\n</Location>")
        .config(&pool("app", &[(a, ""), (b, "")], check))
        .config("ProxyPass /app lb://app")
}

/// All counts of a server, each under a name of its own.
fn all(httpd: &Httpd) -> Counts {
    let text = httpd.snapshot();
    let lines = [("pool_counts", "app"), ("member_counts", "app/a"), ("member_counts", "app/b")];
    let lines = lines.into_iter().chain([("script_counts", "calls.lua")]);
    let found = lines.flat_map(|(kind, name)| {
        let counts = counts_in(&text, kind, name).unwrap_or_else(|| panic!("no {kind} of {name}:\n{text}"));
        counts.into_iter().map(move |(key, count)| (format!("{name} {key}"), count))
    });
    found.collect()
}

on_every_mpm!(no_count_is_ever_lower_than_it_was);

fn no_count_is_ever_lower_than_it_was(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = growing(&a, &b).mpm(mpm).children(3).start();
    let loads = ["/app/", "/decided/"].map(|target| Load::start(httpd.port(), target, 2));
    let mut before = all(&httpd);
    let mut look = |httpd: &Httpd, what: &str| {
        for _ in 0..5 {
            let now = all(httpd);
            for (key, count) in &before {
                assert!(now[key] >= *count, "{what}: {key} was {count} and is {}", now[key]);
            }
            before = now;
        }
    };
    for round in 0..20 {
        httpd.graceful();
        look(&httpd, &format!("graceful {round}"));
    }
    for round in 0..20 {
        let children = httpd.wait_for_children(1);
        httpd.kill_child(children[round % children.len()]);
        loads[0].wait_for(3);
        look(&httpd, &format!("kill {round}"));
    }
    httpd.restart();
    look(&httpd, "restart");
    let asked: usize = loads.into_iter().map(|load| load.stop().responses()).sum();
    let of_app = of_pool(&httpd, "app");
    // Requests of killed children are not counted, and some of them were sent twice.
    assert!(of_app["ok"] > asked as u64 / 2, "{asked} answers: {of_app:?}");
    httpd.assert_no_crash();
}

#[test]
fn a_table_that_grows_takes_the_counts_along() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = growing(&a, &b).config("LuaBalancerMaxMembers 16").start();
    for target in ["/app/x", "/decided/x"].iter().cycle().take(20) {
        assert_eq!(httpd.client().get(target).status, 200);
    }
    wait_until("all to be counted", SOON, || of_pool(&httpd, "app")["ok"] == 20);
    let before = all(&httpd);
    httpd.edit_config("LuaBalancerMaxMembers 16", "LuaBalancerMaxMembers 5000");
    httpd.restart();
    let room = |line: &str| line.split('/').nth(1)?.split(' ').next()?.parse::<u32>().ok();
    let text = httpd.snapshot();
    let members = text.lines().find_map(|line| room(line.strip_prefix("table members=")?));
    assert!(members.is_some_and(|members| members > 5000), "it has grown:\n{text}");
    let grown = more(&before, &all(&httpd));
    let kept: Vec<_> = grown.keys().filter(|key| !key.contains("checks_")).collect();
    assert!(kept.is_empty(), "no request since: {grown:?}");
}

#[test]
fn a_member_that_was_removed_and_added_again_counts_from_0() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = growing(&a, &b).with_acts().start();
    let added = Backend::new("c");
    httpd.act(&format!("app/add/c/{}", added.port()));
    wait_until("c to be asked", SOON, || {
        httpd.client().get("/app/x");
        of_member(&httpd, "app/c")["ok"] > 0
    });
    httpd.act("app/remove/c");
    assert_eq!(counts_in(&httpd.snapshot(), "member_counts", "app/c"), None);
    httpd.act(&format!("app/add/c/{}", added.port()));
    let of_c = of_member(&httpd, "app/c");
    let requests = ["ok", "connect", "2xx", "sent_bytes", "sum_us"].map(|key| of_c[key]);
    assert_eq!(requests, [0; 5], "{of_c:?}");
}

#[test]
fn every_child_counts_into_the_same_numbers() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = growing(&a, &b).children(2).start();
    let mut clients: Vec<_> = httpd.clients_in_children(2, "/--none").into_values().collect();
    for client in &mut clients {
        for _ in 0..5 {
            assert_eq!(client.get("/app/x").status, 200);
        }
    }
    wait_until("all to be counted", SOON, || of_pool(&httpd, "app")["ok"] == 10);
    for client in &mut clients {
        let text = client.get("/--state").text();
        assert_eq!(counts_in(&text, "pool_counts", "app").expect("a line")["ok"], 10, "{text}");
    }
}
