// SPDX-License-Identifier: Apache-2.0
//! Every verb does what it says, and says what it has done.

use std::thread;
use std::time::{Duration, Instant};

use server_tests::{Backend, Etcd, Load, Step, pool, wait_until};

use crate::{SOON, serving};

#[test]
fn orders_are_followed_and_told_old_and_new() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    let dry = httpd.lbctl(&["drain", "app/a", "--dry-run", "--note", "x"]).done();
    assert!(
        dry.out.contains("app/a: admin ready → drain") && dry.err.contains("nothing is changed"),
        "{dry:?}"
    );
    assert_eq!(httpd.member("app", "a").state, "up");
    for (words, told, state) in [
        (
            &["drain", "app/a", "--note", "deploy 42"][..],
            "app/a: admin ready → drain, note - → deploy 42",
            "draining",
        ),
        (&["disable", "APP/a"], "app/a: admin drain → disabled, note deploy 42 → -", "disabled"),
        (&["enable", "app/a"], "app/a: admin disabled → ready", "up"),
        (&["enable", "app/a"], "app/a: admin ready already", "up"),
        (&["reset", "app/a"], "app/a: ejection ended", "up"),
    ] {
        let said = httpd.lbctl(words).done();
        assert!(said.out.starts_with(told), "{words:?}: {said:?}");
        assert_eq!(httpd.member("app", "a").state, state, "{words:?}");
    }
    let said = httpd.lbctl(&["weight", "app/a", "2"]).done();
    assert_eq!(said.out, "app/a: weight 5 → 2\n");
    let said = httpd.lbctl(&["weight", "app/*", "configured"]).done();
    assert_eq!(
        said.out,
        "app/a: weight 2 → 5\napp/b: weight 1 → 1\n".replace("weight 1 → 1", "weight 1 already")
    );
    httpd.assert_no_crash();
}

#[test]
fn a_rehearsal_says_what_the_server_would_refuse_and_a_refusal_says_it_once() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    let dry = httpd.lbctl(&["weight", "app/*", "2", "--dry-run"]).done();
    assert_eq!(dry.out, "app/a: weight 5 → 2\napp/b: weight 1 → 2\n");
    for (words, why) in [
        (["add", "app/a", "http://127.0.0.1:1"], "already has a member named a"),
        (["add", "app/c", "nonsense"], "expected scheme://host"),
    ] {
        for dry in [&[][..], &["--dry-run"]] {
            let said = httpd.lbctl(&[&words, dry].concat());
            assert!(said.code == 3 && said.err.contains(why), "{words:?} {dry:?}: {said:?}");
        }
    }
    let said = httpd.lbctl(&["add", "app/c", "http://127.0.0.1:1", "wieght=3", "--dry-run"]);
    assert!(said.code == 3 && said.err.contains("did you mean weight?"), "{said:?}");
    let said = httpd.lbctl(&["disable", "app/a", "--until", "yesterday"]);
    assert!(said.code == 3 && said.err.matches("a time to come").count() == 1, "{said:?}");
    let said = httpd.lbctl(&["remove", "app/a"]);
    assert!(said.err.contains("lbctl disable") && said.err.contains("--force"), "{said:?}");
    assert_eq!(httpd.members("app").len(), 2);
}

#[test]
fn a_condition_that_does_not_hold_in_time_is_a_document_too() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    let said = httpd.lbctl(&["wait", "app", "--for", "usable>=9", "--timeout", "300ms", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&said.out).expect("a document");
    assert!(said.code == 5 && document["holds"] == false && document["for"] == "usable>=9", "{said:?}");
}

#[test]
fn a_machine_leaves_every_pool_by_one_request() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    let address = format!("127.0.0.1:{}", a.port());
    let said = httpd.lbctl(&["drain", "--address", &address, "--until", "10m", "--then", "disabled"]).done();
    assert!(
        said.out.contains("app/a: ") && said.out.contains("api/a: ") && !said.out.contains("/b"),
        "{said:?}"
    );
    for name in ["app", "api"] {
        assert_eq!(httpd.member(name, "a").state, "draining");
        assert_eq!(httpd.member(name, "b").state, "up");
    }
    httpd.lbctl(&["enable", "*/a"]).done();
    assert_eq!([httpd.member("app", "a").state, httpd.member("api", "a").state], ["up", "up"]);
}

