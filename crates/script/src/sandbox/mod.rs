// SPDX-License-Identifier: Apache-2.0
//! The Lua state: which libraries, the limits' hook, and the environments that scripts run in.

use std::rc::Rc;

use mlua::{Function, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value, Variadic};

use crate::context::Context;
use crate::error::{Halt, Parts};
use crate::native::bounds;
use crate::native::chunk::internal;
use crate::native::coroutines;
use crate::native::shortcuts;
use crate::source::library::ScriptId;
use crate::strings::pattern::{Capture, Failure, find};

/// The tables and functions that the prelude gives back.
pub(crate) struct Sandbox {
    /// `(require, search, script, version) -> env`.
    pub(crate) environment: Function,
    /// `(table, name) -> read-only table`.
    pub(crate) protect: Function,
    /// The shared globals, by themselves.
    pub(crate) base: Table,
    /// Keys are the tables that `rawset` refuses.
    pub(crate) protected: Table,
}

/// A new Lua state without anything that reaches out of it.
pub(crate) fn new_lua(open: bool) -> mlua::Result<Lua> {
    let mut libs =
        StdLib::COROUTINE | StdLib::TABLE | StdLib::STRING | StdLib::UTF8 | StdLib::MATH | StdLib::OS;
    if open {
        libs |= StdLib::IO;
    }
    Lua::new_with(libs, LuaOptions::default())
}

/// Runs the prelude.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Context>, lazy: Function, open: bool) -> mlua::Result<Sandbox> {
    let native = lua.create_table()?;
    native.raw_set("lazy", lazy)?;
    native.raw_set("print", print(lua, ctx)?)?;
    let caught = caught(lua, ctx)?;
    native.raw_set("caught", &caught)?;
    // Where jobs run, the prelude looks at what a coroutine says first.
    coroutines::install(lua, ctx, &native, ctx.jobs.is_none().then_some(&caught))?;
    native.raw_set("find", checked_find(lua, ctx)?)?;
    native.raw_set("find_plain", find_plain(lua, ctx)?)?;
    let longest = lua.create_table()?;
    native.raw_set("direct", shortcuts::direct(lua, ctx, &longest)?)?;
    let own = ctx.clone();
    let search = move |lua: &Lua, (plain, counted): (Function, Function)| {
        shortcuts::search(lua, &own, &longest, &plain, &counted)
    };
    native.raw_set("search", lua.create_function(search)?)?;
    let own = ctx.clone();
    native.raw_set(
        "check_room",
        lua.create_function(move |_, (one, times): (usize, usize)| {
            let limit = own.budget.limits.get().memory_bytes;
            match one.checked_mul(times) {
                Some(bytes) if bytes <= limit => Ok(()),
                _ => Err(own.budget.end(Halt::Memory(limit)).raise()),
            }
        })?,
    )?;
    let own = ctx.clone();
    let most = move |_: &Lua, ()| Ok(own.budget.limits.get().memory_bytes / 16);
    native.raw_set("most", lua.create_function(most)?)?;
    let own = ctx.clone();
    native.raw_set("time", lua.create_function(move |_, ()| Ok(own.server.time()))?)?;
    let part = |lua: &Lua, (name, raw, native): (String, Table, Table)| -> mlua::Result<Value> {
        let text = match name.as_str() {
            "counted" => include_str!("counted.lua"),
            "load" => include_str!("load.lua"),
            _ => include_str!("tables.lua"),
        };
        internal(lua, text)?.call((raw, native))
    };
    let front = |lua: &Lua, (name, function): (String, Function)| bounds::bounded(lua, &name, &function);
    native.raw_set("bounded", lua.create_function(front)?)?;
    native.raw_set("part", lua.create_function(part)?)?;
    let (next, bare) = shortcuts::looks(lua)?;
    native.raw_set("next", next)?;
    native.raw_set("bare", bare)?;
    strings(lua, ctx, &native)?;
    crate::jobs::timers::for_prelude(lua, ctx, &native)?;
    let chunk = internal(lua, include_str!("prelude.lua"))?;
    let (environment, protect, base, protected) = chunk.call((lua.globals(), native, open))?;
    Ok(Sandbox { environment, protect, base, protected })
}

