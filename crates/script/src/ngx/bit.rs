// SPDX-License-Identifier: Apache-2.0
//! The module `bit`: 32-bit operations with signed results, as LuaJIT has them.

use mlua::{Lua, Table, Value, Variadic};

/// The module.
pub(crate) fn module(lua: &Lua) -> mlua::Result<Table> {
    let module = lua.create_table_with_capacity(0, 12)?;
    unary(lua, &module, "tobit", |x| x)?;
    unary(lua, &module, "bnot", |x| !x)?;
    unary(lua, &module, "bswap", u32::swap_bytes)?;
    many(lua, &module, "band", |a, b| a & b)?;
    many(lua, &module, "bor", |a, b| a | b)?;
    many(lua, &module, "bxor", |a, b| a ^ b)?;
    by(lua, &module, "lshift", |x, n| x << n)?;
    by(lua, &module, "rshift", |x, n| x >> n)?;
    by(lua, &module, "arshift", |x, n| (x.cast_signed() >> n).cast_unsigned())?;
    by(lua, &module, "rol", u32::rotate_left)?;
    by(lua, &module, "ror", u32::rotate_right)?;
    module.raw_set("tohex", lua.create_function(hex)?)?;
    Ok(module)
}

/// The lowest 32 bits of a number, or of a string that is one; with a fraction it is rounded.
fn bits(lua: &Lua, value: Value) -> mlua::Result<u32> {
    let kind = value.type_name();
    if let Some(whole) = lua.coerce_integer(value.clone())? {
        return Ok(whole as u32);
    }
    let number = lua.coerce_number(value)?.map(|number| (number + 0.5).floor());
    match number.filter(|number| number.abs() < 2f64.powi(63)) {
        Some(number) => Ok(number as i64 as u32),
        None => Err(mlua::Error::runtime(format!("bad argument: number expected, got {kind}"))),
    }
}

fn signed(bits: u32) -> i32 {
    bits.cast_signed()
}

fn unary(lua: &Lua, module: &Table, name: &str, operation: fn(u32) -> u32) -> mlua::Result<()> {
    let function = move |lua: &Lua, x: Value| Ok(signed(operation(bits(lua, x)?)));
    module.raw_set(name, lua.create_function(function)?)
}

fn many(lua: &Lua, module: &Table, name: &str, operation: fn(u32, u32) -> u32) -> mlua::Result<()> {
    let function = move |lua: &Lua, (first, rest): (Value, Variadic<Value>)| {
        let first = bits(lua, first)?;
        let result = rest.into_iter().try_fold(first, |all, x| Ok(operation(all, bits(lua, x)?)));
        result.map(signed)
    };
    module.raw_set(name, crate::native::bounds::bounded(lua, "many", &lua.create_function(function)?)?)
}

/// An operation on shift and rotation counts, of which the lowest five bits count.
fn by(lua: &Lua, module: &Table, name: &str, operation: fn(u32, u32) -> u32) -> mlua::Result<()> {
    let function =
        move |lua: &Lua, (x, n): (Value, Value)| Ok(signed(operation(bits(lua, x)?, bits(lua, n)? & 31)));
    module.raw_set(name, lua.create_function(function)?)
}

/// The last `digits` hexadecimal digits (8 when left out), in capitals when it is negative.
fn hex(lua: &Lua, (x, digits): (Value, Option<i64>)) -> mlua::Result<String> {
    let (x, digits) = (bits(lua, x)?, digits.unwrap_or(8));
    let text = if digits < 0 { format!("{x:08X}") } else { format!("{x:08x}") };
    let count = digits.unsigned_abs().min(8) as usize;
    Ok(text[8 - count..].to_owned())
}
