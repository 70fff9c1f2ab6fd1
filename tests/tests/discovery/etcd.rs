// SPDX-License-Identifier: Apache-2.0
//! A real etcd as the source (`etcd:`), well and ill.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;
use server_tests::certificate::signed;
use server_tests::{Backend, Builder, Etcd, Httpd, Load, patience, wait_until};

use super::{SOON, get, source, up, wait_for_state, wait_for_up};

const SECOND: Duration = Duration::from_secs(1);

/// A pool `app` with the members below `/lb/app`.
fn front(etcds: &[&Etcd], keys: &str) -> Builder {
    let endpoints = etcds.iter().map(|etcd| etcd.endpoint()).collect::<Vec<_>>().join(",");
    let line = format!("LuaBalancerDiscovery etcd:{endpoints}/lb/app {keys}");
    let pool = format!("<LuaBalancerPool app>\n  {line}\n</LuaBalancerPool>\n");
    Httpd::builder().config(&pool).config("ProxyPass /app lb://app")
}

fn put(etcd: &Etcd, backend: &Backend) {
    let value = format!("{{\"url\": \"http://127.0.0.1:{}\"}}", backend.port());
    etcd.put(&format!("/lb/app/{}", backend.name()), &value);
}

fn error(httpd: &Httpd) -> String {
    source(httpd)["last_error"].as_str().unwrap_or_default().to_owned()
}

fn applied(httpd: &Httpd) -> u64 {
    source(httpd)["updates"]["applied"].as_u64().expect("a number")
}

/// Waits until the source was looked at twice more.
fn wait_for_looks(httpd: &Httpd) {
    let unchanged = || source(httpd)["updates"]["unchanged"].as_u64().expect("a number");
    let before = unchanged();
    wait_until("two looks that change nothing", SOON, || unchanged() >= before + 2);
}

#[test]
fn a_change_of_keys_is_in_service_within_a_second_and_fails_no_request() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let etcd = Etcd::start();
    put(&etcd, &a);
    put(&etcd, &b);
    // A neighbour whose name begins as the prefix does.
    etcd.put("/lb/app2/x", "{}");
    let httpd = front(&[&etcd], "").start();
    wait_for_up(&httpd, "a b");
    let load = Load::start(httpd.port(), "/app/", 4);
    load.wait_for(20);
    put(&etcd, &c);
    let took = wait_for_up(&httpd, "a b c");
    assert!(took <= patience(SECOND), "{took:?}");
    // The pool changes once a second at most.
    wait_for_looks(&httpd);
    etcd.delete("/lb/app/a");
    let took = wait_for_up(&httpd, "b c");
    assert!(took <= patience(SECOND), "{took:?}");
    let before = applied(&httpd);
    // The same once more, and a key beside them: nothing is touched.
    put(&etcd, &b);
    etcd.put("/lb/other", "1");
    etcd.compact();
    wait_for_looks(&httpd);
    assert_eq!(applied(&httpd), before);
    load.wait_for(20);
    load.stop().assert_all_ok();
    httpd.assert_no_crash();
}

#[test]
fn an_etcd_that_is_stopped_silent_or_gone_leaves_the_last_list() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let mut etcd = Etcd::start();
    put(&etcd, &a);
    put(&etcd, &b);
    let httpd = front(&[&etcd], "").start();
    wait_for_up(&httpd, "a b");
    let load = Load::start(httpd.port(), "/app/", 2);
    etcd.signal(Signal::SIGSTOP);
    wait_for_state(&httpd, "stale");
    assert!(error(&httpd).contains("timed out after 2s waiting for the answer"), "{}", error(&httpd));
    etcd.signal(Signal::SIGCONT);
    wait_for_state(&httpd, "ok");
    etcd.kill();
    wait_for_state(&httpd, "stale");
    assert!(error(&httpd).contains("connect: refused"), "{}", error(&httpd));
    assert_eq!(up(&httpd), "a b");
    assert_eq!(applied(&httpd), 1, "nothing has changed all the while");
    etcd.start_again();
    put(&etcd, &c);
    wait_for_state(&httpd, "ok");
    wait_for_up(&httpd, "a b c");
    assert_eq!(httpd.count_log("source etcd-1: .*its last list stays"), 2, "one warning each time");
    load.wait_for(20);
    load.stop().assert_all_ok();
}

