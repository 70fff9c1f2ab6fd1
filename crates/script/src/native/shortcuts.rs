// SPDX-License-Identifier: Apache-2.0
//! C functions for what scripts call most, where the way through mlua costs several times the work
//! itself. Each knows the plain case and leaves all others (errors, panics, other arguments, no
//! request) to the function that mlua made. How errors leave them: see `crate::native::cfunctions`.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;
use std::rc::Rc;

use balance::api::Query;
use libc::{c_int, c_void};
use mlua::{AnyUserData, Function, Lua, Table, ffi};

use crate::context::Context;
use crate::decision::picks::{BY_KEY, Left, PICKS};
use crate::host;
use crate::native::cfunctions::{bytes, closure, long_way, pointer, tried, upvalue};
use crate::strings::pattern::longest_direct;
use crate::strings::text;

/// Patterns that are remembered at most.
const MOST_PATTERNS: i64 = 500;
/// Bytes of the longest one: clients send longer texts, and a script searches by them.
const MOST_PATTERN: usize = 128;
/// Bytes of a cookie's value that fit in a frame; longer ones go the long way.
const MOST_COOKIE: usize = 256;

/// Bytes that a number has as text, at most.
const LONGEST_NUMBER: ffi::lua_Integer = 32;

// Looking into tables.

/// For the prelude's layers: a maker of `next`, which has a table with a metatable looked at before
/// its first key is told; and what takes a table's metatable off, protected or not.
pub(crate) fn looks(lua: &Lua) -> mlua::Result<(Function, Function)> {
    Ok((closure(lua, with_look, ())?, closure(lua, bare, ())?))
}

/// `(table)`.
unsafe extern "C-unwind" fn bare(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls it; the first argument is a table when its metatable goes.
    unsafe {
        ffi::luaL_checktype(lua, 1, ffi::LUA_TTABLE);
        ffi::lua_pushnil(lua);
        ffi::lua_setmetatable(lua, 1);
    }
    0
}

/// `(look) -> next`.
unsafe extern "C-unwind" fn with_look(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls it with one argument, which becomes the upvalue.
    unsafe {
        ffi::lua_settop(lua, 1);
        ffi::lua_pushcclosure(lua, next_key, 1);
    }
    1
}

/// `next`. Upvalue: `(table)`, to be called for one with a metatable.
unsafe extern "C-unwind" fn next_key(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls it; the stack has room for what is pushed, and the first argument is a
    // table when `lua_next` is asked.
    unsafe {
        ffi::luaL_checktype(lua, 1, ffi::LUA_TTABLE);
        ffi::lua_settop(lua, 2);
        if ffi::lua_type(lua, 2) == ffi::LUA_TNIL && ffi::lua_getmetatable(lua, 1) != 0 {
            ffi::lua_pushvalue(lua, upvalue(1));
            ffi::lua_pushvalue(lua, 1);
            ffi::lua_call(lua, 1, 0);
            ffi::lua_settop(lua, 2);
        }
        if ffi::lua_next(lua, 1) != 0 {
            return 2;
        }
        ffi::lua_pushnil(lua);
        1
    }
}

// Fields and methods of objects.

/// Gives objects of this type fields beside their methods: `fields` is called with an object and a
/// key that names no method. Returns the table of methods; an error when there is none.
pub(crate) fn with_fields(lua: &Lua, object: &AnyUserData, fields: Function) -> mlua::Result<Table> {
    const INDEX: &CStr = c"__index";
    // SAFETY: a protected call with two values on the stack; it leaves one.
    unsafe {
        lua.exec_raw((object, fields), |lua| {
            ffi::lua_getmetatable(lua, 1);
            ffi::lua_pushstring(lua, INDEX.as_ptr());
            if ffi::lua_rawget(lua, 3) != ffi::LUA_TTABLE {
                ffi::lua_settop(lua, 0);
                return;
            }
            ffi::lua_pushstring(lua, INDEX.as_ptr());
            ffi::lua_pushvalue(lua, 4);
            ffi::lua_pushvalue(lua, 2);
            ffi::lua_pushcclosure(lua, index, 2);
            ffi::lua_rawset(lua, 3);
            ffi::lua_replace(lua, 1);
            ffi::lua_settop(lua, 1);
        })
    }
}

/// `__index`. Upvalues: methods, fields.
unsafe extern "C-unwind" fn index(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls it with two arguments.
    unsafe {
        ffi::lua_pushvalue(lua, 2);
        if ffi::lua_rawget(lua, upvalue(1)) != ffi::LUA_TNIL {
            return 1;
        }
        ffi::lua_settop(lua, 2);
        long_way(lua, 2)
    }
}

// Picks.

