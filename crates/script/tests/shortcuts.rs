// SPDX-License-Identifier: Apache-2.0
//! The functions that scripts call most go a short way (`src/native/shortcuts.rs`): it does the
//! same as the long one, and leaves it the rest.
#![allow(missing_docs)]

mod common;

use common::{World, answer, eval, name_of, value};
use script::host::Field;
use script::{Answer, Limits, Phase};

fn says(body: &str) -> String {
    let world = World::new(&format!("function f(r)\n{body}\nend"), "f");
    value(&world, &world.started())
}

/// All results of an expression, as text.
fn results(call: &str) -> String {
    says(&format!(
        "local t = table.pack({call}) for i = 1, t.n do t[i] = tostring(t[i]) end return nil, table.concat(t, ' ')"
    ))
}

#[test]
fn each_pick_is_one_pick_also_of_members_that_were_not_seen_before() {
    let world = World::new("local app = lb.pool('app') function f(r) return app:round_robin() end", "f");
    world.take().unwrap();
    // Two threads' states: each meets each member for the first time once.
    let states = [world.state(), world.state()];
    let names: Vec<String> = (0..12)
        .map(|turn| name_of(&states[turn % 2].select(world.id, "f", Phase::Translate).unwrap()))
        .collect();
    assert_eq!(names, ["a:1", "b:2", "c:3"].repeat(4));
    assert_eq!(common::method_names(&world.balancer).len(), 12);
}

#[test]
fn a_pick_gives_the_same_object_as_every_other_way() {
    let equal = "local p = lb.pool('app') local seen = {}
  for i = 1, 6 do seen[p:random()] = true end
  local n = 0 for m in p:members() do assert(seen[m], m.name) n = n + 1 end
  for m in pairs(seen) do n = n - 1 end
  return nil, tostring(n)";
    assert_eq!(says(equal), "0");
}

#[test]
fn a_pick_that_finds_none_says_why() {
    let world = World::new(
        "local app = lb.pool('app')
function f(r) local m, why = app:least_connections() return nil, tostring(m) .. ': ' .. why end",
        "f",
    );
    let state = world.started();
    ["a:1", "b:2", "c:3"].iter().for_each(|name| world.balancer.down(name));
    let why = value(&world, &state);
    assert!(why.starts_with("nil: ") && why.contains("app"), "{why}");
}

#[test]
fn views_pick_among_their_own_members() {
    for _ in 0..3 {
        let member = answer("return lb.pool('app'):where{version='2'}:round_robin()").unwrap();
        assert_eq!(name_of(&member), "c:3");
    }
}

#[test]
fn picks_without_a_pool_are_errors_that_a_script_can_catch() {
    for wrong in ["nil", "{}", "'app'", "r", "lb.pool('app'):first()", "io", "7"] {
        for method in ["first", "hash"] {
            let text = says(&format!(
                "local p = lb.pool('app') local ok, e = pcall(p.{method}, {wrong}, 'key') return nil, tostring(ok) .. ' ' .. tostring(e)"
            ));
            assert!(text.starts_with("false ") && text.len() > 10, "{wrong}: {text}");
        }
    }
}

#[test]
fn methods_come_before_fields_and_unknown_ones_are_nil() {
    assert_eq!(
        says("local p = lb.pool('app') return nil, p.name .. type(p.first) .. tostring(p.frist)"),
        "appfunctionnil"
    );
    assert_eq!(
        says("local m = lb.pool('app'):first() return nil, m.name .. type(m.drain) .. tostring(m[1])"),
        "a:1functionnil"
    );
    let text = says("return nil, select(2, pcall(function() lb.pool('app'):frist() end))");
    assert!(text.contains("nil value (method 'frist')"), "{text}");
}

fn with_cookie(world: &World, line: &str) {
    world.request.tables.borrow_mut().clear();
    world.request.header("Cookie", line);
}

#[test]
fn cookies_of_any_length_are_read() {
    for length in [0, 1, 39, 41, 255, 256, 257, 5000] {
        let world = World::new("function f(r) return nil, '=' .. tostring(r:getcookie('id')) end", "f");
        let wanted = "x".repeat(length);
        with_cookie(&world, &format!("a=b; id={wanted}; c=d"));
        assert_eq!(value(&world, &world.started()), format!("={wanted}"), "{length} bytes");
    }
    assert_eq!(eval("r:getcookie('none')"), "nil");
    assert_eq!(eval("r:getcookie(5)"), "nil");
    assert!(eval("pcall(r.getcookie, r)").starts_with("false"));
}

#[test]
fn a_cookie_that_does_not_fit_in_the_memory_limit_ends_the_call() {
    let hoard = "local kept = {} function f(r)
  for i = 1, 1e9 do kept[i] = (r:getcookie('id') .. i) end
end";
    let world = World::new(hoard, "f");
    with_cookie(&world, &format!("id={}", "x".repeat(200)));
    let state = world.started();
    let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
    assert!(error.to_string().contains("memory"), "{error}");
    assert!(state.select(world.id, "f", Phase::Translate).is_err());
}