#[test]
fn a_compaction_while_nobody_could_watch_changes_nothing_that_has_not_changed() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    put(&etcd, &a);
    put(&etcd, &b);
    let httpd = front(&[&etcd], "").start();
    wait_for_up(&httpd, "a b");
    let children = httpd.children();
    children.iter().for_each(|pid| httpd.signal(*pid, Signal::SIGSTOP));
    for _ in 0..3 {
        put(&etcd, &a);
    }
    etcd.compact();
    children.iter().for_each(|pid| httpd.signal(*pid, Signal::SIGCONT));
    wait_for_looks(&httpd);
    let row = source(&httpd);
    assert_eq!((&row["updates"]["applied"], &row["state"]), (&1.into(), &"ok".into()), "{row}");
    assert_eq!(up(&httpd), "a b");
}

#[test]
fn a_wiped_etcd_is_an_empty_list_that_is_held_and_its_keys_are_taken_when_they_are_back() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let mut etcd = Etcd::start();
    for backend in [&a, &b, &c, &c, &c] {
        put(&etcd, backend);
    }
    let httpd = front(&[&etcd], "").start();
    wait_for_up(&httpd, "a b c");
    let load = Load::start(httpd.port(), "/app/", 2);
    etcd.kill();
    etcd.wipe();
    etcd.start_again();
    let row = wait_for_state(&httpd, "held");
    assert_eq!(row["held"]["why"], "empty", "{row}");
    assert_eq!(up(&httpd), "a b c");
    // Its revision is lower than before.
    put(&etcd, &a);
    put(&etcd, &b);
    wait_for_up(&httpd, "a b");
    wait_for_state(&httpd, "ok");
    load.wait_for(20);
    load.stop().assert_all_ok();
}

#[test]
fn a_key_that_holds_no_member_fails_the_list_until_it_is_mended() {
    let [a, b] = Backend::named(["a", "b"]);
    let etcd = Etcd::start();
    put(&etcd, &a);
    let httpd = front(&[&etcd], "").start();
    wait_for_up(&httpd, "a");
    for (value, says) in [
        ("{", "key b: it is not JSON"),
        ("{}", "key b: url: found nothing"),
        ("{\"url\":\"http://h\",\"name\":\"c\"}", "key b: its name is"),
    ] {
        etcd.put("/lb/app/b", value);
        wait_until(says, SOON, || error(&httpd).starts_with(says));
        assert_eq!((up(&httpd).as_str(), source(&httpd)["state"].as_str()), ("a", Some("stale")));
    }
    put(&etcd, &b);
    let took = wait_for_up(&httpd, "a b");
    assert!(took <= patience(SECOND), "a mended list is not waited for: {took:?}");
    wait_for_state(&httpd, "ok");
}

#[test]
fn the_next_endpoint_is_asked_where_one_is_dead() {
    let [a, b] = Backend::named(["a", "b"]);
    let (mut one, two) = (Etcd::start(), Etcd::start());
    for etcd in [&one, &two] {
        put(etcd, &a);
    }
    let httpd = front(&[&one, &two], "").start();
    wait_for_up(&httpd, "a");
    one.kill();
    put(&two, &b);
    wait_for_up(&httpd, "a b");
    let row = wait_for_state(&httpd, "ok");
    assert_eq!(row["updates"]["failed"], 0, "{row}");
}

