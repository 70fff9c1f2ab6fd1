// SPDX-License-Identifier: Apache-2.0
//! httpd's tables of the request: headers, notes, environment.

use std::rc::Rc;

use messages::Message;
use mlua::{Lua, LuaString, Table, Value};

use crate::context::Context;
use crate::host;
use crate::limits::memory::text_of;

/// The bytes that an entry of a table of the request takes beside its texts.
pub(crate) const ENTRY_BYTES: usize = 64;

const TABLES: [(&str, host::RequestTable); 5] = [
    ("headers_in", host::RequestTable::HeadersIn),
    ("headers_out", host::RequestTable::HeadersOut),
    ("err_headers_out", host::RequestTable::ErrHeadersOut),
    ("notes", host::RequestTable::Notes),
    ("subprocess_env", host::RequestTable::SubprocessEnv),
];

/// The table objects by name; one of each for all requests.
pub(crate) fn objects(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Vec<(&'static str, Table)>> {
    TABLES.iter().map(|(name, table)| Ok((*name, object(lua, ctx, *table, name)?))).collect()
}

/// `r:headers_in_table()` and its kin: copies, as two tables.
pub(crate) fn copies(lua: &Lua, ctx: &Rc<Context>, methods: &Table) -> mlua::Result<()> {
    for (name, table) in TABLES {
        let own = ctx.clone();
        let copy =
            lua.create_function(move |lua, ()| two_tables(lua, &own, pairs(&own, table)?.into_iter()))?;
        methods.raw_set(format!("{name}_table"), copy)?;
    }
    Ok(())
}

/// `{k = first value}` and `{k = {all values}}`.
pub(crate) fn two_tables(
    lua: &Lua,
    ctx: &Context,
    pairs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
) -> mlua::Result<(Table, Table)> {
    let (first, all) = (lua.create_table()?, lua.create_table()?);
    let mut steps = 0;
    for (key, value) in pairs {
        ctx.step(&mut steps)?;
        let (key, value) = (lua.create_string(key)?, lua.create_string(value)?);
        match all.raw_get::<Option<Table>>(&key)? {
            Some(list) => list.raw_push(value)?,
            None => {
                first.raw_set(&key, &value)?;
                all.raw_set(&key, lua.create_sequence_from([value])?)?;
            }
        }
    }
    Ok((first, all))
}

/// All pairs of a table.
pub(crate) fn pairs(ctx: &Context, table: host::RequestTable) -> mlua::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut pairs = Vec::new();
    let mut bytes = 0;
    ctx.request()?.each(table, &mut |key, value| {
        bytes += key.len() + value.len() + ENTRY_BYTES;
        pairs.push((key.to_vec(), value.to_vec()));
        true
    });
    ctx.spend(bytes)?;
    Ok(pairs)
}

/// The first value of a key, nil when there is none.
pub(crate) fn get(lua: &Lua, ctx: &Context, table: host::RequestTable, key: &[u8]) -> mlua::Result<Value> {
    let mut value = Ok(Value::Nil);
    ctx.request()?.get(table, key, &mut |bytes| {
        if let Some(bytes) = bytes {
            value = text_of(lua, bytes).map(Value::String);
        }
    });
    value
}

/// Sets a key, or unsets it for nil. In headers a control character of the value becomes a space,
/// with a warning, so that nothing a client sent can start a header of its own.
pub(crate) fn set(ctx: &Context, table: host::RequestTable, key: &[u8], value: &Value) -> mlua::Result<()> {
    let bytes = match value {
        Value::Nil => None,
        Value::String(text) => {
            ctx.spend(text.as_bytes().len())?;
            Some(text.as_bytes().to_vec())
        }
        Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => Some(value.to_string()?.into_bytes()),
        other => {
            return Err(mlua::Error::runtime(format!(
                "{}: expected a string or nil, found a {}",
                String::from_utf8_lossy(key),
                other.type_name()
            )));
        }
    };
    ctx.spend(bytes.as_ref().map_or(0, |_| key.len() + ENTRY_BYTES))?;
    let header = matches!(
        table,
        host::RequestTable::HeadersIn | host::RequestTable::HeadersOut | host::RequestTable::ErrHeadersOut
    );
    if header && (key.is_empty() || key.iter().any(|byte| *byte <= b' ' || *byte == b':' || *byte == 0x7f)) {
        let name = String::from_utf8_lossy(key);
        return Err(mlua::Error::runtime(format!("{name:?} is not the name of a header")));
    }
    let bytes = bytes.map(|bytes| if header { without_controls(ctx, key, bytes) } else { bytes });
    ctx.request()?.set(table, key, bytes.as_deref()).map_err(mlua::Error::runtime)
}

fn without_controls(ctx: &Context, key: &[u8], mut bytes: Vec<u8>) -> Vec<u8> {
    const CLEANED: &Message = messages::scripts::HEADER_CLEANED;
    let bad = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
    if bytes.iter().any(bad) {
        for byte in bytes.iter_mut().filter(|byte| bad(byte)) {
            *byte = b' ';
        }
        let name = String::from_utf8_lossy(key);
        let text = format!("a script set header {name} to a value with a line end; it became a space");
        let line = CLEANED.line(&text);
        if ctx.budget.may_log(line.len()) {
            ctx.server.log(CLEANED.level(), &line);
        }
    }
    bytes
}

fn object(lua: &Lua, ctx: &Rc<Context>, table: host::RequestTable, name: &str) -> mlua::Result<Table> {
    let methods = lua.create_table()?;
    let own = ctx.clone();
    let get_value = move |lua: &Lua, (_, key): (bool, LuaString)| get(lua, &own, table, &key.as_bytes());
    methods.raw_set("get", lua.create_function(get_value)?)?;
    let own = ctx.clone();
    let set_value = lua.create_function(move |_, (_, key, value): (bool, LuaString, Value)| {
        set(&own, table, &key.as_bytes(), &value)
    })?;
    methods.raw_set("set", &set_value)?;
    let fields = lua.create_table()?;
    fields.raw_set("__index", methods.raw_get::<mlua::Function>("get")?)?;
    methods.set_metatable(Some(fields))?;

    let meta = lua.create_table()?;
    meta.raw_set("__index", methods)?;
    meta.raw_set("__newindex", set_value)?;
    let own = ctx.clone();
    meta.raw_set(
        "__pairs",
        lua.create_function(move |lua, _: bool| {
            let mut rest = pairs(&own, table)?.into_iter();
            lua.create_function_mut(move |lua, ()| match rest.next() {
                Some((key, value)) => {
                    Ok((Value::String(lua.create_string(key)?), Value::String(lua.create_string(value)?)))
                }
                None => Ok((Value::Nil, Value::Nil)),
            })
        })?,
    )?;
    meta.raw_set("__metatable", false)?;
    meta.raw_set("__name", format!("r.{name}"))?;
    let object = lua.create_table()?;
    object.set_metatable(Some(meta))?;
    Ok(object)
}
