//! OpenResty's names, made when a script first uses them: Lua files over a few native functions.

mod bit;
mod json;
mod native;
mod ring;
pub(crate) mod socket;

use std::rc::Rc;

use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use crate::context::Context;

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
        | "resty.lrucache" | "cjson" | "cjson.safe" | "bit" | "socket" => module(lua, ctx, name).map(Some),
        "table.new" | "table.clear" | "table.nkeys" => match module(lua, ctx, "tables")? {
            Value::Table(all) => all.get(name.trim_start_matches("table.")).map(Some),
            _ => Ok(None),
        },
        _ => Ok(None),
    }
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

/// The native functions, made once for all files.
fn natives(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Value> {
    const NAME: &str = "native functions";
    if let Some(known) = ctx.modules.borrow().get(NAME) {
        return Ok(known.clone());
    }
    let functions = native::functions(lua, ctx)?;
    let own = functions.clone();
    let part = move |lua: &Lua, (_, args): (LuaString, MultiValue)| -> mlua::Result<MultiValue> {
        let mut all: Vec<Value> = vec![Value::Table(own.clone()), Value::Table(lua.globals())];
        all.extend(args);
        crate::sandbox::internal(lua, include_str!("substitute.lua"))?.call(MultiValue::from_vec(all))
    };
    functions.raw_set("part", lua.create_function(part)?)?;
    let table = Value::Table(functions);
    ctx.modules.borrow_mut().insert(NAME.to_owned(), table.clone());
    Ok(table)
}

fn make(lua: &Lua, ctx: &Rc<Context>, name: &str) -> mlua::Result<Value> {
    let run = |text: &str| -> mlua::Result<Table> {
        let native = natives(lua, ctx)?;
        crate::sandbox::internal(lua, text)?.call((native, lua.globals()))
    };
    let table = match name {
        // Read-only by itself: ngx.ctx and ngx.status may be set.
        "ngx" => return run(include_str!("ngx.lua")).map(Value::Table),
        "ngx.balancer" => run(include_str!("balancer.lua"))?,
        "resty.chash" => run(include_str!("chash.lua"))?,
        "resty.roundrobin" => run(include_str!("roundrobin.lua"))?,
        "resty.swrr" => run(include_str!("swrr.lua"))?,
        "resty.lrucache" => run(include_str!("lrucache.lua"))?,
        "tables" => run(include_str!("tables.lua"))?,
        "bit" => bit::module(lua)?,
        "cjson" => json::module(lua, ctx, false)?,
        "cjson.safe" => json::module(lua, ctx, true)?,
        "socket" => socket::module(lua, ctx)?,
        _ => return Ok(Value::Nil),
    };
    let Some(protect) = ctx.protect.get() else { return Ok(Value::Table(table)) };
    protect.call((table, name))
}
