// SPDX-License-Identifier: Apache-2.0
//! Each script of a server has its own layer over Lua's libraries.

use std::time::Duration;

use server_tests::{Backend, Httpd, Mpm, eventually, on_every_mpm, pool};

const SOON: Duration = Duration::from_secs(15);

/// Adds and replaces, at its top level and in a module.
const GROWS: &str = r#"
local string = require "string"
local table, math = require "table", require "math"
require "more"
function string.split(s, sep)
  local out = {}
  for part in s:gmatch("[^" .. sep .. "]+") do out[#out + 1] = part end
  return out
end
local insert = table.insert
function table.insert(t, v) insert(t, v .. "!") end
math.answer = 42
function translate(r)
  local t = {}
  table.insert(t, "a")
  local list = ("x,y"):split(",")
  r.notes["grown"] = list[2] .. t[1] .. math.answer .. ("q"):more()
end
"#;

/// Sees none of it, in the same request and the same state.
const PLAIN: &str = r#"
function select(r)
  local t = {}
  table.insert(t, "a")
  r.headers_in["X-Seen"] = r.notes["grown"] .. " " .. tostring(("x").split) .. t[1] .. tostring(math.answer)
    .. tostring(("x").more)
  return lb.pool("app")
end
"#;

on_every_mpm!(additions_of_one_script_to_lua_are_seen_by_no_other_one);

fn additions_of_one_script_to_lua_are_seen_by_no_other_one(mpm: Mpm) {
    let backend = Backend::new("a");
    let httpd = Httpd::builder()
        .mpm(mpm)
        .file("grows.lua", GROWS)
        .file("more.lua", "function string.more(s) return s .. 'm' end")
        .file("plain.lua", PLAIN)
        .config(&pool("app", &[(&backend, "")], ""))
        .config("LuaHookTranslate grows.lua\nLuaHookSelect plain.lua")
        .start();
    let seen = |path: &str| {
        let answer = httpd.client().get(path);
        assert_eq!(answer.status, 200, "{}", httpd.error_log());
        let request = backend.last().expect("a request");
        request.headers.get("X-Seen").unwrap_or_default().to_owned()
    };
    for nth in 0..20 {
        assert_eq!(seen(&format!("/{nth}")), "ya!42qm nilanilnil");
    }
    httpd.write(
        "grows.lua",
        "function translate(r) r.notes.grown = tostring(string.split) .. tostring(('').more) end",
    );
    eventually("the new version, with libraries as they were", SOON, || {
        (seen("/new") == "nilnil nilanilnil").then_some(())
    });
}
