// SPDX-License-Identifier: Apache-2.0
//! `coroutine.resume`, `wrap` and `close`: as Lua's own, but for two things. They say which
//! coroutine runs (`crate::limits::watch`), and one whose call was over while it ran is not closed
//! any more: no hook is called in it, so that what its variables run at their end had no limit.
//!
//! Errors leave these functions by longjmp, as with all of Lua's: see `crate::native::cfunctions`.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;
use std::rc::Rc;

use libc::c_int;
use mlua::{Function, Lua, Table, Value, ffi};

use crate::context::Context;
use crate::native::cfunctions::{closure, pointer, upvalue};

unsafe extern "C-unwind" {
    /// Lua 5.4.6 and later have it; mlua knows it of the Lua that it builds itself.
    fn lua_closethread(coroutine: *mut ffi::lua_State, from: *mut ffi::lua_State) -> c_int;
}

const TOO_MANY: &CStr = c"too many arguments to resume";
const TOO_MANY_RESULTS: &CStr = c"too many results to resume";
const SPOILED: &CStr = c"this coroutine was stopped, and cannot be closed";

/// Puts the functions into a table. With `caught` (see the prelude), what `resume` and `close` give
/// of an error has gone through it.
pub(crate) fn install(
    lua: &Lua,
    ctx: &Rc<Context>,
    table: &Table,
    caught: Option<&Function>,
) -> mlua::Result<()> {
    let caught = caught.map_or(Value::Boolean(false), |caught| Value::Function(caught.clone()));
    table.raw_set("resume", closure(lua, resume, (pointer(ctx), &caught))?)?;
    table.raw_set("close", closure(lua, close, (pointer(ctx), &caught))?)?;
    table.raw_set("wrap", closure(lua, wrap, pointer(ctx))?)
}

/// The hook of a coroutine that was stopped: a mark, since a dead coroutine calls none.
unsafe extern "C-unwind" fn spoiled(lua: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: never called; a hook may take itself off.
    unsafe { ffi::lua_sethook(lua, None, 0, 0) };
}

/// # Safety
/// A coroutine that lives.
unsafe fn is_spoiled(coroutine: *mut ffi::lua_State) -> bool {
    // SAFETY: as above.
    unsafe { ffi::lua_gethook(coroutine) }.is_some_and(|hook| hook as usize == spoiled as *const () as usize)
}

/// Runs a part of a coroutine with its place in the watch.
///
/// # Safety
/// For C functions whose first upvalue is the context. `part` leaves by no longjmp.
unsafe fn in_place(
    lua: *mut ffi::lua_State,
    coroutine: *mut ffi::lua_State,
    part: impl FnOnce() -> c_int,
) -> c_int {
    // SAFETY: the context is there, see `pointer`. The coroutine is on the stack of who runs it.
    unsafe {
        let ctx = ffi::lua_touserdata(lua, upvalue(1)).cast::<Context>();
        let budget = &(*ctx).budget;
        let Some(watched) = budget.watched.get() else { return part() };
        let before = watched.goes_to(coroutine);
        let status = part();
        watched.comes_back(before);
        if status > ffi::LUA_YIELD && budget.is_stopped() {
            ffi::lua_sethook(coroutine, Some(spoiled), ffi::LUA_MASKCOUNT, c_int::MAX);
        }
        status
    }
}

/// Resumes a coroutine with the uppermost values, and gives the number of its results; -1 and the
/// error on the stack.
///
/// # Safety
/// As with [`in_place`].
unsafe fn run(lua: *mut ffi::lua_State, coroutine: *mut ffi::lua_State, arguments: c_int) -> c_int {
    // SAFETY: room is looked for before values are moved.
    unsafe {
        if ffi::lua_checkstack(coroutine, arguments) == 0 {
            ffi::lua_pushstring(lua, TOO_MANY.as_ptr());
            return -1;
        }
        ffi::lua_xmove(lua, coroutine, arguments);
        let mut results = 0;
        let status = in_place(lua, coroutine, || ffi::lua_resume(coroutine, lua, arguments, &mut results));
        if status > ffi::LUA_YIELD {
            ffi::lua_xmove(coroutine, lua, 1);
            return -1;
        }
        if ffi::lua_checkstack(lua, results + 1) == 0 {
            ffi::lua_pop(coroutine, results);
            ffi::lua_pushstring(lua, TOO_MANY_RESULTS.as_ptr());
            return -1;
        }
        ffi::lua_xmove(coroutine, lua, results);
        results
    }
}

