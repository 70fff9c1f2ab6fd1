// SPDX-License-Identifier: Apache-2.0
//! OpenResty's names, made when a script first uses them: Lua files over a few native functions.

mod bit;
mod json;
mod names;
mod native;
mod regex;
mod ring;
mod variables;

pub(crate) use json::json_text;

use std::rc::Rc;

use mlua::{Function, Lua, LuaString, Table, Value};

use crate::context::Context;
use crate::luasocket;

/// `(name) -> value or nil` for globals that are not there yet.
pub(crate) fn lazy(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Function> {
    let ctx = Rc::downgrade(ctx);
    lua.create_function(move |lua, name: LuaString| -> mlua::Result<Value> {
        let Some(ctx) = ctx.upgrade() else { return Ok(Value::Nil) };
        match &*name.as_bytes() {
            b"ngx" => module(lua, &ctx, "ngx"),
            b"bit" => module(lua, &ctx, "bit"),
            b"socket" => module(lua, &ctx, "socket"),
            _ => Ok(Value::Nil),
        }
    })
}

/// Modules that need no file.
pub(crate) fn builtin(lua: &Lua, ctx: &Rc<Context>, name: &str) -> mlua::Result<Option<Value>> {
    match name {
        "apache2" | "ngx" | "ngx.balancer" | "resty.chash" | "resty.roundrobin" | "resty.swrr"
        | "resty.lock" | "resty.lrucache" | "resty.dns.resolver" | "cjson" | "cjson.safe" | "bit"
        | "socket" | "ltn12" => module(lua, ctx, name).map(Some),
        // A table of the script's own.
        "socket.http" => luasocket::http(lua, ctx).map(Some),
        _ => match name.strip_prefix("table.") {
            Some(function) => table_function(lua, ctx, function),
            None => Ok(None),
        },
    }
}

/// `require "table.new"` gives the function.
fn table_function(lua: &Lua, ctx: &Rc<Context>, name: &str) -> mlua::Result<Option<Value>> {
    if !matches!(name, "new" | "clear" | "nkeys" | "isempty" | "isarray" | "clone") {
        return Ok(None);
    }
    let Value::Table(library) = module(lua, ctx, "functions for tables")? else { return Ok(None) };
    library.get(name).map(Some)
}

/// One of the modules; the same value for all scripts of a state, and read-only.
fn module(lua: &Lua, ctx: &Rc<Context>, name: &str) -> mlua::Result<Value> {
    if let Some(known) = ctx.modules.borrow().get(name) {
        return Ok(known.clone());
    }
    let value = make(lua, ctx, name)?;
    ctx.modules.borrow_mut().insert(name.to_owned(), value.clone());
    Ok(value)
}

/// The class of choosers, made once for the three balancers. Scripts cannot ask for this name.
const NODES: &str = "nodes with weights";

/// The native functions, made once for all files.
fn natives(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Value> {
    const NAME: &str = "native functions";
    if let Some(known) = ctx.modules.borrow().get(NAME) {
        return Ok(known.clone());
    }
    let table = Value::Table(native::functions(lua, ctx)?);
    ctx.modules.borrow_mut().insert(NAME.to_owned(), table.clone());
    Ok(table)
}

fn make(lua: &Lua, ctx: &Rc<Context>, name: &str) -> mlua::Result<Value> {
    let run = |text: &str| -> mlua::Result<Table> {
        let native = natives(lua, ctx)?;
        crate::native::chunk::internal(lua, text)?.call((native, lua.globals()))
    };
    let choosers = |text: &str| -> mlua::Result<Table> {
        let all = (natives(lua, ctx)?, lua.globals(), module(lua, ctx, NODES)?);
        crate::native::chunk::internal(lua, text)?.call(all)
    };
    let table = match name {
        // Read-only by itself: ngx.ctx and ngx.status may be set.
        "ngx" => return run(include_str!("ngx.lua")).map(Value::Table),
        "ngx.balancer" => run(include_str!("balancer.lua"))?,
        NODES => run(include_str!("nodes.lua"))?,
        "resty.chash" => choosers(include_str!("chash.lua"))?,
        "resty.roundrobin" => choosers(include_str!("roundrobin.lua"))?,
        "resty.swrr" => choosers(include_str!("swrr.lua"))?,
        "resty.lrucache" => run(include_str!("lrucache.lua"))?,
        "resty.lock" => {
            let (native, ngx) = (natives(lua, ctx)?, module(lua, ctx, "ngx")?);
            let sleep = ctx.modules.borrow().get(crate::jobs::io::SLEEP).cloned();
            let all = (native, lua.globals(), ngx, sleep);
            crate::native::chunk::internal(lua, include_str!("lock.lua"))?.call(all)?
        }
        "resty.dns.resolver" => {
            let resolve = ctx.modules.borrow().get(crate::jobs::io::RESOLVE).cloned();
            let refused = || crate::jobs::io::refused(lua, name).map(Value::Function);
            let resolve = resolve.map_or_else(refused, Ok)?;
            crate::native::chunk::internal(lua, include_str!("../jobs/dns.lua"))?
                .call((resolve, lua.globals()))?
        }
        "functions for tables" => run(include_str!("tables.lua"))?,
        "ltn12" => run(luasocket::LTN12)?,
        "bit" => bit::module(lua)?,
        "cjson" => json::module(lua, ctx, false)?,
        "cjson.safe" => json::module(lua, ctx, true)?,
        "socket" => luasocket::refusing(lua, ctx)?,
        _ => return Ok(Value::Nil),
    };
    let Some(protect) = ctx.protect.get() else { return Ok(Value::Table(table)) };
    protect.call((table, name))
}
