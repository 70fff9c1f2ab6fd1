//! Nanoseconds a call: the selection script of the manual, and parts of it. Run with `--release`.
#![allow(missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use common::World;
use script::host::{Digest, Field, Number, Request, Table};
use script::{Phase, State};

/// A request without any cost of its own.
struct Quick(Cell<&'static [u8]>);

impl Request for Quick {
    fn active(&self) -> bool {
        true
    }
    fn field(&self, _: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(Some(self.0.get()));
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
    fn get(&self, _: Table, _: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(Some(b"theme=dark; session=0123456789abcdef"));
    }
    fn set(&self, _: Table, _: &[u8], _: Option<&[u8]>) -> Result<(), String> {
        Ok(())
    }
    fn each(&self, _: Table, _: &mut dyn FnMut(&[u8], &[u8]) -> bool) {}
    fn body(&self, _: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(None);
    }
    fn ssl_var(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        path.to_vec()
    }
    fn expr(&self, _: &str) -> Result<bool, String> {
        Ok(true)
    }
    fn regex(&self, _: &[u8], _: &str, _: &str) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
        Ok(None)
    }
    fn digest(&self, _: Digest, _: &[u8]) -> Vec<u8> {
        Vec::new()
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
    let cases: [(&str, &str); 9] = [
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
            "where",
            "local app = lb.pool('app') function select(r) return app:where{version='2'}:least_connections() end",
        ),
    ];
    let only = std::env::args().nth(1);
    for (name, text) in cases.into_iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let world = World::new(text, "select");
        world.balancer.quiet.set(true);
        world.take().expect("good script");
        let request = Rc::new(Quick(Cell::new(b"/app/list/of/things")));
        let state = State::new(world.server.clone(), request, world.balancer.clone(), Arc::clone(&world.library));
        let state = state.expect("state");
        let memory = state.used_memory();
        let mut best = f64::MAX;
        for _ in 0..20 {
            const CALLS: u32 = 20_000;
            let start = Instant::now();
            for _ in 0..CALLS {
                let answer = state.select(world.id, "select", Phase::Translate);
                std::hint::black_box(answer.is_ok());
            }
            best = best.min(start.elapsed().as_nanos() as f64 / f64::from(CALLS));
        }
        println!("{best:7.0} ns  {name} (state {} KiB, after {} KiB)", memory >> 10, state.used_memory() >> 10);
    }
}
