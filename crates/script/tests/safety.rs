// SPDX-License-Identifier: Apache-2.0
//! Panics of the host and calls inside calls leave a state that works.
#![allow(missing_docs)]

mod common;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use common::{TestRequest, World};
use script::{Answer, LuaState, Phase};

const TEXT: &str = "
local balancer = require 'ngx.balancer'
function f(r) return r:expr('true') and 204 end
function guarded(r) pcall(r.expr, r, 'true') return 500 end
function cookie(r) pcall(r.getcookie, r, 'x') return 500 end
function outer(r) balancer.set_current_peer('127.0.0.1', 1) r:expr('true') end
function inner(r) ngx.exit(403) end";

fn world() -> (World, Rc<TestRequest>, Rc<LuaState>) {
    // To print a panic may take longer than the usual limit.
    let limits = script::Limits { time_ms: 10_000, ..common::limits() };
    let world = World::with(TEXT, &["f", "outer", "inner"], |builder| builder.limits(limits));
    world.take().unwrap();
    let request = Rc::new(TestRequest::default());
    let state =
        LuaState::new(world.server.clone(), request.clone(), world.balancer.clone(), world.library.clone());
    (world, request, Rc::new(state.unwrap()))
}

#[test]
fn a_panic_comes_out_and_the_state_goes_on() {
    let (world, request, state) = world();
    for function in ["f", "guarded", "cookie"] {
        request.on_call.replace(Some(Rc::new(|_| panic!("a panic of the host"))));
        let result = catch_unwind(AssertUnwindSafe(|| state.select(world.id, function, Phase::Translate)));
        assert!(result.is_err(), "{function}: no pcall of a script keeps a panic");
        request.on_call.take();
        assert_eq!(state.select(world.id, "f", Phase::Translate).unwrap(), Answer::Status(204));
    }
}

#[test]
fn a_call_inside_a_call_has_its_own_answer() {
    let (world, request, state) = world();
    let answers = Rc::new(RefCell::new(Vec::new()));
    let (inner, told, id) = (Rc::downgrade(&state), answers.clone(), world.id);
    let again = move |name: &str| {
        if name == "expr" {
            let answer = inner.upgrade().unwrap().select(id, "inner", Phase::Translate).unwrap();
            told.borrow_mut().push(answer);
        }
    };
    request.on_call.replace(Some(Rc::new(again)));
    let answer = state.select(world.id, "outer", Phase::Translate).unwrap();
    assert!(matches!(answer, Answer::Peer(_)), "{answer:?}");
    assert_eq!(*answers.borrow(), [Answer::Status(403)]);
}
