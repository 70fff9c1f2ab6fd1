// SPDX-License-Identifier: Apache-2.0
//! Saved scripts are served everywhere within a second; broken ones never.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use server_tests::httpd::Builder;
use server_tests::{Client, Httpd, Load, Mpm, on_every_mpm, patience, wait_until};

const ONE_SECOND: Duration = Duration::from_secs(1);
const BROKEN: &str = "local a = 1\nlocal b = 2\nfunction translate(r) return +* end";

/// A script whose answers name its version.
fn version(n: u16) -> String {
    format!("function translate(r) r.subprocess_env['VERSION'] = '{n}' return 204 end")
}

/// The header that load and clients read versions from.
const NAME_VERSION: &str = "Header always set X-Backend \"%{VERSION}e\"";

fn versioned(mpm: Mpm) -> Builder {
    Httpd::builder()
        .mpm(mpm)
        .file("pick.lua", &version(1))
        .config(&format!("<Location /v>\n  LuaHookTranslate pick.lua\n  {NAME_VERSION}\n</Location>"))
}

fn answers(client: &mut Client) -> u16 {
    let response = client.get("/v");
    response.backend().parse().unwrap_or_else(|_| panic!("no version in {response:?}"))
}

/// Every request that starts later than a second after `saved` must be answered by version `n`;
/// returns when each client has had one.
fn assert_served_within_a_second(clients: &mut BTreeMap<u32, Client>, saved: Instant, n: u16) {
    for (pid, client) in clients {
        loop {
            let start = Instant::now();
            let got = answers(client);
            if got == n {
                break;
            }
            let late = start.duration_since(saved);
            assert!(
                late <= ONE_SECOND,
                "child {pid} serves version {got} {late:?} after version {n} was saved"
            );
        }
    }
}

/// Many more requests, so that every thread of every child is met: none may be of another version.
fn assert_only_version(httpd: &Httpd, n: u16) {
    let load = Load::start(httpd.port(), "/v", 6);
    load.wait_for(600);
    let tally = load.stop();
    assert_eq!(tally.backends.keys().collect::<Vec<_>>(), [&n.to_string()], "{tally:?}");
    assert!(tally.errors.is_empty(), "{tally:?}");
}

on_every_mpm!(a_saved_script_is_served_by_all_children_within_a_second);

fn a_saved_script_is_served_by_all_children_within_a_second(mpm: Mpm) {
    let httpd = versioned(mpm).start();
    let mut clients = httpd.clients_in_children(2, "/probe");
    assert_served_within_a_second(&mut clients, Instant::now(), 1);
    httpd.write("pick.lua", &version(2));
    assert_served_within_a_second(&mut clients, Instant::now(), 2);
    httpd.write_in_place("pick.lua", &version(3));
    assert_served_within_a_second(&mut clients, Instant::now(), 3);
    wait_until("a second to pass", ONE_SECOND * 2, {
        let saved = Instant::now();
        move || saved.elapsed() > ONE_SECOND
    });
    assert_only_version(&httpd, 3);
}

#[test]
fn a_saved_module_is_served_within_a_second() {
    let module = |n: u16| format!("return {{ version = '{n}' }}");
    let httpd = Httpd::builder()
        .file("site.lua", &module(1))
        .file("lib/deep.lua", &module(1))
        .file("pick.lua", "local site = require 'site'\nfunction translate(r) r.subprocess_env.VERSION = site.version return 204 end")
        .file("deep-user.lua", "function translate(r) r.subprocess_env.VERSION = require('deep').version return 204 end")
        .config("LuaBalancerPackagePath lib/?.lua")
        .config(NAME_VERSION)
        .config("<Location /v>\n  LuaHookTranslate pick.lua\n</Location>")
        .config("<Location /deep>\n  LuaHookTranslate deep-user.lua\n</Location>")
        .start();
    let mut clients = httpd.clients_in_children(2, "/probe");
    assert_served_within_a_second(&mut clients, Instant::now(), 1);
    httpd.write("site.lua", &module(2));
    assert_served_within_a_second(&mut clients, Instant::now(), 2);
    assert_eq!(httpd.client().get("/deep").backend(), "1");
    let saved = Instant::now();
    httpd.write("lib/deep.lua", &module(2));
    wait_until("the saved module", ONE_SECOND * 3, || httpd.client().get("/deep").backend() == "2");
    assert!(saved.elapsed() < patience(Duration::from_millis(1300)), "{:?}", saved.elapsed());
}

on_every_mpm!(a_broken_save_never_reaches_a_request_nor_a_new_child);

