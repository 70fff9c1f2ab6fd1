// SPDX-License-Identifier: Apache-2.0
//! `queue=`: requests that find every member at `max_inflight` wait for a place, first come, first
//! served.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use server_tests::certificate::self_signed;
use server_tests::client::ClientError;
use server_tests::{Backend, Builder, Client, Httpd, Load, Mpm, on_every_mpm, patience, pool, wait_until};

const SOON: Duration = Duration::from_secs(15);

const QUEUED_SCRIPT: &str = r#"
function queued(r)
  r.subprocess_env["QUEUED"] = tostring(lb.pool(r.uri:match("^/%-%-queued/([^/]+)")).queued)
  return 204
end
"#;

/// A server of one child (unless more are asked for) whose pool `app` has a queue.
fn serving(members: &[(&Backend, &str)], queue: &str) -> Builder {
    let lines = format!("LuaBalancerOutlier off\nLuaBalancerSet queue={queue}");
    Httpd::builder()
        .threads(32)
        .with_member_states()
        .file("queued.lua", QUEUED_SCRIPT)
        .config("<Location /--queued>\n  LuaHookTranslate queued.lua queued\n  Header always set X-Queued \"%{QUEUED}e\"\n</Location>")
        .config("Header always set X-Reason \"%{LB_REASON}e\"")
        .config(&pool("app", members, &lines))
        .config("ProxyPass /app lb://app")
}

fn queued(httpd: &Httpd) -> usize {
    queued_by(&mut httpd.client())
}

fn queued_by(client: &mut Client) -> usize {
    let response = client.get("/--queued/app");
    let header = response.header("X-Queued").unwrap_or_else(|| panic!("no X-Queued in {response:?}"));
    header.parse().expect("a number")
}

fn wait_for_queue(httpd: &Httpd, n: usize) {
    wait_until(&format!("{n} in the queue"), SOON, || queued(httpd) == n);
}

fn patient(httpd: &Httpd) -> Client {
    httpd.client().timeout(Duration::from_secs(60))
}

/// Sends a request that is answered whenever there is a place.
fn ask(httpd: &Httpd, target: &str) -> thread::JoinHandle<u16> {
    let (mut client, target) = (patient(httpd), target.to_owned());
    thread::spawn(move || client.get(&target).status)
}

/// Sends requests one after the other, each once the one before is in the queue; their statuses, in
/// any order.
fn line_up(httpd: &Httpd, targets: &[&str]) -> Receiver<u16> {
    let (sender, answers) = channel();
    let before = queued(httpd);
    for (nth, target) in targets.iter().enumerate() {
        let (mut client, sender, target) = (patient(httpd), sender.clone(), (*target).to_owned());
        thread::spawn(move || sender.send(client.get(&target).status));
        wait_for_queue(httpd, before + nth + 1);
    }
    answers
}

fn uris(backend: &Backend) -> Vec<String> {
    backend.recorded().into_iter().map(|request| request.uri).collect()
}

on_every_mpm!(requests_are_served_in_the_order_of_their_arrival);

fn requests_are_served_in_the_order_of_their_arrival(mpm: Mpm) {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "30s").mpm(mpm).children(3).start();
    let first = ask(&httpd, "/app/0");
    wait_until("the first request to have the place", SOON, || a.in_flight() == 1);
    let targets = ["/app/1", "/app/2", "/app/3"];
    let answers = line_up(&httpd, &targets);
    a.answer();
    assert_eq!(first.join().expect("a client"), 200);
    let statuses: Vec<u16> =
        targets.iter().map(|_| answers.recv_timeout(patience(SOON)).expect("an answer")).collect();
    assert_eq!(statuses, [200; 3], "{}", httpd.error_log());
    assert_eq!(uris(&a), ["/0", "/1", "/2", "/3"].map(|tail| tail.to_owned()));
    wait_for_queue(&httpd, 0);
    assert_eq!(httpd.inflight("app"), 0);
    httpd.assert_no_crash();
}

