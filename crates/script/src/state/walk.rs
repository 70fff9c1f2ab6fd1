// SPDX-License-Identifier: Apache-2.0
//! The values that scripts can reach, for the test that each function of them is bounded
//! (`tests/walk`).
#![allow(unsafe_code)]

use mlua::{Table, Value, ffi};

use crate::error::ScriptError;
use crate::source::library::ScriptId;
use crate::state::held::LuaState;

impl LuaState {
    /// Names of all functions within reach of a script: from its globals, the request, what
    /// `require` gives by these names, and what these expressions give.
    #[doc(hidden)]
    pub fn reachable(
        &self,
        id: ScriptId,
        modules: &[&str],
        expressions: &[&str],
    ) -> Result<Vec<String>, ScriptError> {
        let loaded = self.current(id)?;
        self.walk(&loaded.env, modules, expressions)
            .map_err(|error| ScriptError::from_lua(&error, &loaded.label))
    }

    fn walk(&self, env: &Table, modules: &[&str], expressions: &[&str]) -> mlua::Result<Vec<String>> {
        let lua = &self.lua;
        // SAFETY: a protected call that leaves the library's table on the stack.
        let debug: Table = unsafe {
            lua.exec_raw((), |lua| {
                ffi::lua_pushcfunction(lua, ffi::luaopen_debug);
                ffi::lua_call(lua, 0, 1);
            })?
        };
        env.raw_set("r", &self.request)?;
        let evaluated = |expression: &str| -> mlua::Result<Value> {
            lua.load(format!("return {expression}")).set_environment(env.clone()).eval()
        };
        let mut roots = Vec::new();
        for expression in ["_G", "''", "r"].iter().chain(expressions) {
            let name = match *expression {
                "''" => "string",
                name => name.strip_prefix("_G").unwrap_or(name),
            };
            roots.push(
                lua.create_sequence_from([Value::String(lua.create_string(name)?), evaluated(expression)?])?,
            );
        }
        for module in modules {
            let value = evaluated(&format!("require('{module}')"))?;
            let name = Value::String(lua.create_string(format!("require('{module}')"))?);
            roots.push(lua.create_sequence_from([name, value])?);
        }
        env.raw_set("r", Value::Nil)?;
        let walker = crate::native::chunk::internal(lua, include_str!("walk.lua"))?;
        walker.call((lua.globals(), debug, lua.create_sequence_from(roots)?))
    }
}
