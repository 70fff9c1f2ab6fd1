// SPDX-License-Identifier: Apache-2.0
//! Requests and connections of scripts.
#![allow(missing_docs)]

mod common;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{Backend, closed_port, ok};
use probe::{Client, ProbeResponse, Prober, Request};

/// Runs one future over a client's prober.
fn run<T: 'static, F: Future<Output = T> + 'static>(work: impl FnOnce(Client) -> F) -> T {
    let mut prober = Prober::for_scripts().unwrap();
    let result = Rc::new(RefCell::new(None));
    let (own, waker, work) = (result.clone(), prober.waker(), work(prober.client()));
    prober.spawn(async move {
        let value = work.await;
        own.replace(Some(value));
        waker.wake();
    });
    let until = Instant::now() + common::PATIENCE;
    loop {
        prober.turn(Duration::from_millis(500), &mut |_| ());
        if let Some(value) = result.take() {
            return value;
        }
        assert!(Instant::now() < until, "no result");
    }
}

fn request(url: &str) -> Request<'_> {
    Request {
        url,
        method: "GET",
        headers: &[],
        body: Vec::new(),
        verify: true,
        timeout: Duration::from_secs(5),
    }
}

fn get(url: &str) -> Result<ProbeResponse, String> {
    let url = url.to_owned();
    run(|client| async move { client.http(request(&url)).await })
}

fn get_within(url: &str, millis: u64) -> Result<ProbeResponse, String> {
    let url = url.to_owned();
    run(|client| async move {
        client.http(Request { timeout: Duration::from_millis(millis), ..request(&url) }).await
    })
}

#[test]
fn a_request_is_sent_as_said_and_answered_whole() {
    let backend = Backend::new(|_, talk| {
        let head = talk.request().unwrap();
        let mut body = [0; 5];
        std::io::Read::read_exact(&mut talk.stream, &mut body).unwrap();
        talk.say(format!(
            "HTTP/1.1 404 No\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: {}\r\n\r\n{head}",
            head.len()
        ));
    });
    let url = format!("http://{}/a/b?c=d#e", backend.address);
    let answer = run(|client| async move {
        let headers = [
            ("X-B".to_owned(), b"1".to_vec()),
            ("x-b".into(), b"2".to_vec()),
            ("host".into(), b"other".to_vec()),
        ];
        let request = Request { method: "POST", headers: &headers, body: b"hello".to_vec(), ..request(&url) };
        client.http(request).await
    })
    .unwrap();
    assert_eq!(answer.status, 404);
    let values: Vec<_> =
        answer.headers.iter().filter(|(name, _)| name == "x-a").map(|(_, v)| v.clone()).collect();
    assert_eq!(values, [b"1", b"2"]);
    let head = String::from_utf8(answer.body).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("post /a/b?c=d http/1.1\r\n"), "{head}");
    for line in [
        "host: other",
        "connection: close",
        "user-agent: mod_lua_balancer",
        "x-b: 1",
        "x-b: 2",
        "content-length: 5",
    ] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
}

#[test]
fn a_plain_get_names_the_host_of_its_url() {
    let backend = Backend::answering(ok("body"));
    let answer = get(&format!("http://localhost:{}", backend.address.port())).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"body".as_slice()));
    let head = backend.request().to_ascii_lowercase();
    let port = backend.address.port();
    assert!(
        head.starts_with("get / http/1.1\r\n") && head.contains(&format!("\r\nhost: localhost:{port}\r\n")),
        "{head}"
    );
    assert!(!head.contains("content-length"), "{head}");
}

#[test]
fn urls_that_cannot_be_are_refused() {
    for (url, expected) in [
        ("", "is not a URL"),
        ("h", "neither http:// nor https://"),
        ("ftp://h/", "neither http:// nor https://"),
        ("http://", "is not a URL"),
        ("http:///x", "is not a URL"),
        ("http://h:0/", "no port"),
        ("http://h:/", "no port"),
        ("http://h:99999/", "no port"),
        ("http://u:p@h/", "names a user"),
        ("http://h/a b", "blanks or control"),
        ("http://h/\r\nX: y", "blanks or control"),
        ("http://h\0/", "blanks or control"),
        ("https://-/", "names no host"),
    ] {
        let error = get(url).unwrap_err();
        assert!(
            error.contains(expected) && error.contains("http://10.0.0.1:8080/health"),
            "{url:?}: {error}"
        );
    }
}

