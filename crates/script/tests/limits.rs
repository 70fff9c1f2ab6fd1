// SPDX-License-Identifier: Apache-2.0
//! A script over its limits is stopped, and the state serves the next call.
#![allow(missing_docs)]

mod common;

use std::time::{Duration, Instant};

use common::World;
use script::{Answer, ErrorKind, Limits, LuaState, Phase};

/// Runs `f` of a script, then checks that the state still answers.
fn stopped(body: &str) -> ErrorKind {
    stopped_within(body, common::limits())
}

fn stopped_within(body: &str, limits: Limits) -> ErrorKind {
    let world = World::with(
        &format!("function f(r)\n{body}\nend\nfunction after(r) return 204 end"),
        &["f", "after"],
        |builder| builder.limits(limits),
    );
    let state = world.started();
    let start = Instant::now();
    let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(3), "{body}: took {:?}", start.elapsed());
    assert!(names_a_line(&error.message), "{body}: {}", error.message);
    still_serves(&world, &state, body);
    error.kind
}

fn names_a_line(message: &str) -> bool {
    let line = message.split_once("main.lua:").map_or("", |(_, rest)| rest.split(':').next().unwrap_or(""));
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
}

fn still_serves(world: &World, state: &LuaState, body: &str) {
    for _ in 0..3 {
        let answer = state.select(world.id, "after", Phase::Translate);
        assert_eq!(answer.unwrap(), Answer::Status(204), "after {body}");
    }
}

#[test]
fn loops_are_stopped_wherever_they_hide() {
    for body in [
        "while true do end",
        "for i = 1, math.huge do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "pcall(pcall, pcall, function() while true do end end) while true do end",
        "local co = coroutine.create(function() while true do end end) while true do coroutine.resume(co) end",
        "coroutine.wrap(function() while true do end end)()",
        "coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()",
        "local t = setmetatable({}, { __index = function() while true do end end }) return t.x",
        "local t = setmetatable({}, { __eq = function() while true do end end }) return t == setmetatable({}, getmetatable(t))",
        "table.sort({ 3, 2, 1 }, function() while true do end end)",
        "string.gsub('abc', '.', function() while true do end end)",
        "load('while true do end')()",
        "load(function() while true do end end)",
        "while true do load(function() while true do end end) end",
        "local m = { __close = function() while true do end end } while true do local co = coroutine.create(function() local x <close> = setmetatable({}, m) coroutine.yield() end) coroutine.resume(co) coroutine.close(co) end",
        "for x in function() while true do end end do end",
        "local x <close> = setmetatable({}, { __close = function() while true do end end })",
        "goto a ::a:: goto a",
        "local t = {} for i = 1, 10 do t[i] = i end while true do table.concat(t) end",
        "while true do lb.pool('app'):least_connections() end",
        "while true do local ok = pcall(error, 'x') end",
        "return (tostring(setmetatable({}, { __tostring = function() while true do end end })))",
    ] {
        assert_eq!(stopped(body), ErrorKind::Time, "{body}");
    }
}

#[test]
fn a_coroutine_of_an_earlier_call_is_stopped_as_well() {
    for make in ["coroutine.wrap(work)", "function() return coroutine.resume(coroutine.create(work)) end"] {
        let text = format!(
            "local function work() coroutine.yield() while true do end end\n\
             local co = {make}\nlocal one = coroutine.wrap(work) one()\n\
             function f(r) co() co() one() return 200 end\nfunction after(r) return 204 end"
        );
        let world = World::with(&text, &["f", "after"], |builder| builder.limits(common::limits()));
        let state = world.started();
        let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Time, "{error}");
        still_serves(&world, &state, make);
    }
}

