// SPDX-License-Identifier: Apache-2.0
//! A saved script is judged, taken or refused; threads follow without reading files.
#![allow(missing_docs)]

mod common;

use common::World;
use script::{Answer, Bundle, CodeCache, ErrorKind, LuaState, Phase};

fn status(world: &World, state: &LuaState) -> u16 {
    match state.select(world.id, "f", Phase::Translate).unwrap() {
        Answer::Status(status) => status,
        other => panic!("{other:?}"),
    }
}

/// Polls as the background thread does until the files are stable and different.
fn poll(world: &World) -> bool {
    (0..3).any(|_| world.library.changed(world.id).is_some())
}

#[test]
fn a_good_save_is_served_by_a_running_state() {
    let world = World::new("function f(r) return 201 end", "f");
    let state = world.started();
    assert_eq!(status(&world, &state), 201);
    assert!(!poll(&world));
    world.folder.write("main.lua", "function f(r) return 202 end");
    assert!(world.library.changed(world.id).is_none(), "one look is not enough");
    assert!(world.library.changed(world.id).is_some());
    assert_eq!(status(&world, &state), 201, "not before it is installed");
    world.take().unwrap();
    assert_eq!(status(&world, &state), 202);
    assert!(!poll(&world), "judged once");
}

#[test]
fn a_broken_save_is_refused_and_a_fixed_one_taken() {
    let world = World::new("function f(r) return 201 end", "f");
    let state = world.started();
    for (broken, text) in [
        ("function f(r)\n  return 202 +\nend", "main.lua:3: unexpected symbol near 'end'"),
        (
            "function f(r) return 1 end\nlocal x = nil\nx.y = 1",
            "main.lua:3: attempt to index a nil value (local 'x')",
        ),
        ("function g(r) return 1 end", "there is no function 'f'; global functions found: g"),
        (
            "local p = lb.pool('nope') function f() end",
            "main.lua:1: lb.pool: there is no pool named \"nope\" (there are: api, app)",
        ),
        ("require 'gone' function f() end", "main.lua:1: module 'gone' not found"),
        ("error('own words', 0) function f() end", "own words"),
        ("error({ 1 }) function f() end", "main.lua"),
    ] {
        world.folder.write("main.lua", broken);
        assert!(poll(&world));
        let error = world.judge().unwrap_err();
        assert!(error.message.contains(text), "{}", error.message);
        assert!(error.message.contains("main.lua"), "{}", error.message);
        assert!(!error.message.contains('\n'));
        assert_eq!(world.library.failure(world.id), Some(error));
        assert!(!poll(&world), "refused once");
        assert_eq!(status(&world, &state), 201);
        assert_eq!(status(&world, &world.state()), 201, "a thread born later");
    }
    world.folder.write("main.lua", "function f(r) return 203 end");
    assert!(poll(&world));
    world.take().unwrap();
    assert_eq!(status(&world, &state), 203);
    assert_eq!(world.library.failure(world.id), None);
}

#[test]
fn a_changed_module_is_a_change_of_the_script() {
    let world = World::new("local m = require 'conf.codes' function f(r) return m.code end", "f");
    world.folder.write("conf/codes.lua", "return { code = 201 }");
    let state = world.started();
    assert_eq!(status(&world, &state), 201);
    world.folder.write("conf/codes.lua", "return { code = 202 }");
    assert!(poll(&world));
    world.take().unwrap();
    assert_eq!(status(&world, &state), 202);
    world.folder.write("conf/codes.lua", "return {");
    assert!(poll(&world));
    let error = world.take().unwrap_err();
    assert!(error.message.contains("codes.lua:1:"), "{}", error.message);
    assert_eq!(status(&world, &state), 202);
}

#[test]
fn a_module_wanted_later_comes_from_memory() {
    let world = World::new("function f(r) return require('late').code end", "f");
    let late = world.folder.write("late.lua", "return { code = 201 }");
    world.take().unwrap();
    std::fs::remove_file(late).unwrap();
    assert_eq!(status(&world, &world.state()), 201);
}

#[test]
fn a_missing_module_that_appears_is_noticed() {
    let world = World::new("local m = require 'soon' function f(r) return m end", "f");
    assert!(world.judge().is_err());
    assert!(!poll(&world));
    world.folder.write("soon.lua", "return 204");
    assert!(poll(&world));
    let state = world.started();
    assert_eq!(status(&world, &state), 204);
}

