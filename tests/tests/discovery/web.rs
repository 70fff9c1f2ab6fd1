// SPDX-License-Identifier: Apache-2.0
//! A real httpd as the source (`http:`), well and ill.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use server_tests::certificate::signed;
use server_tests::{Backend, Builder, Httpd, Load, Mpm, on_every_mpm, patience, wait_until};

use super::writing::pass_a_second;
use super::{SOON, get, member, plain, send, source, up, wait_for_state, wait_for_up, warnings};

/// A web server with this list at `/app.json`.
fn cmdb(list: &str) -> Builder {
    let builder = Httpd::builder().stock().file("lists/app.json", list);
    let folder = builder.dir().join("lists");
    builder.config(&format!(
        "Alias /app.json {0}/app.json\n<Directory {0}>\nRequire all granted\n</Directory>\n\
         Redirect /moved.json /app.json",
        folder.display()
    ))
}

/// A pool `app` with the members that such a server names.
fn front(url: &str, keys: &str) -> Builder {
    let pool =
        format!("<LuaBalancerPool app>\n  LuaBalancerDiscovery http:{url} {keys}\n</LuaBalancerPool>\n");
    Httpd::builder().config(&pool).config("ProxyPass /app lb://app")
}

fn refresh(httpd: &Httpd) {
    let answer = send(httpd, "POST", "/api/v1/discovery/app/http-1/refresh", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn error(httpd: &Httpd) -> String {
    source(httpd)["last_error"].as_str().unwrap_or_default().to_owned()
}

fn wait_for_error(httpd: &Httpd, begins: &str) {
    wait_until(begins, SOON, || error(httpd).starts_with(begins));
    wait_for_state(httpd, "stale");
    assert_eq!((up(httpd).as_str(), warnings(httpd)), ("a b", vec!["discovery_stale".to_owned()]));
}

/// The seconds of the day of a time as the API writes it.
fn second_of_day(time: &serde_json::Value) -> i64 {
    let text = time.as_str().unwrap_or_else(|| panic!("{time} is a time"));
    let clock = text.split(['T', 'Z']).nth(1).expect("a time of day").split(':');
    clock.fold(0, |second, part| second * 60 + part.parse::<i64>().expect("a number"))
}

/// Nobody looks at the list again between the one and the other.
#[test]
fn a_drain_begins_when_its_list_has_settled() {
    let [a, b] = Backend::named(["a", "b"]);
    let cmdb = cmdb(&plain(&[&a, &b])).start();
    let url = format!("http://127.0.0.1:{}/app.json", cmdb.port());
    let httpd = front(&url, "every=60s settle=3s drain=6s").start();
    wait_for_up(&httpd, "a b");
    cmdb.write("lists/app.json", &plain(&[&a]));
    refresh(&httpd);
    wait_for_up(&httpd, "a");
    let b = member(&httpd, "b");
    let [since, until] = [&b["since"], &b["why"][0]["until"]].map(second_of_day);
    let drains = (until - since).rem_euclid(24 * 3600);
    assert!((5..=7).contains(&drains), "{drains} s, expected 6: {b}");
}

on_every_mpm!(a_web_server_that_fails_in_every_way_leaves_its_last_list_and_fails_no_request);

fn a_web_server_that_fails_in_every_way_leaves_its_last_list_and_fails_no_request(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let mut cmdb = cmdb(&plain(&[&a])).start();
    let httpd = front(&format!("http://127.0.0.1:{}/app.json", cmdb.port()), "every=1s timeout=1s");
    let httpd = httpd.mpm(mpm).start();
    wait_for_up(&httpd, "a");
    let load = Load::start(httpd.port(), "/app/", 2);
    load.wait_for(20);
    pass_a_second();
    cmdb.write("lists/app.json", &plain(&[&a, &b]));
    refresh(&httpd);
    let took = wait_for_up(&httpd, "a b");
    assert!(took <= patience(Duration::from_secs(1)), "{took:?}");
    let unchanged = || source(&httpd)["updates"]["unchanged"].as_u64().unwrap_or(0);
    let before = unchanged();
    wait_until("two polls that change nothing", SOON, || unchanged() >= before + 2);
    assert_eq!(source(&httpd)["updates"]["applied"], 2, "no list is put in service twice");
    assert!(cmdb.access_log().iter().any(|line| line.status == 304), "it is asked by its ETag");
    for (list, begins) in [
        ("<html>", "it is HTML"),
        ("", "it is empty"),
        ("[{\"targets\":[\"127.0.0.1:1\"", "it is not JSON: EOF"),
    ] {
        cmdb.write("lists/app.json", list);
        refresh(&httpd);
        wait_for_error(&httpd, begins);
    }
    fs::remove_file(cmdb.dir().join("lists/app.json")).expect("removed");
    refresh(&httpd);
    wait_for_error(&httpd, "HTTP 404, expected 200 or 304");
    cmdb.write("lists/app.json", &plain(&[&a, &b]));
    refresh(&httpd);
    wait_for_state(&httpd, "ok");
    // Silence: the kernel goes on taking connections.
    let children = cmdb.children();
    children.iter().for_each(|pid| cmdb.signal(*pid, Signal::SIGSTOP));
    wait_for_error(&httpd, "timed out after 1s");
    children.iter().for_each(|pid| cmdb.signal(*pid, Signal::SIGCONT));
    refresh(&httpd);
    wait_for_state(&httpd, "ok");
    cmdb.kill();
    wait_for_error(&httpd, "connect: refused");
    cmdb.write("lists/app.json", &plain(&[&a, &b, &c]));
    cmdb.start_again();
    refresh(&httpd);
    wait_for_up(&httpd, "a b c");
    wait_for_state(&httpd, "ok");
    cmdb.stop();
    wait_until("connect: refused", SOON, || error(&httpd).starts_with("connect: refused"));
    assert_eq!(up(&httpd), "a b c");
    load.wait_for(20);
    load.stop().assert_all_ok();
    httpd.assert_no_crash();
}

/// A web server that gives its list over TLS, packed, to those with the token `t-first` or
/// `t-second`.
fn guarded(list: &str) -> Httpd {
    let builder = cmdb(list).module("ssl").module("deflate").module("filter");
    signed(builder.dir());
    builder
        .config(
            "SSLEngine on\nSSLCertificateFile cert.pem\nSSLCertificateKeyFile key.pem\n\
             <Location /app.json>\nSetOutputFilter DEFLATE\n\
             Require expr %{HTTP:Authorization} =~ /^Bearer t-(first|second)$/\n</Location>",
        )
        .start()
}

#[test]
fn a_list_over_tls_needs_its_authority_and_the_token_of_now() {
    let [a, b] = Backend::named(["a", "b"]);
    let cmdb = guarded(&plain(&[&a]));
    let ca = cmdb.dir().join("ca.pem");
    let url = |host: &str| format!("https://{host}:{}/app.json", cmdb.port());
    let keys = format!("every=1s bearer_file=token ca={}", ca.display());
    let httpd = front(&url("localhost"), &keys).file("token", "t-wrong\n").start();
    wait_until("the refusal", SOON, || error(&httpd).starts_with("HTTP 40"));
    httpd.write("token", "t-first\n");
    refresh(&httpd);
    wait_for_up(&httpd, "a");
    httpd.write("token", "t-second\n");
    cmdb.write("lists/app.json", &plain(&[&a, &b]));
    refresh(&httpd);
    wait_for_up(&httpd, "a b");
    let dumped = get(&httpd, "/api/v1/pools/app")["settings"]["discovery"][0].clone();
    assert_eq!((&dumped["own"]["every"], &dumped["own"]["bearer_file"]), (&"1s".into(), &"token".into()));
    let page = httpd.socket().get("/").text();
    for shown in [httpd.error_log(), source(&httpd).to_string(), dumped.to_string(), page] {
        assert!(!["t-wrong", "t-first", "t-second"].iter().any(|token| shown.contains(token)), "{shown}");
    }
    for (url, keys, begins) in [
        (url("localhost"), "", "TLS: the certificate's issuer is not trusted (see ca=)"),
        (url("127.0.0.1"), keys.as_str(), "TLS: the certificate is not for 127.0.0.1"),
    ] {
        let stranger = front(&url, keys).file("token", "t-first\n").start();
        wait_until(begins, SOON, || {
            error(&stranger).starts_with(begins) || error(&stranger).contains("no CA")
        });
        assert_eq!(up(&stranger), "");
    }
}

#[test]
fn redirects_are_refused_with_words() {
    let [a] = Backend::named(["a"]);
    let cmdb = cmdb(&plain(&[&a])).start();
    let httpd = front(&format!("http://127.0.0.1:{}/moved.json", cmdb.port()), "").start();
    wait_until("the refusal", SOON, || {
        error(&httpd).starts_with("HTTP 302: redirects are not followed, it leads to \"http://127.0.0.1:")
    });
}