#[test]
fn a_place_is_taken_the_moment_it_is_free() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=2")], "60s").start();
    let held = [ask(&httpd, "/app/"), ask(&httpd, "/app/")];
    wait_until("two requests", SOON, || a.in_flight() == 2);
    let targets = ["/app/"; 10];
    let answers = line_up(&httpd, &targets);
    let began = Instant::now();
    a.answer();
    for _ in targets {
        assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    }
    // Whoever is not called looks four times a second: ten turns of two at a time would take more
    // than a second.
    assert!(began.elapsed() < patience(Duration::from_millis(1000)), "{:?}", began.elapsed());
    for request in held {
        assert_eq!(request.join().expect("a client"), 200);
    }
}

#[test]
fn who_waits_in_vain_gets_on_empty_when_the_time_is_up() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "300ms").start();
    let held = ask(&httpd, "/app/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let began = Instant::now();
    let refused = patient(&httpd).get("/app/");
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("X-Reason"), Some("queue timeout"));
    assert!(refused.header("Retry-After").is_some(), "{refused:?}");
    httpd.wait_for_log(
        "no member for /app/: all members were at max_inflight as long as queue= allows to wait",
    );
    a.answer();
    assert_eq!(held.join().expect("a client"), 200);
    assert_eq!(queued(&httpd), 0);
}

#[test]
fn a_newcomer_does_not_overtake_those_who_wait() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "60s").start();
    let held = ask(&httpd, "/app/held");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/waits"]);
    let load = Load::start(httpd.port(), "/app/load", 4);
    wait_for_queue(&httpd, 5);
    a.answer();
    assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    load.wait_for(20);
    load.stop().assert_all_ok();
    held.join().expect("a client");
    assert_eq!(uris(&a)[..2], ["/held", "/waits"]);
}

#[test]
fn no_more_than_half_of_the_threads_wait() {
    let a = Backend::new("a");
    a.hang();
    let (b, lines) = (Backend::new("b"), "");
    let httpd = serving(&[(&a, "max_inflight=1")], "60s")
        .children(1)
        .threads(8)
        .config(&pool("other", &[(&b, "")], lines))
        .config("ProxyPass /other lb://other")
        .start();
    let held = ask(&httpd, "/app/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/"; 4]);
    let refused = patient(&httpd).get("/app/");
    assert_eq!((refused.status, refused.header("X-Reason")), (503, Some("queue full")));
    assert_eq!(patient(&httpd).get("/other/").status, 200, "nobody is left to serve what has a place");
    a.answer();
    for _ in 0..4 {
        assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    }
    held.join().expect("a client");
}

#[test]
fn whoever_waits_in_another_view_holds_up_nobody() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let script = "function translate(r) return lb.pool('app'):where{ zone = r.uri:match('^/(%w+)') } end";
    let httpd = serving(&[(&a, "zone=east max_inflight=1"), (&b, "zone=west max_inflight=1")], "60s")
        .file("zone.lua", script)
        .config("<LocationMatch ^/(east|west)>\n  LuaHookTranslate zone.lua\n</LocationMatch>")
        .start();
    let held = ask(&httpd, "/east/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/east/", "/east/"]);
    let began = Instant::now();
    assert_eq!(patient(&httpd).get("/west/").backend(), "b");
    assert!(began.elapsed() < patience(SOON));
    assert_eq!(queued(&httpd), 2);
    a.answer();
    assert_eq!([(); 2].map(|()| answers.recv_timeout(patience(SOON))), [Ok(200), Ok(200)]);
    held.join().expect("a client");
}

#[test]
fn a_script_whose_pool_method_found_every_member_full_waits_as_well() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "60s")
        .file("pick.lua", "function translate(r) return lb.pool('app'):least_connections() end")
        .config("<Location /script>\n  LuaHookTranslate pick.lua\n</Location>")
        .start();
    let held = ask(&httpd, "/script/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/script/1", "/script/2", "/app/3"]);
    a.answer();
    assert_eq!([(); 3].map(|()| answers.recv_timeout(patience(SOON))), [Ok(200); 3]);
    held.join().expect("a client");
    assert_eq!(uris(&a)[1..], ["/script/1", "/script/2", "/3"]);
}

