// SPDX-License-Identifier: Apache-2.0
//! The parts of functions that Lua calls directly.
//!
//! Lua's errors leave a C function by longjmp. So such functions hold nothing that wants to be
//! dropped, and call parts of the runtime only through [`tried`], out of which neither errors nor
//! panics come.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use libc::c_int;
use mlua::{Function, LightUserData, Lua, ffi};

use crate::context::Context;

/// The result of a part of the runtime; None when it panicked.
pub(crate) fn tried<T>(part: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(part)).unwrap_or(None)
}

/// The context as an upvalue. It outlives the state: [`LuaState`](crate::LuaState) has both, and
/// drops Lua first.
pub(crate) fn pointer(ctx: &Rc<Context>) -> LightUserData {
    LightUserData(Rc::as_ptr(ctx).cast_mut().cast())
}

pub(crate) fn upvalue(nth: c_int) -> c_int {
    ffi::lua_upvalueindex(nth)
}

/// The bytes of an argument; None when it is not a string.
///
/// # Safety
/// The slice is good for as long as the argument stays on the stack.
pub(crate) unsafe fn bytes<'a>(lua: *mut ffi::lua_State, argument: c_int) -> Option<&'a [u8]> {
    // SAFETY: a string's bytes stay where they are while it is on the stack; for a string,
    // tolstring changes nothing.
    unsafe {
        if ffi::lua_type(lua, argument) != ffi::LUA_TSTRING {
            return None;
        }
        let mut length = 0;
        let start = ffi::lua_tolstring(lua, argument, &mut length);
        (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast::<u8>(), length))
    }
}

/// Calls an upvalue with all arguments, and gives the number of its results, which are all that is
/// on the stack then.
///
/// # Safety
/// For C functions that Lua has called, with nothing but their arguments on the stack.
pub(crate) unsafe fn long_way(lua: *mut ffi::lua_State, function: c_int) -> c_int {
    // SAFETY: a C function has room for twenty values more than its arguments.
    unsafe {
        let arguments = ffi::lua_gettop(lua);
        ffi::lua_pushvalue(lua, upvalue(function));
        ffi::lua_insert(lua, 1);
        ffi::lua_call(lua, arguments, ffi::LUA_MULTRET);
        ffi::lua_gettop(lua)
    }
}

/// A C function with these upvalues.
pub(crate) fn closure(
    lua: &Lua,
    function: ffi::lua_CFunction,
    upvalues: impl mlua::IntoLuaMulti,
) -> mlua::Result<Function> {
    // SAFETY: the upvalues are all that is on the stack, and the closure is all that is left there.
    unsafe { lua.exec_raw(upvalues, |lua| ffi::lua_pushcclosure(lua, function, ffi::lua_gettop(lua))) }
}
