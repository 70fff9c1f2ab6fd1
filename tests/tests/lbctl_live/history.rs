// SPDX-License-Identifier: Apache-2.0
//! `lbctl events` and `lbctl decisions` at a running server.

use std::io::Read;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;
use server_tests::{Backend, wait_until};

use crate::{SOON, serving};

/// A program that goes on, and the text that it has written so far.
struct Following {
    process: Child,
    text: Arc<Mutex<String>>,
}

impl Following {
    fn of(mut process: Child) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let mut out = process.stdout.take().expect("its output");
        let own = text.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(size @ 1..) = out.read(&mut bytes) {
                own.lock().expect("the text").push_str(&String::from_utf8_lossy(&bytes[..size]));
            }
        });
        Following { process, text }
    }

    #[track_caller]
    fn wait_for(&self, words: &[&str]) {
        let has_all = |line: &str| words.iter().all(|word| line.contains(word));
        let is_told = || self.text.lock().expect("the text").lines().any(has_all);
        wait_until(&format!("a line with {words:?}"), SOON, is_told);
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn events_are_told_as_they_happen_and_over_a_restart() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = serving(&a, &b).start();
    httpd.lbctl(&["drain", "app/a", "--note", "deploy 42"]).done();
    let told = httpd.lbctl(&["events", "--pool", "app"]).done().out;
    let line = told.lines().last().unwrap_or_default();
    assert!(line.contains(" order app/a up → draining by ") && line.ends_with(": deploy 42"), "{told}");
    let last = httpd.lbctl(&["events", "--limit", "1", "--json"]).done().out;
    let last: Value = serde_json::from_str(&last).expect("one document in one line");
    assert_eq!((&last["member"], &last["note"]), (&"a".into(), &"deploy 42".into()));
    let following = Following::of(httpd.lbctl_beside(&["events", "-f", "--pool", "app"]));
    following.wait_for(&["app/a", "deploy 42"]);
    httpd.lbctl(&["disable", "app/b"]).done();
    following.wait_for(&["app/b", "up → disabled"]);
    httpd.stop();
    httpd.start_again();
    httpd.lbctl(&["disable", "app/b", "--note", "after the start"]).done();
    following.wait_for(&["app/b", "after the start"]);
}

#[test]
fn following_ends_when_nobody_reads_any_more() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    let process = httpd.lbctl_beside(&["events", "-f"]);
    let mut following = Following { process, text: Arc::default() };
    let follower = &mut following.process;
    let mut output = follower.stdout.take().expect("its output");
    httpd.lbctl(&["drain", "app/a"]).done();
    output.read_exact(&mut [0; 20]).expect("an event");
    drop(output);
    // Nothing happens that it could write.
    wait_until("the follower to end", SOON, || follower.try_wait().expect("its state").is_some());
    assert_eq!(follower.wait().expect("its end").code(), Some(0));
}

#[test]
fn decisions_are_rows_with_their_attempts() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).config("LuaBalancerDecisions sample=100%").start();
    a.refuse();
    assert_eq!(httpd.client().get("/app/x").status, 200);
    wait_until("the decision", SOON, || httpd.lbctl(&["decisions"]).done().out.contains("/app/x"));
    let told = httpd.lbctl(&["decisions", "--member", "a", "-o", "plain"]).done().out;
    let row = told.lines().find(|line| line.ends_with("/app/x")).unwrap_or_default().to_owned();
    assert!(row.contains("\tapp\tb\t") && row.contains("a:connect b:ok"), "{told}");
    let none = httpd.lbctl(&["decisions", "--pool", "api"]).done().out;
    assert_eq!(none, "none\n");
}
