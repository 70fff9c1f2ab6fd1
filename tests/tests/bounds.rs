// SPDX-License-Identifier: Apache-2.0
//! No function that a script can call takes longer than a call may, or more memory than it may:
//! what got past the limits once, and its neighbours, on a real httpd.

use std::fs;
use std::time::Duration;

use server_tests::{Backend, Client, Httpd, Mpm, on_every_mpm, pool};

/// Twice `time=`, and some for a machine that is busy with other things, on which the watch is
/// late.
const MOST_TIME: Duration = Duration::from_millis(2 * 50 + 250);
/// `memory=`, 4 MiB, and what a first request of a child takes by itself.
const MOST_KIB: u64 = (16 + 4 + 6) << 10;
/// A call that took too long was hit by others' work if it does not the next time.
const ATTEMPTS: usize = 3;

/// The body of a script, and whether its request gets a 500.
const PROGRAMS: &[(&str, bool)] = &[
    ("table.concat(setmetatable({}, {__index = tostring, __tostring = table.concat}), '', 1, math.maxinteger)", true),
    ("table.concat(setmetatable({}, {__index = rawlen, __len = function() return 1 << 40 end}))", true),
    ("local s, t = (' '):rep(50000), {} for i = 1, 2000 do t[i] = s .. 10 + i % 20 end table.sort(t, tonumber)", true),
    ("('x'):rep(1e6):gsub('.', print)", true),
    ("local t = {} for i = 1, 300000 do t[i] = i end for _ = 1, 20 do require('cjson').encode(t) end", true),
    ("require('cjson').decode('[' .. ('{\"\":0},'):rep(290000) .. '0]')", true),
    (
        "local s = ('x'):rep(1 << 22) local m = {__close = function() return utf8.len(s) end}
         local function f(n) local x <close> = setmetatable({}, m) if n > 0 then f(n - 1) end while true do end end f(2000)",
        true,
    ),
    (
        "local m = {__close = utf8.len, __len = rawlen}
         local function f(n) local x <close> = setmetatable({}, m) if n > 0 then f(n - 1) end while true do end end f(150)",
        true,
    ),
    (
        "local co = coroutine.wrap(function()
           local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end
         end) co()",
        true,
    ),
    ("r.args = ('a&'):rep(3500000) r:parseargs()", true),
    ("r.args = ('a=b&'):rep(700000) require('ngx').req.get_uri_args(0)", true),
    ("local m, why = r:regex(('a'):rep(30000) .. 'c', '(*LIMIT_MATCH=9999999)(a+)+[bd]') assert(not m and why)", false),
    ("local m, why = r:regex(('a'):rep(30000) .. 'c', '(*UTF)(*LIMIT_MATCH=9999999)(a+)+[bd]') assert(not m and why)", false),
    ("local m, why = r:regex(('a'):rep(30000) .. 'c', '(a+)+[bd]') assert(not m and why)", false),
    (
        "local ngx = require('ngx') local m, why = ngx.re.match(('a'):rep(3000) .. 'c', '(*LIMIT_MATCH=9999999)(a+)+[bd]')
         assert(not m and why)",
        false,
    ),
    // A step may go through all of the text, at each place of it.
    ("local m, why = r:regex(('a'):rep(300000) .. '!=', [[\\w+=]]) assert(not m and why)", false),
    ("local m, why = r:regex(('a'):rep(8000) .. '!=', [[(?:a?){9}\\w+=]]) assert(not m and why)", false),
    ("local m, why = r:regex(('ab'):rep(500000) .. '!=', [[(.+)\\1=]], 'i') assert(not m and why)", false),
    ("local m, why = require('ngx').re.match(('a'):rep(300000) .. '!=', [[\\w+=]]) assert(not m and why)", false),
    ("r.notes.x = ('a'):rep(8000) .. '!=' r:expr([[%{note:x} =~ /\\w+=/]])", false),
    ("r.notes.x = ('a'):rep(1000000) .. '!=' local m, why = r:expr([[%{note:x} =~ /\\w+=/]]) assert(not m and why)", false),
    // Many steps, and little time.
    ("assert(r:regex(('a'):rep(20000) .. 'b=', '.*b=(.*)'))", false),
    ("local m, why = r:regex(('a=b;'):rep(5000), '(.*)=x') assert(not m and not why)", false),
    ("local m = r:regex(('key=value; '):rep(3000) .. 'last: one', [[(\\w+)\\s*:\\s*(\\w+)$]]) assert(m[1] == 'last' and m[2] == 'one')", false),
    ("local n = require('ngx').re.gsub(('word '):rep(3000), [[(\\w+)\\s]], '$1-') assert(#n == 15000)", false),
    ("r.notes.x = ('a'):rep(5000) .. 'c' for _ = 1, 3 do r:expr(\"%{note:x} =~ /(a+)+[bd]/ || false\") end", false),
    ("r.notes.x = ('a'):rep(5000) .. 'c' r:expr(\"%{note:x} =~ /(*LIMIT_MATCH=9999999)(a+)+[bd]/\")", false),
    // Each of the texts that are searched or put together is one of the request's.
    (
        "r.notes.x = ('a'):rep(8000) .. '!=' local t = {} for i = 1, 60 do t[i] = [[note('x') =~ /\\w+=/]] end
         r:expr(table.concat(t, ' || ')) while true do end",
        true,
    ),
    (
        "r.notes.x = ('a'):rep(8000) .. '!=' local t = {} for i = 1, 60 do t[i] = [[%{note:x} =~ /(?:a?){9}\\w+=/]] end
         r:expr(table.concat(t, ' || ')) while true do end",
        true,
    ),
    ("r.notes.x = ('a'):rep(8000) .. '!=' r:expr([[%{note:x} =~ /(?:a?){9}\\w+=/ || false]]) while true do end", true),
    (
        "r.notes.x = ('a'):rep(1000000) local t = {} for i = 1, 300 do t[i] = \"md5(note('x')) == 'a'\" end
         local m, why = r:expr(table.concat(t, ' || ')) assert(not m and why)",
        false,
    ),
    (
        "r.notes.x = ('a'):rep(1000000) local t = {} for i = 1, 300 do t[i] = 'note(\"x\")' end
         local m, why = r:expr(table.concat(t, '.') .. \" == 'a'\") assert(not m and why)",
        false,
    ),
    (
        "r.notes.x = ('a'):rep(1000000)
         local m, why = r:expr((' base64('):rep(12) .. 'note(\"x\")' .. (')'):rep(12) .. \" == 'a'\") assert(not m and why)",
        false,
    ),
    (
        "r.notes.x = ('a'):rep(1000000)
         local m, why = r:expr(\"'\" .. ('%{base64:'):rep(8) .. '%{note:x}' .. ('}'):rep(8) .. \"' == 'a'\") assert(not m and why)",
        false,
    ),
    // The clock bounds one search: it finds what is there, or says that it takes too long.
    ("r.notes.x = ('a=b;'):rep(8000) .. 'key=val' assert(r:expr([[%{note:x} =~ /;KEY=(\\w+)$/i]]))", false),
    ("r.notes.x = ('a=b;'):rep(8000) .. 'key=val' assert(not r:expr([['%{note:x}' !~ m#;key=val$#]]))", false),
    ("r.notes.x = ('a'):rep(8000) .. 'c' local m, why = r:expr([[%{note:x} =~ /(a+)+[bd]/]]) assert(not m and why)", false),
    ("r.notes.x = ('a'):rep(8000) .. 'c' local m, why = r:expr([[%{note:x} !~ /(a+)+[bd]/]]) assert(not m and why)", false),
    // httpd's scanner of expressions ends the process at these.
    ("for _, sign in ipairs{ '\"', \"'\", '%{' } do local ok, why = r:expr('%{note:x' .. sign .. \"} == 'a'\") assert(why) end", false),
    (
        "local weak, keys = setmetatable({}, {__mode = 'k'}), {} for i = 1, 20000 do keys[i] = {} end
         for i = #keys, 2, -1 do weak[keys[i]] = keys[i - 1] end local first = keys[#keys] keys = nil
         while true do local x = {} end",
        true,
    ),
    ("local a, b = ('\\0'):rep(1 << 21) .. 'a', ('\\0'):rep(1 << 21) .. 'b' while true do if a < b then end end", true),
    ("local t = {} setmetatable(t, {__call = t}) t()", true),
    ("load('x = ' .. ('a or '):rep(13000) .. 'a') while true do end", true),
    ("os.date(('%c'):rep(2e6))", true),
    ("local s = (' '):rep(1 << 20) .. '1' local t = {} for i = 1, 100000 do t[i] = s end math.max(table.unpack(t))", true),
    ("local t = {} for i = 1, 400000 do t[i] = i + 0.5 end while true do table.concat(t) end", true),
    ("for i = 1, 2000 do r:warn('a line') end", true),
    ("for i = 1, 900 do r:warn('a line') end", false),
    ("while true do r.headers_out['X' .. tostring({}):gsub('%W', '')] = '' end", true),
    // A replacement that is long and gives nothing, for each place.
    ("('x'):rep(250000):gsub('', ('%0'):rep(1000))", true),
    // Keys that would all have one place in the table that is made when it is full.
    ("local t = {} for k = 1, 32768 do t[k * 65535] = k end t.x = 1", false),
    ("local t = {} for k = 1, 32768 do t[-k * 65535] = k end t.x = 1", false),
    ("local t = {} for k = 1, 16384 do t[(2^30 + 5 + k * 32767) / 2^40] = k end t.x = 1", false),
];

fn script() -> String {
    let rows: Vec<_> = PROGRAMS.iter().map(|(body, _)| format!("function(r) {body} end,\n")).collect();
    format!(
        "local programs = {{\n{}}}\nlocal app = lb.pool('app')\nfunction pick(r)\n\
         local nth = r.uri:match('^/program/(%d+)$')\nif nth then programs[tonumber(nth)](r) end\nreturn app:round_robin()\nend",
        rows.concat()
    )
}

/// Processor time of a process.
fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |nth: usize| fields.get(nth).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    Duration::from_millis(10 * (ticks(11) + ticks(12)))
}

/// The most memory that a process had since [`forget_most`], in KiB.
fn most_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number of KiB")
}

