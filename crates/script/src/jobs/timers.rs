// SPDX-License-Identifier: Apache-2.0
//! Timers that scripts start, and what the prelude has to know of jobs.

use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table};

use super::io;
use crate::context::Context;
use crate::context::kept::Timer;
use crate::limits::frame::Phase;

/// Most timers that may wait (OpenResty's limit).
const MOST_PENDING: usize = 1024;
/// Shortest time that a timer waits, so that one that starts itself again leaves others room.
const SHORTEST_S: f64 = 0.001;
/// Longest time, some thirty years.
const LONGEST_S: f64 = 1e9;

/// Registers a timer; only a state that runs jobs keeps it. Elsewhere the top level of a script
/// runs the same line, and it means the same timer. The inner Err is for the script: not now.
pub(crate) fn start_timer(
    ctx: &Context,
    name: &str,
    seconds: f64,
    repeats: bool,
    (function, args): (Function, MultiValue),
) -> mlua::Result<Result<(), String>> {
    let least = if repeats { SHORTEST_S } else { 0.0 };
    if !(least..=LONGEST_S).contains(&seconds) {
        return Err(mlua::Error::runtime(format!(
            "{name}: expected seconds from {least} to {LONGEST_S}, found {seconds}"
        )));
    }
    let frame = ctx.frame.get();
    let (Some(jobs), Some(script)) = (&ctx.jobs, frame.script) else { return Ok(Ok(())) };
    if frame.phase == Phase::Timer && jobs.serving.borrow().get(&script) != Some(&frame.version) {
        return Ok(Err("a newer version of this script has been loaded".into()));
    }
    let mut timers = jobs.timers.borrow_mut();
    if timers.len() >= MOST_PENDING {
        return Ok(Err("too many pending timers".into()));
    }
    let due = ctx.server.now() + seconds.max(SHORTEST_S);
    let every = repeats.then_some(seconds);
    timers.push(Timer { script, version: frame.version, due, every, function, args, running: Rc::default() });
    Ok(Ok(()))
}

/// The results for scripts: `true`, or `nil` and why not.
pub(crate) fn told(result: Result<(), String>) -> (Option<bool>, Option<String>) {
    match result {
        Ok(()) => (Some(true), None),
        Err(why) => (None, Some(why)),
    }
}

/// The functions that the prelude needs where jobs run: how it tells a job that waits or is
/// interrupted from one that yields.
pub(crate) fn for_prelude(lua: &Lua, ctx: &Rc<Context>, native: &Table) -> mlua::Result<()> {
    if ctx.jobs.is_none() {
        return Ok(());
    }
    native.raw_set("token", io::token(lua, ctx)?)?;
    native.raw_set("cannot_wait", io::CANNOT_WAIT)?;
    let own = ctx.clone();
    let suspended =
        move |_: &Lua, ()| Ok(own.jobs.as_ref().is_some_and(|jobs| jobs.interrupted.get().is_some()));
    native.raw_set("suspended", lua.create_function(suspended)?)?;
    let own = ctx.clone();
    let unsuspend = move |_: &Lua, ()| {
        if let Some(jobs) = &own.jobs {
            jobs.interrupted.set(None);
        }
        Ok(())
    };
    native.raw_set("unsuspend", lua.create_function(unsuspend)?)
}
