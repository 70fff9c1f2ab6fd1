// SPDX-License-Identifier: Apache-2.0
//! The log's words about members and picks: the pool, who changed what, and by which method a
//! member was picked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use server_tests::{Backend, Builder, Httpd, Mpm, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(10);

fn serving(members: &[(&Backend, &str)], lines: &str) -> Builder {
    Httpd::builder()
        .with_member_states()
        .with_acts()
        .config(&pool("app", members, lines))
        .config("ProxyPass /app lb://app")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[test]
fn changes_by_scripts_name_pool_and_script() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, ""), (&b, "")], "").start();
    httpd.act("app/drain/a");
    httpd.act("app/enable/a");
    httpd.act("app/set_weight/b/3");
    httpd.act(&format!("app/add/c/{}", b.port()));
    httpd.act("app/remove/c");
    for line in [
        "pool app: member a: up -> draining",
        "pool app: member a: draining -> up",
        "pool app: member b: weight 1 -> 3",
        r"pool app: member c \(http://127.0.0.1:\d+\) added, weight 1",
        "pool app: member c removed",
    ] {
        httpd.wait_for_log(&format!(r"lua_balancer:notice.*{line} \(by script .*/act\.lua\)"));
    }
    // An order that changes nothing is not logged.
    httpd.act("app/set_weight/b/3");
    assert_eq!(httpd.count_log("weight 3 -> 3"), 0);
}

fn changes_by_the_configuration_are_logged(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let members = [(&a, "status=+N"), (&b, ""), (&c, "")];
    let mut httpd = serving(&members, "").mpm(mpm).start();
    httpd.wait_for_log(r"pool app: member a: up -> draining \(by the configuration\)");
    assert_eq!(httpd.count_log("pool app: member [bc]: "), 0, "they serve");
    httpd.edit_config("name=a status=+N", "name=a");
    httpd.edit_config("name=b", "name=b status=+D");
    httpd.edit_config("name=c", "name=c weight=7");
    httpd.graceful();
    for line in ["a: draining -> up", "b: up -> disabled", "c: weight 1 -> 7"] {
        httpd.wait_for_log(&format!(r"pool app: member {line} \(by the configuration\)"));
    }
    httpd.edit_config(&format!("LuaBalancerMember {} name=c weight=7", c.url()), "");
    httpd.graceful();
    httpd.wait_for_log(r"pool app: member c: removed \(by the configuration\)");
    let lines = httpd.count_log("by the configuration");
    httpd.graceful();
    assert_eq!(httpd.count_log("by the configuration"), lines, "nothing has changed");
}

on_every_mpm!(changes_by_the_configuration_are_logged);

#[test]
fn a_scripts_edited_list_is_told_member_by_member() {
    let script = |weight: u32| {
        format!(
            "lb.define_pool('made', {{ {{ host = '127.0.0.1', port = 9, name = 'm', weight = {weight} }} }})\n\
             function translate(r) end"
        )
    };
    let httpd = Httpd::builder().file("made.lua", &script(1)).config("LuaHookTranslate made.lua").start();
    httpd.write("made.lua", &script(5));
    httpd.wait_for_log(r"pool made: member m: weight 1 -> 5 \(by the script that defines it\)");
}

/// A name, and what is done.
type Change<'c> = (&'c str, &'c dyn Fn(&mut Httpd));

#[test]
fn every_change_sets_since() {
    let [a, b] = Backend::named(["a", "b"]);
    let began = now_s();
    let mut httpd = serving(
        &[(&a, ""), (&b, "")],
        "LuaBalancerHealthCheck http uri=/health interval=100ms rise=1 fall=1",
    )
    .start();
    let since = |httpd: &Httpd| httpd.member("app", "a").since;
    let mut last = since(&httpd);
    assert!(last >= began, "it came then: {last}, {began}");
    let changes: [Change<'_>; 5] = [
        ("drain", &|httpd| httpd.act("app/drain/a")),
        ("enable", &|httpd| httpd.act("app/enable/a")),
        ("weight", &|httpd| httpd.act("app/set_weight/a/9")),
        ("check", &|httpd| {
            a.health_status(500);
            wait_until("a to be down", SOON, || httpd.member("app", "a").state == "down");
        }),
        ("configuration", &|httpd| {
            httpd.edit_config("name=a", "name=a status=+D");
            httpd.graceful();
        }),
    ];
    for (name, change) in changes {
        wait_until("the next second", SOON, || now_s() > last);
        change(&mut httpd);
        wait_until(&format!("since to be set by {name}"), SOON, || since(&httpd) > last);
        last = since(&httpd);
    }
    // A restart changes nothing.
    wait_until("the next second", SOON, || now_s() > last);
    httpd.graceful();
    assert_eq!(since(&httpd), last);
}

/// Picks as the path says.
const PICKS: &str = r#"
local app = lb.pool("app")
local how = {
  ["/least"] = function(r) return app:least_connections() end,
  ["/view"] = function(r) return app:where{zone = "z"}:random() end,
  ["/hash"] = function(r) return app:consistent_hash(r.uri) end,
  ["/named"] = function(r) return app:member("a") end,
  ["/kept"] = function(r) local m = app:first() app:random() return app:member(m.name) end,
  ["/list"] = function(r) return { app:member("b"), app:member("a") } end,
  ["/pool"] = function(r) return app end,
  ["/sticky"] = function(r) return app:sticky(r) end,
  ["/pick"] = function(r) return app:pick(r) end,
  ["/nobody"] = function(r) return app:where{zone = "nowhere"}:random() end,
  ["/absent"] = function(r) return app:member("ghost") end,
}
function translate(r)
  local pick = how[r.uri]
  if pick then return pick(r) end