/// As at the end of a process, or where the system gives no thread.
#[test]
fn without_a_watch_loops_are_stopped_all_the_same() {
    let world = World::new("function f(r) while true do end end", "f");
    drop(world.started());
    script::watch::stop();
    while !script::watch::has_stopped() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let state = world.unwatched();
    for _ in 0..2 {
        assert_eq!(state.select(world.id, "f", Phase::Translate).unwrap_err().kind, ErrorKind::Time);
    }
}

#[test]
fn long_calls_into_c_are_stopped_or_bounded() {
    let nested = "('a'):rep(20000):find(('.-'):rep(8) .. 'b')";
    let optional = "('a'):rep(30):find(('a?'):rep(28) .. ('a'):rep(30) .. 'b')";
    for body in [
        nested,
        optional,
        "('a'):rep(20000):match(('.-'):rep(8) .. 'b')",
        "for x in ('a'):rep(20000):gmatch(('.-'):rep(8) .. 'b') do end",
        "('a'):rep(20000):gsub(('.-'):rep(8) .. 'b', '')",
        "pcall(string.find, ('a'):rep(20000), ('.-'):rep(8) .. 'b') return 1",
        // Delimiters that look like the beginning of a set.
        "('[]' .. ('a'):rep(1990)):find('%b[]' .. ('.-'):rep(8) .. 'x')",
        // A number as text.
        "string.find(-1.2345678901234e+300, ('.-'):rep(20) .. 'x')",
        "string.match(-1.2345678901234e+300, ('.-'):rep(20) .. 'x')",
        "for x in string.gmatch(-1.2345678901234e+300, ('.-'):rep(20) .. 'x') do end",
        "string.gsub(-1.2345678901234e+300, ('.-'):rep(20) .. 'x', '')",
        // A long pattern is compared at every place.
        "('a'):rep(1 << 20):match(('a'):rep(1 << 19) .. 'b')",
        "('a'):rep(1 << 17):find('^' .. ('a?'):rep(20) .. ('a'):rep(1 << 16) .. 'b')",
        // In gmatch a ^ is a character.
        "for x in ('^'):rep(1 << 20):gmatch('^.-x') do end",
        // Each of these is short enough.
        "local s, p = ('a'):rep(2000), 'a*b' while true do s:find(p) end",
        "local s, p = ('a'):rep(2000), 'a*b' while true do s:match(p) end",
        "local s, p = ('a'):rep(2000), 'a*b' while true do s:gsub(p, '') end",
    ] {
        let whole = ["for", "pcall", "local"].iter().any(|word| body.starts_with(word));
        let body = if whole { body.to_owned() } else { format!("local x = {body}") };
        assert_eq!(stopped(&body), ErrorKind::Time, "{body}");
    }
    for body in [
        "table.move({}, 1, math.maxinteger - 1, 1, {})",
        "table.insert(setmetatable({}, { __len = function() return 1 << 50 end }), 1, 1)",
        "table.remove(setmetatable({}, { __len = function() return 1 << 50 end }), 1)",
        "table.unpack({}, 1, 1e8)",
        "return nil, ('').rep('', 1 << 60) .. missing()",
    ] {
        assert_eq!(stopped(body), ErrorKind::Runtime, "{body}");
    }
}

#[test]
fn memory_is_bounded() {
    for body in [
        "local s = ('x'):rep(1 << 30)",
        "local s = ('x'):rep(1 << 60)",
        "local s = ('x'):rep(1000, ('y'):rep(100000))",
        "local t = {} for i = 1, math.huge do t[i] = i end",
        "local t = {} while true do t[#t + 1] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        "while true do pcall(function() local s = 'x' while true do s = s .. s end end) end",
        "pcall(string.rep, 'x', 1 << 40) return 1",
        "local t = {} for i = 1, 200 do t[i] = ('x'):rep(100000) .. i end return nil, table.concat(t)",
    ] {
        // On a busy machine the usual time could be over first.
        let patient = Limits { time_ms: 2500, ..common::limits() };
        assert_eq!(stopped_within(body, patient), ErrorKind::Memory, "{body}");
    }
}

