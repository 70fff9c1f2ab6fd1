// SPDX-License-Identifier: Apache-2.0
//! The function that each job begins with. mlua makes the text of an error when the coroutine has
//! died, in another one, where no hook is called: a `__tostring` that does not end would be stuck.
//! So the text is made within the job, under its limits.
//!
//! Errors leave these functions by longjmp, as with all of Lua's: see `crate::native::cfunctions`.
#![allow(unsafe_code)]

use std::ptr;
use std::rc::Rc;

use libc::c_int;
use mlua::{Function, Lua, Value, ffi};

use crate::context::Context;
use crate::native::cfunctions::closure;
use crate::native::chunk::internal;

/// Its name among the modules of a state.
const BEGIN: &str = "begin of jobs";

/// `(function, arguments…)`: calls the function. An error is raised again as a text with its
/// traceback; one of the runtime's own is raised as it was.
pub(crate) fn begin(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Function> {
    if let Some(Value::Function(known)) = ctx.modules.borrow().get(BEGIN) {
        return Ok(known.clone());
    }
    let explained = closure(lua, explained, ())?;
    let begin: Function = internal(lua, include_str!("job.lua"))?.call((explained, lua.globals()))?;
    ctx.modules.borrow_mut().insert(BEGIN.to_owned(), Value::Function(begin.clone()));
    Ok(begin)
}

/// The handler of `xpcall`: the text of an error with its traceback.
unsafe extern "C-unwind" fn explained(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: called by Lua with the error alone; there is room for twenty values.
    unsafe {
        // The runtime's own errors say where they were raised.
        if matches!(ffi::lua_type(lua, 1), ffi::LUA_TUSERDATA | ffi::LUA_TLIGHTUSERDATA) {
            return 1;
        }
        // It may run a script's `__tostring`, and raise.
        let text = ffi::luaL_tolstring(lua, 1, ptr::null_mut());
        ffi::luaL_traceback(lua, lua, text, 1);
        1
    }
}