fn forget_most(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the kernel forgets the highest mark");
}

/// The fault of a run of a program, if any.
fn fault(client: &mut Client, pid: u32, nth: usize) -> Option<String> {
    forget_most(pid);
    let (memory, time) = (most_memory(pid), processor_time(pid));
    let status = client.get(&format!("/program/{}", nth + 1)).status;
    let took = processor_time(pid) - time;
    let grown = most_memory(pid).saturating_sub(memory);
    assert_eq!(client.get("/app/x").text(), "a /app/x\n", "the next request");
    let (program, fails) = PROGRAMS[nth];
    let expected = if fails { 500 } else { 200 };
    let wrong = status != expected || took > MOST_TIME || grown > MOST_KIB;
    wrong.then(|| format!("{program}: {status}, {took:?}, {grown} KiB"))
}

on_every_mpm!(no_program_goes_over_the_limits_of_its_call);

fn no_program_goes_over_the_limits_of_its_call(mpm: Mpm) {
    let a = Backend::new("a");
    let httpd = Httpd::builder()
        .mpm(mpm)
        .children(1)
        .threads(2)
        .config(&pool("app", &[(&a, "")], "LuaBalancerOutlier off"))
        .file("pick.lua", &script())
        .config("LuaHookTranslate pick.lua pick")
        .start();
    let mut client = httpd.client();
    assert_eq!(client.get("/app/x").status, 200);
    let pid = httpd.wait_for_children(1)[0];
    let runs = (0..PROGRAMS.len()).filter_map(|nth| {
        let mut faults: Vec<_> = (0..ATTEMPTS).map_while(|_| fault(&mut client, pid, nth)).collect();
        faults.pop().filter(|_| faults.len() + 1 == ATTEMPTS)
    });
    let faults: Vec<String> = runs.collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    httpd.assert_no_crash();
}

