// SPDX-License-Identifier: Apache-2.0
//! `lbctl rollout` over three members under load: nobody notices, and a failure leaves nobody out
//! without a word.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use server_tests::{Backend, Ended, Httpd, Load, Step, lbctl, pool, wait_until};

use crate::SOON;

struct Site {
    httpd: Httpd,
    members: [Backend; 3],
}

impl Site {
    fn new() -> Self {
        Self::with("LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1")
    }

    /// With these lines in the pool.
    fn with(lines: &str) -> Self {
        let members = Backend::named(["a", "b", "c"]);
        let all: Vec<(&Backend, &str)> = members.iter().map(|member| (member, "")).collect();
        let builder = Httpd::builder().with_member_states().config(&pool("app", &all, lines));
        Site { httpd: builder.config("ProxyPass /app lb://app").start(), members }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.httpd.dir().join(name)
    }

    /// The words of a call, with a journal of its own.
    fn words<'w>(&'w self, options: &[&'w str], line: &'w str) -> Vec<String> {
        let journal = self.file("journal").display().to_string();
        let own = ["rollout", "app", "--journal", &journal];
        let command = ["--", "sh", "-c", line];
        let all = own.iter().chain(options).chain(&command);
        all.map(|word| word.replace("DIR", &self.httpd.dir().display().to_string())).collect()
    }

