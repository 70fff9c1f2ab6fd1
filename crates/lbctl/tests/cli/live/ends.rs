// SPDX-License-Identifier: Apache-2.0
//! The end of every verb: its errors as a document, and a reader that goes away.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Scene, json, member, two, usual};
use crate::Folder;

/// A call of each verb that cannot be done.
const FAILING: [&[&str]; 25] = [
    &["test", "gone"],
    &["explain", "--config", "gone.conf", "/"],
    &["simulate", "--config", "pools.conf", "gone.log"],
    &["convert", "nginx", "gone"],
    &["check", "gone.conf"],
    &["completions", "cmd.exe"],
    &["man", "pools.conf"],
    &["status", "--socket", "gone"],
    &["top", "--once", "--socket", "gone"],
    &["top", "--socket", "gone"],
    &["members", "app", "--socket", "gone"],
    &["add", "app/d", "http://d:1", "--socket", "gone"],
    &["remove", "app/a", "--socket", "gone"],
    &["weight", "app/a", "2", "--socket", "gone"],
    &["drain", "app/a", "--wait", "1s", "--socket", "gone"],
    &["enable", "app/a", "--socket", "gone"],
    &["disable", "app/a", "--socket", "gone"],
    &["reset", "app/a", "--socket", "gone"],
    &["wait", "app", "--for", "usable>=1", "--socket", "gone"],
    &["rollout", "app", "--socket", "gone", "--", "true"],
    &["events", "--socket", "gone"],
    &["decisions", "--socket", "gone"],
    &["scripts", "--socket", "gone"],
    &["discovery", "--socket", "gone"],
    &["state", "diff", "--socket", "gone"],
];

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn every_verb_prints_its_errors_as_a_document() {
    let folder = Folder::with(&[("pools.conf", "<LuaBalancerPool app>\n</LuaBalancerPool>\n")]);
    for words in FAILING {
        // The command of a rollout stands behind everything else.
        let said = folder.lbctl(&[&[words[0], "-o", "json"], &words[1..]].concat());
        let document = parsed(&said.out);
        let error = &document["errors"][0];
        assert_eq!(error["exit"], said.code, "{words:?}: {}", said.whole());
        let title = match said.code {
            2 => "usage",
            4 => "unreachable",
            code => panic!("{words:?}: exit {code}"),
        };
        assert_eq!(error["title"], title, "{words:?}");
        assert!(error["detail"].as_str().is_some_and(|text| text.len() > 10), "{words:?}: {document}");
        let said = folder.lbctl(&[&["-ojson"], &words[..1], &["--bogus"]].concat());
        let document = parsed(&said.out);
        let detail = document["errors"][0]["detail"].as_str().unwrap();
        assert!(said.code == 2 && detail.contains("'--bogus'"), "{words:?}: {}", said.whole());
    }
    let none = parsed(&folder.lbctl(&["--json"]).out);
    assert_eq!((&none["errors"][0]["title"], &none["errors"][0]["exit"]), (&"usage".into(), &2.into()));
    assert!(folder.lbctl(&["--json", "--help"]).done().out.contains("Usage"));
    // The words behind the two dashes are the command of a rollout.
    assert_eq!(folder.lbctl(&["rollout", "--bogus", "--", "x", "--json"]).out, "");
}

#[test]
fn errors_stand_beside_the_answers_that_there_are() {
    let scene = Scene::new();
    let said = scene.lbctl(&["--json", "drain", "app/a", "--wait", "100ms"]);
    let document = parsed(&said.out);
    assert_eq!((said.code, &document["changes"][0]["member"]), (5, &"app/a".into()), "{}", said.whole());
    assert_eq!(document["errors"][0]["title"], "timeout", "{document}");
    let said = scene.lbctl(&["--json", "wait", "app/a", "--for", "inflight=0", "--timeout", "100ms"]);
    let document = parsed(&said.out);
    assert_eq!((said.code, &document["holds"]), (5, &false.into()), "{}", said.whole());
    assert!(document["errors"][0]["detail"].as_str().unwrap().contains("time is up"), "{document}");
    let mut refusing = usual(&two());
    refusing.retain(|(start, _)| !start.starts_with("PATCH"));
    let refused = r#"{"title":"Conflict","status":409,"detail":"app/a is held"}"#;
    refusing.push(("PATCH", super::Line::Text(409, "application/problem+json", refused.into())));
    let said = Scene::with(refusing).lbctl(&["--json", "enable", "app/a"]);
    let document = parsed(&said.out);
    assert_eq!((said.code, &document["changes"]), (3, &serde_json::json!([])), "{}", said.whole());
    assert_eq!(document["errors"][0]["title"], "refused", "{document}");
}

