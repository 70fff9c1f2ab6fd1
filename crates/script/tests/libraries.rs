// SPDX-License-Identifier: Apache-2.0
//! Each script has its own layer over Lua's libraries.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;

use common::{Folder, World, eval};
use script::{Library, LuaState, Phase, ScriptId, judge};

/// The results of `f` in each of these scripts, all in one state, called in this order.
fn said(scripts: &[&str], calls: &[usize]) -> Vec<String> {
    let (world, ids) = world_of(scripts);
    let state = world.state();
    calls.iter().map(|call| word(&state, ids[*call])).collect()
}

fn world_of(scripts: &[&str]) -> (World, Vec<ScriptId>) {
    let folder = Folder::new();
    folder.write("shared.lua", "function string.shared(s) return s .. '!' end return {}");
    let mut builder = Library::builder();
    let write = |(nth, text): (usize, &&str)| folder.write(&format!("s{nth}.lua"), text);
    let paths: Vec<_> = scripts.iter().enumerate().map(write).collect();
    let ids: Vec<_> = paths.into_iter().map(|path| builder.file(path, &[])).collect();
    let world = World { library: Arc::new(builder.build()), ..World::new("", "f") };
    for (version, id) in (1..).zip(&ids) {
        let candidate = judge(&world.library, *id, world.server.clone(), world.balancer.clone()).unwrap();
        world.library.install(*id, candidate.bundle, version);
    }
    (world, ids)
}

fn word(state: &LuaState, id: ScriptId) -> String {
    match state.select(id, "f", Phase::Translate) {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => error.message,
    }
}