#[test]
fn failures_say_what_happened() {
    let port = closed_port();
    let error = get(&format!("http://127.0.0.1:{port}/")).unwrap_err();
    assert_eq!(error, format!("connect: refused (127.0.0.1:{port})"));
    let error = get("http://nowhere.invalid/").unwrap_err();
    assert!(error.contains("host name nowhere.invalid"), "{error}");
    let hung = Backend::new(|_, talk| talk.hang());
    let start = Instant::now();
    let error = get_within(&format!("http://{}/", hung.address), 200).unwrap_err();
    assert_eq!(error, "timed out after 200ms waiting for the answer");
    assert!(start.elapsed() < Duration::from_secs(2));
    let half = Backend::new(|_, talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx");
    });
    let error = get(&format!("http://{}/", half.address)).unwrap_err();
    assert!(error.contains("closed before the answer was complete"), "{error}");
    let other = Backend::answering("SSH-2.0-x\r\n\r\n");
    let error = get(&format!("http://{}/", other.address)).unwrap_err();
    assert!(error.contains("not HTTP"), "{error}");
}

#[test]
fn bodies_are_read_up_to_a_megabyte() {
    for (length, fits) in [(1 << 20, true), ((1 << 20) + 1, false), (5 << 20, false)] {
        let backend = Backend::answering(ok(&"x".repeat(length)));
        let url = format!("http://{}/", backend.address);
        match get(&url) {
            Ok(answer) => assert!(fits && answer.body.len() == length, "{length}"),
            Err(error) => assert!(!fits && error.contains("more than 1024 KiB"), "{length}: {error}"),
        }
    }
    let endless = Backend::new(|_, talk| {
        talk.request();
        talk.say("HTTP/1.1 200 OK\r\n\r\n");
        while talk.say([b'x'; 10_000]) {}
    });
    let error = get(&format!("http://{}/", endless.address)).unwrap_err();
    assert!(error.contains("more than 1024 KiB"), "{error}");
}

#[test]
fn redirects_are_answers() {
    let backend = Backend::answering("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
    let answer = get(&format!("http://{}/", backend.address)).unwrap();
    assert_eq!((answer.status, backend.connections()), (302, 1));
}

#[test]
fn requests_wait_side_by_side() {
    let hung = Backend::new(|_, talk| talk.hang());
    let quick = Backend::answering(ok("quick"));
    let (slow_url, url) = (format!("http://{}/", hung.address), format!("http://{}/", quick.address));
    let mut prober = Prober::for_scripts().unwrap();
    let done = Rc::new(RefCell::new(Vec::new()));
    for (name, url) in [("slow", slow_url), ("quick", url)] {
        let (client, done, waker) = (prober.client(), done.clone(), prober.waker());
        prober.spawn(async move {
            let timeout = Duration::from_millis(400);
            let result = client.http(Request { timeout, ..request(&url) }).await;
            done.borrow_mut().push((name, result.is_ok()));
            waker.wake();
        });
    }
    let start = Instant::now();
    while done.borrow().is_empty() {
        prober.turn(Duration::from_millis(300), &mut |_| ());
    }
    assert!(start.elapsed() < Duration::from_millis(300), "{:?}", start.elapsed());
    while done.borrow().len() < 2 {
        prober.turn(Duration::from_millis(300), &mut |_| ());
    }
    assert_eq!(*done.borrow(), [("quick", true), ("slow", false)]);
}

#[test]
fn a_panic_ends_its_own_future_alone() {
    let mut prober = Prober::for_scripts().unwrap();
    let done = Rc::new(RefCell::new(false));
    let own = done.clone();
    prober.spawn(async { panic!("on purpose") });
    prober.spawn(async move { *own.borrow_mut() = true });
    prober.turn(Duration::from_millis(50), &mut |_| ());
    assert!(*done.borrow());
}

#[test]
fn connections_send_and_receive() {
    let backend = Backend::new(|_, talk| {
        let mut five = [0; 5];
        std::io::Read::read_exact(&mut talk.stream, &mut five).unwrap();
        talk.say(five);
        let _ = std::io::Read::read(&mut talk.stream, &mut five);
    });
    let port = backend.address.port();
    run(|client| async move {
        let timeout = Duration::from_millis(300);
        let mut tcp = client.connect("localhost", port, timeout).await.unwrap();
        client.send(&mut tcp, b"hello", timeout).await.unwrap();
        let mut got = Vec::new();
        while got.len() < 5 {
            got.extend(client.receive(&mut tcp, timeout).await.unwrap());
        }
        assert_eq!(got, b"hello");
        assert_eq!(client.receive(&mut tcp, timeout).await.unwrap_err(), "timeout");
        client.send(&mut tcp, b"x", timeout).await.unwrap();
        assert_eq!(client.receive(&mut tcp, timeout).await.unwrap_err(), "closed");
        assert_eq!(
            client.connect("127.0.0.1", closed_port(), timeout).await.unwrap_err(),
            "connection refused"
        );
        let lookup = Duration::from_secs(5);
        assert_eq!(client.connect("nowhere.invalid", 1, lookup).await.unwrap_err(), "host not found");
    });
}
