// SPDX-License-Identifier: Apache-2.0
//! Values that outlive a request: `r:ivm_get`, `lb.dict`; and `lb.geo`.

use std::rc::Rc;

use mlua::{AnyUserData, Lua, LuaString, Table, UserData, UserDataMethods, Value};

use super::arguments::shown;
use crate::context::Context;
use crate::host::{Dict, DictError, Scalar, Store};

/// Largest value that `ivm_set` keeps.
const MAX_BYTES: usize = 4 << 20;
/// Deepest table that `ivm_set` keeps.
const MAX_DEPTH: u32 = 32;

/// `r:ivm_get(key)` and `r:ivm_set(key, value)`: numbers, strings, booleans and tables of them come
/// back as they were.
pub(crate) fn ivm(lua: &Lua, ctx: &Rc<Context>, methods: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    let get = move |lua: &Lua, (_, key): (bool, LuaString)| {
        let key = key.as_bytes();
        let mut value = Ok(Value::Nil);
        let mut take = |bytes: Option<&[u8]>| {
            if let Some(mut bytes) = bytes {
                value = Reader { lua, ctx: &own, steps: 0 }.decode(&mut bytes, 0);
            }
        };
        own.server.shared().get(&key, &mut take);
        value
    };
    methods.raw_set("ivm_get", lua.create_function(get)?)?;
    let own = ctx.clone();
    let set = move |_: &Lua, (_, key, value): (bool, LuaString, Value)| {
        let key = key.as_bytes();
        let bytes = match &value {
            Value::Nil => None,
            value => {
                let mut bytes = Vec::new();
                Writer { ctx: &own, steps: 0 }.encode(value, &mut bytes, 0)?;
                Some(bytes)
            }
        };
        own.server.shared().set(&key, bytes.as_deref()).map_err(mlua::Error::runtime)
    };
    methods.raw_set("ivm_set", lua.create_function(set)?)
}

/// Writes values; looks at the clock now and then.
struct Writer<'a> {
    ctx: &'a Context,
    steps: u32,
}

/// Reads them.
struct Reader<'a> {
    lua: &'a Lua,
    ctx: &'a Context,
    steps: u32,
}

impl Writer<'_> {
    fn encode(&mut self, value: &Value, out: &mut Vec<u8>, depth: u32) -> mlua::Result<()> {
        self.ctx.step(&mut self.steps)?;
        // Tables that many others hold are written once for each of them.
        let text = if let Value::String(text) = value { text.as_bytes().len() } else { 0 };
        if out.len().saturating_add(text) > MAX_BYTES {
            return Err(mlua::Error::runtime(format!(
                "ivm_set: a value of more than {} KiB",
                MAX_BYTES >> 10
            )));
        }
        match value {
            Value::Nil => out.push(b'n'),
            Value::Boolean(flag) => out.extend([b'b', u8::from(*flag)]),
            Value::Integer(number) => {
                out.push(b'i');
                out.extend(number.to_le_bytes());
            }
            Value::Number(number) => {
                out.push(b'f');
                out.extend(number.to_le_bytes());
            }
            Value::String(text) => {
                out.push(b's');
                let bytes = text.as_bytes();
                out.extend((bytes.len() as u64).to_le_bytes());
                out.extend(&*bytes);
            }
            Value::Table(table) if depth < MAX_DEPTH => {
                out.push(b't');
                for pair in table.pairs::<Value, Value>() {
                    let (key, value) = pair?;
                    self.encode(&key, out, depth + 1)?;
                    self.encode(&value, out, depth + 1)?;
                }
                out.push(b'n');
            }
            Value::Table(_) => {
                return Err(mlua::Error::runtime(format!(
                    "ivm_set: a table nested deeper than {MAX_DEPTH}, or one that holds itself"
                )));
            }
            other => {
                return Err(mlua::Error::runtime(format!(
                    "ivm_set: expected strings, numbers, booleans and tables of them, found a {}",
                    other.type_name()
                )));
            }
        }
        Ok(())
    }
}

