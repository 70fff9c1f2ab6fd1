// SPDX-License-Identifier: Apache-2.0
//! Checks in Lua, and what goes wrong.

use super::*;

const HTTP_CHECK: &str = "function check(m)\n  local answer, why = lb.http{url = m.url .. '/health', timeout = 0.5}\n  \
                          if not answer then return false, why end\n  \
                          return answer.status == 200, 'status ' .. answer.status\nend";

#[test]
fn a_lua_check_takes_members_out_and_in() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = lua_checked(&a, &b, HTTP_CHECK, "rise=2 fall=2").start();
    wait_until("checks", SOON, || a.health_checks() >= 3 && b.health_checks() >= 3);
    assert_eq!(httpd.client().shares("/app/", 4)["a"], 2);
    a.health_status(503);
    wait_for_state(&httpd, "app", "a", "down");
    httpd.wait_for_log("member a is down: 2 checks failed, the last one: .*status 503");
    assert_eq!(httpd.client().shares("/app/", 4)["b"], 4);
    a.health_status(200);
    wait_for_state(&httpd, "app", "a", "up");
    a.refuse();
    wait_for_state(&httpd, "app", "a", "down");
    httpd.wait_for_log("member a is down: .*refused");
    assert_eq!(httpd.member("app", "b").state, "up");
}

#[test]
fn a_lua_check_that_takes_too_long_has_failed() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = "function check(m) if m.name == 'a' then lb.http{url = m.url .. '/health', timeout = 60} end return true end";
    let httpd = lua_checked(&a, &b, script, "timeout=300ms fall=1").start();
    wait_until("checks", SOON, || a.health_checks() >= 1);
    assert_eq!(httpd.member("app", "a").state, "up");
    a.hang();
    wait_for_state(&httpd, "app", "a", "down");
    httpd.wait_for_log("member a is down: .*timed out after 300ms");
}

#[test]
fn a_failing_lua_check_is_a_failed_check_and_an_error_line() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = "function check(m)\n  if m.name == 'a' then error('boom') end\n  return true\nend";
    let httpd = lua_checked(&a, &b, script, "fall=1").start();
    wait_for_state(&httpd, "app", "a", "down");
    httpd.wait_for_log(r"\[lua_balancer:error\].*check of member a: .*check\.lua:2: boom");
    assert_eq!(httpd.member("app", "b").state, "up");
    httpd.write("check.lua", "function check(m) return true end");
    wait_for_state(&httpd, "app", "a", "up");
}

#[test]
fn an_initially_down_pool_waits_for_its_lua_check() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = "function check(m) return m.name == 'a' end";
    let httpd = lua_checked(&a, &b, script, "initial=down rise=1").start();
    wait_for_state(&httpd, "app", "a", "up");
    assert_eq!(httpd.member("app", "b").state, "down");
}

#[test]
fn waiting_scripts_delay_no_other_check() {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let d = Backend::new("d");
    a.hang();
    let lua = |script: &str, timeout: &str| {
        format!("LuaBalancerHealthCheck lua script={script} interval=100ms jitter=0% timeout={timeout}")
    };
    let httpd = Httpd::builder()
        .file(
            "slow.lua",
            "function check(m) lb.http{url = m.url .. '/health'} return true end\n\
                           function timer() lb.http{url = URL} end"
                .replace("URL", &format!("'{}/'", a.url()))
                .as_str(),
        )
        .file("quick.lua", HTTP_CHECK)
        .file("tick.lua", "function timer() print('tick') end")
        .config(&pool("slow", &[(&a, "")], &lua("slow.lua", "30s")))
        .config(&pool("quick", &[(&b, "")], &lua("quick.lua", "2s")))
        .config(&pool(
            "native",
            &[(&c, "")],
            "LuaBalancerHealthCheck http uri=/health interval=100ms jitter=0%",
        ))
        .config(&pool("looping", &[(&d, "")], &lua("loop.lua", "30s")))
        .file("loop.lua", "function check(m) while true do end end")
        .config("LuaBalancerTimer slow.lua every=100ms\nLuaBalancerTimer tick.lua every=100ms")
        .start();
    wait_until("the hanging check", SOON, || a.health_checks() >= 1);
    let (lua, native) = (b.health_checks(), c.health_checks());
    let start = Instant::now();
    time_of_more(&httpd, "tick", 20);
    wait_until("20 Lua checks", SOON, || b.health_checks() >= lua + 20);
    wait_until("20 native checks", SOON, || c.health_checks() >= native + 20);
    assert!(start.elapsed() < patience(Duration::from_millis(3800)), "{:?}", start.elapsed());
    assert_eq!(a.health_checks(), 1);
}

