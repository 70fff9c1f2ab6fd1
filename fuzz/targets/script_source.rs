// SPDX-License-Identifier: Apache-2.0
//! Any bytes as a script: it is taken or refused, with a message, within its limits.
#![no_main]

#[path = "../../crates/script/tests/common/mod.rs"]
mod common;

use common::World;
use libfuzzer_sys::fuzz_target;
use script::Phase;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let world = World::with(&text, &[], |builder| builder);
    match world.take() {
        Ok(()) => drop(world.state().select(world.id, "-", Phase::Translate)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
