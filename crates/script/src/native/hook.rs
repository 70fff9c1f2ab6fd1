// SPDX-License-Identifier: Apache-2.0
//! The hook of Lua: looks at the clock, and ends calls that are over. It is set by the watch
//! (`crate::limits::watch`), for one look at a time; once a call is over it stays, and raises at
//! every instruction and every call until the call ends, in every coroutine.
//!
//! Errors and yields leave it by longjmp, so that it holds nothing that wants to be dropped (see
//! `crate::native::cfunctions`).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::ptr;
use std::rc::Rc;

use libc::{c_int, c_void};
use mlua::{Lua, ffi};

use crate::context::Context;
use crate::error::Halt;
use crate::native::cfunctions::{pointer, tried};

/// Addresses that stand for entries of Lua's registry.
static CONTEXT: u8 = 0;
static RAISE: u8 = 1;
/// The error that is raised once the first one of a call that is over is on its way: `<close>`
/// handlers may be many.
static AGAIN: u8 = 2;

/// Frames that are looked at for one of a script's file.
const FRAMES: c_int = 8;

enum Look {
    GoesOn,
    /// Others have their turn.
    Yields,
    Over,
}

fn key(of: &'static u8) -> *const c_void {
    ptr::from_ref(of).cast()
}

/// Lets the hook find the context, which outlives the state.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<()> {
    let own = Rc::downgrade(ctx);
    let raise = move |_: &Lua, ()| -> mlua::Result<()> {
        let halt = own.upgrade().and_then(|ctx| ctx.budget.halt.get());
        Err(halt.unwrap_or(Halt::Stopped).raise())
    };
    // SAFETY: a protected call with two values on the stack, which it takes away.
    unsafe {
        lua.exec_raw((pointer(ctx), lua.create_function(raise)?), |lua| {
            ffi::lua_rawsetp(lua, ffi::LUA_REGISTRYINDEX, key(&RAISE));
            ffi::lua_rawsetp(lua, ffi::LUA_REGISTRYINDEX, key(&CONTEXT));
        })
    }
}

/// The hook.
pub(crate) unsafe extern "C-unwind" fn on_event(lua: *mut ffi::lua_State, what: *mut ffi::lua_Debug) {
    // SAFETY: Lua has made room for twenty values. The context is there as long as Lua is.
    unsafe {
        ffi::lua_rawgetp(lua, ffi::LUA_REGISTRYINDEX, key(&CONTEXT));
        let ctx = ffi::lua_touserdata(lua, -1).cast::<Context>();
        ffi::lua_pop(lua, 1);
        let counted = (*what).event == ffi::LUA_HOOKCOUNT;
        if !counted && (*ctx).budget.is_plain_call() {
            return;
        }
        let may_yield = counted && ffi::lua_isyieldable(lua) != 0;
        let first = (*ctx).budget.halt.get().is_none();
        if first {
            note_place(lua, ctx);
        }
        match tried(|| Some(look(&*ctx, may_yield))) {
            Some(Look::GoesOn) => {}
            Some(Look::Yields) => {
                ffi::lua_yield(lua, 0);
            }
            Some(Look::Over) | None => {
                if first {
                    (*ctx).budget.ended_by_hook.set(true);
                }
                // Where there is no memory for the first error, the next look raises the other.
                if (*ctx).budget.raised.replace(true) {
                    ffi::lua_pushlightuserdata(lua, key(&AGAIN).cast_mut());
                    ffi::lua_error(lua);
                }
                ffi::lua_rawgetp(lua, ffi::LUA_REGISTRYINDEX, key(&RAISE));
                ffi::lua_call(lua, 0, 0);
            }
        }
    }
}

fn look(ctx: &Context, may_yield: bool) -> Look {
    let budget = &ctx.budget;
    if let Some(jobs) = &ctx.jobs {
        jobs.note_stop(budget);
    }
    if budget.check().is_err() {
        budget.arm();
        return Look::Over;
    }
    budget.looked();
    match &ctx.jobs {
        Some(jobs) if may_yield && jobs.turn_is_over(budget) => Look::Yields,
        _ => Look::GoesOn,
    }
}

/// Notes where the script is: the innermost frame that is a script's file.
///
/// # Safety
/// Within a hook of this state.
unsafe fn note_place(lua: *mut ffi::lua_State, ctx: *const Context) {
    const FIELDS: *const c_char = c"Sl".as_ptr();
    // SAFETY: Lua fills the structure, and the names in it are good while the frame is.
    unsafe {
        let mut frame: ffi::lua_Debug = std::mem::zeroed();
        for level in 0..FRAMES {
            if ffi::lua_getstack(lua, level, &mut frame) == 0
                || ffi::lua_getinfo(lua, FIELDS, &mut frame) == 0
            {
                return;
            }
            let (source, line) = (frame.source, frame.currentline);
            let noted = move || {
                let source = CStr::from_ptr(source).to_str().ok()?;
                Some((*ctx).budget.seen.note(source, usize::try_from(line).ok()?))
            };
            if tried(noted) == Some(true) {
                return;
            }
        }
    }
}
