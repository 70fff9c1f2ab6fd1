// SPDX-License-Identifier: Apache-2.0
//! Against servers that say what a test has them say.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::*;
use crate::wire::{Compare, Operation};

const RANGE: &str = r#"{"header":{"cluster_id":"1","revision":"7"},"count":"2"}"#;

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, work)
}

/// The questions of a fake: each one's request line, the token, and the body.
type Asked = Rc<RefCell<Vec<(String, String, String)>>>;

/// A server that gives one answer after the other (status and body), and is silent at their end.
/// An empty body closes the connection. Returns its endpoint and what it was asked.
async fn server(answers: Vec<(u16, String)>) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Asked::default();
    let heard = asked.clone();
    let answers = Rc::new(RefCell::new(answers.into_iter()));
    tokio::task::spawn_local(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let (heard, answers) = (heard.clone(), answers.clone());
            tokio::task::spawn_local(async move {
                while let Some(question) = question(&mut stream).await {
                    heard.borrow_mut().push(question);
                    let next = answers.borrow_mut().next();
                    let Some((status, body)) = next else { return std::future::pending().await };
                    if body.is_empty() {
                        return;
                    }
                    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
                    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
                }
            });
        }
    });
    (endpoint, asked)
}

async fn question(stream: &mut tokio::net::TcpStream) -> Option<(String, String, String)> {
    let mut text = String::new();
    let head = loop {
        if let Some(at) = text.find("\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.ok().filter(|read| *read > 0)?;
        text.push_str(std::str::from_utf8(&piece[..read]).expect("text"));
    };
    let field = |name: &str| {
        let line = text[..head].lines().find(|line| line.starts_with(name))?;
        line.split_once(": ").map(|(_, value)| value.to_owned())
    };
    let length: usize = field("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let line = text.lines().next().unwrap_or_default().to_owned();
    let token = field("Authorization").unwrap_or_default();
    let mut body = text.split_off(head).into_bytes();
    let mut rest = vec![0; length - body.len()];
    stream.read_exact(&mut rest).await.ok()?;
    body.extend_from_slice(&rest);
    Some((line, token, String::from_utf8(body).expect("text")))
}

fn client(endpoints: &[&str], password_file: Option<PathBuf>) -> EtcdClient {
    EtcdClient::new(EtcdPlaces {
        endpoints: endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect(),
        user: password_file.is_some().then(|| "lb".to_owned()),
        password_file,
        ca: None,
        identity: None,
        timeout: Duration::from_millis(300),
    })
}

fn says(status: u16, body: &str) -> (u16, String) {
    (status, body.to_owned())
}

fn refusal(code: i64, message: &str) -> String {
    format!("{{\"error\":\"{message}\",\"message\":\"{message}\",\"code\":{code}}}")
}

#[test]
fn one_that_is_silent_is_found_by_the_deadline_and_followed_by_the_next() {
    run(async {
        let ((silent, _), (well, _)) = (server(vec![]).await, server(vec![says(200, RANGE)]).await);
        let mut client = client(&[&silent, &well], None);
        let error = client.range(&RangeQuery::Count("/p/")).await.expect_err("silence");
        assert_eq!(error.to_string(), format!("{silent}: timed out after 300ms waiting for the answer"));
        let range = client.range(&RangeQuery::Count("/p/")).await.expect("an answer");
        assert_eq!((range.header.revision, range.count), (7, 2));
    });
}

#[test]
fn one_that_cannot_work_is_followed_by_the_next_and_a_refusal_is_not() {
    run(async {
        let answers = vec![says(503, &refusal(14, "etcdserver: no leader"))];
        let (ill, _) = server(answers).await;
        let (full, _) =
            server(vec![says(429, &refusal(8, "etcdserver: mvcc: database space exceeded"))]).await;
        let mut client = client(&[&ill, &full], None);
        let error = client.range(&RangeQuery::One("/p")).await.expect_err("no leader");
        assert!(matches!(&error, EtcdError::Away { sent: true, .. }), "{error:?}");
        let error = client.range(&RangeQuery::One("/p")).await.expect_err("full");
        let says = format!("{full}: etcd says \"etcdserver: mvcc: database space exceeded\"");
        assert_eq!(error.to_string(), says);
        assert_eq!(client.endpoint(), full);
    });
}

#[test]
fn a_transaction_is_sent_once_and_a_range_again_over_a_connection_that_has_died() {
    run(async {
        let gone = vec![says(200, RANGE), says(200, ""), says(200, RANGE), says(200, "")];
        let (endpoint, asked) = server(gone).await;
        let mut client = client(&[&endpoint], None);
        for _ in 0..2 {
            client.range(&RangeQuery::One("/p")).await.expect("the second one over a second connection");
        }
        let put = Operation::Put { key: "/p".into(), value: b"1".to_vec(), lease: 0 };
        let compare = vec![Compare::Revision { key: "/p".into(), mod_revision: 5 }];
        let transaction = Transaction { compare, then: vec![put], otherwise: vec![] };
        let error = client.transact(&transaction).await.expect_err("no answer");
        assert!(error.may_have_landed(), "{error:?}");
        let asked = asked.borrow();
        assert_eq!(asked.iter().filter(|(line, ..)| line.contains("/v3/kv/txn")).count(), 1);
        let body =
            r#"{"compare":[{"key":"L3A=","mod_revision":"5","result":"EQUAL","target":"MOD"}],"failure":[],"#;
        assert!(asked[3].2.starts_with(body), "{}", asked[3].2);
    });
}

#[test]
fn a_transaction_that_was_never_sent_cannot_have_landed() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let error = client(&[&endpoint], None).transact(&Transaction::default()).await.expect_err("nobody");
        assert!(!error.may_have_landed() && error.to_string().contains("connect: refused"), "{error}");
    });
}