/// For the prelude: what is shared, and the notice of a change. Layers are told by script and
/// version.
fn strings(lua: &Lua, ctx: &Rc<Context>, native: &Table) -> mlua::Result<()> {
    let key = lua.create_string("__index")?;
    let own = ctx.clone();
    let share = move |_: &Lua, (metatable, plain): (Table, Table)| {
        metatable.raw_set(&key, &plain)?;
        own.strings.share(metatable, key.clone(), plain);
        Ok(())
    };
    native.raw_set("share_strings", lua.create_function(share)?)?;
    let own = ctx.clone();
    let adopt = move |_: &Lua, (layer, script, version): (Table, u32, i64)| {
        own.strings.adopt((ScriptId(script), version.cast_unsigned()), layer, own.frame.get());
        Ok(())
    };
    let adopt: Function = lua.create_function(adopt)?;
    native.raw_set("own_strings", adopt)
}

fn print(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Function> {
    const NOTICE: u8 = 5;
    let ctx = ctx.clone();
    lua.create_function(move |_, values: Variadic<Value>| {
        ctx.log(NOTICE, &crate::strings::text::joined(&values, "\t")?)
    })
}

/// The value that `pcall` gives for an error: raises again when the call is over, and makes text of
/// the runtime's own errors.
fn caught(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Function> {
    let ctx = ctx.clone();
    lua.create_function(move |lua, mut values: MultiValue| {
        if let Some(halt) = ctx.budget.halt.get() {
            return Err(halt.raise());
        }
        match values.front() {
            Some(Value::Error(error)) => {
                let parts = Parts::of(error);
                if let Some(halt) = parts.halt {
                    return Err(halt.raise());
                }
                let text = lua.create_string(parts.for_script())?;
                values[0] = Value::String(text);
            }
            Some(Value::String(text)) if &*text.as_bytes() == b"not enough memory" => {
                let limit = ctx.budget.limits.get().memory_bytes;
                return Err(ctx.budget.end(Halt::Memory(limit)).raise());
            }
            _ => {}
        }
        Ok(values)
    })
}

/// `(subject, pattern, init, anchored) -> start, end, captures…`, counted.
fn checked_find(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Function> {
    let ctx = ctx.clone();
    lua.create_function(move |lua, (subject, pattern, init, anchored): (LuaString, LuaString, i64, bool)| {
        ctx.budget.check().map_err(|halt| halt.raise())?;
        let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
        let Ok(init) = usize::try_from(init.max(1) - 1) else { return Ok(MultiValue::new()) };
        let found = match find(&subject, &pattern, init, anchored, &|| ctx.budget.check().is_err()) {
            Ok(found) => found,
            Err(Failure::Malformed(text)) => return Err(mlua::Error::runtime(text)),
            Err(Failure::Over) => {
                let halt = ctx.budget.halt.get().unwrap_or(Halt::Time(ctx.budget.time_ms.get()));
                return Err(halt.raise());
            }
        };
        let Some(found) = found else { return Ok(MultiValue::from_vec(vec![Value::Nil])) };
        let mut values = vec![Value::Integer(found.start as i64 + 1), Value::Integer(found.end as i64)];
        for capture in found.captures {
            values.push(match capture {
                Capture::Position(at) => Value::Integer(at as i64),
                Capture::Range(from, to) => Value::String(lua.create_string(&subject[from..to])?),
            });
        }
        Ok(MultiValue::from_vec(values))
    })
}

/// `(subject, text, init) -> start, end` in a time that grows with their lengths, not with the
/// product of them.
fn find_plain(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Function> {
    let ctx = ctx.clone();
    lua.create_function(move |_, (subject, text, init): (LuaString, LuaString, i64)| {
        ctx.budget.check().map_err(|halt| halt.raise())?;
        let (subject, text) = (subject.as_bytes(), text.as_bytes());
        let from = usize::try_from(init.max(1) - 1).unwrap_or(usize::MAX);
        let found = subject.get(from..).and_then(|rest| shortcuts::position(rest, &text));
        let ends = found.map(|at| [from + at + 1, from + at + text.len()]);
        Ok(ends.map_or_else(
            || MultiValue::from_vec(vec![Value::Nil]),
            |ends| ends.into_iter().map(|at| Value::Integer(at as i64)).collect(),
        ))
    })
}