#[test]
fn a_looping_timer_is_stopped_and_all_others_go_on() {
    let [a, b] = Backend::named(["a", "b"]);
    let httpd = lua_checked(&a, &b, HTTP_CHECK, "")
        .file(
            "loop.lua",
            "function timer()\n  while true do pcall(function() while true do end end) end\nend",
        )
        .file("tick.lua", "lb.every(0.1, function() print('tick') end)\nfunction translate() return 204 end")
        .config("LuaBalancerTimer loop.lua every=1h\n<Location /x>\nLuaHookTranslate tick.lua\n</Location>")
        .start();
    let ticks = time_of_more(&httpd, "tick", 20);
    assert!(ticks < Duration::from_secs(4), "20 ticks took {ticks:?}");
    let line = httpd.wait_for_log(r"\[lua_balancer:error\].*loop\.lua:2: stopped after 5000 ms");
    assert!(httpd.count_log("stopped after") == 1, "{line}");
    let before = a.health_checks();
    wait_until("further checks", SOON, || a.health_checks() > before + 2);
    assert_eq!(httpd.count_log(r"\bleads\b"), 1);
    time_of_more(&httpd, "tick", 2);
}

#[test]
fn a_failing_timer_is_one_line_a_run_and_runs_again() {
    let httpd = Httpd::builder()
        .file(
            "t.lua",
            "n = 0\nfunction timer()\n  n = n + 1\n  print('run ' .. n)\n  error('boom ' .. n)\nend",
        )
        .config("LuaBalancerTimer t.lua every=100ms")
        .start();
    httpd.wait_for_log("run 5");
    let lines = httpd.wait_for_log_lines(r"\[lua_balancer:error\].*t\.lua:5: boom", 4);
    assert_eq!(lines.iter().filter(|line| line.contains("boom 2")).count(), 1, "{lines:#?}");
}

#[test]
fn a_saved_script_swaps_its_timers_within_a_second() {
    let version = |n: u32| {
        format!("lb.every(0.05, function() print('inner {n}') end)\nfunction timer() print('outer {n}') end")
    };
    let httpd =
        Httpd::builder().file("t.lua", &version(1)).config("LuaBalancerTimer t.lua every=50ms").start();
    for n in 2..=4 {
        httpd.wait_for_log(&format!("inner {}", n - 1));
        httpd.write("t.lua", &version(n));
        let saved = Instant::now();
        httpd.wait_for_log(&format!("inner {n}"));
        httpd.wait_for_log(&format!("outer {n}"));
        assert!(saved.elapsed() < patience(Duration::from_millis(1300)), "{:?}", saved.elapsed());
        let old = httpd.count_log(&format!("(inner|outer) {}", n - 1));
        // Twenty a second, not forty.
        let time = time_of_more(&httpd, &format!("inner {n}"), 20);
        assert!(time > Duration::from_millis(700), "20 runs in {time:?}");
        assert_eq!(httpd.count_log(&format!("(inner|outer) {}", n - 1)), old);
    }
    httpd.write("t.lua", "function timer( end");
    httpd.wait_for_log(r"\[lua_balancer:error\].*t\.lua:1");
    time_of_more(&httpd, "inner 4", 5);
}

#[test]
fn graceful_restarts_leave_one_set_of_timers() {
    let mut httpd = Httpd::builder()
        .file("t.lua", "function timer() print('tick') end")
        .config("LuaBalancerTimer t.lua every=100ms")
        .start();
    httpd.wait_for_log("tick");
    for _ in 0..2 {
        httpd.graceful();
        let leads = httpd.count_log(r"\bleads\b");
        wait_until("the new generation to lead", SOON, || httpd.count_log(r"\bleads\b") >= leads);
        let time = time_of_more(&httpd, "tick", 12);
        assert!(time > Duration::from_millis(700), "12 runs in {time:?}");
    }
    let (time, status) = httpd.stop();
    assert!(status.success() && time < patience(Duration::from_secs(3)), "{time:?} {status:?}");
    httpd.assert_no_crash();
}