#[test]
fn a_token_that_has_expired_is_renewed_and_no_secret_is_in_an_error() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "pass-word\n").expect("written");
        let answers = vec![
            says(200, r#"{"token":"first.1"}"#),
            says(401, &refusal(16, "etcdserver: invalid auth token")),
            says(200, r#"{"token":"second.2"}"#),
            says(200, RANGE),
            says(400, &refusal(3, "pass-word with second.2 may not")),
        ];
        let (endpoint, asked) = server(answers).await;
        let mut client = client(&[&endpoint], Some(file.clone()));
        client.range(&RangeQuery::One("/p")).await.expect("with the second token");
        let tokens: Vec<String> = asked.borrow().iter().map(|(_, token, _)| token.clone()).collect();
        assert_eq!(tokens, ["", "first.1", "", "second.2"]);
        assert!(asked.borrow()[0].2.contains(r#""password":"pass-word""#));
        let error = client.range(&RangeQuery::One("/p")).await.expect_err("a refusal").to_string();
        assert_eq!(error, format!("{endpoint}: etcd says \"*** with *** may not\""));
        std::fs::write(&file, "").expect("written");
        client.turn();
        let error = client.range(&RangeQuery::One("/p")).await.expect_err("no password").to_string();
        assert!(error.contains("expected one line with a password"), "{error}");
    });
}

#[test]
fn no_part_of_a_secret_is_in_an_error_wherever_its_text_is_cut() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2-pass-word\n").expect("written");
        let is_clean = |error: EtcdError| {
            let error = error.to_string();
            assert!(!["hunt", "toke"].iter().any(|part| error.contains(part)), "{error}");
        };
        for before in (150..260).step_by(4) {
            let words = format!("{} hunter2-pass-word token-of-etcd", "x".repeat(before));
            let login = || says(200, r#"{"token":"token-of-etcd"}"#);
            let line = |rest: &str| format!("{{\"result\":{{\"header\":{{\"cluster_id\":\"1\"}}{rest}}}}}\n");
            let created = line(",\"created\":true");
            let failed = format!("{{\"error\":{{\"message\":\"{words}\"}}}}\n");
            let answers = [
                says(400, &refusal(3, &words)),
                says(503, &refusal(14, &words)),
                says(200, &format!(r#"{{"header":"{words}"}}"#)),
                says(
                    200,
                    &line(&format!(",\"created\":true,\"canceled\":true,\"cancel_reason\":\"{words}\"")),
                ),
                says(200, &failed),
                says(200, &(created + &failed)),
            ];
            for (at, answer) in answers.into_iter().enumerate() {
                let (endpoint, _) = server(vec![login(), answer]).await;
                let mut client = client(&[&endpoint], Some(file.clone()));
                match at {
                    0..3 => is_clean(client.range(&RangeQuery::One("/p")).await.expect_err("an error")),
                    3 | 4 => is_clean(client.watch("/p/", 8).await.err().expect("an error")),
                    _ => {
                        let mut watch = client.watch("/p/", 8).await.expect("a watch");
                        is_clean(watch.next().await.expect_err("an error"));
                    }
                }
            }
        }
    });
}

#[test]
fn answers_of_others_are_refused_with_words() {
    run(async {
        for (status, body, says) in [
            (200, "<html>", "the answer is not etcd's: expected value"),
            (404, "<html>", "HTTP 404, expected an answer of etcd's gateway"),
            (502, "<html>", "HTTP 502"),
            (200, r#"{"header":{"revision":"x"}}"#, "found no integer of 64 bits"),
            (200, r#"{"header":null}"#, "not etcd's"),
            (200, r#"{"kvs":[{"key":"!"}]}"#, "a key or a value is not base64"),
        ] {
            let (endpoint, _) = server(vec![(status, body.to_owned())]).await;
            let error = client(&[&endpoint], None).range(&RangeQuery::One("/p")).await.expect_err(says);
            assert!(error.to_string().contains(says), "{error} should say {says}");
        }
    });
}

#[test]
fn a_watch_is_read_line_by_line() {
    run(async {
        let line = |rest: &str| {
            format!("{{\"result\":{{\"header\":{{\"cluster_id\":\"1\",\"revision\":\"7\"}}{rest}}}}}\n")
        };
        let answer = [line(",\"created\":true"), "\n".into(), line(",\"compact_revision\":\"5\"")].concat();
        let error = "{\"error\":{\"grpc_code\":14,\"message\":\"transport is closing\"}}\n";
        let (endpoint, _) = server(vec![(200, answer + error)]).await;
        let mut watch = client(&[&endpoint], None).watch("/p/", 8).await.expect("a watch");
        assert_eq!(watch.next().await.expect("a line").compact_revision, 5);
        let error = watch.next().await.expect_err("an error").to_string();
        assert_eq!(error, format!("{endpoint}: etcd says \"transport is closing\""));
        assert!(watch.next().await.expect_err("the end").to_string().ends_with("the watch has ended"));
    });
}