fn a_broken_save_never_reaches_a_request_nor_a_new_child(mpm: Mpm) {
    let httpd = versioned(mpm).start();
    let mut clients = httpd.clients_in_children(2, "/probe");
    httpd.write("pick.lua", &version(2));
    assert_served_within_a_second(&mut clients, Instant::now(), 2);
    let load = Load::start(httpd.port(), "/v", 2);
    load.wait_for(20);
    // Everybody has version 2 by now: a second has passed since the first of them had it.
    let steady = Instant::now();
    wait_until("a second to pass", ONE_SECOND * 2, || steady.elapsed() > ONE_SECOND);
    drop(load.stop());

    let load = Load::start(httpd.port(), "/v", 2);
    httpd.write("pick.lua", BROKEN);
    httpd.wait_for_log(r"\[lua_balancer:error\].*pick\.lua:3");
    load.wait_for(200);
    let tally = load.stop();
    assert_eq!(tally.backends.keys().collect::<Vec<_>>(), ["2"], "{tally:?}");
    assert!(tally.errors.is_empty(), "{tally:?}");

    drop(clients);
    for pid in httpd.wait_for_children(2) {
        httpd.kill_child(pid);
    }
    httpd.wait_for_children(2);
    wait_until("a new child to answer", Duration::from_secs(10), || httpd.client().try_get("/v").is_ok());
    assert_only_version(&httpd, 2);

    let mut clients = httpd.clients_in_children(2, "/probe-again");
    httpd.write("pick.lua", &version(3));
    assert_served_within_a_second(&mut clients, Instant::now(), 3);
}

#[test]
fn a_top_level_that_fails_is_not_taken() {
    let httpd = versioned(Mpm::Event).start();
    assert_eq!(answers(&mut httpd.client()), 1);
    httpd.write("pick.lua", "function translate(r) return 299 end\nerror('top level')");
    httpd.wait_for_log(r"\[lua_balancer:error\].*pick\.lua:2.*top level");
    assert_only_version(&httpd, 1);
    httpd.write("pick.lua", "while true do end\nfunction translate(r) return 299 end");
    httpd.wait_for_log(r"\[lua_balancer:error\].*pick\.lua.*(time|limit)");
    assert_only_version(&httpd, 1);
    httpd.write("pick.lua", &version(2));
    wait_until("the good version", ONE_SECOND * 3, || answers(&mut httpd.client()) == 2);
}

#[test]
fn a_broken_save_is_one_error_line() {
    let httpd = versioned(Mpm::Event).start();
    assert_only_version(&httpd, 1);
    httpd.write("pick.lua", BROKEN);
    httpd.wait_for_log(r"pick\.lua:3");
    let logged = Instant::now();
    wait_until("two seconds of traffic", ONE_SECOND * 4, || {
        httpd.client().get("/v");
        logged.elapsed() > ONE_SECOND * 2
    });
    let lines = httpd.count_log(r"\[lua_balancer:error\].*pick\.lua:3");
    assert!(lines <= 2, "{lines} lines for one broken save in two children");
}

#[test]
fn a_removed_script_goes_on_serving() {
    let httpd = versioned(Mpm::Event).start();
    assert_eq!(answers(&mut httpd.client()), 1);
    std::fs::remove_file(httpd.dir().join("pick.lua")).expect("remove the script");
    let removed = Instant::now();
    wait_until("two seconds of traffic", ONE_SECOND * 4, || {
        assert_eq!(answers(&mut httpd.client()), 1);
        removed.elapsed() > ONE_SECOND * 2
    });
}

#[test]
fn code_cache_forever_keeps_what_was_loaded() {
    let httpd = versioned(Mpm::Event).config("LuaBalancerCodeCache forever").start();
    assert_eq!(answers(&mut httpd.client()), 1);
    httpd.write("pick.lua", &version(2));
    let saved = Instant::now();
    wait_until("two seconds of traffic", ONE_SECOND * 4, || {
        assert_eq!(answers(&mut httpd.client()), 1);
        saved.elapsed() > ONE_SECOND * 2
    });
}

#[test]
fn code_cache_never_reads_the_file_every_time() {
    let httpd = versioned(Mpm::Event).config("LuaBalancerCodeCache never").start();
    for n in 1..20 {
        httpd.write("pick.lua", &version(n));
        assert_eq!(answers(&mut httpd.client()), n);
    }
}

#[test]
fn saving_under_load_fails_no_request() {
    let httpd = versioned(Mpm::Event).start();
    let load = Load::start(httpd.port(), "/v", 4);
    for n in 2..12 {
        httpd.write("pick.lua", &version(n));
        load.wait_for(100);
    }
    let tally = load.stop();
    assert!(tally.errors.is_empty(), "{tally:?}");
    assert_eq!(tally.statuses.keys().collect::<Vec<_>>(), [&204], "{tally:?}");
}
