// SPDX-License-Identifier: Apache-2.0
//! Limits of time, memory and stack hold wherever scripts run: a run that goes over one is stopped
//! and is one clear line, and the next run works.

use std::time::Duration;

use server_tests::{Backend, Builder, Httpd, Mpm, Request, on_every_mpm, pool, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// The harm that a run does, and its one line.
const HARMS: [(&str, &str, &str); 5] = [
    ("loop", "while true do pcall(function() while true do end end) end", r"stopped after \d+ ms"),
    ("memory", "local t = {} while true do t[#t + 1] = ('x'):rep(4096) .. #t end", "memory"),
    ("stack", "local function f() return 1 + f() end return f()", "stack overflow|memory"),
    (
        "meta_loop",
        "return #setmetatable({}, { __len = function() while true do end end })",
        r"stopped after \d+ ms",
    ),
    (
        "meta_stack",
        "local t = setmetatable({}, {}) getmetatable(t).__concat = function(a, b) return a .. b end return t .. t",
        "stack overflow|memory",
    ),
];

/// `harms.NAME()`, each on a line of its own: the first is at line 2.
fn harms() -> String {
    let rows = HARMS.iter().map(|(name, body, _)| format!("function harms.{name}() {body} end\n"));
    format!("local harms = {{}}\n{}", rows.collect::<String>())
}

/// The place that the line of a harm names: the file, the line (Lua tells none with an error of
/// memory: then one near it), the reason.
fn place_of(at: usize, file: &str) -> String {
    let line = if HARMS[at].2.contains("memory") { r"\d+".to_owned() } else { (at + 2).to_string() };
    format!(r"{file}\.lua:{line}: .*({})", HARMS[at].2)
}

/// The error line of a harm.
fn line_of(at: usize, file: &str) -> String {
    format!(r"\[lua_balancer:error\].*{}", place_of(at, file))
}

fn limited(mpm: Mpm, a: &Backend) -> Builder {
    Httpd::builder()
        .mpm(mpm)
        .with_member_states()
        .config("LuaBalancerScriptLimit time=50ms memory=4M\nLuaBalancerDict runs 64K")
        .config(&pool("app", &[(a, "")], "LuaBalancerOutlier off"))
}

on_every_mpm!(loops_beside_good_requests_are_stopped_and_cost_no_child);

/// Many at once, in threads that go from loops to short calls and back: each is reached where it
/// loops, and nobody else.
fn loops_beside_good_requests_are_stopped_and_cost_no_child(mpm: Mpm) {
    const LOOPS: [&str; 6] = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.wrap(function() return 1 end)() end",
        "string.gsub(('x'):rep(100), '.', function() while true do end end)",
        "while true do local s = ('x'):rep(200) .. tostring({}) end",
    ];
    let a = Backend::new("a");
    let rows: String = LOOPS.iter().map(|body| format!("function() {body} end,\n")).collect();
    let script = format!(
        "local loops = {{\n{rows}}}\nlocal app = lb.pool('app')\nfunction pick(r)\n\
         local nth = r.uri:match('^/loop/(%d)$')\nif nth then loops[tonumber(nth)]() end\nreturn app:round_robin()\nend"
    );
    let httpd = limited(mpm, &a)
        .config("LuaBalancerScriptLimit time=10ms memory=4M")
        .file("pick.lua", &script)
        .config("LuaHookTranslate pick.lua pick")
        .start();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let httpd = &httpd;
            scope.spawn(move || {
                let mut own = httpd.client();
                for round in 0..20 {
                    let nth = (client + round) % LOOPS.len() + 1;
                    assert_eq!(own.get(&format!("/loop/{nth}")).status, 500, "{}", LOOPS[nth - 1]);
                    for _ in 0..5 {
                        assert_eq!(own.get("/app/x").text(), "a /app/x\n", "after {}", LOOPS[nth - 1]);
                    }
                }
            });
        }
    });
    assert_eq!(httpd.count_log(r"\[lua_balancer:error\].*stopped after \d+ ms"), 160);
    httpd.assert_no_crash();
}

fn error_lines(httpd: &Httpd) -> usize {
    httpd.count_log(r"\[lua_balancer:error\]")
}

on_every_mpm!(a_finish_hook_over_a_limit_is_one_line_and_costs_its_client_nothing);

fn a_finish_hook_over_a_limit_is_one_line_and_costs_its_client_nothing(mpm: Mpm) {
    let a = Backend::new("a");
    let script = "function finish(r, result)\n  local harm = harms[r.uri:match('[%a_]+$')]\n  if harm then harm() end\n  \
                  r:notice('finished ' .. r.uri)\nend";
    let httpd = limited(mpm, &a)
        .children(1)
        .threads(2)
        .file("finish.lua", &[&harms(), script].concat())
        .config("LuaHookFinish finish.lua\nProxyPass /app lb://app")
        .start();
    for (at, (name, _, _)) in HARMS.iter().enumerate() {
        for round in 1..=3 {
            let mut client = httpd.client();
            assert_eq!(client.get(&format!("/app/{name}")).text(), format!("a /{name}\n"));
            httpd.wait_for_log_lines(&format!("LuaHookFinish failed: .*{}", place_of(at, "finish")), round);
            assert_eq!(client.get("/app/1").status, 200);
            httpd.wait_for_log_lines("finished /app/1", at * 3 + round);
        }
    }
    assert_eq!(error_lines(&httpd), HARMS.len() * 3, "one line a run");
    httpd.assert_no_crash();
}

