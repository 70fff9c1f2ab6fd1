// SPDX-License-Identifier: Apache-2.0
//! A panic anywhere in the module costs the request that met it, and one line of the log.
//!
//! The module is one that panics on demand: `scripts/test` builds it and names it in
//! `LUA_BALANCER_FAULTS_SO`.

use std::time::Duration;

use server_tests::client::raw_exchange;
use server_tests::{Backend, Builder, Httpd, Mpm, Request, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(20);
const LINE: &str = r"internal error \(panic\).*fault";

/// None, with a line that says why, where there is no module that panics.
fn builder() -> Option<Builder> {
    let builder = Httpd::builder().with_member_states().with_faults();
    if builder.is_none() {
        eprintln!("SKIPPED: LUA_BALANCER_FAULTS_SO names no module with faults (scripts/test builds it)");
    }
    builder
}

/// All entrances: ProxyPass, a script before and one after authentication, a rule of a section.
fn entrances(builder: Builder, members: &[(&Backend, &str)]) -> Builder {
    builder
        .file(
            "pick.lua",
            "function translate(r) r:err('picks') return lb.pool('app') end\n\
             function select(r) return lb.pool('app') end",
        )
        .config(&pool("app", members, "LuaBalancerSticky cookie=S\nLuaBalancerSet reverse=on"))
        .config("ProxyPass /app lb://app")
        .config("<Location /script>\n  LuaHookTranslate pick.lua\n</Location>")
        .config("<Location /late>\n  LuaHookSelect pick.lua select\n</Location>")
        .config("<Location /rule>\n  RewriteEngine on\n  RewriteRule .* lb://app/ruled [P]\n</Location>")
}

fn nothing_is_left(httpd: &Httpd, what: &str) {
    wait_until(&format!("nothing in flight after {what}"), SOON, || httpd.inflight("app") == 0);
}

/// The status of a request on a connection of its own, which is read to its end: all phases are
/// over then.
fn status_of(httpd: &Httpd, target: &str) -> u16 {
    let request = Request::get(target).header("Connection", "close").to_bytes();
    let answer = raw_exchange(httpd.port(), &request, SOON).expect("an exchange");
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no answer: {text}"))
}

on_every_mpm!(a_panic_in_a_phase_of_a_request_is_a_500_and_one_line);

fn a_panic_in_a_phase_of_a_request_is_a_500_and_one_line(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let Some(builder) = builder() else { return };
    let httpd = entrances(builder, &[(&a, ""), (&b, "")]).mpm(mpm).start();
    let all = ["/app/x", "/script/x", "/late/x", "/rule/x"];
    // The place, where it shows, and what the client gets.
    let places = [
        ("translate_name", "/script/x", 500),
        ("fixups", "/late/x", 500),
        ("late_fixups", "/rule/x", 500),
        ("pre_request", "/app/x", 500),
        ("canon_handler", "/app/x", 500),
        ("scheme_handler", "/app/x", 500),
        ("script_call", "/script/x", 500),
        // The member has answered: what was sent stays.
        ("attempt", "/app/x", 200),
        // The answer goes out as the member gave it.
        ("reverse_filter", "/app/x", 200),
        ("log_transaction", "/app/x", 200),
        ("create_connection", "/app/x", 200),
    ];
    let mut lines = 0;
    for (place, target, expected) in places {
        httpd.fault(place);
        let status = status_of(&httpd, target);
        httpd.wait_for_log_lines(LINE, lines + 1);
        httpd.fault("");
        assert_eq!(status, expected, "{place}");
        nothing_is_left(&httpd, place);
        let seen = httpd.count_log(LINE) - lines;
        // Connections are made to the client and to the member.
        assert!(seen == 1 || place == "create_connection" && seen == 2, "{seen} lines for {place}");
        lines += seen;
        for target in all {
            assert_eq!(status_of(&httpd, target), 200, "{target} after a panic in {place}");
        }
    }
    assert_eq!(httpd.count_log(LINE), lines);
    httpd.assert_no_crash();
}

on_every_mpm!(background_threads_go_on_after_a_panic);

fn background_threads_go_on_after_a_panic(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let Some(builder) = builder() else { return };
    let check = "LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1";
    let httpd = builder
        .mpm(mpm)
        .config(&pool("app", &[(&a, ""), (&b, "")], check))
        .config("ProxyPass /app lb://app")
        .file("tick.lua", "function tick() print('the timer ticks') end")
        .config("LuaBalancerTimer tick.lua tick every=100ms")
        .start();
    httpd.wait_for_log("the timer ticks");
    wait_until("checks", SOON, || a.health_checks() >= 3);
    for (place, lines) in [("background", httpd.children().len()), ("timers", 1)] {
        let before = httpd.count_log(LINE);
        httpd.fault(place);
        httpd.wait_for_log_lines(LINE, before + lines);
        let (checks, ticks) = (a.health_checks(), httpd.count_log("the timer ticks"));
        wait_until(&format!("checks after a panic in {place}"), SOON, || a.health_checks() >= checks + 5);
        httpd.wait_for_log_lines("the timer ticks", ticks + 5);
        assert_eq!(httpd.count_log(LINE), before + lines, "{place}");
        httpd.fault("");
    }
    a.health_status(500);
    wait_until("a state by checks", SOON, || httpd.member("app", "a").state == "down");
    assert_eq!(httpd.client().get("/app/x").backend(), "b");
    httpd.assert_no_crash();
}

#[test]
fn a_task_of_the_leader_that_panics_whenever_it_runs_holds_up_no_other() {
    let [a, b] = Backend::named(["a", "b"]);
    let Some(builder) = builder() else { return };
    let check = "LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1";
    let httpd = builder.config(&pool("app", &[(&a, ""), (&b, "")], check)).start();
    wait_until("checks", SOON, || a.health_checks() >= 3);
    httpd.fault("ejections");
    httpd.wait_for_log_lines(LINE, 1);
    a.health_status(500);
    wait_until("a state by checks", SOON, || httpd.member("app", "a").state == "down");
    let checks = a.health_checks();
    wait_until("further checks", SOON, || a.health_checks() >= checks + 10);
    httpd.fault("");
    httpd.assert_no_crash();
}

on_every_mpm!(a_child_that_cannot_be_made_ready_leaves_no_door_open);

fn a_child_that_cannot_be_made_ready_leaves_no_door_open(mpm: Mpm) {
    let [a, b] = Backend::named(["a", "b"]);
    let Some(builder) = builder() else { return };
    let mut httpd = entrances(builder, &[(&a, ""), (&b, "")])
        .mpm(mpm)
        .file("htdocs/script/x", "a file that the script's answer hides")
        .file("htdocs/late/x", "another one")
        .start();
    httpd.fault("child_init");
    httpd.graceful();
    httpd.wait_for_log(LINE);
    wait_until("none but new children", SOON, || httpd.client().get("/app/x").status != 200);
    for target in ["/app/x", "/script/x", "/late/x", "/rule/x"] {
        let status = httpd.client().get(target).status;
        assert!([500, 503].contains(&status), "{target}: {status}");
    }
    assert_eq!(httpd.client().get("/nothing/of/ours").status, 404);
    httpd.fault("");
    httpd.graceful();
    wait_until("the children after them", SOON, || httpd.client().get("/app/x").status == 200);
    nothing_is_left(&httpd, "child_init");
    httpd.assert_no_crash();
}

#[test]
fn a_panic_when_a_child_has_ended_costs_its_count_until_the_leader_looks() {
    let [a, b] = Backend::named(["a", "b"]);
    let Some(builder) = builder() else { return };
    let httpd = entrances(builder, &[(&a, ""), (&b, "")]).start();
    a.hang();
    b.hang();
    let mut client = httpd.client().strict();
    let waiting = std::thread::spawn(move || client.try_get("/app/x"));
    wait_until("a request at a member", SOON, || a.in_flight() + b.in_flight() == 1);
    httpd.fault("child_status");
    for child in httpd.children() {
        httpd.kill_child(child);
    }
    assert!(waiting.join().expect("a client thread").is_err());
    httpd.fault("");
    a.answer();
    b.answer();
    nothing_is_left(&httpd, "child_status");
    assert_eq!(httpd.client().get("/app/x").status, 200);
}

#[test]
fn a_panic_while_the_configuration_is_read_refuses_it() {
    for place in ["pre_config", "check_config", "post_config"] {
        let a = Backend::new("a");
        let Some(builder) = builder() else { return };
        let started = entrances(builder, &[(&a, "")]).file("faults", place).try_start();
        let said = started.err().unwrap_or_else(|| panic!("httpd starts though {place} panics"));
        assert!(said.contains(&format!("fault {place}")), "{place}: {said}");
        assert!(!said.contains("signal"), "{place}: {said}");
    }
}

on_every_mpm!(a_panic_at_a_door_costs_its_answer_alone);

fn a_panic_at_a_door_costs_its_answer_alone(mpm: Mpm) {
    let a = Backend::new("a");
    let Some(builder) = builder() else { return };
    let httpd = builder
        .mpm(mpm)
        .config(&pool("app", &[(&a, "")], ""))
        .config("<Location /lb>\nSetHandler lua-balancer\n</Location>")
        .config("<Location /status>\nSetHandler server-status\n</Location>")
        .start();
    let pools = "/api/v1/pools";
    for (place, status) in [("handler", 500), ("control", 200)] {
        httpd.fault(place);
        assert_eq!(httpd.client().get(&format!("/lb{pools}")).status, status, "{place}");
        let at_socket = httpd.socket().get(pools).status;
        assert_eq!(at_socket, if place == "control" { 500 } else { 200 }, "{place}");
        httpd.fault("");
        assert_eq!(httpd.client().get(&format!("/lb{pools}")).status, 200, "after {place}");
        assert_eq!(httpd.socket().get(pools).status, 200, "after {place}");
    }
    httpd.fault("status");
    let page = httpd.client().get("/status?auto");
    httpd.fault("");
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("LuaBalancerPool"), "{}", page.text());
    assert_eq!(httpd.count_log(LINE), 3);
    httpd.assert_no_crash();
}
