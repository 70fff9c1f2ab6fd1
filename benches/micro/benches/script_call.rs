// SPDX-License-Identifier: Apache-2.0
//! Nanoseconds a call: the selection script of the manual, and parts of it. `cargo bench --bench
//! script_call`. Each is measured with another URI for each call, as a server sees them, and with
//! one URI all the time, where strings are made once.
#![allow(missing_docs)]

#[path = "../../../crates/script/tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use common::World;
use script::host::{Digest, Field, Number, Request, RequestTable, Search};
use script::{Phase, LuaState};

/// A request without any cost of its own.
struct Quick {
    uris: Vec<Vec<u8>>,
    now: Cell<usize>,
}

/// Rounds of each case, and calls of a round.
const ROUNDS: usize = 21;
const CALLS: u32 = 20_000;

/// Median and best nanoseconds a call, over that many different URIs.
fn measure(world: &World, uris: usize) -> (f64, f64) {
    let uris = (0..uris).map(|n| format!("/app/list/of/things/{n}").into_bytes()).collect();
    let request = Rc::new(Quick { uris, now: Cell::new(0) });
    let state =
        LuaState::new(world.server.clone(), request.clone(), world.balancer.clone(), Arc::clone(&world.library));
    let state = state.expect("state");
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                request.now.set((request.now.get() + 1) % request.uris.len());
                let answer = state.select(world.id, "select", Phase::Translate);
                std::hint::black_box(answer.is_ok());
            }
            start.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[ROUNDS / 2], rounds[0])
}

impl Request for Quick {
    fn active(&self) -> bool {
        true
    }
    fn field(&self, _: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(Some(&self.uris[self.now.get()]));
    }
    fn set_field(&self, _: Field, _: Option<&[u8]>) -> Result<(), String> {
        Ok(())
    }
    fn number(&self, _: Number) -> i64 {
        0
    }
    fn set_number(&self, _: Number, _: i64) -> Result<(), String> {
        Ok(())
    }
    fn get(&self, _: RequestTable, _: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(Some(b"theme=dark; session=0123456789abcdef"));
    }
    fn set(&self, _: RequestTable, _: &[u8], _: Option<&[u8]>) -> Result<(), String> {
        Ok(())
    }
    fn each(&self, _: RequestTable, _: &mut dyn FnMut(&[u8], &[u8]) -> bool) {}
    fn body(&self, _: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(None);
    }
    fn ssl_var(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        path.to_vec()
    }
    fn expr(&self, _: &str, _: bool) -> Result<bool, String> {
        Ok(true)
    }
    fn expr_word(&self, _: &str, _: bool) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
    fn regex(&self, _: &Search<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
        Ok(None)
    }
    fn digest(&self, _: Digest, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn add(&self, _: RequestTable, _: &[u8], _: &[u8]) -> Result<(), String> {
        Ok(())
    }
    fn regex_each(
        &self,
        _: &Search<'_>,
        _: &mut dyn FnMut(Vec<Option<std::ops::Range<usize>>>) -> bool,
    ) -> Result<Vec<(usize, String)>, String> {
        Ok(Vec::new())
    }
    fn expr_text(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }
    fn serial(&self) -> u64 {
        0
    }
    fn server_addr(&self) -> Option<String> {
        None
    }
    fn custom_response(&self, _: u16, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

const MANUAL: &str = r#"
local app = lb.pool("app")
function select(r)
  if r.uri:find("^/static/") then return nil end
  if r.uri:find("^/api/") then return lb.pool("api") end
  if r:getcookie("beta") then return app:where{version = "2"}:least_connections() end
  return app:least_connections()
end"#;

fn main() {
    // As in a server.
    script::watch::start(script::Limits::default().time_ms).expect("a thread");
    let cases: [(&str, &str); 10] = [
        ("the manual's selection script", MANUAL),
        ("nothing", "function select(r) return nil end"),
        ("r.uri", "function select(r) local x = r.uri return nil end"),
        ("r.uri:find", "function select(r) local x = r.uri:find('^/static/') return nil end"),
        ("r.headers_in", "function select(r) local x = r.headers_in['Cookie'] return nil end"),
        ("r:getcookie", "function select(r) local x = r:getcookie('beta') return nil end"),
        ("lb.pool", "function select(r) return lb.pool('api') end"),
        (
            "least_connections",
            "local app = lb.pool('app') function select(r) return app:least_connections() end",
        ),
        (
            "two hundred steps of plain Lua",
            "function select(r) local sum = 0 for i = 1, 200 do sum = sum + i % 7 end return sum > 0 and nil or 503 end",
        ),
        (
            "where",
            "local app = lb.pool('app') function select(r) return app:where{version='2'}:least_connections() end",
        ),
    ];
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    for (name, text) in cases.into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name))
    {
        let world = World::new(text, "select");
        world.balancer.quiet.set(true);
        world.take().expect("good script");
        let (median, best) = measure(&world, 10_000);
        let (same, _) = measure(&world, 1);
        println!("{median:7.0} ns (best {best:.0}; one URI {same:.0})  {name}");
    }
}