/// Puts the short ways of picks into the pools' methods. `show` gives what a pick of a pool gives,
/// for `Shortcuts::take_picked`.
pub(crate) fn picks(lua: &Lua, ctx: &Rc<Context>, methods: &Table, show: &Function) -> mlua::Result<()> {
    let members = ctx.shortcuts.members(lua)?;
    members.raw_set(0, show)?;
    for (nth, (name, _)) in PICKS.iter().enumerate() {
        let long: Function = methods.raw_get(*name)?;
        methods.raw_set(*name, closure(lua, pick, (pointer(ctx), nth, members, long))?)?;
    }
    Ok(())
}

enum Picked {
    /// A member whose object is there, at this index.
    Known(ffi::lua_Integer),
    /// It is in `Shortcuts::picked`.
    Left,
}

fn picked(ctx: &Context, at: *const c_void, nth: usize, key: &[u8]) -> Option<Picked> {
    let method = &PICKS.get(nth)?.1;
    let pools = ctx.shortcuts.pools.borrow();
    let place = pools.binary_search_by_key(&at, |(object, _)| *object).ok()?;
    let pool = pools.get(place)?.1.get()?;
    let mut picked = None;
    let query = Query { pool, view: None, method, key, avoid: &[] };
    let pick = ctx.balancer.pick_for(query, &mut |member| {
        ctx.asked.note(member.slot, pool, nth, key);
        let slot = member.slot as usize;
        let members = ctx.members.borrow();
        let known = members.get(slot).and_then(Option::as_ref);
        picked = Some(match known.is_some_and(|(incarnation, _)| *incarnation == member.incarnation) {
            true => Picked::Known(slot as ffi::lua_Integer + 1),
            false => {
                *ctx.shortcuts.picked.borrow_mut() = Some(Left::New(member.clone()));
                Picked::Left
            }
        });
    });
    match pick {
        Ok(()) => picked,
        Err(error) => {
            *ctx.shortcuts.picked.borrow_mut() = Some(Left::None(pool, error));
            Some(Picked::Left)
        }
    }
}

/// `pool:method()`, `pool:method(key)`. Upvalues: the context, the method's place in [`PICKS`],
/// members, the long way.
unsafe extern "C-unwind" fn pick(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: the context is there, see `pointer`.
    unsafe {
        let ctx = ffi::lua_touserdata(lua, upvalue(1)).cast::<Context>();
        let nth = ffi::lua_tointegerx(lua, upvalue(2), ptr::null_mut()) as usize;
        let key = match nth < BY_KEY {
            true => Some(b"".as_slice()),
            false => bytes(lua, 2).filter(|key| !key.is_empty() && ffi::lua_gettop(lua) == 2),
        };
        if let Some(key) = key
            && ffi::lua_type(lua, 1) == ffi::LUA_TUSERDATA
        {
            let at = ffi::lua_topointer(lua, 1);
            match tried(|| picked(&*ctx, at, nth, key)) {
                Some(Picked::Known(index)) => {
                    ffi::lua_rawgeti(lua, upvalue(3), index);
                    ffi::lua_pushnil(lua);
                    return 2;
                }
                Some(Picked::Left) => {
                    ffi::lua_rawgeti(lua, upvalue(3), 0);
                    ffi::lua_pushvalue(lua, 1);
                    ffi::lua_call(lua, 1, 2);
                    return 2;
                }
                None => {}
            }
        }
        long_way(lua, 4)
    }
}

// Cookies.

/// `r:getcookie(name)`; `long` is the same by mlua.
pub(crate) fn getcookie(lua: &Lua, ctx: &Rc<Context>, long: &Function) -> mlua::Result<Function> {
    closure(lua, cookie, (pointer(ctx), long))
}

/// The length of the value, which it copies; Some(None) when there is no such cookie.
fn copied(ctx: &Context, name: &[u8], to: &mut [u8; MOST_COOKIE]) -> Option<Option<usize>> {
    let request = ctx.request().ok()?;
    let mut length = Some(None);
    request.get(host::RequestTable::HeadersIn, b"Cookie", &mut |header| {
        if let Some(value) = header.and_then(|header| text::cookie(header, name)) {
            let place = to.get_mut(..value.len());
            length = place.map(|place| {
                place.copy_from_slice(value);
                Some(value.len())
            });
        }
    });
    length
}

/// Upvalues: the context, the long way.
unsafe extern "C-unwind" fn cookie(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: as in `pick`.
    unsafe {
        let ctx = ffi::lua_touserdata(lua, upvalue(1)).cast::<Context>();
        let mut value = [0; MOST_COOKIE];
        match bytes(lua, 2).and_then(|name| tried(|| copied(&*ctx, name, &mut value))) {
            Some(Some(length)) => {
                ffi::lua_pushlstring(lua, value.as_ptr().cast(), length);
                1
            }
            Some(None) => {
                ffi::lua_pushnil(lua);
                1
            }
            None => long_way(lua, 2),
        }
    }
}

