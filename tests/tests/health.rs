// SPDX-License-Identifier: Apache-2.0
//! Active checks: what is down gets no request, what is up again gets its share.

use std::time::Duration;

use server_tests::certificate::self_signed;
use server_tests::{Backend, Builder, Httpd, Mpm, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn checked(mpm: Mpm, a: &Backend, b: &Backend, check: &str) -> Builder {
    let lines = format!("LuaBalancerOutlier off\nLuaBalancerHealthCheck {check}");
    Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .config(&pool("app", &[(a, ""), (b, "")], &lines))
        .config("ProxyPass /app lb://app")
}

fn wait_for_state(httpd: &Httpd, member: &str, state: &str) -> Duration {
    wait_until(&format!("member {member} to be {state}"), SOON, || httpd.member("app", member).state == state)
}

on_every_mpm!(http_checks_take_members_out_and_in);

fn http_checks_take_members_out_and_in(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = checked(mpm, &a, &b, "http uri=/health interval=200ms timeout=500ms rise=2 fall=2").start();
    wait_until("checks", SOON, || a.health_checks() >= 2 && b.health_checks() >= 2);
    assert_eq!(httpd.client().shares("/app/", 10)["a"], 5);
    a.health_status(503);
    wait_for_state(&httpd, "a", "down");
    assert_eq!(httpd.client().shares("/app/", 10)["b"], 10);
    a.health_status(204);
    wait_for_state(&httpd, "a", "up");
    assert_eq!(httpd.client().shares("/app/", 10)["a"], 5);
}

#[test]
fn rise_and_fall_count_consecutive_results() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd =
        checked(Mpm::Event, &a, &b, "http uri=/health interval=100ms jitter=0% rise=3 fall=4").start();
    wait_until("a check", SOON, || a.health_checks() >= 1);
    a.health_status(500);
    let before = a.health_checks();
    wait_for_state(&httpd, "a", "down");
    let failed = a.health_checks() - before;
    assert!((4..=7).contains(&failed), "down after {failed} failed checks");
    a.health_status(200);
    let before = a.health_checks();
    wait_for_state(&httpd, "a", "up");
    let passed = a.health_checks() - before;
    assert!((3..=6).contains(&passed), "up after {passed} passed checks");
}

#[test]
fn only_one_child_checks() {
    let [a, b] = Backend::named(["a", "b"]);
    let _httpd = checked(Mpm::Event, &a, &b, "http uri=/health interval=300ms jitter=0%").children(4).start();
    wait_until("the first check", SOON, || a.health_checks() >= 1);
    let before = a.health_checks();
    let time = wait_until("six more checks", SOON, || a.health_checks() >= before + 6);
    assert!(time > Duration::from_millis(1200), "six checks every 300 ms took {time:?}");
}

#[test]
fn tcp_checks_see_a_closed_port() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = checked(Mpm::Event, &a, &b, "tcp interval=100ms rise=1 fall=2").start();
    assert_eq!(httpd.member("app", "a").state, "up");
    a.refuse();
    wait_for_state(&httpd, "a", "down");
    a.answer();
    wait_for_state(&httpd, "a", "up");
}

#[test]
fn a_hanging_backend_fails_its_checks_and_delays_no_other() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd =
        checked(Mpm::Event, &a, &b, "http uri=/health interval=200ms jitter=0% timeout=400ms fall=2").start();
    wait_until("checks", SOON, || a.health_checks() >= 1);
    a.hang();
    wait_for_state(&httpd, "a", "down");
    let before = b.health_checks();
    wait_until("checks of the other", Duration::from_secs(2), || b.health_checks() >= before + 3);
    assert_eq!(httpd.member("app", "b").state, "up");
}

#[test]
fn the_check_asks_what_it_is_told_to() {
    let [a, b] = Backend::named(["a", "b"]);
    let check = "http uri=/health?deep=1 method=HEAD host=check.example.org header=\"X-Token: t\" \
                 header=\"X-Other: o\" interval=100ms";
    let _httpd = checked(Mpm::Event, &a, &b, check).start();
    wait_until("a check", SOON, || a.health_checks() >= 1);
    let request = a.recorded().remove(0);
    assert_eq!((request.method.as_str(), request.uri.as_str()), ("HEAD", "/health?deep=1"));
    assert_eq!(request.headers.get("Host"), Some("check.example.org"));
    assert_eq!(request.headers.get("X-Token"), Some("t"));
    assert_eq!(request.headers.get("X-Other"), Some("o"));
}

#[test]
fn expect_and_body_decide() {
    let [a, b] = Backend::named(["a", "b"]);
    a.health_status(401);
    let httpd =
        checked(Mpm::Event, &a, &b, "http uri=/health interval=100ms fall=1 expect=200,401 body=\"^a \"")
            .start();
    wait_for_state(&httpd, "b", "down");
    assert_eq!(httpd.member("app", "a").state, "up");
    a.health_status(204);
    wait_for_state(&httpd, "a", "down");
}

#[test]
fn an_initially_down_member_waits_for_its_first_checks() {
    let [a, b] = Backend::named(["a", "b"]);
    a.hang();
    b.hang();
    let httpd =
        checked(Mpm::Event, &a, &b, "http uri=/health initial=down interval=100ms timeout=5s rise=1").start();
    assert_eq!(httpd.client().get("/app/").status, 503);
    a.answer();
    wait_for_state(&httpd, "a", "up");
    assert_eq!(httpd.client().get("/app/").backend(), "a");
}

#[test]
fn none_checks_nothing() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = checked(Mpm::Event, &a, &b, "none").start();
    httpd.wait_for_log("leads");
    assert_eq!(a.connections() + b.connections(), 0);
    assert_eq!(httpd.client().shares("/app/", 10)["a"], 5);
}

#[test]
fn https_checks_verify_unless_told_not_to() {
    let tls = tls_server();
    let pool = |name: &str, keys: &str| {
        format!(
            "<LuaBalancerPool {name}>\n  LuaBalancerMember https://127.0.0.1:{} name=tls\n  \
             LuaBalancerHealthCheck https interval=100ms rise=1 fall=1 expect=200-499 {keys}\n\
             </LuaBalancerPool>\n",
            tls.port()
        )
    };
    let httpd = Httpd::builder()
        .module("socache_shmcb")
        .module("ssl")
        .with_member_states()
        .config(
            &[
                pool("trusting", "initial=down verify=off"),
                pool("careful", "initial=up verify=on sni=localhost"),
            ]
            .concat(),
        )
        .start();
    wait_until("a check without verification", SOON, || httpd.member("trusting", "tls").state == "up");
    wait_until("a check with verification", SOON, || httpd.member("careful", "tls").state == "down");
    assert_eq!(httpd.member("trusting", "tls").state, "up");
}

/// A stock httpd that speaks TLS with a certificate nobody signed.
fn tls_server() -> Httpd {
    let builder = Httpd::builder().stock().module("socache_shmcb").module("ssl");
    self_signed(builder.dir());
    builder.config("SSLEngine on\nSSLCertificateFile cert.pem\nSSLCertificateKeyFile key.pem").start()
}
