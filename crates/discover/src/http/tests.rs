// SPDX-License-Identifier: Apache-2.0
use super::*;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant as Clock;

/// The server's part of one connection: these bytes, and then the end, or silence.
pub(crate) enum Act {
    Say(Vec<u8>),
    Hang(Vec<u8>),
}

pub(crate) fn say(text: &str) -> Act {
    Act::Say(text.as_bytes().to_vec())
}

pub(crate) fn answer(head: &str, body: &[u8]) -> Act {
    let head = format!("HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\n\r\n", body.len());
    Act::Say([head.as_bytes(), body].concat())
}

/// A server that does these, one a connection, and tells the head of each request in lower case.
pub(crate) fn serve(acts: Vec<Act>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/app.json?full=1", listener.local_addr().expect("an address"));
    let (send, heads) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for act in acts {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines();
            let head: Vec<String> =
                lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let _ = send.send(head.join("\n").to_lowercase());
            match act {
                Act::Say(bytes) => drop(stream.write_all(&bytes)),
                Act::Hang(bytes) => {
                    let _ = stream.write_all(&bytes);
                    kept.push(stream);
                }
            }
        }
        // Silence, not an end.
        std::thread::sleep(Duration::from_secs(60));
    });
    (url, heads)
}

fn source(url: &str, change: impl FnOnce(&mut HttpPlace)) -> HttpSource {
    let mut place = HttpPlace { timeout_ms: 5000, ..HttpPlace::of(url.to_owned()) };
    change(&mut place);
    let rules = ListingRules { skip_invalid: false, max: 1000, misfit: |_| None };
    HttpSource::new(place, rules, Path::new("/"))
}

fn poll(source: &mut HttpSource) -> Result<Arc<Listed>, String> {
    look(source).found()
}

/// How long the source is left alone after a list.
pub(crate) fn pause(look: &Look) -> Duration {
    match look {
        Look::List(_, pause) => *pause,
        wrong => panic!("expected a list: {wrong:?}"),
    }
}

/// One look.
pub(crate) fn look(source: &mut dyn PolledSource) -> Look {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    let look = local.block_on(&runtime, source.look());
    runtime.shutdown_background();
    look
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text).expect("packed");
    packer.finish().expect("packed")
}

const LIST: &[u8] = b"[{\"targets\":[\"a:1\",\"b:1\"]}]";

#[test]
fn a_list_is_asked_for_again_by_its_marks_and_is_the_same() {
    let not_modified = || say("HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\n\r\n");
    let marks = "ETag: \"v1\"\r\nLast-Modified: Mon, 30 Nov 2026 10:00:00 GMT\r\n";
    let (url, heads) = serve(vec![answer(marks, LIST), not_modified(), not_modified(), answer("", LIST)]);
    let mut source = source(&url, |_| {});
    let first = poll(&mut source).expect("a list");
    assert_eq!(first.members.len(), 2);
    let head = heads.recv().expect("a request");
    assert!(
        head.starts_with("get /app.json?full=1 http/1.1\n") && head.contains("\nhost: 127.0.0.1:"),
        "{head}"
    );
    assert!(head.contains("\naccept-encoding: gzip") && !head.contains("if-none-match"), "{head}");
    for _ in 0..3 {
        assert!(Arc::ptr_eq(&first, &poll(&mut source).expect("the same list")));
        let head = heads.recv().expect("a request");
        assert!(head.contains("\nif-none-match: \"v1\""), "{head}");
        assert!(head.contains("\nif-modified-since: mon, 30 nov 2026 10:00:00 gmt"), "{head}");
    }
}

#[test]
fn packed_lists_are_read_whole_or_not_at_all() {
    let packed = gzip(LIST);
    let head = "Content-Encoding: gzip\r\n";
    let bomb = gzip(&vec![b' '; MOST + 1]);
    let acts = vec![
        answer(head, &packed),
        answer(head, &packed[..packed.len() - 9]),
        answer(head, LIST),
        answer(head, &bomb),
        answer("Content-Encoding: br\r\n", LIST),
    ];
    let (url, _heads) = serve(acts);
    let mut source = source(&url, |_| {});
    assert_eq!(poll(&mut source).map(|list| list.members.len()), Ok(2));
    for why in [
        "the answer is not gzip, or a part of it",
        "the answer is not gzip, or a part of it",
        "the answer has more than 16 MiB",
        "the answer's Content-Encoding is br, expected gzip or none",
    ] {
        let said = poll(&mut source).expect_err(why);
        assert!(said.starts_with(why), "{said:?} should say {why:?}");
    }
}

