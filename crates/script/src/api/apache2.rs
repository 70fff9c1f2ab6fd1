// SPDX-License-Identifier: Apache-2.0
//! The global `apache2`: mod_lua's constants, with the values that mod_lua gives them.

use mlua::{Lua, Table};

const NUMBERS: [(&str, i64); 13] = [
    ("OK", 0),
    ("DECLINED", -1),
    ("DONE", -2),
    ("HTTP_MOVED_TEMPORARILY", 302),
    ("PROXYREQ_NONE", 0),
    ("PROXYREQ_PROXY", 1),
    ("PROXYREQ_REVERSE", 2),
    ("PROXYREQ_RESPONSE", 3),
    ("AUTHZ_DENIED", 0),
    ("AUTHZ_GRANTED", 1),
    ("AUTHZ_NEUTRAL", 2),
    ("AUTHZ_GENERAL_ERROR", 3),
    ("AUTHZ_DENIED_NO_USER", 4),
];

/// A new table of them.
pub(crate) fn constants(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, NUMBERS.len() + 1)?;
    for (name, value) in NUMBERS {
        table.raw_set(name, value)?;
    }
    table.raw_set("version", concat!("mod_lua_balancer/", env!("CARGO_PKG_VERSION")))?;
    Ok(table)
}
