// SPDX-License-Identifier: Apache-2.0
//! A function in front of those that take any number of arguments, each of which costs something no
//! hook interrupts: too many of them, or too much text, is an error of the script.
//!
//! Errors leave it by longjmp: see `crate::native::cfunctions`.
#![allow(unsafe_code)]

use std::ffi::CStr;

use libc::c_int;
use mlua::{Function, Lua, ffi};

use crate::native::cfunctions::{bytes, closure, long_way, upvalue};

/// The limits of one call's arguments.
struct Bound {
    name: &'static str,
    arguments: c_int,
    /// The most bytes of all arguments that are text.
    bytes: usize,
    /// The most bytes of the first one, which is the format.
    format: usize,
}

const BOUNDS: [Bound; 7] = [
    Bound { name: "char", arguments: 100_000, bytes: 64 << 10, format: usize::MAX },
    Bound { name: "max", arguments: 250_000, bytes: 64 << 10, format: usize::MAX },
    Bound { name: "pack", arguments: 1_000, bytes: 4 << 20, format: 16 << 10 },
    Bound { name: "unpack", arguments: 1_000, bytes: usize::MAX, format: 16 << 10 },
    Bound { name: "date", arguments: 1_000, bytes: usize::MAX, format: 4 << 10 },
    Bound { name: "format", arguments: 1_000, bytes: 4 << 20, format: 1 << 20 },
    Bound { name: "many", arguments: 1_000, bytes: usize::MAX, format: usize::MAX },
];
/// Bytes that `%q` may be given: each may become a number of its own.
const MOST_QUOTED: usize = 256 << 10;

/// The function in front of another one, by the name of a bound.
pub(crate) fn bounded(lua: &Lua, name: &str, function: &Function) -> mlua::Result<Function> {
    let Some(nth) = BOUNDS.iter().position(|bound| bound.name == name) else {
        return Err(mlua::Error::runtime(format!("no bound '{name}'")));
    };
    closure(lua, front, (nth, function))
}

/// The fault of the arguments.
///
/// # Safety
/// Called by Lua.
unsafe fn excess(lua: *mut ffi::lua_State, bound: &Bound) -> Option<&'static CStr> {
    // SAFETY: looks at the arguments, and changes nothing.
    unsafe {
        let count = ffi::lua_gettop(lua);
        if count > bound.arguments {
            return Some(c"too many arguments");
        }
        let is_text = |nth: &c_int| ffi::lua_type(lua, *nth) == ffi::LUA_TSTRING;
        let text: usize = (1..=count).filter(is_text).map(|nth| ffi::lua_rawlen(lua, nth)).sum();
        let format = if is_text(&1) { ffi::lua_rawlen(lua, 1) } else { 0 };
        if text > bound.bytes || format > bound.format {
            return Some(c"too much text in the arguments");
        }
        let quotes = bound.name == "format"
            && text > MOST_QUOTED
            && bytes(lua, 1).is_some_and(|format| format.windows(2).any(|pair| pair == b"%q"));
        quotes.then_some(c"more than 256 KiB of text for '%q'")
    }
}

/// Whether the function has no upvalues, so that it can do without being called.
///
/// # Safety
/// For [`front`].
unsafe fn is_plain(lua: *mut ffi::lua_State) -> bool {
    // SAFETY: the stack is left as it was.
    unsafe {
        let plain = ffi::lua_getupvalue(lua, upvalue(2), 1).is_null();
        if !plain {
            ffi::lua_pop(lua, 1);
        }
        plain
    }
}

/// Upvalues: the place in [`BOUNDS`], the function.
unsafe extern "C-unwind" fn front(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua. Lua's own functions use their arguments and nothing else, so that they
    // can run in this frame, and their errors name the script's line.
    unsafe {
        let nth = ffi::lua_tointegerx(lua, upvalue(1), std::ptr::null_mut()) as usize;
        if let Some(bound) = BOUNDS.get(nth)
            && let Some(why) = excess(lua, bound)
        {
            return ffi::luaL_error(lua, c"%s".as_ptr(), why.as_ptr());
        }
        match ffi::lua_tocfunction(lua, upvalue(2)) {
            Some(plain) if is_plain(lua) => plain(lua),
            _ => long_way(lua, 2),
        }
    }
}
