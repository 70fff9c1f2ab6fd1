//! OpenResty's names, made when a script first uses them.

use std::rc::Rc;

use mlua::{Function, Lua, LuaString, Value};

use crate::context::Context;

/// `(name) -> value or nil` for globals that are not there yet.
pub(crate) fn lazy(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Function> {
    let ctx = Rc::downgrade(ctx);
    lua.create_function(move |_, name: LuaString| -> mlua::Result<Value> {
        let _ = (&ctx, name);
        Ok(Value::Nil)
    })
}

/// Modules that need no file.
pub(crate) fn builtin(lua: &Lua, _ctx: &Rc<Context>, name: &str) -> mlua::Result<Option<Value>> {
    match name {
        "apache2" => Ok(Some(Value::Table(crate::api::constants(lua)?))),
        _ => Ok(None),
    }
}
