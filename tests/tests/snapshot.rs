// SPDX-License-Identifier: Apache-2.0
//! The module's snapshot of itself: the same in every child, and in servers of tests alone.

use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, Mpm, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

const SCRIPT: &str = "function translate(r)\n  lb.dict('counts'):incr('n', 1, 0)\nend\n";

fn serving(a: &Backend, b: &Backend, c: &Backend) -> Builder {
    let members = [(a, "zone=eu weight=2.5"), (b, "status=+D"), (c, "max_inflight=3")];
    let lines =
        "LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1\nLuaBalancerMethod random";
    Httpd::builder()
        .with_member_states()
        .with_acts()
        .file("count.lua", SCRIPT)
        .config(&pool("app", &members, lines))
        .config("LuaBalancerDict counts 1M\n<Location /count>\nLuaHookTranslate count.lua\n</Location>")
        .config("ProxyPass /app lb://app")
}

/// The line that begins so.
fn line(text: &str, start: &str) -> String {
    let found = text.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no line {start:?} in:\n{text}")).to_owned()
}

/// The value of a key in a line.
fn value(line: &str, key: &str) -> String {
    let found = line.split(' ').filter_map(|word| word.split_once('=')).find(|(known, _)| *known == key);
    found.unwrap_or_else(|| panic!("no {key}= in {line}")).1.to_owned()
}

fn everything_is_shown_with_its_reason(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = serving(&a, &b, &c).mpm(mpm).start();
    httpd.act("app/drain/a");
    httpd.act("app/set_weight/a/4");
    c.health_status(500);
    wait_until("c to be down", SOON, || httpd.member("app", "c").state == "down");
    httpd.client().get("/count");
    let text = httpd.snapshot();
    let [of_a, of_b, of_c] = ["a", "b", "c"].map(|name| line(&text, &format!("member app/{name} ")));
    for (line, key, wanted) in [
        (&of_a, "state", "draining"),
        (&of_a, "why", "draining:somebody"),
        (&of_a, "configured", "2.5"),
        (&of_a, "weight", "4"),
        (&of_a, "zone", "eu"),
        (&of_b, "why", "disabled:configuration"),
        (&of_c, "why", "down:checks"),
        (&of_c, "check", "failed"),
        (&of_c, "max_inflight", "3"),
    ] {
        assert_eq!(value(line, key), wanted, "{key}= of {line}");
    }
    let of_pool = line(&text, "pool app ");
    assert!(of_pool.starts_with("pool app origin=configuration method=random usable=0/3 "), "{of_pool}");
    let leader = value(&line(&text, "lead "), "pid");
    assert!(text.contains(&format!("child pid={leader} generation=1")), "the leader is a child:\n{text}");
    let dict = line(&text, "dict counts ");
    assert!(value(&dict, "free").parse::<u64>().is_ok_and(|free| free > 0 && free < 1 << 20), "{dict}");
    assert_eq!(value(&line(&text, "table "), "members").split('/').next(), Some("3"), "{text}");
}

on_every_mpm!(everything_is_shown_with_its_reason);

#[test]
fn every_child_shows_the_same() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = serving(&a, &b, &c).start();
    httpd.act("app/drain/a");
    let mut children: Vec<_> = httpd.clients_in_children(2, "/--state/app").into_values().collect();
    wait_until("both children to tell the same", SOON, || {
        let [one, two] = [0, 1].map(|at: usize| children[at].get("/--state").text());
        one == two && one.contains("why=draining:somebody")
    });
}

#[test]
fn a_refused_version_of_a_script_is_shown_and_the_one_that_serves() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = serving(&a, &b, &c).start();
    let script = |httpd: &Httpd| {
        let text = httpd.snapshot();
        let line = text.lines().find(|line| line.contains("count.lua")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no line of the script in:\n{text}"))
    };
    assert!(script(&httpd).ends_with("version=1 verdict=serves"), "{}", script(&httpd));
    httpd.write("count.lua", "function translate(");
    wait_until("the refusal", SOON, || script(&httpd).ends_with("version=1 verdict=refused"));
    httpd.write("count.lua", &format!("{SCRIPT}-- saved anew\n"));
    wait_until("the next version", SOON, || script(&httpd).ends_with("version=2 verdict=serves"));
}

#[test]
fn a_member_that_requests_have_ejected_says_until_when() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let lines = "LuaBalancerOutlier on failures=1 ejection=1s\nLuaBalancerSet slow_start=60s";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, ""), (&c, "")], lines))
        .config("ProxyPass /app lb://app")
        .start();
    a.reset();
    wait_until("a to be ejected", SOON, || {
        httpd.client().get("/app/");
        httpd.member("app", "a").why == "ejected:requests"
    });
    let of_a = line(&httpd.snapshot(), "member app/a ");
    assert_eq!((value(&of_a, "ejected"), value(&of_a, "ejections")), ("true".into(), "1".into()), "{of_a}");
    assert!(value(&of_a, "until_ms").parse::<u64>().is_ok(), "{of_a}");
    wait_until("a to come back with a part of its weight", SOON, || {
        let of_a = line(&httpd.snapshot(), "member app/a ");
        value(&of_a, "state") == "up" && value(&of_a, "effective") != "1"
    });
}

#[test]
fn there_is_no_door_where_none_was_opened() {
    let [a] = Backend::named(["a"]);
    let httpd = Httpd::builder().config(&pool("app", &[(&a, "")], "")).start();
    assert_eq!(httpd.client().get("/--state").status, 404);
}
