// SPDX-License-Identifier: Apache-2.0
//! Values of every Lua type, passed to and returned from every function of the API, by programs
//! that the fuzzer writes: no panic, and every call ends within its limits.
#![no_main]

#[path = "../../crates/script/tests/common/mod.rs"]
mod common;

use std::rc::Rc;
use std::time::{Duration, Instant};

use common::{TestRequest, World};
use libfuzzer_sys::fuzz_target;
use script::host::Field;
use script::{FinishResult, Phase, LuaState};

struct Fixture {
    world: World,
    state: LuaState,
    calls: u32,
}

fn fixture() -> Fixture {
    let world = World::new(include_str!("script_boundary.lua"), "select_by");
    world.balancer.quiet.set(true);
    world.take().expect("the program's reader loads");
    Fixture { state: world.state(), world, calls: 0 }
}

thread_local! {
    static FIXTURE: std::cell::RefCell<Option<Fixture>> = const { std::cell::RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    FIXTURE.with_borrow_mut(|place| {
        // A new world now and then: what earlier programs left must not hide anything.
        if place.as_ref().is_none_or(|fixture| fixture.calls >= 2000) {
            *place = Some(fixture());
        }
        let Some(fixture) = place.as_mut() else { return };
        fixture.calls += 1;
        reset(&fixture.world.request, data);
        fixture.world.server.lines.borrow_mut().clear();
        let phase = match data.first().map(|byte| byte % 3) {
            Some(0) => Phase::Translate,
            Some(1) => Phase::Select,
            _ => Phase::Pick,
        };
        let began = Instant::now();
        // A panic ends the process: libfuzzer's hook sees to that before anything catches it.
        let _ = fixture.state.select(fixture.world.id, "select_by", phase);
        let _ = fixture.state.finish(fixture.world.id, "select_by", &FinishResult::default());
        // Twice the limit of a call, and room for a machine that does other things as well.
        assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    });
});

fn reset(request: &Rc<TestRequest>, data: &[u8]) {
    let fresh = TestRequest::default();
    *request.fields.borrow_mut() = fresh.fields.take();
    *request.numbers.borrow_mut() = fresh.numbers.take();
    *request.tables.borrow_mut() = fresh.tables.take();
    request.fields.borrow_mut().insert(format!("{:?}", Field::Uri), data.to_vec());
}
