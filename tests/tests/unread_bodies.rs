// SPDX-License-Identifier: Apache-2.0
//! What the head of a request is refused for is answered before the body is there, at every door of
//! the control plane.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use server_tests::ports::ReservedPort;
use server_tests::socket::connect;
use server_tests::{Backend, Httpd, Mpm, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(2);
const JSON: &str = "Content-Type: application/json\r\n";
const TEXT: &str = "Content-Type: text/plain\r\n";
const LIST: &str = "/api/v1/pools/app/members";

/// A request's head, as far as it differs from others, and the status that it is refused with.
struct Refused {
    line: String,
    headers: String,
    length: usize,
    status: u16,
}

fn refused(line: &str, headers: &str, length: usize, status: u16) -> Refused {
    Refused { line: line.to_owned(), headers: headers.to_owned(), length, status }
}

/// Sends the head alone, and says what comes within the time that an answer may take.
fn asked(mut stream: impl Read + Write, refused: &Refused, expects: bool) -> String {
    let Refused { line, headers, length, .. } = refused;
    let expect = if expects { "Expect: 100-continue\r\n" } else { "" };
    let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\n" };
    let head = format!("{line} HTTP/1.1\r\n{host}{headers}{expect}Content-Length: {length}\r\n\r\n");
    let start = Instant::now();
    stream.write_all(head.as_bytes()).expect("send");
    let (mut text, mut some) = (Vec::new(), [0; 4096]);
    while !text.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&some[..count]),
            Err(error) => panic!("{line}: no answer after {:?}: {error}", start.elapsed()),
        }
    }
    assert!(start.elapsed() < SOON, "{line}: {:?}", start.elapsed());
    String::from_utf8_lossy(&text).into_owned()
}

fn is_refused(text: &str, refused: &Refused) {
    let Refused { line, headers, status, .. } = refused;
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{line} {headers}: {text}");
    let ends = text.to_ascii_lowercase().contains("connection: close");
    assert!(ends, "{line}: the rest of the request may be taken for the next one: {text}");
}

fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

fn a_refused_head_is_answered_before_its_body(mpm: Mpm) {
    let (a, metrics) = (Backend::new("a"), ReservedPort::new());
    let httpd = Httpd::builder()
        .mpm(mpm)
        .config(&pool("app", &[(&a, "")], ""))
        .config(&format!("LuaBalancerMetrics listen=127.0.0.1:{}", metrics.port()))
        .config("<Location /off>\nSetHandler lua-balancer\n</Location>")
        .config("<Location /on>\nSetHandler lua-balancer\nLuaBalancerAdmin on\n</Location>")
        .config("<Location /open>\nSetHandler lua-balancer\nLuaBalancerAdmin on anonymous=on\n</Location>")
        .config("<Location /denied>\nRequire all denied\n</Location>")
        .start();
    let at = |method: &str, base: &str, path: &str| format!("{method} {base}{path}");
    let at_handler = [
        // httpd's own, which the others are to be like.
        refused("PUT /denied", JSON, 100, 403),
        refused(&at("PUT", "/off", LIST), JSON, 100, 403),
        refused(&at("PUT", "/on", LIST), JSON, 100, 403),
        refused(&at("POST", "/open", LIST), &format!("{JSON}Origin: http://evil\r\n"), 100, 403),
        refused(&at("POST", "/open", "/api/v1/nothing"), JSON, 100, 404),
        refused(&at("POST", "/open", "/api/v1/status"), JSON, 100, 405),
        refused(&at("PUT", "/open", LIST), JSON, 2 << 20, 413),
        refused(&at("PUT", "/open", LIST), TEXT, 100, 415),
        refused(&at("POST", "/open", LIST), &format!("{JSON}Host: evil\r\n"), 100, 421),
    ];
    for refused in &at_handler {
        let text = asked(tcp(httpd.port()), refused, true);
        is_refused(&text, refused);
    }
    // Without a word of expectation, httpd's own answers wait for the body.
    for refused in &at_handler[1..] {
        is_refused(&asked(tcp(httpd.port()), refused, false), refused);
    }
    let path = httpd.socket_path();
    for refused in [
        refused("POST /api/v1/nothing", JSON, 100, 404),
        refused("POST /api/v1/status", JSON, 100, 405),
        refused(&at("PUT", "", LIST), JSON, 2 << 20, 413),
        refused(&at("PUT", "", LIST), TEXT, 100, 415),
    ] {
        for expects in [true, false] {
            let stream = connect(&path).expect("connect");
            stream.set_read_timeout(Some(SOON)).expect("a timeout");
            is_refused(&asked(stream, &refused, expects), &refused);
        }
    }
    for refused in [refused("POST /x", JSON, 100, 404), refused("POST /metrics", JSON, 100, 405)] {
        for expects in [true, false] {
            is_refused(&asked(tcp(metrics.port()), &refused, expects), &refused);
        }
    }
    httpd.assert_no_crash();
}

on_every_mpm!(a_refused_head_is_answered_before_its_body);

/// One worker: a client that goes on sending what was refused leaves it to others.
#[test]
fn a_client_that_goes_on_with_a_refused_body_holds_no_worker() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .children(1)
        .threads(1)
        .config(&pool("app", &[(&a, "")], ""))
        .config("<Location /lb>\nSetHandler lua-balancer\n</Location>")
        .start();
    let refused = refused(&format!("PUT /lb{LIST}"), JSON, 1 << 20, 403);
    let mut stream = tcp(httpd.port());
    is_refused(&asked(stream.try_clone().expect("the stream"), &refused, false), &refused);
    let start = Instant::now();
    wait_until("the worker to be free", Duration::from_secs(10), || {
        drop(stream.write(b"x"));
        httpd.client().try_get("/lb/").is_ok_and(|response| response.status == 200)
    });
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// The body comes all the same, as from clients that look at no answer before they have sent it.
#[test]
fn a_client_that_sends_a_refused_body_gets_the_answer() {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .config(&pool("app", &[(&a, "")], ""))
        .config("<Location /lb>\nSetHandler lua-balancer\n</Location>")
        .start();
    let body = vec![b'x'; 1 << 20];
    let head =
        format!("PUT /lb{LIST} HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: {}\r\n\r\n", body.len());
    let mut stream = tcp(httpd.port());
    stream.write_all(head.as_bytes()).expect("send");
    stream.write_all(&body).expect("the body is taken");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(text.starts_with("HTTP/1.1 403 ") && text.contains("LuaBalancerAdmin on"), "{text}");
}
