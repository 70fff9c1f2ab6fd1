// SPDX-License-Identifier: Apache-2.0
//! Backends that misbehave: no thread is lost to one, no client gets a mixture, and counts stay
//! right.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use server_tests::client::raw_exchange;
use server_tests::ports::Blackhole;
use server_tests::{Backend, Builder, ClientError, Httpd, Request, Step, patience, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

/// `a` first, then `b`, with further keys for both.
fn a_then_b(a: &Backend, b: &Backend, keys: &str) -> Builder {
    Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(a, keys), (b, keys)], "LuaBalancerMethod first\nLuaBalancerOutlier off"))
        .config("ProxyPass /app lb://app")
}

fn nothing_in_flight(httpd: &Httpd) {
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}

/// The server still serves, from the first member, once that behaves again.
fn serves_again(httpd: &Httpd, a: &Backend) {
    a.answer();
    nothing_in_flight(httpd);
    for _ in 0..20 {
        assert_eq!(httpd.client().get("/app/after").backend(), "a");
    }
    httpd.assert_no_crash();
}

#[test]
fn a_blackhole_costs_one_connectiontimeout() {
    let hole = Blackhole::new();
    let b = Backend::new("b");
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&format!(
            "<LuaBalancerPool app>\n  LuaBalancerMember http://127.0.0.1:{} name=hole connectiontimeout=300ms\n  \
             LuaBalancerMember {} name=b\n  LuaBalancerMethod first\n  LuaBalancerOutlier off\n</LuaBalancerPool>",
            hole.port(),
            b.url()
        ))
        .config("ProxyPass /app lb://app")
        .start();
    for nth in 0..3 {
        let start = Instant::now();
        assert_eq!(httpd.client().send(&Request::post("/app/x", "body")).backend(), "b");
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(250), "request {nth} took {took:?}: no blackhole");
        assert!(took < patience(Duration::from_millis(1500)), "request {nth} took {took:?}");
    }
    assert_eq!(b.recorded()[0].body_length, 4, "the body went to the member that took it");
    nothing_in_flight(&httpd);
}

#[test]
fn a_reset_inside_a_body_is_a_broken_answer_and_nothing_else() {
    let [a, b] = Backend::named(["a", "b"]);
    let head = "HTTP/1.1 200 OK\r\nX-Backend: a\r\nContent-Length: 1000000\r\n\r\n";
    a.play([Step::send(head), Step::send(&"a".repeat(30_000)), Step::Gate, Step::Reset]);
    let httpd = a_then_b(&a, &b, "").start();
    for _ in 0..4 {
        let mut stream = raw_request(&httpd, b"GET /app/x HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut got = [0; 1024];
        stream.read_exact(&mut got).expect("the header and some of the body");
        a.open_gate();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() <= 31_000, "{} bytes of a body that was cut at 30,000", rest.len());
        assert!(rest.iter().all(|byte| *byte == b'a'), "something else in the middle of a body");
    }
    assert_eq!(b.requests(), 0);
    serves_again(&httpd, &a);
}

