// SPDX-License-Identifier: Apache-2.0
//! The things that scripts cannot reach, and cannot do to each other.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;

use common::{Folder, World, eval};
use script::{Answer, Library, LuaState, Phase, judge};

#[test]
fn dangerous_names_are_gone() {
    for name in [
        "io",
        "debug",
        "dofile",
        "loadfile",
        "os.execute",
        "os.exit",
        "os.remove",
        "os.rename",
        "os.tmpname",
        "os.setlocale",
        "os.getenv",
        "package.loadlib",
        "package.searchers",
        "package.searchpath",
        "string.dump",
        "coroutine.running and nil",
    ] {
        assert_eq!(eval(name), "nil", "{name}");
    }
    for name in ["os.time()", "os.date()", "math.random()", "utf8.char(65)", "coroutine.isyieldable"] {
        assert_ne!(eval(name), "nil", "{name}");
    }
}

#[test]
fn byte_code_does_not_load() {
    assert!(eval("select(2, load('\\27Lua'))").contains("binary chunk"));
    assert!(eval("select(2, load('return 1', 'x', 'b'))").contains("byte code"));
    assert_eq!(eval("load('return 1 + 1')()"), "2");
    assert_eq!(eval("load('return x', 'n', 't', { x = 5 })()"), "5");
    assert_eq!(eval("load('return lb ~= nil')()"), "true");
}

#[test]
fn shared_tables_cannot_be_changed() {
    for action in [
        "lb.pool = nil",
        "apache2.OK = 5",
        "rawset(lb, 'x', 1)",
        "table.insert(lb, 1)",
        "setmetatable(lb, {})",
        "rawset(r, 'uri', 1)",
        "setmetatable(_G, {})",
        "setmetatable(r, {})",
        "getmetatable('').__index = nil",
        "r.headers_in = {}",
        "rawset(r.headers_in, 'Host', 'x')",
        "getmetatable(lb.pool('app')).__index = nil",
        "lb.pool('app').name = 'x'",
        "lb.pool('app'):first().weight = 3",
    ] {
        let world = World::new(&format!("function f(r) {action} end"), "f");
        let state = world.started();
        assert!(state.select(world.id, "f", Phase::Translate).is_err(), "{action}");
    }
}

#[test]
fn iterating_a_shared_table_gives_no_way_in() {
    assert_eq!(eval("select(2, pairs(lb)) == nil and rawget(lb, 'pool') == nil and next(lb) == nil"), "true");
    assert_eq!(
        eval("(function() local n = 0 for k in pairs(lb) do n = n + 1 end return n > 5 end)()"),
        "true"
    );
}

#[test]
fn two_scripts_share_no_globals() {
    let folder = Folder::new();
    let one =
        folder.write("one.lua", "x = 1 string = { find = 5 } function f(r) return tonumber('20' .. x) end");
    let two = folder
        .write("two.lua", "function f(r) return x == nil and string.find('a', 'a') == 1 and 204 or 500 end");
    let mut builder = Library::builder();
    let ids = [builder.file(one, &[]), builder.file(two, &[])];
    let world = World { library: Arc::new(builder.build()), ..World::new("", "f") };
    for (version, id) in (1..).zip(ids) {
        let candidate = judge(&world.library, id, world.server.clone(), world.balancer.clone()).unwrap();
        world.library.install(id, candidate.bundle, version);
    }
    let state: LuaState = world.state();
    let answers = ids.map(|id| state.select(id, "f", Phase::Translate).unwrap());
    assert_eq!(answers, [Answer::Status(201).clone(), Answer::Status(204)].map(|a| a));
}

#[test]
fn globals_stay_between_calls_of_one_script() {
    let world = World::new("n = 200 function f(r) n = n + 1 return n end", "f");
    let state = world.started();
    state.select(world.id, "f", Phase::Translate).unwrap();
    assert_eq!(state.select(world.id, "f", Phase::Translate).unwrap(), Answer::Status(202));
}

#[test]
fn an_open_sandbox_has_io_but_no_debug() {
    let text =
        "function f(r) return nil, type(io.open) .. type(os.remove) .. type(debug) .. type(string.dump) end";
    let world = World::with(text, &["f"], |builder| builder.sandbox(false));
    let state = world.started();
    assert_eq!(common::value(&world, &state), "functionfunctionnilnil");
}

#[test]
fn the_collector_tells_but_does_not_obey() {
    assert_ne!(eval("collectgarbage('count')"), "nil");
    assert!(eval("collectgarbage('stop')").contains("only \"count\""));
}

#[test]
fn lua_5_1_names_are_there() {
    assert_eq!(eval("unpack({ 7 })"), "7");
    assert_eq!(eval("table.getn({ 1, 2 })"), "2");
    assert_eq!(eval("loadstring('return 3')()"), "3");
    assert_eq!(eval("math.pow(2, 3)"), "8.0");
}

/// The wrapped functions say what Lua's own say.
#[test]
fn long_subjects_match_as_short_ones_do() {
    let text = r#"
local pad = ("z"):rep(5000)
local cases = {
  { "(%w+)=(%w*)", "a=1, bc=22, d=" }, { "%s*", " a  b " }, { "a*", "aabaa" }, { ".-b", "aab ab b" },
  { "^a+", "aaab" }, { "()b()", "abab" }, { "%b()", "f(a(b)c)(d)" }, { "[^,]*", "a,b,,c" }, { "x*", "abc" },
  { "%f[%w]%w+", "the quick fox" }, { "(a)(b)%2", "abb ab" }, { "", "abc" }, { "a-", "aaa" },
}
function f(r)
  for _, case in ipairs(cases) do
    local p, s = case[1], case[2]
    -- The same pattern, once direct and once on the checked way: many optional items make it go there.
    local slow = p .. ("\0?"):rep(22)
    local function list(p)
      local out = {}
      out[#out + 1] = table.concat({ s:find(p) }, "|")
      out[#out + 1] = table.concat({ s:match(p) }, "|")
      for a, b in s:gmatch(p) do out[#out + 1] = tostring(a) .. "," .. tostring(b) end
      for _, repl in ipairs { "<%0>", "%%", "<%1>", { a = "A", [1] = "one" }, function(x) return "[" .. x .. "]" end } do
        local ok, text, n = pcall(string.gsub, s, p, repl)
        out[#out + 1] = ok and text .. n or "error"
      end
      out[#out + 1] = table.concat({ s:gsub(p, "<%0>", 2) }, "|")
      return table.concat(out, "\n")
    end
    local one, two = list(p), list(slow)
    if one ~= two then return nil, "differ for " .. p .. ":\n" .. one .. "\n---\n" .. two end
  end
  return nil, "same"
end"#;
    let world = World::new(text, "f");
    let state = world.started();
    assert_eq!(common::value(&world, &state), "same");
}

#[test]
fn a_state_with_everything_loaded_is_small() {
    let text = "
for _, name in ipairs { 'apache2', 'ngx', 'ngx.balancer', 'resty.chash', 'resty.roundrobin', 'resty.swrr', 'cjson', 'cjson.safe', 'bit', 'socket' } do
  require(name)
end
function f(r) return ngx.HTTP_NO_CONTENT end";
    let world = World::new(text, "f");
    let state = world.started();
    assert_eq!(state.select(world.id, "f", Phase::Translate).unwrap(), Answer::Status(204));
    state.collect();
    assert!(state.used_memory() <= 160 << 10, "{} bytes", state.used_memory());
}
