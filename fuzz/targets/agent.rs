// SPDX-License-Identifier: Apache-2.0
//! An agent's answer: understood, or refused with a message.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| match probe::agent::parse(data) {
    Ok(reply) => drop(reply.is_ok()),
    Err(error) => assert!(!error.to_string().is_empty()),
});
