// SPDX-License-Identifier: Apache-2.0
//! `cjson` and `cjson.safe`: text goes into Lua's memory, and out of it, without a copy of the
//! values in between, and with a look at the clock now and then.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};
use serde_core::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use crate::context::Context;

/// Deepest nesting, as in lua-cjson.
const MAX_DEPTH: u32 = 1000;
/// Own stack guard: serde_json stops at 128 when decoding.
const MAX_ENCODE: u32 = 128;
/// Largest text, either way.
const MAX_BYTES: usize = 2 << 20;
/// Bytes of keys and values that wait to be put in order, so that the same table is the same text
/// in every thread. Of a larger one the rest stands as it comes.
const MOST_SORTED: usize = 1 << 20;
/// The bytes that one of them takes beside its key's text.
const PAIR_BYTES: usize = 96;

/// The values that are written as lists though they may be empty. Read-only, since all scripts
/// share both.
#[derive(Clone)]
struct Lists {
    /// `array_mt`: of any table that has it as its metatable.
    meta: Table,
    /// `empty_array`.
    empty: Table,
}

impl Lists {
    /// The values of this state, made once for both modules.
    fn of(lua: &Lua, ctx: &Context) -> mlua::Result<Self> {
        let one = |name: &str| -> mlua::Result<Table> {
            if let Some(Value::Table(known)) = ctx.modules.borrow().get(name) {
                return Ok(known.clone());
            }
            let table = lua.create_table()?;
            let table = match ctx.protect.get() {
                Some(protect) => protect.call((table, name))?,
                None => table,
            };
            ctx.modules.borrow_mut().insert(name.to_owned(), Value::Table(table.clone()));
            Ok(table)
        };
        Ok(Lists { meta: one("cjson.array_mt")?, empty: one("cjson.empty_array")? })
    }

    fn hold(&self, table: &Table) -> bool {
        *table == self.empty || table.metatable().is_some_and(|meta| meta == self.meta)
    }
}

/// The module; the safe one gives nil and the message instead of raising.
pub(crate) fn module(lua: &Lua, ctx: &Rc<Context>, safe: bool) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let lists = Lists::of(lua, ctx)?;
    let (mark, own) = (lists.clone(), ctx.clone());
    let encode = move |lua: &Lua, value: Value| {
        let mut writer = Writer { ctx: &own, lists: &mark, out: Vec::new(), sorted: 0, steps: 0 };
        let written = writer.value(&value, 0).and_then(|()| lua.create_string(&writer.out));
        either(lua, &own, written.map(Value::String), safe)
    };
    module.raw_set("encode", lua.create_function(encode)?)?;
    let own = ctx.clone();
    let decode = move |lua: &Lua, text: LuaString| {
        let parsed = parse(lua, &own, &text.as_bytes());
        either(lua, &own, parsed, safe)
    };
    module.raw_set("decode", lua.create_function(decode)?)?;
    module.raw_set("null", Value::NULL)?;
    module.raw_set("empty_array", lists.empty)?;
    module.raw_set("array_mt", &lists.meta)?;
    module.raw_set("empty_array_mt", lists.meta)?;
    module.raw_set("_NAME", if safe { "cjson.safe" } else { "cjson" })?;
    module.raw_set("_MAX_DEPTH", MAX_DEPTH)?;
    Ok(module)
}

/// The text of a value that a script has returned. No script runs meanwhile.
pub(crate) fn json_text(lua: &Lua, ctx: &Context, value: &Value) -> mlua::Result<Vec<u8>> {
    let lists = Lists::of(lua, ctx)?;
    let mut writer = Writer { ctx, lists: &lists, out: Vec::new(), sorted: 0, steps: 0 };
    writer.value(value, 0)?;
    Ok(writer.out)
}

fn either(lua: &Lua, ctx: &Context, result: mlua::Result<Value>, safe: bool) -> mlua::Result<(Value, Value)> {
    match result {
        Ok(value) => Ok((value, Value::Nil)),
        Err(error) if safe && !ctx.budget.is_over() => {
            let text = crate::error::Parts::of(&error).for_script();
            Ok((Value::Nil, Value::String(lua.create_string(text)?)))
        }
        Err(error) => Err(error),
    }
}

// Decoding.

/// The parts that all values of a text share.
struct Decoding<'a> {
    lua: &'a Lua,
    ctx: &'a Context,
    steps: Cell<u32>,
    /// Lua's own error, which serde has no place for.
    failed: RefCell<Option<mlua::Error>>,
}

fn parse(lua: &Lua, ctx: &Context, text: &[u8]) -> mlua::Result<Value> {
    if text.len() > MAX_BYTES {
        let most = MAX_BYTES >> 20;
        return Err(mlua::Error::runtime(format!("cjson.decode: a text of more than {most} MiB")));
    }
    let all = Decoding { lua, ctx, steps: Cell::new(0), failed: RefCell::default() };
    let mut json = serde_json::Deserializer::from_slice(text);
    let parsed = Part(&all).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    parsed.map_err(|error| all.failed.take().unwrap_or_else(|| mlua::Error::runtime(error)))
}

impl Decoding<'_> {
    /// Keeps the error, which ends the parsing.
    fn lua<T, E: serde_core::de::Error>(&self, result: mlua::Result<T>) -> Result<T, E> {
        result.map_err(|error| {
            self.failed.replace(Some(error));
            E::custom("")
        })
    }

    fn step(&self) -> mlua::Result<()> {
        let mut steps = self.steps.get();
        let result = self.ctx.step(&mut steps);
        self.steps.set(steps);
        result
    }
}