#[test]
fn a_member_that_comes_up_takes_in_those_who_wait() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let httpd =
        serving(&[(&a, "max_inflight=1"), (&b, "max_inflight=1 status=+D")], "60s").with_acts().start();
    let held = ask(&httpd, "/app/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/", "/app/"]);
    httpd.act("app/enable/b");
    assert_eq!([(); 2].map(|()| answers.recv_timeout(patience(SOON))), [Ok(200); 2]);
    assert_eq!(b.requests(), 2);
    a.answer();
    held.join().expect("a client");
}

#[test]
fn waiting_takes_no_processor_time() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "60s").children(1).start();
    let held = ask(&httpd, "/app/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/"; 12]);
    let (child, before) = (httpd.children()[0], switches(httpd.children()[0]));
    let began = Instant::now();
    wait_until("a second", SOON, || began.elapsed() > Duration::from_secs(1));
    let woken = (switches(child) - before) as f64 / began.elapsed().as_secs_f64();
    // Twelve that look four times a second, and the threads that are there without them.
    assert!(woken < 300.0, "the child's threads were woken {woken} times a second");
    a.answer();
    for _ in 0..12 {
        assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    }
    held.join().expect("a client");
}

/// How often the threads of a process went to sleep.
fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the threads");
    let of = |task: std::fs::DirEntry| {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    tasks.flatten().map(of).sum()
}

/// A request that is answered by a certain child.
fn ask_in(httpd: &Httpd, child: u32, target: &'static str) -> thread::JoinHandle<Result<u16, ClientError>> {
    let mut clients = httpd.clients_in_children(2, "/--queued/app");
    ask_with(clients.remove(&child).unwrap_or_else(|| panic!("no client in {child}")), target)
}

fn ask_with(client: Client, target: &'static str) -> thread::JoinHandle<Result<u16, ClientError>> {
    let mut client = client.timeout(Duration::from_secs(60)).strict();
    thread::spawn(move || client.try_get(target).map(|answer| answer.status))
}

fn two_children(httpd: &Httpd) -> [u32; 2] {
    let clients = httpd.clients_in_children(2, "/--queued/app");
    let children: Vec<u32> = clients.keys().copied().collect();
    children.try_into().expect("two children")
}

#[test]
fn a_child_that_is_killed_loses_nobody_elses_turn() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "60s").children(2).start();
    let [one, two] = two_children(&httpd);
    let held = ask_in(&httpd, one, "/app/held");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let ahead = ask_in(&httpd, one, "/app/ahead");
    wait_for_queue(&httpd, 1);
    let behind = ask_in(&httpd, two, "/app/behind");
    wait_for_queue(&httpd, 2);
    httpd.kill_child(one);
    a.answer();
    assert_eq!(behind.join().expect("a client").expect("an answer"), 200, "{}", httpd.error_log());
    assert!(held.join().expect("a client").is_err());
    assert!(ahead.join().expect("a client").is_err());
    wait_for_queue(&httpd, 0);
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}

#[test]
fn a_child_that_is_stopped_holds_up_nobody_else() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    b.hang();
    let httpd = serving(&[(&a, "max_inflight=1"), (&b, "max_inflight=1")], "60s").children(2).start();
    let [one, two] = two_children(&httpd);
    let held = [ask_in(&httpd, two, "/app/held"), ask_in(&httpd, two, "/app/held")];
    wait_until("two requests", SOON, || a.in_flight() + b.in_flight() == 2);
    let stopped = ask_in(&httpd, one, "/app/stopped");
    wait_for_queue(&httpd, 1);
    let waits = ask_in(&httpd, two, "/app/waits");
    wait_for_queue(&httpd, 2);
    httpd.signal(one, Signal::SIGSTOP);
    a.answer();
    assert_eq!(waits.join().expect("a client").expect("an answer"), 200);
    httpd.signal(one, Signal::SIGCONT);
    b.answer();
    for request in held.into_iter().chain([stopped]) {
        assert_eq!(request.join().expect("a client").expect("an answer"), 200);
    }
    wait_for_queue(&httpd, 0);
}