#[test]
fn a_reset_inside_a_chunk_never_looks_like_a_whole_body() {
    let [a, b] = Backend::named(["a", "b"]);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nff\r\nhalf";
    let httpd = a_then_b(&a, &b, "").start();
    for end in [vec![Step::send(head)], vec![Step::send(head), Step::Gate, Step::Reset]] {
        a.play(end);
        let mut stream = raw_request(&httpd, b"GET /app/x HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut all = vec![0; 12];
        stream.read_exact(&mut all).expect("the header");
        a.open_gate();
        let _ = stream.read_to_end(&mut all);
        let text = String::from_utf8_lossy(&all);
        assert!(!text.ends_with("0\r\n\r\n"), "a cut body was completed: {text:?}");
    }
    assert_eq!(b.requests(), 0);
    serves_again(&httpd, &a);
}

#[test]
fn a_header_slower_than_the_timeout_ends_with_it() {
    let [a, b] = Backend::named(["a", "b"]);
    a.play([Step::send("HTTP/1.1 200 OK\r\nX-Slow: "), Step::Gate]);
    let httpd = a_then_b(&a, &b, "timeout=1").start();
    let start = Instant::now();
    let response = httpd.client().get("/app/x");
    let took = start.elapsed();
    assert!(took < patience(Duration::from_secs(4)), "answered after {took:?}");
    // Part of a header does not count as an answer: late or cut short, the client gets a whole one.
    assert!([200, 502, 504].contains(&response.status), "{}", response.status);
    nothing_in_flight(&httpd);
    serves_again(&httpd, &a);
}

#[test]
fn a_body_slower_than_the_timeout_ends_with_it() {
    let [a, b] = Backend::named(["a", "b"]);
    a.play([Step::send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"), Step::Gate]);
    let httpd = a_then_b(&a, &b, "timeout=1").start();
    let start = Instant::now();
    assert!(matches!(httpd.client().try_get("/app/x"), Err(ClientError::Broken(_))));
    let took = start.elapsed();
    assert!(took < patience(Duration::from_secs(4)), "ended after {took:?}");
    assert_eq!(b.requests(), 0);
    serves_again(&httpd, &a);
}

#[test]
fn a_header_byte_by_byte_within_the_timeout_is_an_answer() {
    let [a, b] = Backend::named(["a", "b"]);
    let answer = "HTTP/1.1 200 OK\r\nX-Backend: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    a.play([Step::Drip(answer.to_owned(), Duration::from_millis(5))]);
    let httpd = a_then_b(&a, &b, "timeout=1").start();
    let response = httpd.client().get("/app/x");
    assert_eq!((response.status, response.backend(), response.text().as_str()), (200, "a", "ok"));
}

#[test]
fn an_endless_header_is_refused_and_the_thread_lives() {
    let [a, b] = Backend::named(["a", "b"]);
    let endless = [
        ("one line", Step::Repeat("x".repeat(4096), 4096)),
        ("many lines", Step::Repeat("X-Line: y\r\n".repeat(400), 4096)),
        ("folded lines", Step::Repeat(" fold\r\n".repeat(600), 4096)),
    ];
    // Two threads a child: one that does not come back is missed.
    let httpd = a_then_b(&a, &b, "responsefieldsize=16384 timeout=5").threads(2).start();
    for (what, flood) in endless {
        a.play([Step::send("HTTP/1.1 200 OK\r\nX-Endless: "), flood]);
        for _ in 0..3 {
            let start = Instant::now();
            let outcome = httpd.client().try_get("/app/x");
            let took = start.elapsed();
            assert!(took < patience(Duration::from_secs(5)), "{what}: {took:?}");
            if let Ok(response) = outcome {
                let size: usize =
                    response.headers.0.iter().map(|(name, value)| name.len() + value.len()).sum();
                assert!(size < 4_000_000, "{what}: {} with {size} bytes of header", response.status);
            }
        }
        nothing_in_flight(&httpd);
    }
    serves_again(&httpd, &a);
}

#[test]
fn bytes_that_are_no_http_are_never_passed_on_as_an_answer() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b, "timeout=2").start();
    for noise in [
        "\u{0}\u{1}\u{2}",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 99999 X\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 -1 X\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nx",
        "HTTP/1.1 200 OK\r\n: no name\r\n no colon\r\n\r\n",
        "\r\n\r\n\r\n",
        "",
    ] {
        a.play([Step::send(noise)]);
        let mut client = httpd.client().timeout(Duration::from_secs(6));
        if let Err(ClientError::Timeout) = client.try_get("/app/x") {
            panic!("no end to the answer after {noise:?}");
        }
        nothing_in_flight(&httpd);
    }
    serves_again(&httpd, &a);
}

#[test]
fn interim_answers_come_before_the_answer_however_many() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b, "timeout=5").start();
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n"] {
        a.play([Step::ReadBody, Step::Repeat(interim.to_owned(), 8), Step::answer(200, "at last")]);
        for request in [Request::get("/app/x"), Request::post("/app/x", "body")] {
            let response = final_answer(&httpd, &request);
            assert!(response.ends_with("at last"), "{interim:?}: {response:?}");
        }
    }
    nothing_in_flight(&httpd);
    serves_again(&httpd, &a);
}

#[test]
fn endless_interim_answers_take_no_thread_for_good() {
    let [a, b] = Backend::named(["a", "b"]);
    a.play([Step::Repeat("HTTP/1.1 100 Continue\r\n\r\n".repeat(100), 20_000)]);
    let httpd = a_then_b(&a, &b, "timeout=2").start();
    let start = Instant::now();
    let _ = httpd.client().try_get("/app/x");
    assert!(start.elapsed() < patience(SOON), "{:?}", start.elapsed());
    nothing_in_flight(&httpd);
    serves_again(&httpd, &a);
}