// Patterns.

/// `find` and `match` of strings: `plain`, which has to be Lua's own, for subjects that it may
/// have, and `counted` for the others. `longest` keeps what is known of patterns.
pub(crate) fn search(
    lua: &Lua,
    ctx: &Rc<Context>,
    longest: &Table,
    plain: &Function,
    counted: &Function,
) -> mlua::Result<Function> {
    closure(lua, search_in, (longest, pointer(ctx), plain, counted))
}

/// `(subject, pattern) -> whether the plain matcher may have them`.
pub(crate) fn direct(lua: &Lua, ctx: &Rc<Context>, longest: &Table) -> mlua::Result<Function> {
    closure(lua, tell_direct, (longest, pointer(ctx)))
}

/// Upvalues: what is known, the context, plain, counted.
unsafe extern "C-unwind" fn search_in(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua's own functions of strings use their arguments and nothing else. That they run in
    // this frame makes their errors name the script's line.
    unsafe {
        if is_direct(lua)
            && let Some(plain) = ffi::lua_tocfunction(lua, upvalue(3))
        {
            return plain(lua);
        }
        long_way(lua, 4)
    }
}

/// Upvalues: what is known, the context.
unsafe extern "C-unwind" fn tell_direct(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: as above.
    unsafe {
        ffi::lua_pushboolean(lua, c_int::from(is_direct(lua)));
        1
    }
}

/// Whether the plain matcher may have the first two arguments. It refuses values that are neither
/// string nor number, and a number as a pattern repeats nothing that matters.
///
/// # Safety
/// For C functions whose first upvalues are the table of what is known and the context.
unsafe fn is_direct(lua: *mut ffi::lua_State) -> bool {
    // SAFETY: the stack is left as it was.
    unsafe {
        let length = match ffi::lua_type(lua, 1) {
            ffi::LUA_TSTRING => ffi::lua_rawlen(lua, 1) as ffi::lua_Integer,
            ffi::LUA_TNUMBER => LONGEST_NUMBER,
            _ => return true,
        };
        if ffi::lua_type(lua, 2) != ffi::LUA_TSTRING {
            return true;
        }
        ffi::lua_pushvalue(lua, 2);
        let known = ffi::lua_rawget(lua, upvalue(1)) == ffi::LUA_TNUMBER;
        let longest = ffi::lua_tointegerx(lua, -1, ptr::null_mut());
        ffi::lua_pop(lua, 1);
        let longest = if known { longest } else { learn(lua) };
        if length > longest {
            return false;
        }
        // Many searches in a row are as good as a long one.
        let cost = if length > longest >> 10 { (length << 10) / longest.max(1) } else { return true };
        let ctx = ffi::lua_touserdata(lua, upvalue(2)).cast::<Context>();
        tried(|| (*ctx).budget.search(cost).ok()).is_some()
    }
}

/// Looks at the pattern, and remembers how long a subject may be, unless the pattern is long
/// itself. The number of those that are known is at 1.
///
/// # Safety
/// As with [`is_direct`], and the second argument is a string.
#[cold]
unsafe fn learn(lua: *mut ffi::lua_State) -> ffi::lua_Integer {
    // SAFETY: the stack is left as it was. Fields that are there may be cleared in a traversal.
    unsafe {
        let longest = bytes(lua, 2).and_then(|pattern| tried(|| Some(longest_direct(pattern)))).unwrap_or(0);
        if ffi::lua_rawlen(lua, 2) as usize > MOST_PATTERN {
            return longest;
        }
        ffi::lua_rawgeti(lua, upvalue(1), 1);
        let mut count = ffi::lua_tointegerx(lua, -1, ptr::null_mut());
        ffi::lua_pop(lua, 1);
        if count >= MOST_PATTERNS {
            ffi::lua_pushnil(lua);
            while ffi::lua_next(lua, upvalue(1)) != 0 {
                ffi::lua_pop(lua, 1);
                ffi::lua_pushvalue(lua, -1);
                ffi::lua_pushnil(lua);
                ffi::lua_rawset(lua, upvalue(1));
            }
            count = 0;
        }
        ffi::lua_pushvalue(lua, 2);
        ffi::lua_pushinteger(lua, longest);
        ffi::lua_rawset(lua, upvalue(1));
        ffi::lua_pushinteger(lua, count + 1);
        ffi::lua_rawseti(lua, upvalue(1), 1);
        longest
    }
}

/// Where a text begins in another one.
pub(crate) fn position(subject: &[u8], text: &[u8]) -> Option<usize> {
    // SAFETY: two slices with their lengths; what it gives is NULL or within the first.
    let found =
        unsafe { libc::memmem(subject.as_ptr().cast(), subject.len(), text.as_ptr().cast(), text.len()) };
    (!found.is_null()).then(|| found as usize - subject.as_ptr() as usize)
}