#[test]
fn what_was_in_the_queue_of_a_child_that_a_graceful_restart_ends_is_served() {
    let a = Backend::new("a");
    a.hang();
    let mut httpd = serving(&[(&a, "max_inflight=1")], "60s").start();
    let held = ask(&httpd, "/app/0");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/app/1", "/app/2"]);
    httpd.graceful();
    let more = line_up(&httpd, &["/app/3"]);
    a.answer();
    assert_eq!([(); 2].map(|()| answers.recv_timeout(patience(SOON))), [Ok(200); 2]);
    assert_eq!(more.recv_timeout(patience(SOON)), Ok(200));
    held.join().expect("a client");
    assert_eq!(uris(&a), ["/0", "/1", "/2", "/3"]);
}

#[test]
fn whoever_waits_for_one_member_only_holds_up_nobody_else() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    let script = "function translate(r) return lb.pool('app'):where{ zone = 'east' } end";
    let httpd = serving(&[(&a, "zone=east max_inflight=1"), (&b, "zone=west max_inflight=4")], "60s")
        .file("east.lua", script)
        .config("<Location /east>\n  LuaHookTranslate east.lua\n</Location>")
        .config(&pool(
            "kept",
            &[(&a, "max_inflight=1"), (&b, "max_inflight=4")],
            "LuaBalancerOutlier off\nLuaBalancerSticky cookie=SID force=on\nLuaBalancerSet queue=60s",
        ))
        .config("ProxyPass /kept lb://kept")
        .start();
    let held = ask(&httpd, "/east/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let answers = line_up(&httpd, &["/east/"]);
    for _ in 0..10 {
        assert_eq!(patient(&httpd).get("/app/").backend(), "b", "a view of the pool holds up the rest of it");
    }
    // The same for sessions that may not leave their member.
    let at_a = || server_tests::Request::get("/kept/").header("Cookie", "SID=x.a");
    let mut clients = [patient(&httpd), patient(&httpd)];
    let threads = clients.each_mut().map(|client| {
        let mut client = std::mem::replace(client, httpd.client());
        let request = at_a();
        thread::spawn(move || client.send(&request).status)
    });
    wait_until("one to wait", SOON, || {
        let response = httpd.client().get("/--queued/kept");
        a.in_flight() == 2 && response.header("X-Queued") == Some("1")
    });
    for _ in 0..10 {
        assert_eq!(patient(&httpd).get("/kept/").backend(), "b", "a session holds up the rest of the pool");
    }
    a.answer();
    assert_eq!(answers.recv_timeout(patience(SOON)), Ok(200));
    for request in threads {
        assert_eq!(request.join().expect("a client"), 200);
    }
    held.join().expect("a client");
}

#[test]
fn a_script_that_refuses_in_its_own_words_is_not_overruled() {
    let a = Backend::new("a");
    a.hang();
    let script = "function translate(r)\n  local m = lb.pool('app'):least_connections()\n  if m then return m end\n  \
                  return nil, 'over quota'\nend";
    let httpd = serving(&[(&a, "max_inflight=1")], "60s")
        .file("quota.lua", script)
        .config("<Location /quota>\n  LuaHookTranslate quota.lua\n</Location>")
        .start();
    let held = ask(&httpd, "/quota/");
    wait_until("a request", SOON, || a.in_flight() == 1);
    assert_eq!(httpd.client().get("/quota/").status, 503);
    httpd.wait_for_log("no member for /quota/: over quota");
    a.answer();
    assert_eq!(held.join().expect("a client"), 200);
}