end
"#;

#[test]
fn lb_method_names_the_method_that_picked() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, "zone=z"), (&b, "")], "LuaBalancerSticky cookie=S")
        .file("picks.lua", PICKS)
        .config("LuaHookTranslate picks.lua")
        .start();
    for (path, method) in [
        ("/least", "least_connections"),
        ("/view", "random"),
        ("/hash", "consistent_hash"),
        ("/named", "script"),
        ("/list", "script"),
        ("/pool", "round_robin"),
        ("/app/x", "round_robin"),
    ] {
        assert_eq!(httpd.client().get(path).status, 200, "{path}");
        assert_eq!(httpd.wait_for_access(path).env["LB_METHOD"], method, "{path}");
    }
    for (path, method) in [("/sticky", "sticky"), ("/pick", "sticky"), ("/pool", "sticky")] {
        let lines = httpd.access_log().len();
        let request = server_tests::Request::get(path).header("Cookie", "S=.a");
        assert_eq!(httpd.client().send(&request).backend(), "a", "{path}");
        wait_until("its line", SOON, || httpd.access_log().len() > lines);
        assert_eq!(httpd.wait_for_access(path).env["LB_METHOD"], method, "{path}");
    }
    // The member that takes over after a failure was picked by the pool's method.
    a.refuse();
    assert_eq!(httpd.client().get("/named").backend(), "b");
    wait_until("the second line of /named", SOON, || {
        httpd.wait_for_access("/named").env["LB_ATTEMPTS"] == "2"
    });
    assert_eq!(httpd.wait_for_access("/named").env["LB_METHOD"], "round_robin");
}

#[test]
fn trace2_tells_pool_candidates_and_reason_whoever_picks() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, "zone=z"), (&b, "")], "LuaBalancerSticky cookie=S")
        .file("picks.lua", PICKS)
        .config("LuaHookTranslate picks.lua")
        .log_level("notice lua_balancer:trace2")
        .start();
    let both = r"pool app: a up weight 1 inflight 0, b up weight 1 inflight 0";
    for (path, reason) in [
        ("/least", format!(r"{both}: the script chose member [ab] \(http://[^)]*\), by least_connections")),
        ("/named", format!(r"{both}: the script chose member a \(http://[^)]*\), it named that one")),
        ("/list", format!("{both}: the script listed b, a, in this order")),
        ("/pool", format!("{both}: the script chose the pool, whose method picks")),
        ("/pool", format!("{both}: round_robin picked [ab]")),
        ("/nobody", format!("{both}: the script found no member: .*")),
    ] {
        httpd.client().get(path);
        httpd.wait_for_log(&format!("lua_balancer:trace2.*{reason}"));
    }
    let request = server_tests::Request::get("/pool").header("Cookie", "S=.b");
    assert_eq!(httpd.client().send(&request).backend(), "b");
    httpd.wait_for_log(&format!("lua_balancer:trace2.*{both}: the session picked b"));
}

#[test]
fn a_member_that_does_not_exist_is_said_at_info() {
    let a = Backend::new("a");
    let httpd =
        serving(&[(&a, "")], "").file("picks.lua", PICKS).config("LuaHookTranslate picks.lua").start();
    assert_eq!(httpd.client().get("/absent").status, 404, "nil goes on to the document root");
    httpd.wait_for_log(r"lua_balancer:info.*picks\.lua: pool app has no member named ghost");
}

#[test]
fn lines_of_the_module_begin_with_their_id_and_lines_of_scripts_with_none() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = serving(&[(&a, ""), (&b, "")], "")
        .file(
            "own.lua",
            "function say(r) r:warn('own words'); lb.log('notice', 'not LB0001: forged'); return nil end",
        )
        .config("LuaHookTranslate own.lua say")
        .log_level("notice lua_balancer:trace2")
        .start();
    httpd.act("app/drain/b");
    httpd.client().get("/app/LB0101:%20x");
    httpd.act("app/drain/a");
    httpd.client().get("/app/y");
    let of_module = |line: &&str| line.contains("[lua_balancer:");
    let log = httpd.error_log();
    let (own, others): (Vec<&str>, Vec<&str>) =
        log.lines().filter(of_module).partition(|line| line.contains("own words") || line.contains("forged"));
    assert!(own.iter().any(|line| line.ends_with("] own words")), "{log}");
    let ids = others
        .iter()
        .map(|line| messages::read(line).and_then(|(message, _)| message).map(|found| found.number));
    let ids: Vec<Option<u16>> = ids.collect();
    assert!(ids.iter().all(Option::is_some), "a line without an id: {others:#?}");
    for wanted in
        [messages::starting::CONFIGURED, messages::members::STATE_ORDERED, messages::requests::NO_MEMBER]
    {
        assert!(ids.contains(&Some(wanted.number)), "{wanted:?} is not in {log}");
    }
}