#[test]
fn additions_of_a_script_are_its_own() {
    let adds = "
function string.split(s, sep)
  local out = {}
  for part in s:gmatch('[^' .. sep .. ']+') do out[#out + 1] = part end
  return out
end
function table.contains(t, x) for _, v in ipairs(t) do if v == x then return true end end return false end
math.tau = 2 * math.pi
utf8.x, os.x, coroutine.x = 1, 2, 3
function f(r)
  local list = ('200,201'):split(',')
  return table.contains(list, '201') and math.tau > 6 and utf8.x + os.x + coroutine.x == 6 and 201 or 500
end";
    let plain = "function f(r)
  local all = string.split or ('').split or table.contains or math.tau or utf8.x or os.x or coroutine.x
  return all == nil and ('a'):upper() == 'A' and 202 or 500
end";
    let said = said(&[adds, plain, adds], &[0, 1, 0, 1, 1, 2, 0]);
    let expected = [201, 202, 201, 202, 202, 201, 201].map(|status| format!("Status({status})"));
    assert_eq!(said, expected);
}

#[test]
fn functions_that_a_script_replaces_stay_as_they_were_for_others() {
    let replaces = "
local rep = string.rep
function string.rep(s, n) return rep(s, n + 1) end
table.insert = function(t, v) t[#t + 1] = v * 2 end
string.find, string.sub, string.gsub = nil, nil, function() return 'mine' end
function f(r)
  local t = {}
  table.insert(t, 4)
  local ok = ('ab'):rep(1) == 'abab' and t[1] == 8 and not pcall(string.find, 'a', 'a') and ('a').sub == nil
  return ok and ('x'):gsub('x', 'y') == 'mine' and ('x'):match('x') == 'x' and 201 or 500
end";
    let plain = "function f(r)
  local t = {}
  table.insert(t, 4)
  return ('ab'):rep(1) == 'ab' and t[1] == 4 and ('ab'):find('b') == 2 and ('ab'):sub(2) == 'b' and 202 or 500
end";
    assert_eq!(
        said(&[replaces, plain], &[0, 1, 0, 1]),
        ["Status(201)", "Status(202)", "Status(201)", "Status(202)"]
    );
}

/// The runtime's own Lua calls no methods of strings where searches are counted.
#[test]
fn counted_searches_survive_replaced_methods() {
    let text = "
string.sub = function() error('replaced') end
function f(r)
  local s, slow = ('z'):rep(5000) .. 'ab', ('\\0?'):rep(22)
  local all = { s:match('ab' .. slow) == 'ab', (s:gsub('z+' .. slow, 'y')) == 'yab', s:gmatch('(a)b' .. slow)() == 'a' }
  return all[1] and all[2] and all[3] and 201 or 500
end";
    assert_eq!(said(&[text], &[0]), ["Status(201)"]);
}

#[test]
fn additions_made_in_a_call_are_there_at_once_and_later() {
    let adds = "function f(r)
  if not string.late then
    function string.late(s) return #s end
    return ('four'):late() == 4 and 201 or 500
  end
  return ('four'):late() == 4 and 202 or 500
end";
    let plain = "function f(r) return ('').late == nil and 203 or 500 end";
    assert_eq!(said(&[adds, plain], &[0, 1, 0]), ["Status(201)", "Status(203)", "Status(202)"]);
}

#[test]
fn modules_belong_to_the_script_that_requires_them() {
    let with = "require 'shared' function f(r) return ('a'):shared() == 'a!' and 201 or 500 end";
    let late = "function f(r) require 'shared' return ('a'):shared() == 'a!' and 202 or 500 end";
    let without = "function f(r) return ('a').shared == nil and 203 or 500 end";
    let said = said(&[with, late, without], &[0, 2, 1, 2, 0]);
    assert_eq!(said, ["Status(201)", "Status(203)", "Status(202)", "Status(203)", "Status(201)"]);
}

#[test]
fn a_new_version_begins_with_fresh_libraries() {
    let world =
        World::new("function string.old(s) end function f(r) return ('').old and 201 or 500 end", "f");
    let state = world.started();
    assert_eq!(word(&state, world.id), "Status(201)");
    world
        .folder
        .write("main.lua", "function f(r) return ('').old == nil and string.old == nil and 202 or 500 end");
    world.take().unwrap();
    assert_eq!(word(&state, world.id), "Status(202)");
    world
        .folder
        .write("main.lua", "function string.new(s) end function f(r) return ('').new and 203 or 500 end");
    world.take().unwrap();
    assert_eq!(word(&state, world.id), "Status(203)");
}

#[test]
fn a_version_that_fails_leaves_the_last_good_ones_libraries() {
    let world =
        World::new("function string.good(s) end function f(r) return ('').good and 201 or 500 end", "f");
    let state = world.started();
    assert_eq!(word(&state, world.id), "Status(201)");
    world.folder.write("main.lua", "function string.good(s) end error('no')");
    world.take().unwrap_err();
    assert_eq!(word(&state, world.id), "Status(201)");
}

#[test]
fn a_library_is_a_table_like_any_other() {
    for (code, expected) in [
        ("rawget(string, 'format') == string.format and string.format == string.format", "true"),
        ("rawget(string, 'nothing')", "nil"),
        ("next(string) ~= nil and next(os) ~= nil and next({}) == nil and next({ 5 }) == 1", "true"),
        ("(function() local n = 0 for k, v in next, math do n = n + 1 end return n > 20 end)()", "true"),
        ("(function() local n = 0 for k in pairs(string) do n = n + 1 end return n > 10 end)()", "true"),
        (
            "(function() string.x = 1 local n = 0 for k, v in pairs(string) do if k == 'x' then n = v end end return n end)()",
            "1",
        ),
        ("(function() rawset(string, 'x', 7) return ('').x end)()", "7"),
        (
            "(function() setmetatable(table, { __index = function(_, k) return k end }) return table.zip end)()",
            "zip",
        ),
        ("(function() setmetatable(string, { __index = { zip = 5 } }) return ('').zip end)()", "5"),
        ("(function() table.insert(string, 'one') return string[1] end)()", "one"),
        ("(function() string = nil return ('a'):upper() end)()", "A"),
        ("(function() for k in pairs(string) do string[k] = nil end return ('a').upper end)()", "nil"),
        ("getmetatable('')", "false"),
        ("getmetatable(string) == getmetatable(math) and pcall(setmetatable, '', {})", "false"),
        ("next(5)", "bad argument #1 to 'next' (table expected, got number)"),
        ("select(2, pcall(next, {}, 5)) ~= nil and pcall(next, {}, 5)", "false"),
    ] {
        let found = eval(code);
        assert!(found == expected || found.contains(expected), "{code}: {found}");
    }
}

#[test]
fn require_gives_the_libraries() {
    for name in ["string", "table", "math", "os", "coroutine", "utf8"] {
        assert_eq!(eval(&format!("require '{name}' == {name} and package.loaded.{name} == {name}")), "true");
    }
    assert_eq!(eval("require '_G' == _G and require('string').len('abc')"), "3");
}

#[test]
fn a_timers_script_has_its_libraries_turn_by_turn() {
    let world = World::new(
        "function string.twice(s) return s .. s end
function tick()
  local until_turn = 0
  for i = 1, 3000000 do until_turn = i end
  print(('ab'):twice())
end",
        "tick",
    );
    let state = world.background();
    common::finish(&state, state.start_timer(world.id, "tick").unwrap()).unwrap();
    assert_eq!(world.lines(), ["abab"]);
}

#[test]
fn an_open_sandbox_has_a_layer_over_io() {
    let text =
        "io.mine = 1 function f(r) return nil, io.mine .. type(io.open) .. type(require 'io'.open) end";
    let world = World::with(text, &["f"], |builder| builder.sandbox(false));
    let state = world.started();
    assert_eq!(common::value(&world, &state), "1functionfunction");
}

#[test]
fn hostile_layers_end_their_own_call_alone() {
    let plain = "function f(r) return ('a'):upper() == 'A' and string.len('ab') == 2 and 203 or 500 end";
    for body in [
        "setmetatable(string, { __index = string }) return ('x').nothing",
        "setmetatable(string, { __index = function(t, k) return ('x')[k] end }) return ('x').nothing",
        "string.upper = function(s) return s:upper() end return ('x'):upper()",
        "for i = 1, math.huge do string[i] = ('x'):rep(1000) .. i end",
        "while true do string.loop = function() end end",
        "setmetatable(string, { __pairs = error, __len = error, __newindex = error }) string.zip = 1",
    ] {
        let hostile = format!("function f(r) {body} end");
        let (world, ids) = world_of(&[&hostile, plain]);
        let state = world.state();
        for _ in 0..2 {
            assert!(state.select(ids[0], "f", Phase::Translate).is_err(), "{body}");
            assert_eq!(word(&state, ids[1]), "Status(203)", "after {body}");
        }
    }
}