#[test]
fn memory_that_a_script_keeps_over_calls_is_bounded_and_a_leak_costs_no_thread() {
    let leak = "kept = {}\nfunction f(r) kept[#kept + 1] = ('x'):rep(1 << 18) .. #kept return 204 end";
    let world = World::with(leak, &["f"], |builder| builder);
    let state = world.started();
    let mut failures = 0;
    for call in 0..200 {
        match state.select(world.id, "f", Phase::Translate) {
            Ok(answer) => assert_eq!(answer, Answer::Status(204)),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Memory, "call {call}: {error}");
                failures += 1;
            }
        }
        assert!(state.used_memory() < 5 << 20, "call {call}: {} bytes", state.used_memory());
    }
    // At 4 MiB, with what a call itself takes, every eighth call or so finds the state full; no
    // other does.
    assert!((10..40).contains(&failures), "{failures} of 200 calls failed");
}

#[test]
fn endless_recursion_is_stopped() {
    for body in [
        "local function g() return 1 + g() end return g()",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] .. '' end return t.x",
        "local function g() pcall(g) end g() local function h() return 1 + h() end h()",
    ] {
        let kind = stopped(body);
        assert!(matches!(kind, ErrorKind::Stack | ErrorKind::Memory), "{body}: {kind:?}");
    }
}

#[test]
fn finalizers_are_refused() {
    let world =
        World::new("function f(r) setmetatable({}, { __gc = function() while true do end end }) end", "f");
    let state = world.started();
    let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
    assert!(error.message.contains("__gc is not available"), "{}", error.message);
}

#[test]
fn a_pcall_keeps_ordinary_errors() {
    for (expression, expected) in [
        ("select(2, pcall(error, 'x'))", "x"),
        ("select(2, pcall(error, { 1 }))[1]", "1"),
        (
            "select(2, pcall(lb.pool, 'nope'))",
            "lb.pool: there is no pool named \"nope\" (there are: api, app)",
        ),
        ("select(2, xpcall(error, function(e) return e .. '!' end, 'x'))", "x!"),
        ("select('#', pcall(function() return 1, nil, nil end))", "4"),
        ("type(select(2, pcall(lb.pool, 'nope')))", "string"),
    ] {
        let found = common::eval(expression);
        assert!(found.ends_with(expected), "{expression}: {found}");
    }
}

#[test]
fn a_top_level_over_the_limit_is_not_taken() {
    let world = World::new("while true do end", "f");
    assert_eq!(world.judge().unwrap_err().kind, ErrorKind::Time);
}

#[test]
fn garbage_of_earlier_calls_counts_for_nobody() {
    let world =
        World::new("function f(r) local t = {} for i = 1, 5000 do t[i] = { i } end return 204 end", "f");
    let state = world.started();
    for _ in 0..200 {
        assert_eq!(state.select(world.id, "f", Phase::Translate).unwrap(), Answer::Status(204));
    }
}

/// Metamethods, each with what makes Lua call it.
const METAMETHODS: [(&str, &str); 25] = [
    ("__index", "local x = t.x"),
    ("__newindex", "t.x = 1"),
    ("__call", "t()"),
    ("__concat", "local x = t .. 'x'"),
    ("__len", "local x = #t"),
    ("__eq", "local x = t == u"),
    ("__lt", "local x = t < u"),
    ("__le", "local x = t <= u"),
    ("__unm", "local x = -t"),
    ("__bnot", "local x = ~t"),
    ("__add", "local x = t + 1"),
    ("__sub", "local x = t - 1"),
    ("__mul", "local x = t * 1"),
    ("__div", "local x = t / 1"),
    ("__mod", "local x = t % 1"),
    ("__pow", "local x = t ^ 1"),
    ("__idiv", "local x = t // 1"),
    ("__band", "local x = t & 1"),
    ("__bor", "local x = t | 1"),
    ("__bxor", "local x = t ~ 1"),
    ("__shl", "local x = t << 1"),
    ("__shr", "local x = t >> 1"),
    ("__close", "local x <close> = t"),
    ("__tostring", "local x = tostring(t)"),
    ("__pairs", "for x in pairs(t) do end"),
];