/// The first argument.
///
/// # Safety
/// For C functions that Lua has called.
unsafe fn coroutine_of(lua: *mut ffi::lua_State) -> *mut ffi::lua_State {
    // SAFETY: raises when it is not a coroutine.
    unsafe {
        ffi::luaL_checktype(lua, 1, ffi::LUA_TTHREAD);
        ffi::lua_tothread(lua, 1)
    }
}

/// `false` and the error on top of the stack, as scripts get it.
///
/// # Safety
/// For C functions whose second upvalue is `caught` or false.
unsafe fn failed(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: the error is on the stack; a C function has room for more.
    unsafe {
        if ffi::lua_type(lua, upvalue(2)) == ffi::LUA_TFUNCTION {
            ffi::lua_pushvalue(lua, upvalue(2));
            ffi::lua_insert(lua, -2);
            ffi::lua_call(lua, 1, 1);
        }
        ffi::lua_pushboolean(lua, 0);
        ffi::lua_insert(lua, -2);
        2
    }
}

/// `coroutine.resume`. Upvalues: the context, caught.
unsafe extern "C-unwind" fn resume(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let coroutine = coroutine_of(lua);
        let results = run(lua, coroutine, ffi::lua_gettop(lua) - 1);
        if results < 0 {
            return failed(lua);
        }
        ffi::lua_pushboolean(lua, 1);
        ffi::lua_insert(lua, -(results + 1));
        results + 1
    }
}

/// `coroutine.wrap`. Upvalue: the context.
unsafe extern "C-unwind" fn wrap(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua; the new coroutine is on the stack before anything else is made.
    unsafe {
        ffi::luaL_checktype(lua, 1, ffi::LUA_TFUNCTION);
        ffi::lua_pushvalue(lua, upvalue(1));
        let coroutine = ffi::lua_newthread(lua);
        ffi::lua_pushvalue(lua, 1);
        ffi::lua_xmove(lua, coroutine, 1);
        ffi::lua_pushcclosure(lua, wrapped, 2);
        1
    }
}

/// The function that `coroutine.wrap` gives. Upvalues: the context, the coroutine.
unsafe extern "C-unwind" fn wrapped(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let coroutine = ffi::lua_tothread(lua, upvalue(2));
        let results = run(lua, coroutine, ffi::lua_gettop(lua));
        if results >= 0 {
            return results;
        }
        let mut status = ffi::lua_status(coroutine);
        if status > ffi::LUA_YIELD && !is_spoiled(coroutine) {
            status = in_place(lua, coroutine, || lua_closethread(coroutine, lua));
            ffi::lua_xmove(coroutine, lua, 1);
        }
        if status != ffi::LUA_ERRMEM && ffi::lua_type(lua, -1) == ffi::LUA_TSTRING {
            ffi::luaL_where(lua, 1);
            ffi::lua_insert(lua, -2);
            ffi::lua_concat(lua, 2);
        }
        ffi::lua_error(lua)
    }
}

/// Why a coroutine cannot be closed; None when it can.
///
/// # Safety
/// A coroutine that lives.
unsafe fn in_use(lua: *mut ffi::lua_State, coroutine: *mut ffi::lua_State) -> Option<&'static CStr> {
    // SAFETY: as above; the structure is filled by Lua.
    unsafe {
        if ptr::eq(lua, coroutine) {
            return Some(c"cannot close a running coroutine");
        }
        let mut frame: ffi::lua_Debug = std::mem::zeroed();
        let has_frames =
            ffi::lua_status(coroutine) == ffi::LUA_OK && ffi::lua_getstack(coroutine, 0, &mut frame) != 0;
        has_frames.then_some(c"cannot close a normal coroutine")
    }
}

/// `coroutine.close`. Upvalues: the context, caught.
unsafe extern "C-unwind" fn close(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua.
    unsafe {
        let coroutine = coroutine_of(lua);
        if let Some(why) = in_use(lua, coroutine) {
            return ffi::luaL_error(lua, why.as_ptr());
        }
        if is_spoiled(coroutine) {
            ffi::lua_pushstring(lua, SPOILED.as_ptr());
            return failed(lua);
        }
        if in_place(lua, coroutine, || lua_closethread(coroutine, lua)) == ffi::LUA_OK {
            ffi::lua_pushboolean(lua, 1);
            return 1;
        }
        ffi::lua_xmove(coroutine, lua, 1);
        failed(lua)
    }
}
