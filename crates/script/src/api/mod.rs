// SPDX-License-Identifier: Apache-2.0
//! The names that scripts see: `lb`, pools, members, the request, `apache2`.

mod apache2;
pub(crate) mod arguments;
mod define;
mod member;
pub(crate) mod modlua;
mod pool;
mod request;
mod returned;
mod searches;
pub(crate) mod spec;
pub(crate) mod tables;
mod values;
mod view;

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value, Variadic};

use self::arguments::{MOST_SHOWN, NOT_IN_A_REQUEST, short};
use crate::context::Context;
use crate::native::bounds::bounded;
use crate::sandbox::Sandbox;

pub(crate) use apache2::constants;
pub(crate) use member::member_object;
pub(crate) use pool::{PoolHandle, pool_object};
pub(crate) use request::{cookie_value, text_value};
pub(crate) use returned::{convert, with_page};
pub(crate) use values::dict_object;

/// Log levels as people type them, beside httpd's names.
const LEVELS: [(&str, u8); 4] = [("error", 3), ("warning", 4), ("trace", 8), ("critical", 2)];

/// Puts `lb`, `apache2` and the request object in place; gives the latter.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Context>, sandbox: &Sandbox) -> mlua::Result<Table> {
    let lb = library(lua, ctx)?;
    if let Some(ready) = crate::jobs::io::install(lua, ctx, &lb)? {
        crate::luasocket::install(lua, ctx, sandbox, ready)?;
    }
    let lb: Table = sandbox.protect.call((lb, "lb"))?;
    sandbox.base.raw_set("lb", lb)?;
    let apache2: Table = sandbox.protect.call((constants(lua)?, "apache2"))?;
    ctx.modules.borrow_mut().insert("apache2".to_owned(), Value::Table(apache2.clone()));
    sandbox.base.raw_set("apache2", apache2)?;
    let (request, parts) = request::object(lua, ctx)?;
    for part in parts.iter().chain([&request]) {
        sandbox.protected.raw_set(part, true)?;
    }
    Ok(request)
}

fn library(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Table> {
    let lb = lua.create_table()?;
    let own = ctx.clone();
    lb.raw_set("pool", lua.create_function(move |lua, name: LuaString| known_pool(lua, &own, &name))?)?;
    let own = ctx.clone();
    lb.raw_set(
        "pools",
        lua.create_function(move |lua, ()| {
            let names = own.balancer.names();
            let pools: Vec<Value> =
                names.iter().map(|name| pool_object(lua, &own, name)).collect::<mlua::Result<_>>()?;
            lua.create_sequence_from(pools)
        })?,
    )?;
    let own = ctx.clone();
    let define = move |lua: &Lua, (name, spec): (LuaString, Table)| {
        define::define_pool(lua, &own, &short(&name)?, &spec)
    };
    lb.raw_set("define_pool", lua.create_function(define)?)?;
    let own = ctx.clone();
    lb.raw_set("now", lua.create_function(move |_, ()| Ok(own.server.now()))?)?;
    let own = ctx.clone();
    lb.raw_set("time", lua.create_function(move |_, ()| Ok(own.server.time()))?)?;
    lb.raw_set(
        "hash",
        lua.create_function(|_, key: LuaString| {
            Ok(xxhash_rust::xxh64::xxh64(&key.as_bytes(), 0).cast_signed())
        })?,
    )?;
    let own = ctx.clone();
    let write = lua.create_function(move |_, args: Variadic<Value>| log(&own, &args))?;
    lb.raw_set("log", bounded(lua, "many", &write)?)?;
    for (name, repeats) in [("lb.every", true), ("lb.after", false)] {
        let own = ctx.clone();
        let timer = move |_: &Lua, (seconds, function, args): (f64, mlua::Function, mlua::MultiValue)| {
            let phase = own.frame.get().phase;
            if !matches!(phase, crate::limits::frame::Phase::Load | crate::limits::frame::Phase::Timer) {
                return Err(mlua::Error::runtime(format!("{name}: {NOT_IN_A_REQUEST}")));
            }
            crate::jobs::timers::start_timer(&own, name, seconds, repeats, (function, args))
                .map(crate::jobs::timers::told)
        };
        lb.raw_set(&name[3..], bounded(lua, "many", &lua.create_function(timer)?)?)?;
    }
    values::install(lua, ctx, &lb)?;
    Ok(lb)
}

/// Bytes of the longest name of a pool.
const MOST_NAME: usize = 63;

fn known_pool(lua: &Lua, ctx: &Rc<Context>, name: &LuaString) -> mlua::Result<Value> {
    let bytes = name.as_bytes();
    // No pool's name is other than text, or that long.
    let name = if bytes.len() > MOST_NAME { "" } else { std::str::from_utf8(&bytes).unwrap_or_default() };
    let defined = ctx
        .judging
        .as_ref()
        .is_some_and(|all| all.borrow().iter().any(|d| d.name.eq_ignore_ascii_case(name)));
    if !defined && ctx.balancer.find(name).is_none() {
        return Err(unknown_pool(ctx, &bytes));
    }
    pool_object(lua, ctx, name)
}

#[cold]
fn unknown_pool(ctx: &Context, name: &[u8]) -> mlua::Error {
    let shown = String::from_utf8_lossy(&name[..name.len().min(4 * MOST_SHOWN)]);
    let shown: String = shown.chars().take(MOST_SHOWN).collect();
    let mut names = ctx.balancer.names();
    names.sort();
    let there = if names.is_empty() { "no pools".to_owned() } else { names.join(", ") };
    mlua::Error::runtime(format!("lb.pool: there is no pool named \"{shown}\" (there are: {there})"))
}

fn log(ctx: &Context, args: &[Value]) -> mlua::Result<()> {
    let level = match args.first() {
        Some(Value::Integer(level)) => u8::try_from(*level).ok().filter(|level| *level <= 15),
        Some(Value::String(name)) => {
            let name = name.to_str()?;
            request::LEVELS.iter().chain(&LEVELS).find(|(known, _)| *known == &*name).map(|(_, level)| *level)
        }
        _ => None,
    };
    let Some(level) = level else {
        return Err(mlua::Error::runtime(
            "lb.log: the first argument is the level: \"error\", \"warn\", \"notice\", \"info\", \"debug\", \"trace1\" …",
        ));
    };
    if ctx.server.logs(level) {
        return ctx.log(level, &crate::strings::text::joined(args.get(1..).unwrap_or_default(), "")?);
    }
    Ok(())
}