#[test]
fn errors_of_patterns_name_the_line() {
    for call in ["('x'):find('[')", "('x'):match('%')", "string.find('x', '(')"] {
        let text = says(&format!("local ok, e = pcall(function()\nreturn {call} end)\nreturn nil, e"));
        assert!(text.contains("main.lua:3: "), "{call}: {text}");
    }
    let text = says("local ok, e = pcall(function() return string.find(nil, 'x') end) return nil, e");
    assert!(text.contains("bad argument #1 to 'find' (string expected, got nil)"), "{text}");
    let text = says("local ok, e = pcall(function() return string.match('x') end) return nil, e");
    assert!(text.contains("bad argument #2 to 'match' (string expected, got no value)"), "{text}");
}

#[test]
fn searches_are_those_of_lua() {
    for (call, expected) in [
        ("('a.b'):find('.', 1, true)", "2 2"),
        ("('a.b'):find('.', 2)", "2 2"),
        ("('a.b'):find('b', -1)", "3 3"),
        ("('a.b'):find('^b', -1)", "3 3"),
        ("('x'):find('')", "1 0"),
        ("('x'):find('y')", "nil"),
        ("('x'):find('x', 10)", "nil"),
        ("string.find(10, 0)", "2 2"),
        ("string.find(10, '1')", "1 1"),
        ("('key=value'):match('(%w+)=(%w+)')", "key value"),
        ("('key=value'):match('%w+', 5)", "value"),
        ("('key'):match('()')", "1"),
        ("('key'):find('(e)(y)')", "2 3 e y"),
    ] {
        assert_eq!(results(call), expected, "{call}");
    }
}

#[test]
fn numbers_and_long_texts_are_searched_like_all_others() {
    for (call, expected) in [
        // Plain text that would be too long for the plain matcher.
        ("('a'):rep(100000):find(('a'):rep(50000), 1, true)", "1 50000"),
        ("('a'):rep(100000):find(('a'):rep(50000), 7, true)", "7 50006"),
        ("('a'):rep(100000):find(('a'):rep(50000), -50000, true)", "50001 100000"),
        ("('a'):rep(100000):find(('a'):rep(50000), -49999, true)", "nil"),
        ("('a'):rep(100000):find(('a'):rep(50000) .. 'b', 1, true)", "nil"),
        ("('a'):rep(100000):find(('a'):rep(50000), 1000000, true)", "nil"),
        ("('a'):rep(60000):find(('^'):rep(300), 1, true)", "nil"),
        // Numbers with patterns that may take long.
        ("string.find(1234, ('.-'):rep(12) .. '4')", "1 4"),
        ("string.match(-12.5, ('.-'):rep(12) .. '5')", "-12.5"),
        ("string.match(-12.5, ('.-'):rep(12) .. '5', -1)", "5"),
        ("string.gsub(1234, ('.-'):rep(12) .. '4', 'x')", "x 1"),
        ("string.gmatch(1234, '(' .. ('.-'):rep(12) .. '4)')()", "1234"),
        ("string.gmatch('^a', '^a')()", "^a"),
        ("(('x'):rep(3000) .. '^a'):gmatch('^.-a')()", "^a"),
        ("('%bxy'):find('%%b')", "1 2"),
        ("('f[a[b]c]'):match('%b[]')", "[a[b]c]"),
        ("('f[a[b]c]'):match('%b[]$')", "[a[b]c]"),
    ] {
        assert_eq!(results(call), expected, "{call}");
    }
}

#[test]
fn pools_are_whole_also_when_the_first_is_made_at_the_memory_limit() {
    let text = "function f(r)
  local kept, full = {}, tonumber(r.args)
  while collectgarbage('count') < full do kept[#kept + 1] = {} end
  return nil, #lb.pool('app') .. ''
end
function after(r) local p = lb.pool('app') return nil, p.name .. ' ' .. p:first().name end";
    let world = World::with(text, &["f", "after"], |builder| {
        builder.limits(Limits { memory_bytes: 256 << 10, ..common::limits() })
    });
    world.take().unwrap();
    let mut ends = [0, 0];
    // Eighths of a KiB, from room for everything to no room at all.
    for full in 8 * (256 + 40)..8 * (256 + 90) {
        let state = world.unwatched();
        world.request.put(Field::Args, &(f64::from(full) / 8.0).to_string());
        ends[usize::from(state.select(world.id, "f", Phase::Translate).is_ok())] += 1;
        let answer = state.select(world.id, "after", Phase::Translate);
        let is_whole = |answer: &Answer| matches!(answer, Answer::NoMember { message, .. } if message.starts_with("app "));
        assert!(answer.as_ref().is_ok_and(is_whole), "{full}: {answer:?}");
    }
    assert!(ends[0] > 0 && ends[1] > 0, "the limit was not met, or always: {ends:?}");
}

#[test]
fn more_patterns_than_are_remembered_are_matched_all_the_same() {
    let many = "for i = 1, 2000 do
  local p = 'a' .. i .. '$'
  assert(('xa' .. i):find(p) == 2 and ('xa' .. i):match(p) == 'a' .. i and not ('y'):find(p))
end
return nil, 'all'";
    assert_eq!(says(many), "all");
}

#[test]
fn a_long_search_ends_with_the_call() {
    let world = World::new(
        "function f(r) return nil, tostring((string.rep('a', 3000) .. 'b'):find(string.rep('a*', 12) .. 'c')) end",
        "f",
    );
    let error = world.started().select(world.id, "f", Phase::Translate).unwrap_err();
    assert!(error.to_string().contains("200 ms"), "{error}");
}
