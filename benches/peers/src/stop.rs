// SPDX-License-Identifier: Apache-2.0
//! Whether the run shall end early. A benchmark asks between its steps, so that everything is ended
//! and removed on the way out.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether somebody asked for an early end.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// An error once somebody asked for an early end.
pub fn check() -> Result<(), String> {
    if requested() { Err("stopped".to_owned()) } else { Ok(()) }
}

/// Takes the end of standard input for the wish to stop: the process that holds its other end may
/// die in any way.
pub fn at_end_of_input() {
    thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        REQUESTED.store(true, Ordering::SeqCst);
    });
}
