// SPDX-License-Identifier: Apache-2.0
//! The memory of a Lua state, and that calls leave nothing behind.
#![allow(missing_docs)]

mod common;

use balance::api::Balancer as _;
use common::{World, spec};
use script::{LuaState, Phase};

/// Bytes that a state may hold with any of the scripts that the module ships.
const STATE: usize = 128 << 10;

const MANUAL: &str = r#"
local app = lb.pool("app")
function select(r)
  if r.uri:find("^/static/") then return nil end
  if r.uri:find("^/api/") then return lb.pool("app") end
  if r:getcookie("other") then return app:where{version = "2"}:least_connections() end
  return app:least_connections()
end
"#;

/// Everything that scripts can `require` without a file of their own.
const OPENRESTY: &str = r#"
for _, name in ipairs{ "ngx.balancer", "cjson", "cjson.safe", "resty.chash", "resty.roundrobin", "resty.swrr", "bit" } do
  require(name)
end
local all = ngx.re and ngx.var and ngx.req and ngx.shared
function select(r) return nil end
"#;

fn held(state: &LuaState) -> usize {
    state.collect();
    state.collect();
    state.used_memory()
}

/// Bytes of a state whose script was called once, with the pools there that it names; None when it
/// does not start.
fn state_of(what: &str, text: &str) -> Option<usize> {
    let world = World::new(text, "select");
    let missing = |error: &script::ScriptError| {
        error
            .message
            .split_once("no pool named \"")
            .and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()))
    };
    while let Err(error) = world.take() {
        let name = missing(&error)?;
        world.balancer.define(&name, Default::default(), vec![spec("m", 1)], 0).expect("a pool");
    }
    let state = world.state();
    let answer = state.select(world.id, "select", Phase::Translate);
    let held = held(&state);
    println!("a state with {what}: {:.1} KiB, {answer:?}", held as f64 / 1024.0);
    Some(held)
}

#[test]
fn a_state_holds_at_most_128_kib() {
    let mut held = vec![state_of("the manual's script", MANUAL).expect("it starts")];
    let folder = format!("{}/../../lua", env!("CARGO_MANIFEST_DIR"));
    for file in std::fs::read_dir(folder).expect("the shipped scripts").flatten() {
        if file.file_name().to_string_lossy().ends_with("_test.lua") {
            continue;
        }
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        held.extend(state_of(&file.file_name().to_string_lossy(), &text));
    }
    let largest = held.iter().copied().max().unwrap_or_default();
    assert!(held.len() >= 12, "only {} scripts were started", held.len());
    assert!(largest <= STATE, "a state holds {largest} bytes, more than {STATE}");
}

/// OpenResty's names take room only where a script uses them; all of them together take this.
#[test]
fn a_state_with_all_of_openrestys_names_holds_at_most_128_kib() {
    let held = state_of("all of OpenResty's names", OPENRESTY).expect("it starts");
    assert!(held <= STATE, "it holds {held} bytes");
}

#[test]
fn a_million_calls_leave_nothing_behind() {
    let world = World::new(MANUAL, "select");
    let state = world.started();
    let call = |times: usize| {
        for _ in 0..times {
            state.select(world.id, "select", Phase::Translate).expect("an answer");
        }
        held(&state)
    };
    // All that is made once is there by then.
    let before = call(10_000);
    let after = call(1_000_000);
    println!("{before} bytes after 10,000 calls, {after} after a million more");
    assert!(after <= before, "a million calls left {} bytes", after - before);
}
