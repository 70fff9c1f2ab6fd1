// SPDX-License-Identifier: Apache-2.0
//! A saved script on trial: a share of the requests, and the version before when it fails.

use std::time::Duration;

use server_tests::httpd::Builder;
use server_tests::{Client, Httpd, Mpm, on_every_mpm, wait_until};

const SOON: Duration = Duration::from_secs(20);

/// A script whose answers name its version.
fn version(n: u16) -> String {
    format!("function translate(r) r.subprocess_env['VERSION'] = '{n}' return 204 end")
}

/// One whose every `nth` call fails, in each state.
fn failing(n: u16, nth: u16) -> String {
    format!(
        "local calls = 0\nfunction translate(r)\n  calls = calls + 1\n  r.subprocess_env['VERSION'] = '{n}'\n  \
         if calls % {nth} == 0 then error('broken on purpose') end\n  return 204\nend"
    )
}

fn with_trials(mpm: Mpm, rollout: &str) -> Builder {
    Httpd::builder().mpm(mpm).children(2).file("pick.lua", &version(1)).config(&format!(
        "LuaBalancerRollout {rollout}\n\
         <Location /v>\n  LuaHookTranslate pick.lua\n  Header always set X-Backend \"%{{VERSION}}e\"\n</Location>\n\
         <Location /lb>\n  SetHandler lua-balancer\n</Location>"
    ))
}

/// The versions that so many requests were answered by; an empty name for failures.
fn answers(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| client.get("/v")).map(|response| response.backend().to_owned()).collect()
}

fn share(answers: &[String], version: &str) -> f64 {
    answers.iter().filter(|answer| *answer == version).count() as f64 / answers.len() as f64
}

/// The words of the row of scripts, without white space.
fn row(httpd: &Httpd) -> String {
    httpd.client().get("/lb/api/v1/scripts").text().split_whitespace().collect()
}

fn wait_for_row(httpd: &Httpd, part: &str) {
    wait_until(&format!("{part} in the row of the script"), SOON, || row(httpd).contains(part));
}

on_every_mpm!(a_saved_script_serves_its_share_and_then_everything);

fn a_saved_script_serves_its_share_and_then_everything(mpm: Mpm) {
    let httpd = with_trials(mpm, "percent=25% for=4s errors=1%").start();
    let mut client = httpd.client();
    assert_eq!(share(&answers(&mut client, 50), "1"), 1.0);
    assert!(row(&httpd).contains("\"rollout\":null"), "{}", row(&httpd));
    httpd.write("pick.lua", &version(2));
    wait_for_row(&httpd, "\"state\":\"running\",\"percent\":25,\"errors\":1,");
    assert!(row(&httpd).contains("\"verdict\":\"serves\""), "{}", row(&httpd));
    wait_until("a first answer of the version on trial", SOON, || client.get("/v").backend() == "2");
    let during = answers(&mut client, 600);
    let (new, old) = (share(&during, "2"), share(&during, "1"));
    if row(&httpd).contains("\"state\":\"running\"") {
        assert!(
            (0.15..0.36).contains(&new) && new + old == 1.0,
            "{new} of the new version, {old} of the old one"
        );
    }
    wait_for_row(&httpd, "\"version\":2,\"verdict\":\"serves\"");
    wait_until("the saved version to serve", SOON, || share(&answers(&mut client, 50), "2") == 1.0);
    wait_for_row(&httpd, "\"rollout\":null");
    httpd.wait_for_log("on trial, with 25 % of the requests for 4 s");
    httpd.wait_for_log("0 of [0-9]+ calls failed: the trial is over");
    httpd.assert_no_crash();
}