on_every_mpm!(a_busy_timer_does_not_delay_the_end);

fn a_busy_timer_does_not_delay_the_end(mpm: Mpm) {
    let hung = Backend::new("hung");
    hung.hang();
    let script = format!(
        "function timer() print('loops') while true do end end\nfunction waits() lb.http{{url = '{}/'}} end",
        hung.url()
    );
    let mut httpd = Httpd::builder()
        .mpm(mpm)
        .file("t.lua", &script)
        .config("LuaBalancerTimer t.lua every=10ms\nLuaBalancerTimer t.lua waits every=10ms")
        .start();
    httpd.wait_for_log("loops");
    wait_until("a waiting timer", SOON, || hung.in_flight() == 1);
    let (time, status) = httpd.stop();
    assert!(status.success() && time < patience(Duration::from_secs(3)), "{time:?} {status:?}");
    httpd.assert_no_crash();
}

#[test]
fn code_cache_never_starts_timers_once() {
    let httpd = Httpd::builder()
        .file("t.lua", "lb.every(0.1, function() print('inner') end)\nfunction timer() print('outer') end")
        .config("LuaBalancerCodeCache never\nLuaBalancerTimer t.lua every=50ms")
        .start();
    httpd.wait_for_log_lines("outer", 10);
    let time = time_of_more(&httpd, "inner", 10);
    assert!(time > Duration::from_millis(700), "10 runs in {time:?}");
}

#[test]
fn wrong_timers_and_checks_are_refused() {
    let refused = |line: &str, patterns: &[&str]| {
        Httpd::builder()
            .file("t.lua", "function timer() end")
            .config(line)
            .configtest()
            .assert_error_at(line, patterns);
    };
    refused("LuaBalancerTimer t.lua", &["every= is missing", "every=10s"]);
    refused("LuaBalancerTimer t.lua every=0", &["every=0"]);
    refused("LuaBalancerTimer t.lua every=often", &["often"]);
    refused("LuaBalancerTimer t.lua every=-1s", &["-1s"]);
    refused("LuaBalancerTimer t.lua each=1s", &["each=1s", "every="]);
    refused("LuaBalancerTimer t.lua every=1s every=2s", &["twice"]);
    refused("LuaBalancerTimer every=1s", &["script"]);
    refused("LuaBalancerTimer t.lua a b every=1s", &["words"]);
    refused("LuaBalancerTimer missing.lua every=1s", &["missing.lua"]);
    refused("LuaBalancerTimer t.lua tick every=1s", &["tick", "timer"]);
    let host = "<VirtualHost *>\nLuaBalancerTimer t.lua every=1s\n</VirtualHost>";
    let test = Httpd::builder().file("t.lua", "function timer() end").config(host).configtest();
    test.assert_error_at("LuaBalancerTimer t.lua every=1s", &["VirtualHost"]);
    let pool = |check: &str| {
        Httpd::builder()
            .file("c.lua", "function check(m) return true end")
            .config(&format!(
                "<LuaBalancerPool app>\nLuaBalancerMember http://127.0.0.1:9\n{check}\n</LuaBalancerPool>"
            ))
            .configtest()
    };
    for (check, patterns) in [
        ("LuaBalancerHealthCheck lua", ["script=", "check.lua"]),
        ("LuaBalancerHealthCheck lua script=missing.lua", ["missing.lua", "missing.lua"]),
        ("LuaBalancerHealthCheck lua script=c.lua function=other", ["other", "check"]),
    ] {
        pool(check).assert_error_at(check, &patterns);
    }
    assert!(pool("LuaBalancerHealthCheck lua script=c.lua interval=1s timeout=1s").ok);
    let good = Httpd::builder()
        .file("t.lua", "function timer() end")
        .config("LuaBalancerTimer t.lua every=1s\nLuaBalancerTimer t.lua - every=500ms\nLuaRegisterFunc tick function() end\nLuaBalancerTimer tick every=1m");
    assert!(good.configtest().ok);
}
