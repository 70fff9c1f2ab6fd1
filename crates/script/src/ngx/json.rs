//! `cjson` and `cjson.safe`, over serde_json.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};
use serde_json::{Map, Number, Value as Json};

use crate::context::Context;

/// Deepest nesting, as in lua-cjson.
const MAX_DEPTH: u32 = 1000;
/// Own stack guard: serde_json stops at 128 when decoding.
const MAX_ENCODE: u32 = 128;
/// Largest text that is made, roughly: tables that many others hold are written once for each of them.
const MAX_BYTES: usize = 8 << 20;
/// What a value counts beyond its text.
const VALUE_BYTES: usize = 16;

/// What is written as a list though it may be empty. Read-only, since all scripts share both.
#[derive(Clone)]
struct Lists {
    /// `array_mt`: of any table that has it as its metatable.
    meta: Table,
    /// `empty_array`.
    empty: Table,
}

impl Lists {
    /// Those of this state, made once for both modules.
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
    let own = lists.clone();
    let encode = move |lua: &Lua, value: Value| {
        let text = to_json(&value, &own, 0, &mut 0).map(|json| json.to_string());
        either(lua, text.and_then(|text| lua.create_string(text).map(Value::String)), safe)
    };
    module.raw_set("encode", lua.create_function(encode)?)?;
    let decode = move |lua: &Lua, text: LuaString| {
        let json = parse(&text.as_bytes());
        either(lua, json.and_then(|json| to_lua(lua, &json)), safe)
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

/// Maps take hundreds of bytes however little is in them.
fn parse(text: &[u8]) -> mlua::Result<Json> {
    const MOST_MAPS: usize = 100_000;
    let maps = text.iter().filter(|byte| **byte == b'{').count();
    if maps > MOST_MAPS {
        return Err(mlua::Error::runtime(format!("cjson.decode: more than {MOST_MAPS} objects")));
    }
    serde_json::from_slice(text).map_err(mlua::Error::runtime)
}

fn either(lua: &Lua, result: mlua::Result<Value>, safe: bool) -> mlua::Result<(Value, Value)> {
    match result {
        Ok(value) => Ok((value, Value::Nil)),
        Err(error) if safe => {
            let text = crate::error::Parts::of(&error).for_script();
            Ok((Value::Nil, Value::String(lua.create_string(text)?)))
        }
        Err(error) => Err(error),
    }
}

fn to_lua(lua: &Lua, json: &Json) -> mlua::Result<Value> {
    Ok(match json {
        Json::Null => Value::NULL,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Integer(number),
            None => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(list) => {
            let table = lua.create_table_with_capacity(list.len(), 0)?;
            for value in list {
                table.raw_push(to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
        Json::Object(map) => {
            let table = lua.create_table_with_capacity(0, map.len())?;
            for (key, value) in map {
                table.raw_set(key.as_str(), to_lua(lua, value)?)?;
            }
            Value::Table(table)
        }
    })
}

fn to_json(value: &Value, lists: &Lists, depth: u32, bytes: &mut usize) -> mlua::Result<Json> {
    let error = |text: String| Err(mlua::Error::runtime(format!("Cannot serialise {text}")));
    let text = if let Value::String(text) = value { text.as_bytes().len() } else { 0 };
    *bytes = bytes.saturating_add(text + VALUE_BYTES);
    if *bytes > MAX_BYTES {
        return error(format!("value: the text would be larger than {} MiB", MAX_BYTES >> 20));
    }
    match value {
        Value::Nil => Ok(Json::Null),
        Value::LightUserData(pointer) if pointer.0.is_null() => Ok(Json::Null),
        Value::Boolean(flag) => Ok(Json::Bool(*flag)),
        Value::Integer(number) => Ok(Json::Number((*number).into())),
        Value::Number(number) => match Number::from_f64(*number) {
            Some(number) => Ok(Json::Number(number)),
            None => error("number: must not be NaN or Infinity".into()),
        },
        Value::String(text) => Ok(Json::String(text.to_string_lossy())),
        Value::Table(_) if depth >= MAX_ENCODE => error(format!("table: nested deeper than {MAX_ENCODE}")),
        Value::Table(table) => table_to_json(table, lists, depth, bytes),
        other => error(format!("{}: type not supported", other.type_name())),
    }
}

fn table_to_json(table: &Table, lists: &Lists, depth: u32, bytes: &mut usize) -> mlua::Result<Json> {
    let length = table.raw_len();
    let mut count = 0_usize;
    let mut list = lists.hold(table);
    for pair in table.pairs::<Value, Value>() {
        count += 1;
        let (key, _) = pair?;
        list = match key {
            Value::Integer(at) => at >= 1 && at as usize <= length && (count == 1 || list),
            _ => false,
        };
        if !list {
            break;
        }
    }
    if list {
        let values = table.sequence_values::<Value>();
        return values
            .map(|value| to_json(&value?, lists, depth + 1, bytes))
            .collect::<mlua::Result<_>>()
            .map(Json::Array);
    }
    let mut map = Map::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = match &key {
            Value::String(text) => {
                *bytes = bytes.saturating_add(text.as_bytes().len());
                text.to_string_lossy()
            }
            Value::Integer(_) | Value::Number(_) => key.to_string()?,
            other => {
                let found = other.type_name();
                return Err(mlua::Error::runtime(format!(
                    "Cannot serialise table: a key is a {found}, expected a string or number"
                )));
            }
        };
        map.insert(key, to_json(&value, lists, depth + 1, bytes)?);
    }
    Ok(Json::Object(map))
}