#[test]
fn members_come_and_go() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = serving(&a, &b).start();
    let dry = httpd.lbctl(&["add", "app/c", &c.url(), "weight=2", "meta.version=2", "--dry-run"]).done();
    assert!(dry.out.starts_with("app/c: - → http://"), "{dry:?}");
    assert!(!httpd.members("app").contains_key("c"));
    httpd.lbctl(&["add", "app/c", &c.url(), "weight=2", "zone=5", "meta.version=2", "timeout=5"]).done();
    assert_eq!(httpd.member("app", "c").weight, 2);
    let again = httpd.lbctl(&["add", "app/c", &c.url()]);
    assert!(again.code == 3 && again.err.contains("refused"), "{again:?}");
    let wrong = httpd.lbctl(&["add", "app", &c.url(), "wieght=2"]);
    assert!(wrong.code == 3 && wrong.err.contains("wieght"), "{wrong:?}");
    let configured = httpd.lbctl(&["remove", "app/a"]);
    assert!(configured.code == 3 && configured.err.contains("httpd.conf:"), "{configured:?}");
    httpd.lbctl(&["remove", "app/c"]).done();
    assert!(!httpd.members("app").contains_key("c"));
}

#[test]
fn a_drain_waits_for_the_last_request_and_no_longer() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    a.play([Step::Gate, Step::answer(200, "late")]);
    httpd.lbctl(&["drain", "app/b"]).done();
    let load = Load::start(httpd.port(), "/app", 1);
    wait_until("a request to be at a", SOON, || httpd.member("app", "a").inflight == 1);
    let early = httpd.lbctl(&["drain", "app/a", "--wait", "300ms"]);
    assert!(early.code == 5 && early.err.contains("app/a has 1 requests in flight"), "{early:?}");
    let begun = Instant::now();
    let mut waiting = httpd.lbctl_beside(&["drain", "app/a", "--wait", "60s"]);
    thread::sleep(Duration::from_millis(300));
    assert!(waiting.try_wait().expect("look").is_none(), "it did not wait");
    a.open_gate();
    let ended = waiting.wait().expect("its end");
    assert!(ended.success() && begun.elapsed() < Duration::from_secs(30), "{ended:?}");
    drop(load);
}

#[test]
fn somebody_elses_change_is_not_overwritten() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&a, &b).start();
    let tag = httpd.socket().get("/api/v1/pools/app/members/a").header("ETag").unwrap_or_default().to_owned();
    httpd.lbctl(&["weight", "app/a", "3"]).done();
    let stale = server_tests::Request::json("PATCH", "/api/v1/pools/app/members/a", r#"{"weight":4}"#)
        .header("If-Match", &tag);
    assert_eq!(httpd.socket().send(&stale).status, 412);
    assert_eq!(httpd.member("app", "a").weight, 3);
}

#[test]
fn waiting_outlives_a_restart() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = serving(&a, &b).start();
    httpd.lbctl(&["disable", "app/a"]).done();
    let mut waiting = httpd.lbctl_beside(&["wait", "app", "--for", "usable>=2", "--timeout", "60s"]);
    httpd.restart();
    httpd.graceful();
    assert!(waiting.try_wait().expect("look").is_none(), "it did not wait");
    httpd.lbctl(&["enable", "app/a"]).done();
    assert!(waiting.wait().expect("its end").success());
}

#[test]
fn views_show_what_there_is() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd =
        serving(&a, &b).file("s.lua", "function translate(r) end\n").config("LuaHookTranslate s.lua").start();
    httpd.client().get("/app");
    let status = httpd.lbctl(&["status"]).done().out;
    assert!(status.contains("pool app: ") && status.contains("2 of 2 usable"), "{status}");
    assert!(status.contains(&a.url()) && status.contains("1 requests"), "{status}");
    assert!(httpd.lbctl(&["scripts"]).done().out.contains("s.lua"));
    let members = httpd.lbctl(&["members", "api", "--json"]).done().out;
    assert!(members.contains("\"pool\": \"api\"") && !members.contains("\"pool\": \"app\""), "{members}");
}

