// SPDX-License-Identifier: Apache-2.0
//! Lua's text made into functions.

use mlua::{Function, Lua, Table};

use crate::error::{ErrorKind, INTERNAL, ScriptError};

/// A file of the runtime's own Lua, without names and lines for a debugger: they are a fifth of
/// what it holds.
pub(crate) fn internal(lua: &Lua, text: &str) -> mlua::Result<Function> {
    let whole = lua.load(text).set_name(format!("={INTERNAL}")).into_function()?;
    lua.load(whole.dump(true)).set_name(format!("={INTERNAL}")).into_function()
}

/// Compiles source, never byte code.
pub(crate) fn compile(
    lua: &Lua,
    path: &str,
    text: &[u8],
    env: Option<Table>,
) -> Result<Function, ScriptError> {
    let text = match text.strip_prefix(b"#") {
        // A first line that starts with # is skipped, as lua itself does; the line count stays.
        Some(rest) => &rest[rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())..],
        None => text,
    };
    let chunk = lua.load(text).set_name(format!("@{path}")).set_mode(mlua::chunk::ChunkMode::Text);
    let chunk = match env {
        Some(env) => chunk.set_environment(env),
        None => chunk,
    };
    chunk.into_function().map_err(|error| {
        let mut error = ScriptError::from_lua(&error, path);
        error.kind = ErrorKind::Load;
        error
    })
}