#[test]
fn an_etcd_without_a_leader_is_no_source_until_it_has_one_again() {
    let [a, b] = Backend::named(["a", "b"]);
    let [one, mut two, mut three] = Etcd::cluster();
    put(&one, &a);
    let httpd = front(&[&one, &two, &three], "").start();
    wait_for_up(&httpd, "a");
    let load = Load::start(httpd.port(), "/app/", 2);
    // Its watch stays as it is: the node that is left says nothing.
    two.kill();
    three.kill();
    wait_for_state(&httpd, "stale");
    assert!(error(&httpd).contains(&one.endpoint()), "{}", error(&httpd));
    assert_eq!(up(&httpd), "a");
    two.start_again();
    put(&two, &b);
    wait_for_up(&httpd, "a b");
    wait_for_state(&httpd, "ok");
    load.wait_for(20);
    load.stop().assert_all_ok();
}

#[test]
fn a_user_logs_in_with_the_password_of_now_and_nobody_sees_it() {
    let [a, b] = Backend::named(["a", "b"]);
    // Tokens of two seconds.
    let mut etcd = Etcd::start_with("http", &[], |_| vec!["--auth-token-ttl=2".to_owned()]);
    put(&etcd, &a);
    for arguments in [
        &["user", "add", "root:root-secret"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "reader"],
        &["role", "grant-permission", "reader", "read", "--prefix=true", "/lb/"],
        &["user", "add", "lb:right-secret"],
        &["user", "grant-role", "lb", "reader"],
        &["auth", "enable"],
    ] {
        etcd.control(arguments);
    }
    etcd.set_options(&["--user=root:root-secret"]);
    let httpd = front(&[&etcd], "user=lb password_file=password").file("password", "wrong-secret\n").start();
    wait_until("the refusal", SOON, || error(&httpd).contains("authentication failed"));
    httpd.write("password", "right-secret\n");
    wait_for_up(&httpd, "a");
    etcd.kill();
    etcd.start_again();
    put(&etcd, &b);
    wait_for_up(&httpd, "a b");
    wait_for_looks(&httpd);
    wait_for_looks(&httpd);
    wait_for_state(&httpd, "ok");
    let dumped = get(&httpd, "/api/v1/pools/app")["settings"]["discovery"][0].clone();
    assert_eq!((&dumped["own"]["user"], &dumped["own"]["password_file"]), (&"lb".into(), &"password".into()));
    let page = httpd.socket().get("/").text();
    for shown in [httpd.error_log(), source(&httpd).to_string(), dumped.to_string(), page] {
        assert!(!shown.contains("-secret"), "{shown}");
    }
}

#[test]
fn an_etcd_over_tls_sees_the_certificate_of_its_client() {
    let [a] = Backend::named(["a"]);
    let options = ["--cacert=ca.pem", "--cert=cert.pem", "--key=key.pem"];
    let etcd = Etcd::start_with("https", &options, |folder| {
        signed(folder);
        // Read by httpd's own user.
        let readable = Permissions::from_mode(0o644);
        fs::set_permissions(folder.join("key.pem"), readable).expect("readable");
        let words = "--cert-file=cert.pem --key-file=key.pem --client-cert-auth --trusted-ca-file=ca.pem";
        words.split(' ').map(str::to_owned).collect()
    });
    put(&etcd, &a);
    let folder = etcd.folder().display().to_string();
    let keys = format!("ca={folder}/ca.pem cert={folder}/cert.pem key={folder}/key.pem");
    let httpd = front(&[&etcd], &keys).start();
    wait_for_up(&httpd, "a");
    let stranger = front(&[&etcd], &format!("ca={folder}/ca.pem")).start();
    wait_for_state(&stranger, "stale");
    assert_eq!(up(&stranger), "");
    let wrong = front(&[&etcd], &format!("ca={folder}/ca.pem cert={folder}/cert.pem key={folder}/ca.pem"));
    let wrong = wrong.start();
    wait_until("the key's error", SOON, || error(&wrong).contains("no key found, expected"));
}
