// SPDX-License-Identifier: Apache-2.0
//! Random programs of hostile pieces: functions within reach of scripts, one after the other, with
//! the arguments of the walk and the result of the step before. Each program ends within its
//! limits.
#![no_main]

#[path = "../../crates/script/tests/common/mod.rs"]
mod common;
#[path = "../../crates/script/tests/walk/reach.rs"]
mod reach;

use std::time::{Duration, Instant};

use common::World;
use libfuzzer_sys::fuzz_target;
use reach::{MODULES, OBJECTS};
use script::host::Field;
use script::{Limits, Phase, LuaState};

/// Steps of a program.
const STEPS: usize = 8;

struct Fixture {
    world: World,
    state: LuaState,
    names: Vec<String>,
    /// Lists of arguments in walk.lua.
    lists: u8,
    calls: u32,
}

fn fixture() -> Fixture {
    let limits = Limits { time_ms: 20, memory_bytes: 16 << 20, timer_time_ms: 5000 };
    let text = include_str!("../../crates/script/tests/walk/walk.lua");
    let world = World::with(text, &["f"], |builder| builder.limits(limits));
    world.balancer.quiet.set(true);
    world.take().expect("the driver loads");
    let state = world.state();
    let names = state.reachable(world.id, &MODULES, &OBJECTS).expect("names");
    world.request.put(Field::Args, "count");
    let lists = common::value(&world, &state).parse().expect("the number of lists");
    Fixture { state, world, names, lists, calls: 0 }
}

thread_local! {
    static FIXTURE: std::cell::RefCell<Option<Fixture>> = const { std::cell::RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    FIXTURE.with_borrow_mut(|place| {
        if place.as_ref().is_none_or(|fixture| fixture.calls >= 500) {
            *place = Some(fixture());
        }
        let Some(fixture) = place.as_mut() else { return };
        fixture.calls += 1;
        let step = |bytes: &[u8]| {
            let nth = usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
            let name = &fixture.names[nth % fixture.names.len()];
            format!("{name} {} {}\n", bytes[2] >> 7, 1 + bytes[2] % fixture.lists)
        };
        let program: String = data.chunks_exact(3).take(STEPS).map(step).collect();
        fixture.world.request.put(Field::Args, &program);
        fixture.world.request.tables.borrow_mut().clear();
        fixture.world.server.lines.borrow_mut().clear();
        let began = Instant::now();
        let _ = fixture.state.select(fixture.world.id, "f", Phase::Translate);
        // Twice the limit, and room for a machine that does other things as well, and for code that
        // is built to be watched.
        assert!(began.elapsed() < Duration::from_secs(3), "took {:?}: {program}", began.elapsed());
    });
});