#[test]
fn expect_100_continue_is_kept_with_members_of_every_temper() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b, "timeout=1").start();
    let expecting = || Request::post("/app/x", vec![b'x'; 100_000]).header("Expect", "100-continue");
    // A member that says 100, reads, answers.
    let response = httpd.client().send(&expecting());
    assert_eq!((response.status, response.header("X-Body-Length")), (200, Some("100000")));
    // One that says nothing until it has the body: mod_proxy waits for its 100 as long as
    // `timeout=` says.
    a.play([Step::ReadBody, Step::answer(200, "silent")]);
    let (start, status) = (Instant::now(), httpd.client().send(&expecting()).status);
    assert!([200, 503, 504].contains(&status), "{status}");
    assert!(start.elapsed() < patience(Duration::from_secs(4)), "{:?}", start.elapsed());
    // One that refuses, and one that answers before it has read anything.
    for status in [417, 413, 200] {
        a.play([Step::answer(status, "early"), Step::ReadBody]);
        let outcome = httpd.client().try_send(&expecting());
        let status_seen = outcome.map(|response| response.status).unwrap_or(0);
        assert!([status, 502].contains(&status_seen), "{status}: {status_seen}");
        nothing_in_flight(&httpd);
    }
    assert_eq!(b.requests(), 0, "a request whose body was on its way went to another member");
    serves_again(&httpd, &a);
}

#[test]
fn an_early_answer_to_an_upload_reaches_the_client() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b, "timeout=5").start();
    let upload = Request::post("/app/x", vec![b'x'; 3_000_000]);
    // Answers after the first bytes and takes the rest.
    a.play([Step::ReadSome(1000), Step::answer(413, "too large"), Step::ReadBody]);
    let response = httpd.client().send(&upload);
    assert_eq!((response.status, response.text().as_str()), (413, "too large"));
    // Answers and closes with the body unread: the answer may be lost to the reset, the client may
    // not wait.
    a.play([Step::ReadSome(1000), Step::answer(413, "too large")]);
    let start = Instant::now();
    let _ = httpd.client().try_send(&upload);
    assert!(start.elapsed() < patience(SOON), "{:?}", start.elapsed());
    nothing_in_flight(&httpd);
    assert_eq!(b.requests(), 0, "an upload was sent twice");
    serves_again(&httpd, &a);
}

#[test]
fn a_websocket_comes_through_a_dead_first_member() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b, "upgrade=websocket timeout=5").start();
    let dead = [
        ("refuses", Backend::refuse as fn(&Backend)),
        ("closes after accept", Backend::close_after_accept),
        ("resets", |a| a.play([Step::Reset])),
        ("sends half a header", |a| a.play([Step::send("HTTP/1.1 101 Switching Proto")])),
    ];
    for (what, die) in dead {
        a.answer();
        die(&a);
        let mut client = httpd.client();
        let upgrade = Request::get("/app/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
        let response = client.send(&upgrade);
        assert_eq!((response.status, response.backend()), (101, "b"), "a member that {what}");
        let stream = client.stream();
        stream.get_mut().write_all(b"ping").expect("send through the tunnel");
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).expect("an echo through the tunnel");
        assert_eq!(&echo, b"ping");
        assert_eq!(httpd.inflight("app"), 1, "an open tunnel is in flight");
        client.disconnect();
        nothing_in_flight(&httpd);
    }
}

#[test]
fn a_websocket_is_refused_by_a_member_without_harm() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b, "upgrade=websocket timeout=5").start();
    a.play([Step::answer(400, "no websocket here")]);
    let upgrade = Request::get("/app/ws").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let response = httpd.client().send(&upgrade);
    assert_eq!((response.status, response.text().as_str()), (400, "no websocket here"));
    nothing_in_flight(&httpd);
}

/// A connection of its own with these bytes sent.
fn raw_request(httpd: &Httpd, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, httpd.port())).expect("connect");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(bytes).expect("send");
    stream
}

