// SPDX-License-Identifier: Apache-2.0
//! The memory that timers, checks and top levels hold outside of Lua's is bounded as well.
#![allow(missing_docs)]

mod common;

use std::rc::Rc;

use common::World;
use script::{Connection, ErrorKind, Io, Job, Limits, LuaState, Reply, Step};

const LIMITS: Limits = Limits { time_ms: 1000, memory_bytes: 16 << 20, timer_time_ms: 5000 };

fn world(text: &str, needs: &[&str]) -> World {
    World::with(text, needs, |builder| builder.limits(LIMITS))
}

fn bytes_of(io: &Io) -> usize {
    match io {
        Io::Http(request) => request.body.len(),
        Io::Send { data, .. } => data.len(),
        _ => 0,
    }
}

#[test]
fn the_bytes_that_all_timers_send_at_once_are_bounded() {
    let world = world(
        "local body = ('x'):rep(3 << 20)\n\
         function tick() local _, why = lb.http{ url = 'http://127.0.0.1:1/', body = body } print(why) end",
        &["tick"],
    );
    let state = world.background();
    let mut jobs: Vec<_> = (0..20).map(|_| state.start_timer(world.id, "tick").unwrap()).collect();
    let mut held = 0;
    for job in &mut jobs {
        match state.resume(job, Reply::Nothing) {
            Step::Wait(io) => held += bytes_of(&io),
            Step::Done(result) => drop(result.unwrap()),
            Step::Again => panic!("it computes nothing"),
        }
    }
    assert!(held > 8 << 20 && held <= 16 << 20, "{held}");
    let refused = world.lines().iter().filter(|line| line.contains("more than 16 MiB at once")).count();
    assert_eq!(refused, 15, "{:?}", world.lines());
    drop(jobs);
    let mut job = state.start_timer(world.id, "tick").unwrap();
    assert!(matches!(state.resume(&mut job, Reply::Nothing), Step::Wait(_)), "there is room again");
}

#[test]
fn one_body_one_url_and_all_headers_are_bounded() {
    for (spec, why) in [
        ("url = 'http://127.0.0.1:1/', body = ('x'):rep((4 << 20) + 1)", "body has more than 4 MiB"),
        ("url = 'http://127.0.0.1:1/' .. ('x'):rep(20000)", "url is longer than"),
        ("url = 'http://127.0.0.1:1/', method = ('x'):rep(20000)", "method is longer than"),
        (
            "url = 'http://127.0.0.1:1/', headers = { [('x'):rep(20000)] = 'x' }",
            "a header's name is longer than",
        ),
        (
            "url = 'http://127.0.0.1:1/', headers = (function() local t, v = {}, ('v'):rep(16000) for i = 1, 20 do t['X-' .. i] = v end return t end)()",
            "or 256 KiB of them",
        ),
    ] {
        let world = world(&format!("function tick() lb.http{{ {spec} }} end"), &["tick"]);
        let state = world.background();
        let mut job = state.start_timer(world.id, "tick").unwrap();
        match state.resume(&mut job, Reply::Nothing) {
            Step::Done(Err(error)) => assert!(error.message.contains(why), "{spec}: {error}"),
            other => panic!("{spec}: {other:?}"),
        }
    }
}

/// Feeds a job that receives, until it is over.
fn feed(state: &LuaState, job: &mut Job, chunk: &[u8], chunks: usize) {
    let mut reply = Reply::Nothing;
    for _ in 0..chunks {
        reply = match state.resume(job, reply) {
            Step::Wait(Io::Connect { .. }) => Reply::Connected(Ok(Connection(Rc::new(())))),
            Step::Wait(Io::Receive { .. }) => Reply::Received(Ok(chunk.to_vec())),
            Step::Again => Reply::Nothing,
            Step::Done(result) => return drop(result.unwrap()),
            other => panic!("{other:?}"),
        };
    }
}

#[test]
fn the_bytes_that_sockets_have_received_are_bounded_for_all_of_them() {
    let world = world(
        "function tick()\n\
           local s = require('socket').tcp()\n\
           assert(s:connect('127.0.0.1', 1))\n\
           local all, why, part = s:receive(1 << 20)\n\
           print(why, #part)\n\
           s:close()\n\
         end",
        &["tick"],
    );
    let state = world.background();
    let mut jobs: Vec<_> = (0..20).map(|_| state.start_timer(world.id, "tick").unwrap()).collect();
    // Each has a MiB but for a piece, and waits for that.
    let chunk = vec![b'x'; 16 << 10];
    jobs.iter_mut().for_each(|job| feed(&state, job, &chunk, 64));
    let refused = world.lines().iter().filter(|line| line.contains("sockets hold more than 16 MiB")).count();
    assert!((3..=4).contains(&refused), "{refused}: {:?}", world.lines());
    drop(jobs);
    state.collect();
    let mut job = state.start_timer(world.id, "tick").unwrap();
    feed(&state, &mut job, &chunk, 64);
    assert_eq!(
        world.lines().iter().filter(|line| line.contains("sockets hold")).count(),
        refused,
        "there is room again"
    );
}

const VIEWS: &str = "local function views()\n\
    local view = lb.pool('app')\n\
    for i = 1, 60 do view = view:where{ zone = ('x'):rep(4000) .. i } end\n\
    end\n";

fn kind_of(state: &LuaState, world: &World) -> ErrorKind {
    let mut job = state.start_timer(world.id, "tick").unwrap();
    match state.resume(&mut job, Reply::Nothing) {
        Step::Done(Err(error)) => error.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn top_levels_and_timers_have_no_more_outside_of_lua_than_requests() {
    let timer = world(&format!("{VIEWS}function tick() views() end"), &["tick"]);
    assert_eq!(kind_of(&timer.background(), &timer), ErrorKind::Memory);
    let top = world(&format!("{VIEWS}views()\nfunction f(r) return 204 end"), &["f"]);
    assert_eq!(top.judge().unwrap_err().kind, ErrorKind::Memory);
}