/// A search ends with half of its call's time, so that the script can go on.
#[test]
fn a_search_leaves_its_call_half_of_a_short_limit() {
    let script = r#"
function pick(r)
  r.notes.x = ('a'):rep(30000) .. 'c'
  local m, why
  if r.uri == '/expr' then m, why = r:expr('%{note:x} =~ /(a+)+[bd]/')
  elseif r.uri == '/re' then m, why = require('ngx').re.match(r.notes.x, '(a+)+[bd]')
  else m, why = r:regex(r.notes.x, '(a+)+[bd]') end
  return not m and why and 299 or 298
end"#;
    let httpd = Httpd::builder()
        .mpm(Mpm::Event)
        .file("pick.lua", script)
        .config("LuaHookTranslate pick.lua pick\nLuaBalancerScriptLimit time=16ms memory=16M")
        .start();
    for path in ["/regex", "/re", "/expr"] {
        let answers: Vec<u16> = (0..ATTEMPTS).map(|_| httpd.client().get(path).status).collect();
        assert!(answers.contains(&299), "{path}: {answers:?} {}", httpd.error_log());
    }
    httpd.assert_no_crash();
}

/// A timer that never comes back would end all checks and timers of the child.
#[test]
fn a_timer_that_calls_c_for_ever_costs_the_others_nothing() {
    let a = Backend::new("a");
    let script = "function stuck() table.concat(setmetatable({}, {__index = tostring, __tostring = table.concat}), '', 1, math.maxinteger) end\n\
                  function alive() lb.log('notice', 'alive') end";
    let httpd = Httpd::builder()
        .mpm(Mpm::Event)
        .config(&pool("app", &[(&a, "")], ""))
        .file("timers.lua", script)
        .config(
            "LuaBalancerTimer timers.lua stuck every=100ms\nLuaBalancerTimer timers.lua alive every=100ms",
        )
        .start();
    httpd.wait_for_log("stopped after 5000 ms");
    let before = httpd.count_log("alive");
    httpd.wait_for_log_lines("alive", before + 3);
    httpd.assert_no_crash();
}