#[test]
fn all_servers_that_fail_are_told() {
    let folder = Folder::new();
    let urls = ["--url", "http://127.0.0.1:1/one", "--url", "http://127.0.0.1:1/two"];
    let said = folder.lbctl(&[&["status", "--json"], &urls[..]].concat());
    let document = parsed(&said.out);
    assert_eq!((said.code, document["errors"].as_array().map(Vec::len)), (4, Some(2)), "{}", said.whole());
    assert!(said.err.contains("/one: nobody") && said.err.contains("/two: nobody"), "{}", said.whole());
}

#[test]
fn a_rollout_that_cannot_begin_has_its_document_too() {
    let scene = Scene::new();
    for (words, exit) in [
        (&["--gate", "usable>>2"][..], 2),
        (&["--hold", "soon"], 2),
        (&["--resume", "--journal", "gone.json"], 2),
        (&["--journal", "/dev/null/journal"], 1),
    ] {
        let socket = scene.fake.path.to_string_lossy().into_owned();
        let call = [&["rollout", "app", "--json", "--socket", &socket], words, &["--", "true"]].concat();
        let said = scene.folder.lbctl(&call);
        let document = parsed(&said.out);
        assert_eq!((said.code, &document["pool"]), (exit, &"app".into()), "{words:?}: {}", said.whole());
        assert_eq!(document["error"], document["errors"][0]["detail"], "{words:?}: {document}");
    }
}

/// A call whose output goes to nobody, or to us.
fn called(scene: &Scene, words: &[&str], is_read: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbctl"));
    command.args(words).current_dir(&scene.folder.0).env("LBCTL_SOCKET", &scene.fake.path);
    command.env("XDG_STATE_HOME", scene.folder.0.join("state")).stdin(Stdio::null()).stderr(Stdio::piped());
    if is_read {
        command.stdout(Stdio::piped());
    } else {
        let (gone, output) = UnixStream::pair().unwrap();
        drop(gone);
        command.stdout(Stdio::from(OwnedFd::from(output)));
    }
    command.output().unwrap()
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure_of_any_verb() {
    let mut lines = usual(&two());
    lines.push(("POST /api/v1/pools/app/members", json(&member("d", &[]))));
    lines.push(("DELETE /api/v1/pools/app/members/a", json("{}")));
    lines.push(("GET /api/v1/state", json("{\"path\":null}")));
    let scene = Scene::with(lines);
    let pools = "<LuaBalancerPool app>\n  LuaBalancerMember http://a:1 name=a\n</LuaBalancerPool>\n";
    scene.folder.write("pools.conf", pools);
    scene.folder.write("nginx.conf", "upstream app { server a:1; }\n");
    scene.folder.write("x_test.lua", "local t = require 'lb.test'\n");
    scene.folder.write("access.log", "{\"time\":1,\"path\":\"/x\"}\n".repeat(100));
    let calls: [&[&str]; 26] = [
        &["--help"],
        &["--version"],
        &["test"],
        &["explain", "--config", "pools.conf", "/"],
        &["simulate", "--config", "pools.conf", "access.log"],
        &["convert", "nginx", "nginx.conf"],
        &["check", "--without-httpd", "pools.conf"],
        &["completions", "bash"],
        &["man", "pages"],
        &["status"],
        &["top", "--once"],
        &["members", "app"],
        &["add", "app/d", "http://d:1"],
        &["remove", "app/a"],
        &["weight", "app/a", "2"],
        &["drain", "app/a"],
        &["enable", "app/a"],
        &["disable", "app/a"],
        &["reset", "app/a"],
        &["wait", "app", "--for", "usable>=1"],
        &["rollout", "app", "--timeout", "100ms", "--", "true"],
        &["events"],
        &["decisions"],
        &["scripts"],
        &["discovery"],
        &["state", "show"],
    ];
    for words in calls {
        for form in [&[][..], &["--json"]] {
            let whole = [form, words].concat();
            let (read, lost) = (called(&scene, &whole, true), called(&scene, &whole, false));
            let text = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(read.status.code(), lost.status.code(), "{whole:?}: {}", text(&lost));
            assert!(!text(&lost).to_lowercase().contains("pipe"), "{whole:?}: {}", text(&lost));
        }
    }
}

#[test]
fn a_rollout_that_can_never_go_on_says_so_at_once_and_drains_nobody() {
    let call = |scene: &Scene, program: &str| {
        let socket = scene.fake.path.to_string_lossy().into_owned();
        let words = ["rollout", "app", "--journal", "j", "--socket", &socket, "--", program];
        let said = scene.folder.lbctl(&words);
        assert!(scene.fake.asked().iter().all(|line| line.starts_with("GET ")), "{:?}", scene.fake.asked());
        said
    };
    let scene = Scene::new();
    for program in ["no-such-program", "/nonexistent/program", "/tmp"] {
        let said = call(&scene, program);
        assert!(said.code == 2 && said.err.contains("there is no such program"), "{}", said.whole());
    }
    let said = call(&Scene::with(usual(&two()[..1])), "true");
    assert!(said.code == 1 && said.err.contains("app has one member"), "{}", said.whole());
    assert_eq!(scene.lbctl(&["members", "app", "--state", "uo"]).code, 2);
}
