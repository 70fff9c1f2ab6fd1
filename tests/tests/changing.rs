// SPDX-License-Identifier: Apache-2.0
//! Pools change while they serve: no request fails, no count is lost, and room is used again.

use std::thread;
use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, Load, Mpm, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(15);

fn three_members(backends: &[Backend; 3], lines: &str) -> Builder {
    let [a, b, c] = backends;
    Httpd::builder()
        .with_member_states()
        .with_acts()
        .config(&pool("app", &[(a, ""), (b, ""), (c, "")], lines))
        .config("ProxyPass /app lb://app")
}

fn nothing_in_flight(httpd: &Httpd) {
    wait_until("nothing in flight", SOON, || httpd.inflight("app") == 0);
}

on_every_mpm!(changes_by_requests_under_load_fail_no_request);

fn changes_by_requests_under_load_fail_no_request(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let extra = Backend::new("x");
    let httpd = three_members(&backends, "LuaBalancerMethod least_connections").mpm(mpm).start();
    let load = Load::start(httpd.port(), "/app/", 4);
    let steps = [
        format!("app/add/x/{}", extra.port()),
        "app/set_weight/a/7".to_owned(),
        "app/drain/b".to_owned(),
        "app/disable/c".to_owned(),
        "app/set_weight/a/0".to_owned(),
        "app/enable/b".to_owned(),
        "app/remove/x".to_owned(),
        "app/enable/c".to_owned(),
        "app/set_weight/a/1".to_owned(),
    ];
    for _ in 0..6 {
        for step in &steps {
            load.wait_for(12);
            httpd.act(step);
        }
    }
    load.wait_for(50);
    let tally = load.stop();
    tally.assert_all_ok();
    assert_eq!(tally.backends.len(), 4, "{tally:?}");
    nothing_in_flight(&httpd);
    assert_eq!(httpd.client().shares("/app/", 12).into_values().collect::<Vec<_>>(), [4, 4, 4]);
    httpd.assert_no_crash();
}

/// Each run adds a member or removes it, and turns weights.
fn timer_script(port: u16) -> String {
    format!(
        "local n = 0\n\
         function timer()\n\
           n = n + 1\n\
           local app = lb.pool('app')\n\
           if n % 2 == 1 then assert(app:add{{url = 'http://127.0.0.1:{port}', name = 'x', weight = 2}})\n\
           else app:remove('x') end\n\
           app:member('a'):set_weight(n % 5)\n\
           if n % 3 == 0 then app:member('b'):drain() else app:member('b'):enable() end\n\
           print('change ' .. n .. ' made')\n\
         end\n"
    )
}

#[test]
fn changes_by_a_timer_under_load_fail_no_request() {
    let backends = Backend::named(["a", "b", "c"]);
    let extra = Backend::new("x");
    let httpd = three_members(&backends, "")
        .file("change.lua", &timer_script(extra.port()))
        .config("LuaBalancerTimer change.lua timer every=50ms")
        .start();
    let load = Load::start(httpd.port(), "/app/", 4);
    httpd.wait_for_log_lines(r"change \d+ made", 30);
    load.wait_for(100);
    let tally = load.stop();
    tally.assert_all_ok();
    assert_eq!(tally.backends.len(), 4, "{tally:?}");
    nothing_in_flight(&httpd);
    assert_eq!(httpd.count_log("lua_balancer:error"), 0);
    httpd.assert_no_crash();
}

#[test]
fn a_removed_member_finishes_its_requests_and_works_when_it_is_added_again() {
    let backends = Backend::named(["a", "b", "c"]);
    let extra = Backend::new("x");
    let httpd = three_members(&backends, "LuaBalancerMethod first").start();
    for backend in &backends {
        httpd.act(&format!("app/disable/{}", backend.name()));
    }
    let add = format!("app/add/x/{}", extra.port());
    for round in 1..=5 {
        httpd.act(&add);
        assert_eq!(httpd.client().get("/app/").backend(), "x", "round {round}");
        wait_until("the member to be idle", SOON, || extra.in_flight() == 0);
        extra.hang();
        let mut client = httpd.client().strict();
        let waiting = thread::spawn(move || client.try_get("/app/slow"));
        wait_until("a request at the member", SOON, || extra.in_flight() == 1);
        httpd.act("app/remove/x");
        assert_eq!(httpd.client().get("/app/").status, 503, "a removed member still serves");
        // Added again while its old self has a request: another member, with counts of its own.
        httpd.act(&add);
        assert_eq!(httpd.member("app", "x").inflight, 0);
        extra.answer();
        let response = waiting.join().expect("a client thread").expect("an answer");
        assert_eq!((response.status, response.backend()), (200, "x"));
        nothing_in_flight(&httpd);
        assert_eq!(httpd.client().get("/app/").backend(), "x");
        httpd.act("app/remove/x");
    }
    assert_eq!(httpd.members("app").len(), 3);
}