#[test]
fn the_state_file_is_shown_with_what_a_start_would_take_of_it() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut httpd = serving(&a, &b).config("LuaBalancerStateFile kept/state.json").start();
    httpd.lbctl(&["drain", "app/a", "--note", "deploy 42"]).done();
    httpd.lbctl(&["weight", "api/b", "7"]).done();
    let shown = |httpd: &server_tests::Httpd| httpd.lbctl(&["state", "show"]).done().out;
    wait_until("both orders to be kept", SOON, || {
        let text = shown(&httpd);
        text.contains("deploy 42") && text.contains("\"weight\"")
    });
    let told = httpd.lbctl(&["state", "diff"]).done().out;
    let line = |text: &str, start: &str| {
        text.lines().find(|line| line.trim().starts_with(start)).unwrap_or_default().to_owned()
    };
    assert!(line(&told, "app/a").contains("takes it") && line(&told, "api/b").contains("weight"), "{told}");
    httpd.edit_config("name=b", "name=c");
    httpd.graceful();
    let told = httpd.lbctl(&["state", "diff"]).done().out;
    assert!(line(&told, "api/b").contains("drops it: "), "{told}");
    let pruned = httpd.lbctl(&["state", "prune"]).done().out;
    assert!(line(&pruned, "api/b").is_empty() && line(&pruned, "app/a").contains("takes it"), "{pruned}");
    let none = serving(&a, &b).start();
    assert!(none.lbctl(&["state", "diff"]).done().out.contains("there is no state file"));
    let refused = none.lbctl(&["state", "prune"]);
    assert!(refused.code == 3 && refused.err.contains("LuaBalancerStateFile"), "{refused:?}");
}

#[test]
fn an_order_is_given_at_one_server_alone_while_the_store_is_away() {
    let [a, b] = Backend::named(["a", "b"]);
    let mut etcd = Etcd::start();
    let store = format!("LuaBalancerStore etcd:{}/lb/test\nLuaBalancerShare orders", etcd.endpoint());
    let httpd = serving(&a, &b).config(&store).start();
    let is_up =
        |word: &str| httpd.socket().get("/metrics").text().contains(&format!("luabalancer_store_up {word}"));
    wait_until("the store to be there", SOON, || is_up("1"));
    etcd.kill();
    wait_until("the store to be away", SOON, || is_up("0"));
    for members in ["app/a", "*/a"] {
        let said = httpd.lbctl(&["drain", members]);
        assert!(said.code == 3 && said.err.contains("store is away"), "{said:?}");
        assert!(said.err.contains("--local at drain") && !said.err.contains("?local"), "{said:?}");
        assert_eq!(httpd.member("app", "a").state, "up");
    }
    let said = httpd.lbctl(&["drain", "app/a", "--local"]).done();
    assert!(said.out.contains("admin ready → drain, local - → true"), "{said:?}");
    assert_eq!(httpd.member("app", "a").state, "draining");
    httpd.lbctl(&["weight", "*/b", "3", "--local"]).done();
    httpd.lbctl(&["enable", "app/a", "--local"]).done();
    assert_eq!(httpd.member("app", "a").state, "up");
    etcd.start_again();
    wait_until("the store to have the weight", SOON, || {
        etcd.control(&["get", "--print-value-only", "/lb/test/orders/api/b"]).contains("\"weight\":3")
    });
    httpd.assert_no_crash();
}

#[test]
fn a_status_names_the_checks_finding_and_the_script_that_drained() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    a.health_status(503);
    let check = "LuaBalancerHealthCheck http uri=/health interval=100ms fall=1 rise=1";
    let members = pool("seen", &[(&a, ""), (&b, ""), (&c, "")], check);
    let httpd = serving(&a, &b).with_acts().config(&members).start();
    httpd.act("seen/drain/b");
    httpd.act("seen/disable/c");
    wait_until("a to be down by its check", SOON, || httpd.member("seen", "a").state == "down");
    let said = httpd.lbctl(&["members", "seen"]).done();
    for (name, reason) in [
        ("a", "down by checks: HTTP 503, expected 200-399"),
        ("b", "draining by SCRIPT"),
        ("c", "disabled by SCRIPT"),
    ] {
        let line = said.out.lines().find(|line| line.starts_with(&format!(" {name} "))).unwrap_or_default();
        let reason = reason.replace("SCRIPT", &httpd.dir().join("act.lua").display().to_string());
        assert!(line.ends_with(&reason), "{reason}: {said:?}");
    }
    a.health_status(200);
    httpd.lbctl(&["drain", "seen/c", "--note", "kernel"]).done();
    wait_until("a to be up by its check", SOON, || httpd.member("seen", "a").state == "up");
    let said = httpd.lbctl(&["status"]).done();
    assert!(!said.out.contains("checks") && said.out.contains(": kernel"), "{said:?}");
}