/// One run after the other goes over the next limit; the count is kept where no failure touches it.
const IN_TURN: &str = "local names = { NAMES }\nlocal function in_turn(key)\n  local run = lb.dict('runs'):incr(key, 1, 0)\n  \
                       local name = names[run]\n  if name then harms[name]() end\n  return run\nend\n";

fn in_turn() -> String {
    let names: String = HARMS.iter().map(|(name, _, _)| format!("'{name}', ")).collect();
    [harms(), IN_TURN.replace("NAMES", &names)].concat()
}

on_every_mpm!(a_check_over_a_limit_has_failed_and_the_next_one_works);

fn a_check_over_a_limit_has_failed_and_the_next_one_works(mpm: Mpm) {
    let [a, b, c] = Backend::named(["a", "b", "c"]);
    let check =
        "LuaBalancerHealthCheck lua script=check.lua interval=150ms timeout=300ms jitter=0% rise=1 fall=1";
    let script = "function check(m)\n  if m.name == 'b' then in_turn('b') end\n  return true\nend";
    let httpd = limited(mpm, &c)
        .file("check.lua", &[&in_turn(), script].concat())
        .config(&pool("checked", &[(&a, ""), (&b, "")], check))
        .start();
    httpd.wait_for_log("member b is down");
    for at in 0..HARMS.len() {
        let line = httpd.wait_for_log(&line_of(at, "check"));
        assert!(line.contains("check of member b"), "{line}");
    }
    wait_until("the check to work again", SOON, || httpd.member("checked", "b").state == "up");
    assert_eq!(error_lines(&httpd), HARMS.len(), "one line a run:\n{}", httpd.error_log());
    assert_eq!(httpd.member("checked", "a").state, "up");
    assert_eq!(httpd.count_log("member a is down"), 0);
    httpd.assert_no_crash();
}

#[test]
fn a_timer_over_a_limit_is_one_line_and_runs_again() {
    let a = Backend::new("a");
    let script = "function timer()\n  lb.log('notice', 'outer worked at run ' .. in_turn('timer'))\nend\n\
                  lb.every(0.1, function() lb.log('notice', 'inner worked at run ' .. in_turn('inner')) end)\n";
    let httpd = limited(Mpm::Event, &a)
        .file("timer.lua", &[&in_turn(), script].concat())
        .file("tick.lua", "function timer() print('tick') end")
        .config("LuaBalancerTimer timer.lua every=100ms\nLuaBalancerTimer tick.lua every=100ms\nProxyPass /app lb://app")
        .start();
    let next = HARMS.len() + 1;
    wait_until("both timers to work again", SOON, || {
        ["outer worked at run", "inner worked at run"]
            .iter()
            .all(|text| httpd.count_log(&format!(" {text} {next}$")) == 1)
    });
    for (at, (name, _, _)) in HARMS.iter().enumerate() {
        // Recursion may meet the limit of memory first.
        assert!(httpd.count_log(&line_of(at, "timer")) >= 2, "{name}: one line for each timer");
    }
    assert_eq!(error_lines(&httpd), HARMS.len() * 2, "{}", httpd.error_log());
    assert_eq!(httpd.count_log("start anew"), 0, "nothing is kept");
    assert_eq!(httpd.client().get("/app/").backend(), "a");
    let ticks = httpd.count_log("tick$");
    httpd.wait_for_log_lines("tick$", ticks + 3);
    assert_eq!(httpd.count_log(r"\bleads\b"), 1);
    httpd.assert_no_crash();
}

/// Metamethods that Lua calls at unlike places, each with each harm.
const USES: [(&str, &str); 8] = [
    ("__index", "return t.x"),
    ("__newindex", "t.x = 1"),
    ("__call", "return t()"),
    ("__eq", "return t == u"),
    ("__lt", "table.sort({ t, u, t })"),
    ("__concat", "return table.concat({ 'x' }, 'x') .. t"),
    ("__close", "local x <close> = t"),
    ("__tostring", "return nil, tostring(t)"),
];

#[test]
fn a_metamethod_over_a_limit_ends_its_request_alone() {
    let a = Backend::new("a");
    let script = "function translate(r)\n  local use, harm = r.uri:match('^/m/([%a_]+)/([%a_]+)$')\n  if not use then return lb.pool('app') end\n  \
                  local m = {}\n  local t, u = setmetatable({}, m), setmetatable({}, m)\n  m[use] = harms[harm]\n  uses[use](t, u)\nend\n";
    let uses: String =
        USES.iter().map(|(name, body)| format!("function uses.{name}(t, u) {body} end ")).collect();
    let httpd = limited(Mpm::Event, &a)
        .children(1)
        .threads(2)
        .file("meta.lua", &format!("{}local uses = {{}} {uses}\n{script}", harms()))
        .config("LuaHookTranslate meta.lua")
        .start();
    let mut failures = 0;
    for (at, (harm, _, _)) in HARMS.iter().enumerate() {
        for (which, (name, _)) in USES.iter().enumerate() {
            failures += 1;
            let response = httpd.client().send(&Request::get(&format!("/m/{name}/{harm}")));
            assert_eq!(response.status, 500, "{name} {harm}");
            httpd.wait_for_log_lines(&line_of(at, "meta"), which + 1);
            assert_eq!(error_lines(&httpd), failures, "{name} {harm}: one line");
            assert_eq!(httpd.client().get("/good").backend(), "a", "after {name} {harm}");
        }
    }
    httpd.assert_no_crash();
}