#[test]
fn adding_and_removing_for_ever_needs_no_more_room() {
    let backends = Backend::named(["a", "b", "c"]);
    let extra = Backend::new("x");
    let httpd = three_members(&backends, "").config("LuaBalancerMaxMembers 8").start();
    let load = Load::start(httpd.port(), "/app/", 2);
    // Sixty different members through at most eight rows, and as many workers in each child.
    for round in 0..60 {
        httpd.act(&format!("app/add/x{round}/{}", extra.port()));
        load.wait_for(8);
        httpd.act(&format!("app/remove/x{round}"));
    }
    load.stop().assert_all_ok();
    nothing_in_flight(&httpd);
    assert_eq!(httpd.members("app").len(), 3);
    assert!(extra.requests() > 60, "the added members served {} requests", extra.requests());
}

#[test]
fn more_members_than_there_is_room_for_are_refused_in_words() {
    let backends = Backend::named(["a", "b", "c"]);
    let script = "function translate(r)\n\
                  local added, message\n\
                  for i = 1, 100000 do\n\
                    added, message = lb.pool('app'):add{url = 'http://127.0.0.1:9', name = 'x' .. i}\n\
                    if not added then break end\n\
                  end\n\
                  r.subprocess_env['STATE'] = tostring(message)\n\
                  return 204\n\
                  end";
    let httpd = three_members(&backends, "")
        .config("LuaBalancerMaxMembers 8\nLuaBalancerScriptLimit time=10s memory=64M")
        .file("fill.lua", script)
        .config("<Location /fill>\n  LuaHookTranslate fill.lua\n  Header always set X-State \"%{STATE}e\"\n</Location>")
        .start();
    let response = httpd.client().get("/fill");
    let message = response.header("X-State").unwrap_or_default().to_owned();
    assert!(message != "nil" && !message.is_empty(), "{response:?}");
    let members = httpd.members("app");
    assert!(members.len() < 2000, "{} members of 8", members.len());
    for name in members.keys().filter(|name| name.starts_with('x')) {
        httpd.act(&format!("app/remove/{name}"));
    }
    assert_eq!(httpd.client().shares("/app/", 12).into_values().collect::<Vec<_>>(), [4, 4, 4]);
}

#[test]
fn a_draining_member_finishes_and_takes_nothing_new() {
    let backends = Backend::named(["a", "b", "c"]);
    let [a, ..] = &backends;
    let httpd = three_members(&backends, "LuaBalancerMethod first").start();
    a.hang();
    let mut client = httpd.client().strict();
    let waiting = thread::spawn(move || client.try_get("/app/slow"));
    wait_until("a request at the member", SOON, || a.in_flight() == 1);
    httpd.act("app/drain/a");
    assert_eq!(httpd.client().shares("/app/", 5)["b"], 5);
    assert_eq!((httpd.member("app", "a").state.as_str(), httpd.member("app", "a").inflight), ("draining", 1));
    a.answer();
    assert_eq!(waiting.join().expect("a client thread").expect("an answer").backend(), "a");
    nothing_in_flight(&httpd);
    httpd.act("app/enable/a");
    assert_eq!(httpd.client().get("/app/").backend(), "a");
}

#[test]
fn changes_from_many_children_at_once_are_all_there() {
    let backends = Backend::named(["a", "b", "c"]);
    let extra = Backend::new("x");
    let httpd = three_members(&backends, "").children(3).start();
    thread::scope(|scope| {
        for worker in 0..6 {
            let (httpd, port) = (&httpd, extra.port());
            scope.spawn(move || {
                for i in 0..5 {
                    httpd.act(&format!("app/add/w{worker}-{i}/{port}"));
                    httpd.act(&format!("app/set_weight/w{worker}-{i}/{}", 10 + i));
                }
                for i in 0..4 {
                    httpd.act(&format!("app/remove/w{worker}-{i}"));
                }
            });
        }
    });
    let members = httpd.members("app");
    let names: Vec<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(names, ["a", "b", "c", "w0-4", "w1-4", "w2-4", "w3-4", "w4-4", "w5-4"]);
    assert!(members.iter().all(|(name, member)| member.weight == if name.len() == 1 { 1 } else { 14 }));
}

/// Three pools: `app` and `other` of the configuration, each with an added member; what `app` looks
/// like afterwards.
fn with_added_members(mpm: Mpm, extra: &Backend, backends: &[Backend; 3]) -> Httpd {
    let [a, b, c] = backends;
    let httpd = Httpd::builder()
        .mpm(mpm)
        .threads(16)
        .with_acts()
        .with_member_states()
        .config(&pool("app", &[(a, ""), (b, "")], ""))
        .config("ProxyPass /app lb://app")
        .config(&pool("other", &[(c, "")], ""))
        .start();
    for member in ["app/x", "app/y", "app/z", "other/o"] {
        let (pool, name) = member.split_once('/').expect("a pool and a member");
        httpd.act(&format!("{pool}/add/{name}/{}", extra.port()));
    }
    httpd.act("app/set_weight/x/7");
    httpd.act("app/drain/y");
    httpd.act("app/remove/z");
    httpd.act("app/remove/b");
    httpd
}

