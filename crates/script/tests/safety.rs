// SPDX-License-Identifier: Apache-2.0
//! Panics of the host and calls inside calls leave a state that works.
#![allow(missing_docs)]

mod common;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};

use common::{TestRequest, World};
use script::host::{Digest, Field, Number, Request, Search, Table};
use script::{Answer, Phase, State};

/// A request whose `expr` does what the test wants: panics, or calls the state again.
#[derive(Default)]
struct Odd {
    inner: TestRequest,
    panics: Cell<bool>,
    again: RefCell<Option<(Weak<State>, script::ScriptId)>>,
    answers: RefCell<Vec<Answer>>,
}

impl Request for Odd {
    fn active(&self) -> bool {
        true
    }
    fn field(&self, field: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        self.inner.field(field, f);
    }
    fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String> {
        self.inner.set_field(field, value)
    }
    fn number(&self, field: Number) -> i64 {
        self.inner.number(field)
    }
    fn set_number(&self, field: Number, value: i64) -> Result<(), String> {
        self.inner.set_number(field, value)
    }
    fn get(&self, table: Table, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        assert!(!self.panics.get(), "a panic of the host");
        self.inner.get(table, key, f);
    }
    fn set(&self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        self.inner.set(table, key, value)
    }
    fn each(&self, table: Table, f: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        self.inner.each(table, f);
    }
    fn body(&self, max: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        self.inner.body(max, f);
    }
    fn ssl_var(&self, _: &str) -> Option<Vec<u8>> {
        None
    }
    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        path.to_vec()
    }
    fn expr(&self, _: &str, _: bool) -> Result<bool, String> {
        assert!(!self.panics.get(), "a panic of the host");
        let again = self.again.borrow().clone();
        if let Some((state, id)) = again {
            let answer = state.upgrade().unwrap().select(id, "inner", Phase::Translate).unwrap();
            self.answers.borrow_mut().push(answer);
        }
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
    fn add(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.inner.add(table, key, value)
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

const TEXT: &str = "
local balancer = require 'ngx.balancer'
function f(r) return r:expr('x') and 204 end
function guarded(r) pcall(r.expr, r, 'x') return 500 end
function cookie(r) pcall(r.getcookie, r, 'x') return 500 end
function outer(r) balancer.set_current_peer('127.0.0.1', 1) r:expr('x') end
function inner(r) ngx.exit(403) end";

fn odd() -> (World, Rc<Odd>, Rc<State>) {
    // To print a panic may take longer than the usual limit.
    let limits = script::Limits { time_ms: 10_000, ..common::limits() };
    let world = World::with(TEXT, &["f", "outer", "inner"], |builder| builder.limits(limits));
    world.take().unwrap();
    let request = Rc::new(Odd::default());
    let state =
        State::new(world.server.clone(), request.clone(), world.balancer.clone(), world.library.clone());
    (world, request, Rc::new(state.unwrap()))
}

#[test]
fn a_panic_comes_out_and_the_state_goes_on() {
    let (world, request, state) = odd();
    for function in ["f", "guarded", "cookie"] {
        request.panics.set(true);
        let result = catch_unwind(AssertUnwindSafe(|| state.select(world.id, function, Phase::Translate)));
        assert!(result.is_err(), "{function}: no pcall of a script keeps a panic");
        request.panics.set(false);
        assert_eq!(state.select(world.id, "f", Phase::Translate).unwrap(), Answer::Status(204));
    }
}

#[test]
fn a_call_inside_a_call_has_its_own_answer() {
    let (world, request, state) = odd();
    request.again.replace(Some((Rc::downgrade(&state), world.id)));
    let answer = state.select(world.id, "outer", Phase::Translate).unwrap();
    assert!(matches!(answer, Answer::Peer(_)), "{answer:?}");
    assert_eq!(*request.answers.borrow(), [Answer::Status(403)]);
}
