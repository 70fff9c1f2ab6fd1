// SPDX-License-Identifier: Apache-2.0
//! When timers run.

use super::*;

on_every_mpm!(a_timer_runs_in_one_child_and_moves_with_the_lead);

fn a_timer_runs_in_one_child_and_moves_with_the_lead(mpm: Mpm) {
    let httpd = Httpd::builder()
        .mpm(mpm)
        .children(3)
        .file(
            "t.lua",
            "function timer() print('configured') end\nlb.every(0.1, function() print('every') end)",
        )
        .config("LuaBalancerTimer t.lua every=100ms")
        .start();
    for round in 1..=2 {
        httpd.wait_for_children(3);
        let leader = pid_of(&httpd.wait_for_log_lines(r"\bleads\b", round)[round - 1]);
        for text in ["configured", "every"] {
            time_of_more(&httpd, text, 8);
            let last = pids(&httpd, text).into_iter().rev().take(7);
            assert!(
                last.clone().all(|pid| pid == leader),
                "{text}: {:?}, leader {leader}",
                last.collect::<Vec<_>>()
            );
        }
        httpd.kill_child(leader);
        let killed = Instant::now();
        for text in ["configured", "every"] {
            wait_until("the timer in another child", SOON, || pids(&httpd, text).last() != Some(&leader));
            assert!(
                killed.elapsed() < patience(Duration::from_secs(2)),
                "takeover took {:?}",
                killed.elapsed()
            );
        }
    }
    httpd.assert_no_crash();
}

#[test]
fn every_is_from_start_to_start() {
    let httpd = Httpd::builder()
        .file(
            "t.lua",
            "function timer() print('tick') local t = lb.now() while lb.now() < t + 0.1 do end end",
        )
        .config("LuaBalancerTimer t.lua every=200ms")
        .start();
    httpd.wait_for_log("tick");
    let time = time_of_more(&httpd, "tick", 10);
    assert!(time > Duration::from_millis(1500), "10 runs in {time:?}");
    assert!(time < patience(Duration::from_millis(3500)), "10 runs in {time:?}");
}

#[test]
fn a_run_that_outlasts_the_interval_is_not_doubled() {
    let hung = Backend::new("hung");
    hung.hang();
    let script = format!(
        "function timer() print('begin') lb.http{{url = '{}/', timeout = 1}} print('end') end",
        hung.url()
    );
    let httpd = Httpd::builder().file("t.lua", &script).config("LuaBalancerTimer t.lua every=50ms").start();
    httpd.wait_for_log_lines("end$", 3);
    let words: Vec<String> = httpd
        .error_log()
        .lines()
        .filter_map(|line| {
            line.rsplit(' ').next().filter(|word| ["begin", "end"].contains(word)).map(str::to_owned)
        })
        .collect();
    assert!(
        words.chunks(2).all(|pair| pair[0] == "begin" && pair.get(1).is_none_or(|word| word == "end")),
        "{words:?}"
    );
}

#[test]
fn a_timer_changes_weights_and_the_shares_follow() {
    let [a, b] = Backend::named(["a", "b"]);
    let script = "function adjust()\n  local m = lb.pool('app'):member('a')\n  if m.weight == 1 then m:set_weight(3) end\nend";
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "")], ""))
        .config("ProxyPass /app lb://app")
        .file("t.lua", script)
        .config("LuaBalancerTimer t.lua adjust every=100ms")
        .start();
    wait_until("the new weight", SOON, || httpd.member("app", "a").weight == 3);
    let shares = httpd.client().shares("/app/", 8);
    assert_eq!((shares["a"], shares["b"]), (6, 2));
}

#[test]
fn the_published_periodic_check_runs_from_a_script_that_serves_requests() {
    let [a, b] = Backend::named(["a", "b"]);
    let servers = [&a, &b].map(|backend| {
        format!("{{ name = '{}', host = '127.0.0.1', port = {} }}", backend.name(), backend.port())
    });
    let head = format!("backend_servers = {{ {} }}\nserver_count = #backend_servers", servers.join(", "));
    let httpd = Httpd::builder()
        .with_member_states()
        .config(&pool("app", &[(&a, ""), (&b, "")], ""))
        .file("pick.lua", &[&head, ARTICLE].concat().replace("INTERVAL", "0.1"))
        .config("<Location /app>\n  LuaHookTranslate pick.lua\n</Location>\nProxyPass /app lb://app")
        .start();
    assert_eq!(httpd.client().shares("/app/", 4)["a"], 2);
    a.refuse();
    httpd.wait_for_log(&format!("Server 127.0.0.1:{} is unhealthy: connection refused", a.port()));
    wait_for_state(&httpd, "app", "a", "disabled");
    assert_eq!(httpd.client().shares("/app/", 4)["b"], 4);
    a.answer();
    wait_for_state(&httpd, "app", "a", "up");
    assert_eq!(httpd.client().shares("/app/", 4)["a"], 2);
}

#[test]
fn after_runs_once_and_every_again_and_again() {
    let script = "lb.after(0.1, function(x) print('once ' .. x) end, 'a')\n\
                  ngx.timer.every(0.1, function(premature, x) print('again ' .. tostring(premature) .. x) end, 'b')\n\
                  if ngx.worker.id() == 0 then ngx.timer.at(0, function() print('worker 0') end) end\n\
                  function translate(r) return 204 end";
    let httpd = Httpd::builder()
        .file("t.lua", script)
        .config("<Location /x>\nLuaHookTranslate t.lua\n</Location>")
        .start();
    httpd.wait_for_log_lines("again falseb", 10);
    assert_eq!((httpd.count_log("once a"), httpd.count_log("worker 0")), (1, 1));
    for _ in 0..20 {
        assert_eq!(httpd.client().get("/x").status, 204);
    }
    assert_eq!(httpd.count_log("once a"), 1);
}

#[test]
fn a_timer_in_a_request_says_where_timers_belong() {
    let script = "function translate(r) r.subprocess_env.A = tostring(select(2, pcall(lb.after, 1, print))) .. \
                  '|' .. tostring(select(2, ngx.timer.at(1, print))) .. '|' .. tostring(select(2, pcall(lb.http, {url = 'http://h/'}))) return 204 end";
    let httpd = Httpd::builder()
        .file("t.lua", script)
        .config("LuaHookTranslate t.lua\nHeader always set X-A \"%{A}e\"")
        .start();
    let response = httpd.client().get("/");
    let texts: Vec<&str> = response.header("X-A").expect("X-A").split('|').collect();
    assert!(texts[0].contains("top level") && texts[1].contains("top level"), "{texts:?}");
    assert!(texts[2].contains("lb.http works in checks and timers only"), "{texts:?}");
}