on_every_mpm!(members_added_while_running_stay_over_restarts);

fn members_added_while_running_stay_over_restarts(mpm: Mpm) {
    let backends = Backend::named(["a", "b", "c"]);
    let [a, b, c] = &backends;
    let extra = Backend::new("x");
    let mut httpd = with_added_members(mpm, &extra, &backends);
    let seen = |httpd: &Httpd| -> Vec<(String, String, u32)> {
        let members = httpd.members("app").into_iter();
        members.map(|(name, member)| (name, member.state, member.weight)).collect()
    };
    let member = |name: &str, state: &str, weight| (name.to_owned(), state.to_owned(), weight);
    // One that the configuration names comes back.
    let kept = [member("a", "up", 1), member("b", "up", 1), member("x", "up", 7), member("y", "draining", 1)];
    let load = Load::start(httpd.port(), "/app/", 2);
    httpd.graceful();
    assert_eq!(seen(&httpd), kept, "after a graceful restart");
    load.wait_for(30);
    httpd.graceful();
    load.wait_for(30);
    load.stop().assert_all_ok();
    httpd.restart();
    assert_eq!(seen(&httpd), kept, "after a restart");
    assert_eq!(httpd.client().shares("/app/", 9)["x"], 7);
    // A table of another size takes them along; the pool that is gone, and is back later, has none.
    let more = pool("other", &[(c, "")], "");
    let many: String =
        (0..900).map(|n| format!("  LuaBalancerMember http://127.0.0.1:9 name=m{n}\n")).collect();
    httpd.edit_config(&more, &format!("<LuaBalancerPool many>\n{many}</LuaBalancerPool>"));
    httpd.restart();
    assert_eq!(seen(&httpd), kept, "in a bigger table");
    httpd.edit_config("<LuaBalancerPool many>", &format!("{more}<LuaBalancerPool many>"));
    httpd.restart();
    assert_eq!(httpd.members("other").into_keys().collect::<Vec<_>>(), ["c"]);
    // The configuration names one of them: its line holds. A script removes the other one: it stays
    // away.
    let (old, now) =
        (pool("app", &[(a, ""), (b, "")], ""), pool("app", &[(a, ""), (&extra, "weight=3")], ""));
    httpd.edit_config(&old, &now);
    httpd.act("app/remove/y");
    httpd.graceful();
    assert_eq!(seen(&httpd), [member("a", "up", 1), member("x", "up", 3)]);
    httpd.edit_config(&now, &old);
    httpd.graceful();
    assert_eq!(seen(&httpd), [member("a", "up", 1), member("b", "up", 1)]);
    assert_eq!(httpd.count_log("lua_balancer:(warn|error|crit)"), 0);
    httpd.assert_no_crash();
}

#[test]
fn added_members_that_find_no_room_beside_the_configurations_are_gone_with_a_word() {
    let backends = Backend::named(["a", "b", "c"]);
    let extra = Backend::new("x");
    let many = |n: usize| -> String {
        (0..n).map(|n| format!("  LuaBalancerMember http://127.0.0.1:9 name=m{n}\n")).collect()
    };
    let mut httpd = three_members(&backends, "")
        .config("LuaBalancerMaxMembers 1000")
        .config(&format!("<LuaBalancerPool many>\n{}</LuaBalancerPool>", many(8)))
        .start();
    let script = format!(
        "function translate(r)\n\
         for i = 1, 1000 do lb.pool('app'):add{{url = 'http://127.0.0.1:{}', name = 'x' .. i}} end\n\
         return 204\n\
         end",
        extra.port()
    );
    httpd.write("fill.lua", &script);
    httpd.edit_config(
        "LuaBalancerMaxMembers",
        "LuaBalancerScriptLimit time=10s memory=64M\nLuaBalancerMaxMembers",
    );
    httpd.edit_config("ProxyPass", "<Location /fill>\n  LuaHookTranslate fill.lua\n</Location>\nProxyPass");
    httpd.graceful();
    assert_eq!(httpd.client().get("/fill").status, 204);
    assert_eq!(httpd.members("app").len(), 1003);
    // The table is large enough for this configuration, and full.
    httpd.edit_config("LuaBalancerMaxMembers 1000", "LuaBalancerMaxMembers 1");
    httpd.edit_config(&many(8), &many(900));
    httpd.graceful();
    assert_eq!(httpd.members("app").into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(httpd.members("many").len(), 900);
    assert_eq!(httpd.count_log(r"no room for members that were added while running .*app/x1,"), 1);
    assert_eq!(httpd.client().shares("/app/", 6).len(), 3);
}
