// SPDX-License-Identifier: Apache-2.0
//! Servers that speak no HTTP, or want to do harm.

use std::time::{Duration, Instant};

use super::documents::{STATUS, member, pools};
use super::fake::{Fake, Line};
use crate::{Folder, Said};

fn asked(line: Line, words: &[&str]) -> Said {
    let folder = Folder::new();
    let fake = Fake::saying(&folder.0, line);
    let socket = fake.path.to_string_lossy().into_owned();
    folder.lbctl(&[words, &["--socket", &socket]].concat())
}

#[test]
fn answers_that_are_none_are_told_and_end_with_four() {
    let html = Line::Text(200, "text/html", "<html>hello</html>".into());
    let cut = Line::Raw(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{\"pools\":["
            .to_vec(),
    );
    let half = Line::Json("{\"pools\":[".into());
    let other = Line::Json("{\"pools\":{\"a\":1}}".into());
    let noise = Line::Raw(b"\x16\x03\x01\x02\0\x1b[2J".to_vec());
    let nothing = Line::Raw(Vec::new());
    let head = Line::Endless(
        b"HTTP/1.1 200 OK\r\nX: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".to_vec(),
    );
    let moved =
        Line::Raw(b"HTTP/1.1 302 Found\r\nLocation: /login\x1b[31m\r\nContent-Length: 0\r\n\r\n".to_vec());
    let deep = Line::Json(format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    for (name, line) in [
        ("html", html),
        ("cut", cut),
        ("half", half),
        ("other", other),
        ("noise", noise),
        ("nothing", nothing),
        ("head", head),
        ("moved", moved),
        ("deep", deep),
    ] {
        let said = asked(line, &["members", "app"]);
        assert_eq!(said.code, 4, "{name}: {}", said.whole());
        assert!(said.err.starts_with("lbctl: ") && said.err.len() < 600, "{name}: {}", said.whole());
        assert!(!said.err.contains('\x1b'), "{name}: {:?}", said.err);
    }
}

#[test]
fn an_answer_that_never_comes_is_given_up() {
    let start = Instant::now();
    let said = asked(Line::Silence(Duration::from_secs(120)), &["status"]);
    assert!(said.code == 4 && said.err.contains("no answer in time"), "{}", said.whole());
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn refusals_of_httpd_itself_are_told() {
    let page = |status: u16| Line::Text(status, "text/html", "<h1>no</h1>".into());
    for (status, word) in
        [(401, "--user"), (403, "Require"), (404, "SetHandler"), (500, "status 500"), (503, "status 503")]
    {
        let said = asked(page(status), &["status"]);
        assert!(said.code == 3 && said.err.contains(word), "{status}: {}", said.whole());
    }
}

#[test]
fn names_and_notes_reach_a_terminal_as_text() {
    let evil = r#""\u001b]0;x\u0007<script>\u202e\u009b31m\r\n""#;
    let member = member("a", &[("note", evil), ("url", evil), ("state", evil), ("zone", evil)]);
    let status = STATUS.replace("\"balancer.lua: the file", &format!("{},\"x\":\"", evil));
    let folder = Folder::new();
    let lines =
        vec![("GET /api/v1/status", Line::Json(status)), ("GET /api/v1/pools", Line::Json(pools(&[member])))];
    let fake = Fake::new(&folder.0, "lb", lines);
    let socket = fake.path.to_string_lossy().into_owned();
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["members", "app", "-o", "plain"],
        &["drain", "app/*", "--dry-run"],
    ] {
        let said = folder.lbctl(&[words, &["--socket", &socket]].concat());
        let text = said.whole();
        let steers =
            |letter: char| letter.is_control() && letter != '\n' && letter != '\t' || letter == '\u{202e}';
        assert!(!text.contains(steers), "{words:?}: {text:?}");
        assert!(said.code == 0 || said.code == 3 || said.code == 4, "{words:?}: {text}");
        assert!(words[0] == "drain" || text.contains("<script>"), "{words:?}: {text}");
    }
    let parsed = folder.lbctl(&["members", "app", "--json", "--socket", &socket]).done().out;
    let parsed: serde_json::Value = serde_json::from_str(&parsed).unwrap();
    assert_eq!(parsed[0]["note"], "\u{1b}]0;x\u{7}<script>\u{202e}\u{9b}31m\r\n");
}

#[test]
fn a_document_of_another_shape_is_no_answer_to_any_verb() {
    let verbs: [&[&str]; 18] = [
        &["status"],
        &["top", "--once"],
        &["members", "app"],
        &["add", "app/d", "http://d:1"],
        &["remove", "app/a"],
        &["weight", "app/a", "2"],
        &["drain", "app/a", "--wait", "1s"],
        &["enable", "*/*"],
        &["disable", "--address", "192.168.1.10"],
        &["reset", "app/a"],
        &["wait", "app", "--for", "usable>=1"],
        &["events"],
        &["events", "-f"],
        &["decisions"],
        &["scripts"],
        &["discovery"],
        &["state", "show"],
        &["explain", "/"],
    ];
    for document in ["{}", "[]", "null", "7", "\"pools\"", "[{}]", "{\"pools\":[[]]}", "{\"status\":\"ok\"}"]
    {
        for words in verbs {
            let said = asked(Line::Json(document.into()), words);
            assert!(said.code == 4 && said.out.is_empty(), "{words:?} {document}: {}", said.whole());
            let told = said.err.contains("is not understood") || said.err.contains("another shape");
            assert!(told, "{words:?} {document}: {}", said.whole());
        }
    }
    let folder = Folder::new();
    let fake = Fake::saying(&folder.0, Line::Json("{}".into()));
    let socket = fake.path.to_string_lossy().into_owned();
    let said = folder.lbctl(&["rollout", "app", "--socket", &socket, "--journal", "j", "--", "true"]);
    assert!(said.code == 4 && said.err.contains("is not understood"), "{}", said.whole());
}