#[test]
fn a_request_that_has_only_a_full_last_resort_waits_asleep_and_no_longer_than_it_may() {
    let [a, b] = Backend::named(["a", "b"]);
    a.reset();
    let lines =
        "LuaBalancerOutlier on failures=1 ejection=5m\nLuaBalancerSet queue=700ms\nLuaBalancerMethod first";
    let httpd = Httpd::builder()
        .with_member_states()
        .children(1)
        .threads(32)
        .config(&pool("app", &[(&a, "max_inflight=1"), (&b, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    assert_eq!(httpd.client().get("/app/").backend(), "b");
    assert_eq!(httpd.member("app", "a").state, "ejected");
    a.hang();
    b.refuse();
    let held = ask(&httpd, "/app/");
    wait_until("a request at the ejected member", SOON, || a.in_flight() == 1);
    let (child, before, began) = (httpd.children()[0], processor_ms(httpd.children()[0]), Instant::now());
    assert_eq!(patient(&httpd).get("/app/").status, 503);
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    let used = processor_ms(child) - before;
    assert!(used < 200, "{used} ms of processor time to wait for {:?}", began.elapsed());
    let rescued = ask(&httpd, "/app/");
    a.answer();
    assert_eq!(rescued.join().expect("a client"), 200);
    assert_eq!(held.join().expect("a client"), 200);
}

fn processor_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // Ticks of 10 ms, of user and system.
    (ticks(11) + ticks(12)) * 10
}

/// Bytes of a client that does as it likes.
fn raw(httpd: &Httpd, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, httpd.port())).expect("connect");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(bytes.as_ref()).expect("send");
    stream
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
}

/// Says at once that it has gone, and has.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
}

/// A server of one place, which a request has, and the request.
fn taken(httpd: Builder, a: &Backend) -> (Httpd, thread::JoinHandle<u16>) {
    let httpd = httpd.start();
    let held = ask(&httpd, "/app/held");
    wait_until("a request", SOON, || a.in_flight() == 1);
    (httpd, held)
}

/// Whoever waits still waits after many looks.
fn assert_goes_on_waiting(httpd: &Httpd, n: usize) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert_eq!(queued(httpd), n);
    }
}

/// The place of one that has gone is another's at once, and nothing tells of it but the log.
fn assert_gave_up(httpd: &Httpd, a: &Backend, target: &str, held: thread::JoinHandle<u16>) {
    let line = httpd.wait_for_access(target);
    let fields = ["LB_REASON", "LB_ATTEMPTS", "LB_MEMBER"].map(|name| line.env[name].as_str());
    assert_eq!(fields, ["aborted", "0", "-"], "{line:?}");
    assert_eq!((httpd.inflight("app"), queued(httpd)), (1, 0));
    a.answer();
    assert_eq!(held.join().expect("a client"), 200);
    assert_eq!(uris(a), ["/held"]);
    assert_eq!(httpd.member("app", "a").state, "up");
    httpd.assert_no_crash();
}

on_every_mpm!(
    who_closes_its_connection_gives_up_its_place_in_the_queue,
    what_waits_holds_up_no_child_that_is_to_end_at_once,
);

fn who_closes_its_connection_gives_up_its_place_in_the_queue(mpm: Mpm) {
    let a = Backend::new("a");
    a.hang();
    let (httpd, held) = taken(serving(&[(&a, "max_inflight=1")], "60s").mpm(mpm), &a);
    let gone = raw(&httpd, get("/app/gone"));
    wait_for_queue(&httpd, 1);
    drop(gone);
    let took = wait_until("the queue to be empty", SOON, || queued(&httpd) == 0);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_gave_up(&httpd, &a, "/app/gone", held);
}

#[test]
fn who_has_gone_is_passed_over_when_its_turn_comes() {
    let a = Backend::new("a");
    a.hang();
    let (httpd, held) = taken(serving(&[(&a, "max_inflight=1")], "60s"), &a);
    let gone = raw(&httpd, get("/app/gone"));
    wait_for_queue(&httpd, 1);
    let next = line_up(&httpd, &["/app/next"]);
    reset(gone);
    a.answer();
    assert_eq!(next.recv_timeout(SOON), Ok(200));
    assert_eq!(held.join().expect("a client"), 200);
    assert_eq!(uris(&a), ["/held", "/next"]);
    wait_for_queue(&httpd, 0);
    assert_eq!(httpd.wait_for_access("/app/gone").env["LB_REASON"], "aborted");
}