#[test]
fn a_version_whose_calls_fail_is_not_taken_and_a_graceful_does_not_take_it_either() {
    let mut httpd = with_trials(Mpm::Event, "percent=50% for=60s errors=2%").start();
    let mut client = httpd.client();
    httpd.write("pick.lua", &failing(2, 10));
    wait_for_row(&httpd, "\"state\":\"running\"");
    wait_until("the trial to fail", SOON, || {
        answers(&mut client, 50);
        row(&httpd).contains("\"state\":\"failed\"")
    });
    httpd.wait_for_log("calls failed .* at most 2 % may.*: the saved version is not taken");
    wait_until("everything to be served as before", SOON, || share(&answers(&mut client, 100), "1") == 1.0);
    assert!(row(&httpd).contains("\"verdict\":\"refused\""), "{}", row(&httpd));
    httpd.graceful();
    let mut client = httpd.client();
    assert_eq!(share(&answers(&mut client, 100), "1"), 1.0);
    assert!(row(&httpd).contains("\"state\":\"failed\""), "{}", row(&httpd));
    httpd.write("pick.lua", &version(3));
    wait_until("a trial of the next version", SOON, || client.get("/v").backend() == "3");
    httpd.assert_no_crash();
}

#[test]
fn a_version_that_loops_or_wants_too_much_is_not_taken() {
    let httpd = with_trials(Mpm::Event, "percent=50% for=60s errors=2%").start();
    let mut client = httpd.client();
    for body in ["while true do end", "local t = {} for i = 1, 1e9 do t[i] = i end"] {
        httpd.write("pick.lua", &format!("function translate(r) {body} end"));
        wait_until("the trial to fail", SOON, || {
            answers(&mut client, 4);
            row(&httpd).contains("\"state\":\"failed\"")
        });
        wait_until("the version before to serve", SOON, || share(&answers(&mut client, 50), "1") == 1.0);
        httpd.write("pick.lua", &version(1));
        wait_for_row(&httpd, "\"rollout\":null");
    }
    httpd.assert_no_crash();
}

#[test]
fn the_serving_version_saved_again_ends_a_trial_and_a_later_version_begins_another() {
    let httpd = with_trials(Mpm::Event, "percent=50% for=60s errors=2%").start();
    let mut client = httpd.client();
    httpd.write("pick.lua", &version(2));
    wait_until("a trial", SOON, || client.get("/v").backend() == "2");
    httpd.write("pick.lua", &version(3));
    wait_until("a trial of the later version", SOON, || client.get("/v").backend() == "3");
    let of_both = answers(&mut client, 100);
    assert_eq!(share(&of_both, "2"), 0.0, "{of_both:?}");
    httpd.write("pick.lua", &version(1));
    wait_for_row(&httpd, "\"rollout\":null");
    wait_until("the first version alone", SOON, || share(&answers(&mut client, 100), "1") == 1.0);
}

#[test]
fn a_trial_goes_on_over_a_graceful_and_the_death_of_children() {
    let mut httpd = with_trials(Mpm::Event, "percent=50% for=12s errors=2%").start();
    httpd.write("pick.lua", &version(2));
    wait_for_row(&httpd, "\"state\":\"running\"");
    httpd.graceful();
    let mut client = httpd.client();
    wait_until("the version on trial after a graceful", SOON, || client.get("/v").backend() == "2");
    assert!(share(&answers(&mut client, 100), "1") > 0.0);
    for pid in httpd.children() {
        httpd.kill_child(pid);
    }
    let mut client = httpd.client();
    wait_until("the version on trial in new children", SOON, || {
        client.try_get("/v").is_ok_and(|response| response.backend() == "2")
    });
    wait_until("the trial to pass", SOON, || {
        client.try_get("/v").is_ok() && row(&httpd).contains("\"version\":2,\"verdict\":\"serves\"")
    });
}

#[test]
fn a_save_that_is_refused_begins_no_trial_and_off_means_none() {
    let httpd = with_trials(Mpm::Event, "percent=50%").start();
    httpd.write("pick.lua", "function translate(r) return +* end");
    wait_for_row(&httpd, "\"verdict\":\"refused\"");
    assert!(row(&httpd).contains("\"rollout\":null"), "{}", row(&httpd));
    let httpd = with_trials(Mpm::Event, "off").start();
    let mut client = httpd.client();
    httpd.write("pick.lua", &version(2));
    wait_until("the saved version at once", SOON, || client.get("/v").backend() == "2");
    assert_eq!(share(&answers(&mut client, 100), "2"), 1.0);
}