/// Everything that comes for a request on a connection that ends with it.
fn final_answer(httpd: &Httpd, request: &Request) -> String {
    let bytes = request.clone().header("Connection", "close").to_bytes();
    let answer = raw_exchange(httpd.port(), &bytes, SOON).expect("an exchange");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_client_that_leaves_at_any_point_leaves_nothing_in_flight() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b, "timeout=3").start();
    let leave = |stream: TcpStream, reset: bool| {
        if reset {
            let linger = socket_linger_zero(&stream);
            assert!(linger.is_ok(), "{linger:?}");
        }
        drop(stream);
    };
    for reset in [false, true] {
        // Inside the upload, at the beginning and after a good part of it.
        for sent in [1, 200_000] {
            let head = format!(
                "POST /app/up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{}",
                "x".repeat(sent)
            );
            leave(raw_request(&httpd, head.as_bytes()), reset);
            nothing_in_flight(&httpd);
        }
        let chunked =
            b"POST /app/up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nff\r\nhalf";
        leave(raw_request(&httpd, chunked), reset);
        nothing_in_flight(&httpd);
        // While the member thinks.
        a.slow(Duration::from_millis(200));
        let stream = raw_request(&httpd, b"GET /app/x HTTP/1.1\r\nHost: x\r\n\r\n");
        wait_until("the request at the member", SOON, || a.in_flight() == 1);
        leave(stream, reset);
        nothing_in_flight(&httpd);
        // Between header and body, and inside the body.
        for part in ["", "0123456789"] {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n{part}");
            a.play([Step::Send(head), Step::Gate, Step::Repeat("b".repeat(10_000), 500)]);
            let mut stream = raw_request(&httpd, b"GET /app/x HTTP/1.1\r\nHost: x\r\n\r\n");
            if !part.is_empty() {
                stream.read_exact(&mut [0; 12]).expect("the header");
            } else {
                wait_until("the request at the member", SOON, || a.in_flight() == 1);
            }
            leave(stream, reset);
            a.open_gate();
            nothing_in_flight(&httpd);
        }
        a.answer();
    }
    // Only the half that speaks: the answer still comes.
    let stream = raw_request(&httpd, b"GET /app/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.shutdown(Shutdown::Write).expect("shut down one half");
    let mut answer = String::new();
    (&stream).read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serves_again(&httpd, &a);
}

fn socket_linger_zero(stream: &TcpStream) -> std::io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

/// How many requests a race has; `RACE_REQUESTS=100000` makes it long.
fn race_requests() -> usize {
    std::env::var("RACE_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2000)
}

/// Two members that close kept-alive connections at random right after an answer. Returns every
/// outcome but a 200.
fn race(httpd: &Httpd, a: &Backend, b: &Backend) -> Vec<String> {
    a.close_at_random();
    b.close_at_random();
    let (clients, requests) = (4, race_requests());
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let mut client = httpd.client();
            thread::spawn(move || {
                let outcomes = (0..requests / clients).map(|_| client.try_get("/app/x"));
                let bad = outcomes.filter(|outcome| !outcome.as_ref().is_ok_and(|r| r.status == 200));
                bad.map(|outcome| outcome.map_or_else(|error| error.to_string(), |r| r.status.to_string()))
                    .collect()
            })
        })
        .collect();
    let failed =
        threads.into_iter().flat_map(|thread| -> Vec<String> { thread.join().expect("a client thread") });
    let failed = failed.collect();
    let (asked, connected) = (a.requests() + b.requests(), a.connections() + b.connections());
    assert!(asked > connected + requests / 4, "{asked} requests came over {connected} connections");
    nothing_in_flight(httpd);
    failed
}

#[test]
fn connections_that_close_just_as_the_next_request_arrives_cost_nobody_an_answer() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = a_then_b(&a, &b, "").start();
    let failed = race(&httpd, &a, &b);
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), race_requests());
}

#[test]
fn connections_that_close_just_as_the_next_request_arrives_eject_nobody() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "")], ""))
        .config("ProxyPass /app lb://app")
        .start();
    let failed = race(&httpd, &a, &b);
    assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), race_requests());
    assert_eq!(httpd.count_log(r"member .* ejected for"), 0);
    let states: Vec<String> = httpd.members("app").into_values().map(|member| member.state).collect();
    assert_eq!(states, ["up", "up"]);
}