/// The body of a metamethod, and the kinds of error that stop it.
const HARMS: [(&str, &[ErrorKind]); 4] = [
    ("while true do end", &[ErrorKind::Time]),
    ("local s = 'x' while true do s = s .. s end", &[ErrorKind::Memory]),
    ("local function f() return 1 + f() end return f()", &[ErrorKind::Stack, ErrorKind::Memory]),
    // Itself, through C wherever Lua calls it that way.
    ("USE return ''", &[ErrorKind::Stack, ErrorKind::Memory]),
];

#[test]
fn metamethods_are_stopped_in_requests_finish_hooks_timers_and_checks() {
    for (name, use_it) in METAMETHODS {
        for (harm, kinds) in HARMS {
            let harm = harm.replace("USE", use_it);
            let text = format!(
                "local m = {{}}\nlocal t, u = setmetatable({{}}, m), setmetatable({{}}, m)\nm.{name} = function()\n{harm}\nend\n\
                 function f() {use_it} end\nfunction after() return 204 end"
            );
            // On a busy machine the usual time could be over before the memory is full.
            let ms = if kinds.contains(&ErrorKind::Time) { 20 } else { 2500 };
            let limits = Limits { time_ms: ms, timer_time_ms: ms, ..common::limits() };
            let world = World::with(&text, &["f", "after"], |builder| builder.limits(limits));
            let member = world.balancer.pools.borrow()[0].members[0].clone();
            let (state, background) = (world.started(), world.background());
            let selected = state.select(world.id, "f", Phase::Translate).map(drop);
            still_serves(&world, &state, &text);
            let finished = state.finish(world.id, "f", &script::FinishResult::default());
            still_serves(&world, &state, &text);
            let job = |job| common::finish(&background, job).map(drop);
            let timed = background.start_timer(world.id, "f").and_then(job);
            let checked =
                background.start_check(world.id, "f", &member, Duration::from_millis(ms)).and_then(job);
            for (place, result) in
                [("select", selected), ("finish", finished), ("timer", timed), ("check", checked)]
            {
                let what = format!("{place}, {name}: {harm}");
                let Err(error) = result else { panic!("{what}: not stopped") };
                assert!(kinds.contains(&error.kind), "{what}: {:?}, {error}", error.kind);
                assert!(names_a_line(&error.message), "{what}: {error}");
            }
            background.start_timer(world.id, "after").and_then(job).expect("the next run works");
        }
    }
}

/// Ends in time, well or not, and the state serves.
fn ends(body: &str) -> Result<Answer, script::ScriptError> {
    let world = World::with(
        &format!("function f(r)\n{body}\nend\nfunction after(r) return 204 end"),
        &["f", "after"],
        |b| b,
    );
    let state = world.started();
    let start = Instant::now();
    let answer = state.select(world.id, "f", Phase::Translate);
    assert!(start.elapsed() < Duration::from_secs(3), "{body}: took {:?}", start.elapsed());
    still_serves(&world, &state, body);
    answer
}

