// SPDX-License-Identifier: Apache-2.0
//! Timers and checks: they take turns, wait without holding anybody up, and are stopped when they
//! take too long.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod limits;
mod lists;
mod waiting;

use common::World;
use script::{Connection, ErrorKind, HttpAnswer, Io, Job, LuaState, Reply, Step};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn world(body: &str) -> World {
    World::new(&format!("function tick()\n{body}\nend"), "tick")
}

fn run(body: &str) -> (World, Result<(), script::ScriptError>) {
    let world = world(body);
    let state = world.background();
    let result = common::finish(&state, state.start_timer(world.id, "tick").unwrap());
    (world, result.map(drop))
}

/// The lines that a timer's body prints.
fn printed(body: &str) -> Vec<String> {
    let (world, result) = run(body);
    result.unwrap();
    world.lines()
}

fn error(body: &str) -> script::ScriptError {
    run(body).1.unwrap_err()
}

/// The message of a timer's body that fails by itself, not by a limit.
fn message(body: &str) -> String {
    let error = error(body);
    assert_eq!(error.kind, ErrorKind::Runtime, "{error}");
    error.message
}

fn wait_for(state: &LuaState, job: &mut Job, mut reply: Reply) -> Io {
    loop {
        reply = match state.resume(job, reply) {
            Step::Wait(io) => return io,
            Step::Again => Reply::Nothing,
            Step::Done(result) => panic!("over: {result:?}"),
        };
    }
}

/// A server that sends a byte now and then, for as long as somebody listens.
fn dripping() -> u16 {
    use std::io::Write;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                while stream.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
        }
    });
    port
}