#[test]
fn who_only_sends_no_more_keeps_its_place_and_is_served() {
    let a = Backend::new("a");
    a.hang();
    let (httpd, held) = taken(serving(&[(&a, "max_inflight=1")], "60s"), &a);
    let half = raw(&httpd, get("/app/half"));
    half.shutdown(Shutdown::Write).expect("shut down");
    let old = raw(&httpd, get("/app/old").replace("HTTP/1.1", "HTTP/1.0"));
    old.shutdown(Shutdown::Write).expect("shut down");
    wait_for_queue(&httpd, 2);
    let mut half = BufReader::new(half);
    let mut interim = String::new();
    half.read_line(&mut interim).expect("an interim answer");
    assert_eq!(interim, "HTTP/1.1 102 Processing\r\n");
    assert_goes_on_waiting(&httpd, 2);
    a.answer();
    for (mut stream, begins) in [(half, "\r\nHTTP/1.1 200 "), (BufReader::new(old), "HTTP/1.1 200 ")] {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with(begins), "{answer}");
    }
    assert_eq!(held.join().expect("a client"), 200);
}

#[test]
fn what_a_client_has_sent_ahead_says_nothing_of_its_going() {
    let a = Backend::new("a");
    a.hang();
    let (httpd, held) = taken(serving(&[(&a, "max_inflight=1")], "60s"), &a);
    let body = "x".repeat(20_000);
    let post = "POST /app/body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n";
    let mut stream = raw(&httpd, format!("{post}{body}{}", get("/app/second")));
    wait_for_queue(&httpd, 1);
    assert_goes_on_waiting(&httpd, 1);
    a.answer();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("the answers");
    assert_eq!((answers.matches("HTTP/1.1 200 ").count(), answers.matches("HTTP/1.1").count()), (2, 2));
    assert_eq!(held.join().expect("a client"), 200);
    assert_eq!(uris(&a), ["/held", "/body", "/second"]);
}

#[test]
fn a_tls_client_that_ends_gives_up_its_place_in_the_queue() {
    let a = Backend::new("a");
    a.hang();
    let builder = serving(&[(&a, "max_inflight=1")], "60s").module("socache_shmcb").module("ssl");
    self_signed(builder.dir());
    let port = server_tests::ports::ReservedPort::new();
    let (httpd, held) = taken(
        builder.config(&format!(
            "Listen 127.0.0.1:{0}\n<VirtualHost *:{0}>\nSSLEngine on\nSSLCertificateFile cert.pem\n\
             SSLCertificateKeyFile key.pem\nProxyPass /app lb://app\n</VirtualHost>",
            port.port()
        )),
        &a,
    );
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &format!("127.0.0.1:{}", port.port())])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("run openssl s_client");
    let mut input = client.stdin.take().expect("its input");
    input.write_all(get("/app/gone").as_bytes()).expect("send");
    wait_for_queue(&httpd, 1);
    assert_goes_on_waiting(&httpd, 1);
    client.kill().expect("end the client");
    client.wait().expect("the client's end");
    wait_for_queue(&httpd, 0);
    assert_gave_up(&httpd, &a, "/app/gone", held);
}

/// The beginning of an HTTP/2 connection, and a GET of this path as its stream 1.
fn http2_get(path: &str) -> Vec<u8> {
    let literal = |index: u8, text: &str| [&[index, text.len() as u8], text.as_bytes()].concat();
    // GET and http are entries 2 and 6 of the static table, path and authority 4 and 1.
    let block = [vec![0x82, 0x86], literal(4, path), literal(1, "localhost")].concat();
    let headers = [&[0, 0, block.len() as u8, 1, 5, 0, 0, 0, 1], block.as_slice()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &[0, 0, 0, 4, 0, 0, 0, 0, 0], &headers].concat()
}

