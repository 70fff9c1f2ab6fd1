// SPDX-License-Identifier: Apache-2.0
//! A member that comes up gets its weight back by and by, whatever brought it up.

use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

const CHANGE: &str = "function translate(r)\n  local app, change = lb.pool('app'), r.uri:match('[^/]+$')\n  \
                      if change == 'add' then app:add{url = r.args, name = 'c'} return 204 end\n  \
                      local m = app:member('a')\n  m[change](m)\n  return 204\nend";

fn stage(a: &Backend, b: &Backend, lines: &str) -> Builder {
    Httpd::builder()
        .with_member_states()
        .file("change.lua", CHANGE)
        .config(&pool("app", &[(a, ""), (b, "")], lines))
        .config("ProxyPass /app lb://app")
        .config("<Location /change>\n  LuaHookTranslate change.lua\n</Location>")
}

fn share(httpd: &Httpd, member: &str) -> usize {
    httpd.client().shares("/app/", 20).get(member).copied().unwrap_or(0)
}

fn wait_for(httpd: &Httpd, state: &str) {
    wait_until(&format!("a to be {state}"), SOON, || httpd.member("app", "a").state == state);
}

#[test]
fn a_member_that_a_check_brings_up_starts_with_a_small_share() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines = "LuaBalancerSet slow_start=10m\n\
                 LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1";
    let httpd = stage(&a, &b, lines).start();
    assert_eq!(share(&httpd, "a"), 10, "a pool that starts has no slow start");
    a.health_status(500);
    wait_for(&httpd, "down");
    a.health_status(200);
    wait_for(&httpd, "up");
    assert!((1..=4).contains(&share(&httpd, "a")));
    assert_eq!(httpd.member("app", "a").weight, 1);
}

#[test]
fn a_member_back_from_an_ejection_starts_with_a_small_share() {
    let [a, b] = Backend::named(["a", "b"]);
    let lines = "LuaBalancerSet slow_start=10m\nLuaBalancerOutlier on failures=1 ejection=300ms";
    let httpd = stage(&a, &b, lines).start();
    a.reset();
    wait_until("an ejection", SOON, || {
        httpd.client().get("/app/");
        httpd.member("app", "a").state == "ejected"
    });
    a.answer();
    wait_for(&httpd, "up");
    assert!((1..=4).contains(&share(&httpd, "a")));
}

#[test]
fn enabled_and_added_members_start_with_a_small_share() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let httpd = stage(&a, &b, "LuaBalancerSet slow_start=10m").start();
    for off in ["drain", "disable"] {
        httpd.client().get(&format!("/change/{off}"));
        httpd.client().get("/change/enable");
        assert!((1..=4).contains(&share(&httpd, "a")), "after {off}");
    }
    httpd.client().get(&format!("/change/add?{}", c.url()));
    let shares = httpd.client().shares("/app/", 42);
    assert!((1..=5).contains(&shares["c"]), "{shares:?}");
}

#[test]
fn the_share_grows_to_the_whole() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = stage(&a, &b, "LuaBalancerSet slow_start=1s").start();
    httpd.client().get("/change/disable");
    httpd.client().get("/change/enable");
    assert!(share(&httpd, "a") < 10);
    wait_until("half of the requests", SOON, || share(&httpd, "a") == 10);
}

#[test]
fn a_members_own_slow_start_counts_and_a_new_leader_goes_on_with_it() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = Httpd::builder()
        .with_member_states()
        .file("change.lua", CHANGE)
        .config(&pool("app", &[(&a, "slow_start=3s"), (&b, "")], "LuaBalancerSet slow_start=10m"))
        .config("ProxyPass /app lb://app")
        .config("<Location /change>\n  LuaHookTranslate change.lua\n</Location>")
        .start();
    httpd.client().get("/change/disable");
    httpd.client().get("/change/enable");
    assert!(share(&httpd, "a") < 10);
    let leads = httpd.wait_for_log(r"\bleads\b");
    let pid = leads.split("child ").nth(1).and_then(|text| text.split(' ').next());
    httpd.kill_child(pid.and_then(|pid| pid.parse().ok()).expect("a pid"));
    wait_until("half of the requests", SOON, || share(&httpd, "a") == 10);
}

#[test]
fn without_slow_start_a_member_is_back_at_once() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = stage(&a, &b, "").start();
    httpd.client().get("/change/disable");
    httpd.client().get("/change/enable");
    assert_eq!(share(&httpd, "a"), 10);
}
