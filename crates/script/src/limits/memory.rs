// SPDX-License-Identifier: Apache-2.0
//! Values that are made outside of the memory limit of the running call.

use mlua::Lua;

/// Makes a text that httpd has: a short one outside of the memory limit, see [`unlimited`].
pub(crate) fn text_of(lua: &Lua, bytes: &[u8]) -> mlua::Result<mlua::LuaString> {
    const SHORT: usize = 8 << 10;
    if bytes.len() > SHORT {
        return lua.create_string(bytes);
    }
    unlimited(lua, || lua.create_string(bytes))
}

/// Makes one value outside of the memory limit, which the rest of the call meets all the same:
/// under a limit Lua allocates in protected calls, which cost more than a short string does. For
/// values that httpd bounds already.
pub(crate) fn unlimited<T>(lua: &Lua, make: impl FnOnce() -> T) -> T {
    let limit = lua.set_memory_limit(0);
    let made = make();
    if let Ok(limit) = limit {
        lua.set_memory_limit(limit).ok();
    }
    made
}