impl Reader<'_> {
    fn decode(&mut self, rest: &mut &[u8], depth: u32) -> mlua::Result<Value> {
        self.ctx.step(&mut self.steps)?;
        let damaged = || mlua::Error::runtime("ivm_get: the stored value is damaged");
        let (kind, tail) = rest.split_first().ok_or_else(damaged)?;
        *rest = tail;
        let mut word = || -> mlua::Result<[u8; 8]> {
            let (word, tail) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
            *rest = tail;
            Ok(*word)
        };
        match kind {
            b'n' => Ok(Value::Nil),
            b'b' => {
                let (flag, tail) = rest.split_first().ok_or_else(damaged)?;
                *rest = tail;
                Ok(Value::Boolean(*flag != 0))
            }
            b'i' => Ok(Value::Integer(i64::from_le_bytes(word()?))),
            b'f' => Ok(Value::Number(f64::from_le_bytes(word()?))),
            b's' => {
                let length = usize::try_from(u64::from_le_bytes(word()?)).map_err(|_| damaged())?;
                let (text, tail) = rest.split_at_checked(length).ok_or_else(damaged)?;
                *rest = tail;
                self.lua.create_string(text).map(Value::String)
            }
            b't' if depth <= MAX_DEPTH => {
                let table = self.lua.create_table()?;
                loop {
                    let key = self.decode(rest, depth + 1)?;
                    if key.is_nil() {
                        return Ok(Value::Table(table));
                    }
                    table.raw_set(key, self.decode(rest, depth + 1)?)?;
                }
            }
            _ => Err(damaged()),
        }
    }
}

/// `lb.dict`, `lb.geo`, and the calls that only checks and timers have.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Context>, lb: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    let dict = move |lua: &Lua, name: LuaString| match own.server.dict(&shown(&name)) {
        Some(dict) => dict_object(lua, dict),
        None => Err(mlua::Error::runtime(format!(
            "lb.dict: there is no dictionary \"{0}\"; it wants a line like: LuaBalancerDict {0} 1M",
            shown(&name)
        ))),
    };
    lb.raw_set("dict", lua.create_function(dict)?)?;
    let own = ctx.clone();
    let geo = move |lua: &Lua, address: LuaString| {
        // Text that is not an address is in no database, whatever bytes it has.
        let Some(place) = own.server.geo(&shown(&address)).map_err(mlua::Error::runtime)? else {
            return Ok(None);
        };
        let table = lua.create_table()?;
        table.raw_set("country", place.country)?;
        table.raw_set("country_name", place.country_name)?;
        table.raw_set("continent", place.continent)?;
        table.raw_set("city", place.city)?;
        table.raw_set("latitude", place.latitude)?;
        table.raw_set("longitude", place.longitude)?;
        table.raw_set("time_zone", place.time_zone)?;
        table.raw_set("asn", place.asn)?;
        table.raw_set("org", place.org)?;
        Ok(Some(table))
    };
    lb.raw_set("geo", lua.create_function(geo)?)?;
    for name in ["http", "tcp"] {
        let text = format!("lb.{name} works in health checks and timers only");
        let refuse = move |_: &Lua, ()| -> mlua::Result<()> { Err(mlua::Error::runtime(&text)) };
        lb.raw_set(name, lua.create_function(refuse)?)?;
    }
    Ok(())
}

/// A dictionary as scripts see it.
pub(crate) fn dict_object(lua: &Lua, dict: Rc<dyn Dict>) -> mlua::Result<AnyUserData> {
    lua.create_userdata(DictHandle { dict })
}

fn scalar_to_lua(lua: &Lua, value: Scalar) -> mlua::Result<Value> {
    Ok(match value {
        Scalar::Bool(flag) => Value::Boolean(flag),
        Scalar::Integer(number) => Value::Integer(number),
        Scalar::Number(number) => Value::Number(number),
        Scalar::Text(text) => Value::String(lua.create_string(text)?),
    })
}

/// Whole numbers up to here are exact as floats.
const EXACT: f64 = (1_u64 << 53) as f64;

fn scalar_from_lua(value: &Value) -> mlua::Result<Scalar> {
    match value {
        Value::Boolean(flag) => Ok(Scalar::Bool(*flag)),
        Value::Integer(number) => Ok(Scalar::Integer(*number)),
        Value::Number(number) => Ok(Scalar::Number(*number)),
        Value::String(text) if text.as_bytes().len() > MAX_BYTES => Err(mlua::Error::runtime(format!(
            "a dictionary holds no text of more than {} KiB",
            MAX_BYTES >> 10
        ))),
        Value::String(text) => Ok(Scalar::Text(text.as_bytes().to_vec())),
        other => Err(mlua::Error::runtime(format!(
            "a dictionary holds strings, numbers and booleans, found a {}",
            other.type_name()
        ))),
    }
}

/// Keys that a call is given at most.
const MOST_KEYS: usize = 50_000;

/// A number, as it is, or in text as Lua takes it.
fn number_from_lua(lua: &Lua, value: &Value) -> mlua::Result<Scalar> {
    let number = match value {
        Value::Integer(number) => Some(Scalar::Integer(*number)),
        Value::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT => {
            Some(Scalar::Integer(*number as i64))
        }
        Value::Number(number) => Some(Scalar::Number(*number)),
        Value::String(_) => match lua.coerce_integer(value.clone())? {
            Some(number) => Some(Scalar::Integer(number)),
            None => lua.coerce_number(value.clone())?.map(Scalar::Number),
        },
        _ => None,
    };
    number.ok_or_else(|| {
        mlua::Error::runtime(format!("incr: expected a number, found a {}", value.type_name()))
    })
}

