// SPDX-License-Identifier: Apache-2.0
//! Requests that leave before their turn has come.

use super::*;

on_every_mpm!(
    a_client_that_closes_its_connection_gives_up_its_place_in_the_queue,
    waiting_requests_hold_up_no_child_that_is_to_end_at_once,
);

fn a_client_that_closes_its_connection_gives_up_its_place_in_the_queue(mpm: Mpm) {
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
fn a_client_that_has_gone_is_passed_over_when_its_turn_comes() {
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
fn a_client_that_only_sends_no_more_keeps_its_place_and_is_served() {
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
fn bytes_that_a_client_has_sent_ahead_say_nothing_of_its_going() {
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

fn waiting_requests_hold_up_no_child_that_is_to_end_at_once(mpm: Mpm) {
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