    fn rollout(&self, options: &[&str], line: &str) -> Ended {
        let words = self.words(options, line);
        self.httpd.lbctl(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn beside(&self, options: &[&str], line: &str) -> Child {
        let words = self.words(options, line);
        self.httpd.lbctl_beside(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn states(&self) -> Vec<String> {
        self.httpd.members("app").into_values().map(|member| member.state).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }
}

/// Tells the test that it has begun, and waits until the test has done what there is to do.
const WITH_HANDS: &str = "touch DIR/begun-{name}; while [ ! -e DIR/done-{name} ]; do sleep 0.05; done";

#[test]
fn three_members_are_started_anew_under_load_without_a_failed_request() {
    let site = Site::new();
    let load = Load::start(site.httpd.port(), "/app", 4);
    load.wait_for(50);
    let gate = ["--gate", "usable>=3,errors<1%", "--hold", "500ms"];
    let mut rollout = site.beside(&gate, WITH_HANDS);
    for member in &site.members {
        let name = member.name();
        wait_until("its turn", SOON * 3, || site.file(&format!("begun-{name}")).exists());
        assert_eq!(site.httpd.member("app", name).inflight, 0);
        let out: Vec<_> = site.states().into_iter().filter(|state| state != "up").collect();
        assert_eq!(out, ["draining"]);
        member.refuse();
        thread::sleep(Duration::from_millis(300));
        member.answer();
        fs::write(site.file(&format!("done-{name}")), "").expect("tell the command");
    }
    let ended = rollout.wait_with_output_of();
    load.wait_for(50);
    load.stop().assert_all_ok();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(site.states(), ["up", "up", "up"]);
    assert!(!site.file("journal").exists());
    site.httpd.assert_no_crash();
}

/// The end of a child, with its words.
trait WithOutput {
    fn wait_with_output_of(&mut self) -> Ended;
}

impl WithOutput for Child {
    fn wait_with_output_of(&mut self) -> Ended {
        use std::io::Read;
        let (mut out, mut err) = (String::new(), String::new());
        // Little is written: neither pipe fills up.
        if let Some(pipe) = self.stdout.as_mut() {
            pipe.read_to_string(&mut out).expect("its output");
        }
        if let Some(pipe) = self.stderr.as_mut() {
            pipe.read_to_string(&mut err).expect("its errors");
        }
        Ended { code: self.wait().expect("its end").code().unwrap_or(-1), out, err }
    }
}

#[test]
fn a_failed_command_stops_and_names_who_is_left_and_can_be_resumed() {
    let site = Site::new();
    let line = "echo {name} >> DIR/log; [ {name} != b ] || [ -e DIR/fixed ]";
    let said = site.rollout(&[], line);
    assert!(said.code == 1 && said.err.contains("app/b IS LEFT DRAINED"), "{said:?}");
    assert_eq!(site.states(), ["up", "draining", "up"]);
    assert_eq!(site.log(), "a\nb\n");
    // The administrator has said that it is well again.
    fs::write(site.file("fixed"), "").expect("mend it");
    site.httpd.lbctl(&["enable", "app/b"]).done();
    let said = site.rollout(&["--resume"], line);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(site.log(), "a\nb\nb\nc\n");
    assert_eq!(site.states(), ["up", "up", "up"]);
    assert_eq!(site.rollout(&["--resume"], line).code, 2);
}

#[test]
fn a_resumed_rollout_names_a_member_that_is_still_out_and_takes_it_when_told() {
    let site = Site::new();
    let line = "echo {name} >> DIR/log; [ {name} != b ] || [ -e DIR/fixed ]";
    assert_eq!(site.rollout(&[], line).code, 1);
    // The others have their turn; the one that is out is named, by exit code, word and document.
    let said = site.rollout(&["--resume", "-o", "json"], line);
    assert!(said.code == 1 && said.err.contains("STILL OUT, and not done: app/b;"), "{said:?}");
    let told: Value = serde_json::from_str(&said.out).expect("one document");
    assert_eq!((&told["done"], &told["left_drained"]), (&json!(["a", "c"]), &json!(["b"])));
    assert!(told["error"].as_str().is_some_and(|text| text.contains("--resume --take b")), "{told}");
    assert_eq!(site.states(), ["up", "draining", "up"]);
    let said = site.rollout(&["--resume", "--take", "a"], line);
    assert!(said.code == 2 && said.err.contains("expected b"), "{said:?}");
    fs::write(site.file("fixed"), "").expect("mend it");
    let said = site.rollout(&["--resume", "--take", "b", "-o", "json"], line).done();
    let told: Value = serde_json::from_str(&said.out).expect("one document");
    assert_eq!((&told["done"], &told["error"]), (&json!(["a", "c", "b"]), &Value::Null));
    assert_eq!(site.log(), "a\nb\nc\nb\n");
    assert_eq!(site.states(), ["up", "up", "up"]);
    // No order is left behind: the configuration decides.
    let state = site.httpd.lbctl(&["members", "app", "-o", "json"]).done().out;
    let state: String = state.split_whitespace().collect();
    assert_eq!(state.matches("\"overrides\":[]").count(), 3, "{state}");
}

#[test]
fn a_rollout_that_is_killed_has_noted_who_is_out() {
    let site = Site::with("");
    let mut killed = site.beside(&[], WITH_HANDS);
    wait_until("its turn", SOON, || site.file("begun-a").exists());
    kill(Pid::from_raw(killed.id().cast_signed()), Signal::SIGKILL).expect("kill it");
    killed.wait().expect("its end");
    ["a", "b", "c"]
        .iter()
        .for_each(|name| fs::write(site.file(&format!("done-{name}")), "").expect("tell it"));
    let said = site.rollout(&["--resume"], WITH_HANDS);
    assert!(said.code == 1 && said.err.contains("STILL OUT, and not done: app/a;"), "{said:?}");
    site.rollout(&["--resume", "--take", "a"], WITH_HANDS).done();
    assert_eq!(site.states(), ["up", "up", "up"]);
}

#[test]
fn a_member_that_one_of_two_servers_refuses_to_drain_is_put_back_at_the_other() {
    let members = Backend::named(["a", "b"]);
    let all: Vec<(&Backend, &str)> = members.iter().map(|member| (member, "")).collect();
    let start = |admin: &str| {
        let builder = Httpd::builder().with_member_states().config(&pool("app", &all, ""));
        let door = format!("LuaBalancerAdmin {admin}\n<Location /lb>\nSetHandler lua-balancer\n</Location>");
        builder.config(&door).start()
    };
    let servers = [start("on anonymous=on"), start("on")];
    let urls = servers.each_ref().map(|httpd| format!("http://127.0.0.1:{}/lb", httpd.port()));
    let journal = servers[0].dir().join("journal").display().to_string();
    for (first, second, drained) in [(&urls[0], &urls[1], true), (&urls[1], &urls[0], false)] {
        let words = ["rollout", "app", "--journal", &journal, "-o", "json", "--url", first, "--url", second];
        let said = lbctl(&[&words[..], &["--", "true"]].concat());
        assert!(said.code == 3 && said.err.contains("a change needs a user"), "{said:?}");
        assert_eq!(said.err.contains("admin drain → ready"), drained, "{said:?}");
        let told: Value = serde_json::from_str(&said.out).expect("one document");
        // The server that refuses to drain it refuses to put it back as well: that is told.
        assert_eq!(told["left_drained"], if drained { json!(["a"]) } else { json!([]) });
        assert_eq!(servers[0].member("app", "a").state, "up");
    }
}

#[test]
fn a_document_has_standard_output_for_itself() {
    let site = Site::with("");
    let said = site.rollout(&["-o", "json"], "echo from {name}").done();
    let told: Value = serde_json::from_str(&said.out).expect("one document");
    assert_eq!(told["done"], json!(["a", "b", "c"]));
    assert!(said.err.contains("from a") && said.err.contains("from c"), "{said:?}");
}

#[test]
fn a_failed_gate_undoes_all_that_was_done() {
    let site = Site::new();
    let undo = "echo back {name} >> DIR/log";
    let line = "echo {name} >> DIR/log";
    let options = ["--undo", undo, "--gate", "total>=4", "--hold", "1s"];
    let said = site.rollout(&options, line);
    assert!(said.code == 1 && said.err.contains("the gate has failed: app has total 3"), "{said:?}");
    assert_eq!(site.log(), "a\nback a\n");
    assert_eq!(site.states(), ["up", "up", "up"]);
    let said = site.rollout(&options[2..], line);
    assert!(said.code == 1 && said.err.contains("app/a serves, with what"), "{said:?}");
    assert_eq!(site.states(), ["up", "up", "up"]);
}

#[test]
fn an_interrupted_rollout_leaves_nobody_drained_without_saying_so() {
    // Without checks: the member that hangs would be down.
    let site = Site::with("");
    site.members[0].play([Step::Gate, Step::answer(200, "late")]);
    let load = Load::start(site.httpd.port(), "/app", 1);
    wait_until("a request to be at a", SOON, || site.httpd.member("app", "a").inflight >= 1);
    // Before the command: the member is as it was.
    let mut early = site.beside(&[], "echo {name} >> DIR/log");
    wait_until("a to drain", SOON, || site.httpd.member("app", "a").state == "draining");
    kill(Pid::from_raw(early.id().cast_signed()), Signal::SIGINT).expect("interrupt it");
    let ended = early.wait_with_output_of();
    assert!(ended.code == 1 && ended.err.contains("app/a is as it was"), "{ended:?}");
    assert_eq!(site.states(), ["up", "up", "up"]);
    site.members[0].open_gate();
    site.members[0].answer();
    drop(load);
    // Within the command: it stays out, and that is told.
    let site = Site::with("");
    let mut late = site.beside(&[], WITH_HANDS);
    wait_until("its turn", SOON, || site.file("begun-a").exists());
    kill(Pid::from_raw(late.id().cast_signed()), Signal::SIGTERM).expect("interrupt it");
    fs::write(site.file("done-a"), "").expect("tell the command");
    let ended = late.wait_with_output_of();
    assert!(ended.code == 1 && ended.err.contains("app/a IS LEFT DRAINED"), "{ended:?}");
    assert_eq!(site.log(), "");
}

#[test]
fn members_found_drained_are_left_so_and_the_last_one_never_goes() {
    let site = Site::new();
    site.httpd.lbctl(&["drain", "app/a"]).done();
    site.httpd.lbctl(&["disable", "app/b"]).done();
    let said = site.rollout(&["--timeout", "500ms"], "echo {name} >> DIR/log");
    assert!(said.code == 5 && said.err.contains("nobody else of app is usable"), "{said:?}");
    site.httpd.lbctl(&["enable", "app/b"]).done();
    site.rollout(&[], "echo {name}:{port} >> DIR/log").done();
    let [_, b, c] = &site.members;
    assert_eq!(site.log(), format!("b:{}\nc:{}\n", b.port(), c.port()));
    assert_eq!(site.states(), ["draining", "up", "up"]);
}

#[test]
fn a_standby_that_rests_holds_nobody_up_and_says_what_it_is() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let members = pool("app", &[(&a, ""), (&b, ""), (&c, "status=+H")], "");
    let httpd = Httpd::builder().config(&members).config("ProxyPass /app lb://app").start();
    let journal = httpd.dir().join("journal").display().to_string();
    let ended = httpd.lbctl(&["rollout", "app", "--journal", &journal, "--timeout", "5s", "--", "true"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let status = httpd.lbctl(&["status"]);
    let line = status.out.lines().find(|line| line.starts_with(" c ")).expect("the standby's line");
    assert!(line.ends_with("  standby"), "{line}");
}