#[test]
fn an_http2_stream_that_is_reset_or_loses_its_connection_gives_up_its_place_in_the_queue() {
    let a = Backend::new("a");
    a.hang();
    let builder = serving(&[(&a, "max_inflight=1")], "60s").module("http2").config("Protocols h2c http/1.1");
    let (httpd, held) = taken(builder, &a);
    let mut one = raw(&httpd, http2_get("/app/gone"));
    wait_for_queue(&httpd, 1);
    assert_goes_on_waiting(&httpd, 1);
    const CANCEL: [u8; 13] = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
    one.write_all(&CANCEL).expect("send");
    wait_for_queue(&httpd, 0);
    let two = raw(&httpd, http2_get("/app/gone"));
    wait_for_queue(&httpd, 1);
    drop(two);
    wait_for_queue(&httpd, 0);
    assert_gave_up(&httpd, &a, "/app/gone", held);
}

fn what_waits_holds_up_no_child_that_is_to_end_at_once(mpm: Mpm) {
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let a = Backend::new("a");
        a.hang();
        let httpd = serving(&[(&a, "max_inflight=1")], "60s").mpm(mpm).children(2).start();
        let (waits, child, _probe) = one_waits_in_a_child_of_its_own(&httpd, &a);
        httpd.signal(httpd.pid(), signal);
        // httpd kills children that have not ended after nine seconds.
        let took = wait_until("the child's end", SOON, || !httpd.children().contains(&child));
        assert!(took < Duration::from_secs(3), "{signal} took {took:?}");
        assert!(waits.join().expect("a client").is_err());
        a.answer();
        assert_eq!(uris(&a), ["/held"]);
        if signal == Signal::SIGHUP {
            httpd.wait_for_log_lines("resuming normal operations", 2);
        }
        httpd.assert_no_crash();
    }
}

/// A request that waits in a child that nothing else keeps from ending, and a client of another
/// one.
fn one_waits_in_a_child_of_its_own(
    httpd: &Httpd,
    a: &Backend,
) -> (thread::JoinHandle<Result<u16, ClientError>>, u32, Client) {
    let [mut all, more] = [(); 2].map(|()| httpd.clients_in_children(2, "/--queued/app"));
    let [(_, holds), (two, waits)] = [(); 2].map(|()| all.pop_first().expect("two children"));
    // httpd may crash when it closes connections that are just ending (close_worker_sockets), so
    // this one stays; and a thread that waits for the next request of a connection may sleep on
    // when it is closed, so it is at another child.
    let (_, mut probe) = more.into_iter().find(|(pid, _)| *pid != two).expect("a client of another child");
    ask_with(holds, "/app/held");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let waits = ask_with(waits, "/app/waits");
    wait_until("one in the queue", SOON, || queued_by(&mut probe) == 1);
    (waits, two, probe)
}

#[test]
fn an_http2_stream_that_waits_in_a_child_that_is_to_end_at_once_gives_up() {
    let a = Backend::new("a");
    a.hang();
    let httpd = serving(&[(&a, "max_inflight=1")], "60s")
        .module("http2")
        .config("Protocols h2c http/1.1")
        .log_level("notice lua_balancer:debug")
        .start();
    let mut probe = httpd.client();
    let held = ask_with(httpd.client(), "/app/held");
    wait_until("a request", SOON, || a.in_flight() == 1);
    let _stream = raw(&httpd, http2_get("/app/waits"));
    wait_until("one in the queue", SOON, || queued_by(&mut probe) == 1);
    httpd.signal(httpd.pid(), Signal::SIGTERM);
    httpd.wait_for_log("/app/waits waits no more: this child ends at once");
    a.answer();
    // How long httpd takes to end its threads for HTTP/2 is not looked at: it waits five seconds
    // for one that does not hear of it.
    assert!(held.join().expect("a client").is_err());
    assert_eq!(uris(&a), ["/held"]);
}