struct Part<'a>(&'a Decoding<'a>);

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: serde_core::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::NULL)
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Boolean(flag))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Number(number as f64), Value::Integer))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }
    fn visit_str<E: serde_core::de::Error>(self, text: &str) -> Result<Value, E> {
        self.0.lua(self.0.lua.create_string(text)).map(Value::String)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let all = self.0;
        let table = all.lua(all.lua.create_table())?;
        let mut at = 0_i64;
        while let Some(value) = list.next_element_seed(Part(all))? {
            at += 1;
            all.lua(all.step().and_then(|()| table.raw_set(at, value)))?;
        }
        Ok(Value::Table(table))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let all = self.0;
        let table = all.lua(all.lua.create_table())?;
        while let Some(key) = map.next_key_seed(Part(all))? {
            let value = map.next_value_seed(Part(all))?;
            all.lua(all.step().and_then(|()| table.raw_set(key, value)))?;
        }
        Ok(Value::Table(table))
    }
}

// Encoding.

struct Writer<'a> {
    ctx: &'a Context,
    lists: &'a Lists,
    out: Vec<u8>,
    /// Bytes that wait to be put in order.
    sorted: usize,
    steps: u32,
}

fn refused<T>(text: &str) -> mlua::Result<T> {
    Err(mlua::Error::runtime(format!("Cannot serialise {text}")))
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: u32) -> mlua::Result<()> {
        self.ctx.step(&mut self.steps)?;
        self.room_for(0)?;
        match value {
            Value::Nil => self.out.extend(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend(b"null"),
            Value::Boolean(flag) => self.out.extend(if *flag { b"true".as_slice() } else { b"false" }),
            Value::Integer(number) => self.out.extend(number.to_string().bytes()),
            Value::Number(number) if !number.is_finite() => {
                return refused("number: must not be NaN or Infinity");
            }
            Value::Number(number) => self.json(number)?,
            Value::String(text) => self.text(text)?,
            Value::Table(_) if depth >= MAX_ENCODE => {
                return refused(&format!("table: nested deeper than {MAX_ENCODE}"));
            }
            Value::Table(table) if self.is_list(table)? => self.list(table, depth)?,
            Value::Table(table) => self.map(table, depth)?,
            other => return refused(&format!("{}: type not supported", other.type_name())),
        }
        Ok(())
    }

    fn room_for(&self, bytes: usize) -> mlua::Result<()> {
        if self.out.len().saturating_add(bytes) > MAX_BYTES {
            return refused(&format!("value: the text would be larger than {} MiB", MAX_BYTES >> 20));
        }
        Ok(())
    }

    fn json(&mut self, value: &(impl serde_core::Serialize + ?Sized)) -> mlua::Result<()> {
        serde_json::to_writer(&mut self.out, value).map_err(mlua::Error::runtime)
    }

    fn text(&mut self, text: &LuaString) -> mlua::Result<()> {
        let bytes = text.as_bytes();
        self.room_for(bytes.len())?;
        self.json(&*String::from_utf8_lossy(&bytes))
    }

    /// Whether all keys are places of a list.
    fn is_list(&mut self, table: &Table) -> mlua::Result<bool> {
        if self.lists.hold(table) {
            return Ok(true);
        }
        let length = table.raw_len();
        let mut is_empty = true;
        for pair in table.pairs::<Value, Value>() {
            self.ctx.step(&mut self.steps)?;
            is_empty = false;
            match pair?.0 {
                Value::Integer(at) if at >= 1 && at as usize <= length => {}
                _ => return Ok(false),
            }
        }
        Ok(!is_empty)
    }

    fn list(&mut self, table: &Table, depth: u32) -> mlua::Result<()> {
        self.out.push(b'[');
        for (nth, value) in table.sequence_values::<Value>().enumerate() {
            if nth > 0 {
                self.out.push(b',');
            }
            self.value(&value?, depth + 1)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(&mut self, table: &Table, depth: u32) -> mlua::Result<()> {
        self.out.push(b'{');
        let mut pairs = Vec::new();
        let before = self.sorted;
        let mut is_first = true;
        for pair in table.pairs::<Value, Value>() {
            self.ctx.step(&mut self.steps)?;
            let (key, value) = pair?;
            let key = key_text(&key)?;
            let bytes = key.len() + PAIR_BYTES;
            if self.sorted + bytes <= MOST_SORTED {
                self.sorted += bytes;
                pairs.push((key, value));
                continue;
            }
            self.pair(&key, &value, depth, &mut is_first)?;
        }
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (key, value) in &pairs {
            self.pair(key, value, depth, &mut is_first)?;
        }
        self.sorted = before;
        self.out.push(b'}');
        Ok(())
    }

    fn pair(&mut self, key: &str, value: &Value, depth: u32, is_first: &mut bool) -> mlua::Result<()> {
        if !std::mem::take(is_first) {
            self.out.push(b',');
        }
        self.room_for(key.len())?;
        self.json(key)?;
        self.out.push(b':');
        self.value(value, depth + 1)
    }
}

fn key_text(key: &Value) -> mlua::Result<String> {
    match key {
        Value::String(text) if text.as_bytes().len() > MAX_BYTES => refused("table: a key is too long"),
        Value::String(text) => Ok(text.to_string_lossy()),
        Value::Integer(_) | Value::Number(_) => key.to_string(),
        other => refused(&format!("table: a key is a {}, expected a string or number", other.type_name())),
    }
}