#[test]
fn tricks_that_keep_c_code_busy_end() {
    for body in [
        "table.move({}, 1, 2^53, 2)",
        "table.move({}, '1', '9e15', 2)",
        "local x = (''):rep(2^60)",
        "local x = ('x'):rep('9e15')",
        "local n = 0 table.insert(setmetatable({}, { __len = function() n = n + 1 return n > 1 and 1 << 50 or 0 end }), 1, 1)",
        "local n = 0 table.remove(setmetatable({}, { __len = function() n = n + 1 return n > 1 and 1 << 50 or 0 end }), 1)",
        "table.insert(setmetatable({}, { __len = function() return 1 << 17 end, __index = type, __newindex = type }), 1, 1) while true do end",
        "table.sort(setmetatable({}, { __len = function() return 2147483646 end, __index = type, __newindex = type }))",
        "error('://' .. (':1'):rep(1 << 20), 0)",
        "local x = ('a'):rep(20000):find('[' .. ('b'):rep(1 << 20) .. ']x')",
        "local x = load(('x = 1; '):rep(1 << 18))",
        "local n = 0 local x = load(function() n = n + 1 return n < 1e6 and ('x = 1; '):rep(1000) or nil end)",
        "local t = {} for i = 1, 20000 do t[i] = { host = 'h' .. i, port = 1 } end lb.define_pool('x', t)",
        "local d = require('cjson').decode('[' .. ('{\"\":0},'):rep(300000) .. '0]')",
        "local x = r:parsebody(1 << 40)",
        "local a, b = ('\\0'):rep(1 << 20) .. 'a', ('\\0'):rep(1 << 20) .. 'b' while true do if a < b then end end",
        "local s = ('a'):rep(1 << 20) while true do s:upper() end",
        "local s = ('a'):rep(1 << 20) while true do r:base64_decode(s) end",
        "local t = {} for i = 1, 50000 do t[i] = i end while true do table.sort(t) end",
        "local s = ('x'):rep(1 << 20) while true do lb.log('error', s, s, s, s) end",
        "local s = ('x'):rep(1 << 20) while true do r:err(s) end",
    ] {
        ends(body).ok();
    }
}

#[test]
fn values_that_a_call_has_made_outside_of_lua_count_as_memory() {
    for body in [
        "local s = ('x'):rep(1 << 20) while true do r.notes.x = s end",
        "local s = ('x'):rep(1 << 20) while true do r.headers_out.x = s end",
        "local s = ('x'):rep(1 << 20) while true do pcall(function() r.notes.x = s end) end",
        "local s = ('x'):rep(1 << 20) while true do pcall(function() r.uri = '/' .. s end) end",
        "local s = ('x'):rep(1 << 20) while true do r:setcookie('x', s:sub(1, 1 << 18)) end",
        "local chash = require('resty.chash') for i = 1, 10 do chash:new({ a = 2000 }) end",
        "r.notes.x = ('x'):rep(1 << 20) local t = {} for i = 1, 100 do t[i] = r.notes.x end",
        "local t = {} for i = 1, 200 do t[i] = ('x'):rep(4000) .. i end while true do lb.pool('app'):except(t) end",
    ] {
        let error = ends(body).expect_err(body);
        assert_eq!(error.kind, ErrorKind::Memory, "{body}: {error}");
    }
    let error = ends(
        "local t = {} for i = 1, 500 do t[i] = ('x'):rep(4000) .. i end return lb.pool('app'):except(t)",
    );
    assert!(error.expect_err("a view that large").to_string().contains("1024 KiB of names"));
}

#[test]
fn tables_with_a_metatable_are_changed_as_plain_ones_are() {
    let world = World::new(
        "function f(r)
  local t = setmetatable({ 3, 1, 2 }, { __index = function() return nil end })
  table.insert(t, 4) table.insert(t, 1, 9) table.insert(t, 6, 8)
  local gone, last = table.remove(t, 2), table.remove(t)
  table.sort(t, function(a, b) return a > b end)
  local kept = table.concat(t, ' ')
  local ok, why = pcall(table.insert, t, 9, 1)
  local empty = setmetatable({}, {})
  return nil, kept .. ' ' .. gone .. ' ' .. last .. ' ' .. tostring(ok) .. ' ' .. tostring(table.remove(empty, 0)) .. ' ' .. why
end",
        "f",
    );
    let said = common::value(&world, &world.started());
    assert_eq!(said, "9 4 2 1 3 8 false nil bad argument #2 to 'insert' (position out of bounds)");
}