#[test]
fn a_bundle_goes_through_bytes() {
    let world = World::new("local m = require 'm' function f(r) return m end", "f");
    world.folder.write("m.lua", "return 204");
    let bytes = world.judge().unwrap().bundle.to_bytes();
    world.folder.write("m.lua", "return {");
    world.folder.write("main.lua", "return {");
    world.library.install(world.id, Bundle::from_bytes(&bytes).unwrap(), 7);
    assert_eq!(world.library.version(world.id), 7);
    assert_eq!(status(&world, &world.state()), 204);
}

#[test]
fn an_older_version_never_comes_back() {
    let world = World::new("function f(r) return 201 end", "f");
    let old = world.judge().unwrap().bundle;
    world.folder.write("main.lua", "function f(r) return 202 end");
    let new = world.judge().unwrap().bundle;
    world.library.install(world.id, new, 2);
    world.library.install(world.id, old, 1);
    assert_eq!(status(&world, &world.state()), 202);
}

#[test]
fn without_cache_each_call_reads_the_file() {
    let world =
        World::with("function f(r) return 201 end", &["f"], |builder| builder.cache(CodeCache::Never));
    let state = world.state();
    assert_eq!(status(&world, &state), 201);
    world.folder.write("main.lua", "function f(r) return 202 end");
    assert_eq!(status(&world, &state), 202);
    world.folder.write("main.lua", "function f(r");
    let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Load);
}

#[test]
fn a_script_that_was_never_good_says_why() {
    let world = World::new("function f(r", "f");
    let state = world.state();
    assert!(world.judge().is_err());
    let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
    assert!(error.message.contains("main.lua:1:"), "{}", error.message);
}

#[test]
fn a_missing_file_is_named() {
    let world = World::new("", "f");
    std::fs::remove_file(world.path()).unwrap();
    let error = world.judge().unwrap_err();
    assert!(error.message.contains("main.lua: cannot be read: No such file"), "{}", error.message);
}

#[test]
fn judging_changes_nothing_that_runs() {
    let text = "
local p = lb.define_pool('fresh', { { host = 'h', port = 1 }, { host = 'h', port = 2, weight = 3 } })
for m in lb.pool('app'):members() do m:disable() end
lb.pool('app'):remove('a:1')
function f(r) return lb.pool('fresh') end";
    let world = World::new(text, "f");
    let candidate = world.judge().unwrap();
    assert_eq!(world.balancer.defined.get(), 0);
    assert_eq!(world.balancer.pools.borrow()[0].members.len(), 3);
    assert!(world.balancer.status.borrow().values().all(|status| status.usable()));
    assert_eq!(candidate.definitions.len(), 1);
    candidate.apply(&*world.balancer, 1).unwrap();
    world.library.install(world.id, candidate.bundle, 1);
    assert_eq!(world.balancer.defined.get(), 1);
    let state = world.state();
    let Answer::Pool { pool, .. } = state.select(world.id, "f", Phase::Translate).unwrap() else { panic!() };
    assert_eq!(pool.0, 2);
    assert_eq!(world.balancer.defined.get(), 1, "a thread does not define it again");
    assert_eq!(world.balancer.pools.borrow()[2].members[1].spec.weight, 300);
}

#[test]
fn c_modules_are_named_as_such() {
    let world = World::new("function f(r) return require('lfs') end", "f");
    world.folder.write("lfs.so", "");
    let state = world.started();
    let error = state.select(world.id, "f", Phase::Translate).unwrap_err();
    assert!(error.message.contains("C modules do not load"), "{}", error.message);
}

#[test]
fn timers_live_in_the_background_state_alone() {
    let text = "
n = 0
lb.every(10, function() n = n + 1 print('tick ' .. n) end)
lb.after(5, function(x) print('once ' .. x) end, 'a')
function f(r) return 204 end";
    let world = World::new(text, "f");
    assert_eq!(status(&world, &world.started()), 204);
    let state = world.background();
    for (now, next) in [(0.0, 5.0), (5.0, 10.0), (10.0, 20.0), (20.0, 30.0)] {
        world.server.clock.set(now);
        assert_eq!(common::run_timers(&state, now), (Some(next), Vec::new()));
    }
    let lines: Vec<_> = world.server.lines.borrow().iter().map(|(_, line)| line.clone()).collect();
    assert_eq!(lines, ["once a", "tick 1", "tick 2"]);
}
