// SPDX-License-Identifier: Apache-2.0
//! The reply to a job's wait, as scripts get it.

use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserData, Value};

use crate::context::wait::{Connection, HttpAnswer, Reply};

/// A connection on its way to the script's socket.
pub(crate) struct Held(pub(crate) Connection);
impl UserData for Held {}

impl Reply {
    pub(crate) fn into_values(self, lua: &Lua) -> mlua::Result<MultiValue> {
        let failed = |why: String| (Value::Nil, why).into_lua_multi(lua);
        match self {
            Reply::Nothing | Reply::Slept => Ok(MultiValue::new()),
            Reply::Http(Ok(answer)) => answer_table(lua, &answer)?.into_lua_multi(lua),
            Reply::Connected(Ok(connection)) => lua.create_userdata(Held(connection))?.into_lua_multi(lua),
            Reply::Resolved(Ok(addresses)) => lua.create_sequence_from(addresses)?.into_lua_multi(lua),
            Reply::Sent(Ok(())) => true.into_lua_multi(lua),
            Reply::Received(Ok(data)) => lua.create_string(data)?.into_lua_multi(lua),
            Reply::Http(Err(why))
            | Reply::Connected(Err(why))
            | Reply::Resolved(Err(why))
            | Reply::Sent(Err(why))
            | Reply::Received(Err(why)) => failed(why),
        }
    }
}

fn answer_table(lua: &Lua, answer: &HttpAnswer) -> mlua::Result<Table> {
    let headers = lua.create_table_with_capacity(0, answer.headers.len())?;
    for (name, value) in &answer.headers {
        let name = name.to_ascii_lowercase();
        let value = match headers.raw_get::<Option<LuaString>>(name.as_str())? {
            Some(before) => [&before.as_bytes(), b", ".as_slice(), value].concat(),
            None => value.clone(),
        };
        headers.raw_set(name, lua.create_string(value)?)?;
    }
    let table = lua.create_table_with_capacity(0, 3)?;
    table.raw_set("status", answer.status)?;
    table.raw_set("headers", headers)?;
    table.raw_set("body", lua.create_string(&answer.body)?)?;
    Ok(table)
}
