// SPDX-License-Identifier: Apache-2.0
//! `lb.http`, `lb.tcp` and what else makes a job wait.

use std::rc::Rc;

use mlua::{AnyUserData, Function, Lua, Table, Value, Variadic};

use super::arguments::{PATIENCE, place, seconds};
use super::http::http_request;
use super::reply::Held;
use crate::context::Context;
use crate::context::wait::Io;
use crate::limits::frame::Phase;
use crate::native::chunk::internal;

/// Name of `lb.http` among the modules of a state.
pub(crate) const HTTP: &str = "lb.http";
/// Name of what looks host names up among the modules of a state.
pub(crate) const RESOLVE: &str = "resolve";
/// Name of what waits among the modules of a state.
pub(crate) const SLEEP: &str = "sleep";
/// Name of the token among the modules of a state.
const TOKEN: &str = "token of jobs";

/// Said where Lua's library stands between the script and the job.
pub(crate) const CANNOT_WAIT: &str =
    "cannot wait inside a function that string.gsub, table.sort or their like call";

/// The value that a job yields when it waits; scripts never see it.
pub(crate) fn token(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Value> {
    if let Some(known) = ctx.modules.borrow().get(TOKEN) {
        return Ok(known.clone());
    }
    let token = Value::Table(lua.create_table()?);
    ctx.modules.borrow_mut().insert(TOKEN.to_owned(), token.clone());
    Ok(token)
}

pub(crate) fn is_token(ctx: &Context, value: Option<&Value>) -> bool {
    value.is_some_and(|value| {
        ctx.modules.borrow().get(TOKEN).is_some_and(|token| token.to_pointer() == value.to_pointer())
    })
}

/// `lb.http` and `lb.tcp`. Where jobs run, the function that raises where nothing can wait is the
/// answer.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Context>, lb: &Table) -> mlua::Result<Option<Function>> {
    if ctx.jobs.is_none() {
        for name in ["http", "tcp"] {
            lb.raw_set(name, refused(lua, &format!("lb.{name}"))?)?;
        }
        return Ok(None);
    }
    let chunk = internal(lua, include_str!("io.lua"))?;
    let (http, tcp, resolve, ready, sleep): (Value, Value, Value, Function, Value) =
        chunk.call((natives(lua, ctx)?, lua.globals()))?;
    lb.raw_set("http", &http)?;
    ctx.modules.borrow_mut().insert(HTTP.to_owned(), http);
    ctx.modules.borrow_mut().insert(RESOLVE.to_owned(), resolve);
    ctx.modules.borrow_mut().insert(SLEEP.to_owned(), sleep);
    lb.raw_set("tcp", tcp)?;
    Ok(Some(ready))
}

/// The function that stands where nothing can wait.
pub(crate) fn refused(lua: &Lua, name: &str) -> mlua::Result<Function> {
    let name = name.to_owned();
    lua.create_function(move |_, _: Variadic<Value>| Err::<(), _>(not_here(&name)))
}

fn not_here(name: &str) -> mlua::Error {
    mlua::Error::runtime(format!("{name} works in checks and timers only"))
}

fn natives(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    native.raw_set("token", token(lua, ctx)?)?;
    native.raw_set("cannot_wait", CANNOT_WAIT)?;
    let own = ctx.clone();
    let check_place = move |_: &Lua, name: String| {
        if own.frame.get().phase == Phase::Timer { Ok(()) } else { Err(not_here(&name)) }
    };
    native.raw_set("check_place", lua.create_function(check_place)?)?;
    let own = ctx.clone();
    let http = move |_: &Lua, spec: Value| match http_request(&spec)? {
        Ok(request) => Ok(want(&own, Io::Http(request))),
        Err(why) => Ok(Some(why)),
    };
    native.raw_set("want_http", lua.create_function(http)?)?;
    let own = ctx.clone();
    let tcp = move |_: &Lua, (host, port, timeout): (Value, Value, Value)| {
        let (host, port) = place("lb.tcp", &host, &port)?;
        let timeout = seconds("lb.tcp", &timeout)?.unwrap_or(PATIENCE);
        Ok(want(&own, Io::Connect { host, port, timeout }))
    };
    native.raw_set("want_tcp", lua.create_function(tcp)?)?;
    let own = ctx.clone();
    let resolve = move |_: &Lua, (host, timeout): (Value, Value)| {
        let (host, _) = place("resty.dns.resolver", &host, &Value::Integer(1))?;
        let timeout = seconds("resty.dns.resolver", &timeout)?.unwrap_or(PATIENCE);
        Ok(want(&own, Io::Resolve { host, timeout }))
    };
    native.raw_set("want_resolve", lua.create_function(resolve)?)?;
    let own = ctx.clone();
    native.raw_set("is_job", lua.create_function(move |_, ()| Ok(own.frame.get().phase == Phase::Timer))?)?;
    let own = ctx.clone();
    let sleep = move |_: &Lua, time: Value| {
        let timeout = seconds("sleep", &time)?.unwrap_or(PATIENCE);
        Ok(want(&own, Io::Sleep { timeout }))
    };
    native.raw_set("want_sleep", lua.create_function(sleep)?)?;
    let drop_held = |_: &Lua, held: AnyUserData| held.take::<Held>().map(drop);
    native.raw_set("drop", lua.create_function(drop_held)?)?;
    Ok(native)
}

/// Notes what the job will wait for. The answer is what scripts are told instead of waiting.
pub(crate) fn want(ctx: &Context, io: Io) -> Option<String> {
    let jobs = ctx.jobs.as_ref()?;
    let full = jobs.full(io.bytes());
    if full.is_none() {
        jobs.wanted.replace(Some(io));
    }
    full
}