struct DictHandle {
    dict: Rc<dyn Dict>,
}

/// Seconds that something is to live; 0 is for ever.
fn seconds(ttl: Option<f64>) -> mlua::Result<f64> {
    let ttl = ttl.unwrap_or(0.0);
    if ttl >= 0.0 {
        return Ok(ttl);
    }
    Err(mlua::Error::runtime(format!("a time to live of {ttl}: expected seconds, or 0 for ever")))
}

impl DictHandle {
    /// As OpenResty and this module's contract say it: nil removes.
    fn store(
        &self,
        how: Store,
        key: &[u8],
        value: &Value,
        ttl: Option<f64>,
    ) -> mlua::Result<Result<bool, DictError>> {
        if value.is_nil() {
            return Ok(self.dict.delete(key).map(|()| false));
        }
        Ok(self.dict.store(how, key, scalar_from_lua(value)?, seconds(ttl)?))
    }
}

/// The storing methods and what they mean.
const STORING: [(&str, Store); 5] = [
    ("set", Store::Set),
    ("add", Store::Add),
    ("replace", Store::Replace),
    ("safe_set", Store::SafeSet),
    ("safe_add", Store::SafeAdd),
];

impl UserData for DictHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, key: LuaString| match this.dict.get(&key.as_bytes()) {
            Ok(value) => Ok((value.map(|value| scalar_to_lua(lua, value)).transpose()?, None)),
            Err(error) => Ok((None, Some(error.to_string()))),
        });
        methods.add_method("get_stale", |lua, this, key: LuaString| {
            Ok(match this.dict.get_stale(&key.as_bytes()) {
                Ok(Some((value, is_over))) => {
                    (scalar_to_lua(lua, value)?, Value::Nil, Value::Boolean(is_over))
                }
                Ok(None) => (Value::Nil, Value::Nil, Value::Nil),
                Err(error) => (Value::Nil, Value::String(lua.create_string(error.to_string())?), Value::Nil),
            })
        });
        for (name, how) in STORING {
            methods.add_method(name, move |lua, this, (key, value, ttl): (LuaString, Value, Option<f64>)| {
                match this.store(how, &key.as_bytes(), &value, ttl)? {
                    Ok(evicted) => Ok((Value::Boolean(true), Value::Boolean(evicted))),
                    Err(error) => Ok((Value::Nil, Value::String(lua.create_string(error.to_string())?))),
                }
            });
        }
        type Incr = (LuaString, Value, Value, Option<f64>);
        methods.add_method("incr", |lua, this, (key, by, init, ttl): Incr| {
            let init = if init.is_nil() { None } else { Some(number_from_lua(lua, &init)?) };
            match this.dict.incr(&key.as_bytes(), number_from_lua(lua, &by)?, init, seconds(ttl)?) {
                Ok((value, evicted)) => Ok((scalar_to_lua(lua, value)?, Value::Boolean(evicted))),
                Err(error) => Ok((Value::Nil, Value::String(lua.create_string(error.to_string())?))),
            }
        });
        methods.add_method("delete", |_, this, key: LuaString| {
            either(this.dict.delete(&key.as_bytes()).map(|()| true))
        });
        methods.add_method("ttl", |_, this, key: LuaString| either(this.dict.ttl(&key.as_bytes())));
        methods.add_method("expire", |_, this, (key, ttl): (LuaString, f64)| {
            either(this.dict.expire(&key.as_bytes(), seconds(Some(ttl))?).map(|()| true))
        });
        methods.add_method("keys", |lua, this, max: Option<usize>| {
            let max = match max.unwrap_or(1024) {
                0 => MOST_KEYS,
                max => max.min(MOST_KEYS),
            };
            let keys = match this.dict.keys(max) {
                Ok(keys) => keys,
                Err(error) => return Ok((None, Some(error.to_string()))),
            };
            let keys: Vec<LuaString> =
                keys.iter().map(|key| lua.create_string(key)).collect::<mlua::Result<_>>()?;
            Ok((Some(lua.create_sequence_from(keys)?), None))
        });
        methods.add_method("clear", |_, this, ()| either(this.dict.clear().map(|()| true)));
        methods.add_method("purge", |_, this, max: Option<usize>| either(this.dict.purge(max.unwrap_or(0))));
        methods.add_method("room", |_, this, ()| Ok(this.dict.room()));
    }
}

fn either<T>(result: Result<T, DictError>) -> mlua::Result<(Option<T>, Option<String>)> {
    Ok(match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error.to_string())),
    })
}