#[test]
fn answers_that_are_no_whole_list_are_errors_with_the_reason() {
    let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\n[{\"targets\":[\"a:1\",\"b:1\"]}]\r\n";
    let acts = [
        (say(chunked), "the connection was closed before the answer was complete"),
        (say("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[]"), "the connection was closed before"),
        (say(""), "the connection was closed before the answer was complete"),
        (say("SSH-2.0-OpenSSH_9.2\r\n"), "the answer is not HTTP"),
        (
            Act::Say(b"\x15\x03\x01\0\x02\x02\x46".to_vec()),
            "the answer is not HTTP: invalid HTTP version parsed; ports of https answer so to http://",
        ),
        (
            say("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"),
            "HTTP 400, expected 200 or 304; ports of https answer so to http://",
        ),
        (answer("", b""), "it is empty: expected a list"),
        (answer("", b" <html>"), "it is HTML, as pages for logins and errors are"),
        (answer("", b"[{"), "it is not JSON: EOF"),
        (say("HTTP/1.1 304 Not Modified\r\n\r\n"), "the answer is 304, which was not asked for"),
        (say("HTTP/1.1 204 No Content\r\n\r\n"), "HTTP 204, expected 200 or 304"),
        (say("HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n"), "HTTP 503, expected 200 or 304"),
        (
            say("HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n"),
            "HTTP 302: redirects are not followed, it leads to \"http://x/\"",
        ),
        (
            say(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", MOST + 1, " ".repeat(MOST + 1))),
            "the answer has more than 16 MiB",
        ),
    ];
    for (act, why) in acts {
        let (url, _heads) = serve(vec![act]);
        let said = poll(&mut source(&url, |_| {})).expect_err(why);
        assert!(said.starts_with(why), "{said:?} should say {why:?}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let said = poll(&mut source(&format!("http://{closed}/"), |_| {})).expect_err("nobody listens");
    assert_eq!(said, format!("connect: refused ({closed})"));
}

#[test]
fn a_server_that_falls_silent_is_found_by_the_deadline() {
    for (act, stage) in [
        (Act::Hang(Vec::new()), "waiting for the answer"),
        (Act::Hang(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[".to_vec()), "reading the body"),
    ] {
        let (url, _heads) = serve(vec![act]);
        let began = Clock::now();
        let said = poll(&mut source(&url, |place| place.timeout_ms = 200)).expect_err("silence");
        assert_eq!(said, format!("timed out after 200ms {stage}"));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[test]
fn a_token_that_a_server_sends_back_is_told_to_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "echoed-token").expect("written");
    let redirect = say("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/?t=echoed-token\r\n\r\n");
    let body = || answer("", b"echoed-token\nhttp://a:1\n");
    let (url, _heads) = serve(vec![redirect, body(), answer("", b"http://a:1\nechoed-token\n")]);
    let mut source = source(&url, |place| place.bearer_file = Some(file.to_string_lossy().into_owned()));
    for _ in 0..2 {
        let said = poll(&mut source).expect_err("no list");
        assert!(said.contains("***") && !said.contains("echoed-token"), "{said}");
    }
    source.rules.skip_invalid = true;
    let said = poll(&mut source).expect("a list").first_skipped.clone();
    assert!(said.contains("***") && !said.contains("echoed-token"), "{said}");
}

#[test]
fn no_part_of_a_token_is_told_wherever_the_text_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "Echoed-Token-Of-Some-Length").expect("written");
    let befores = [20, 30, 40, 50, 150, 180, 190, 300, 340, 380];
    let acts = befores.iter().flat_map(|before| {
        let words = format!("{}Echoed-Token-Of-Some-Length", "x".repeat(*before));
        [
            say(&format!("HTTP/1.1 302 Found\r\nLocation: http://{words}/\r\n\r\n")),
            answer(&format!("Content-Encoding: {words}\r\n"), b""),
            answer("", format!("[\"{words}\"]").as_bytes()),
            answer("", format!("{words}\n").as_bytes()),
        ]
    });
    let (url, _heads) = serve(acts.collect());
    let mut source = source(&url, |place| place.bearer_file = Some(file.to_string_lossy().into_owned()));
    for _ in 0..befores.len() * 4 {
        let said = poll(&mut source).expect_err("no list");
        assert!(!said.to_lowercase().contains("echo") && said.len() < 500, "{said}");
    }
}

#[test]
fn a_token_is_read_at_each_poll_and_told_to_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let (url, heads) = serve(vec![answer("", LIST), answer("", LIST)]);
    let mut source = source(&url, |place| place.bearer_file = Some(file.to_string_lossy().into_owned()));
    let said = poll(&mut source).expect_err("no file");
    assert!(said.starts_with("bearer_file=") && said.contains("No such file"), "{said}");
    for token in ["first-token", "second.token"] {
        std::fs::write(&file, format!("{token}\n")).expect("written");
        poll(&mut source).expect("a list");
        let head = heads.recv().expect("a request");
        assert!(head.contains(&format!("\nauthorization: bearer {token}")), "{head}");
    }
    for wrong in ["", "two words", "line\nbreak", "ümlaut-token"] {
        std::fs::write(&file, wrong).expect("written");
        let said = poll(&mut source).expect_err("no token");
        assert!(said.contains("expected one token") && !said.contains("umlaut"), "{said}");
        assert!(wrong.is_empty() || !said.contains(wrong), "{said}");
    }
}

#[test]
fn a_server_without_tls_and_a_missing_ca_are_errors() {
    let (url, _heads) = serve(vec![say("HTTP/1.1 400 Bad\r\n\r\n")]);
    let https = url.replace("http://", "https://");
    let said = poll(&mut source(&https, |place| place.ca = Some("/none.pem".into()))).expect_err("no file");
    assert!(said.starts_with("ca=/none.pem: No such file"), "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let authority = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).expect("a certificate");
    std::fs::write(&file, authority.cert.pem()).expect("written");
    let (url, _heads) = serve(vec![say("HTTP/1.1 400 Bad\r\n\r\n")]);
    let https = url.replace("http://", "https://");
    let ca = Some(file.to_string_lossy().into_owned());
    let said = poll(&mut source(&https, |place| place.ca = ca)).expect_err("no TLS");
    assert_eq!(said, "TLS: the answer is not TLS: the port may speak plain HTTP");
}
