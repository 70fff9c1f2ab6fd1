// SPDX-License-Identifier: Apache-2.0
//! The request object `r`, with mod_lua's names: one for each state, looking at whatever request is
//! handled.

use std::rc::Rc;

use messages::Message;
use mlua::{BString, Lua, LuaString, Table, Value};

use super::arguments::{handy, short};
use super::{modlua, searches, tables, values};
use crate::context::Context;
use crate::context::texts;
use crate::host::{self, Digest, Field, Number};
use crate::limits::memory::text_of;
use crate::native::shortcuts;
use crate::strings::forms;
use crate::strings::text;

/// httpd's log levels by name, each of which is a method of `r`.
pub(super) const LEVELS: [(&str, u8); 16] = [
    ("emerg", 0),
    ("alert", 1),
    ("crit", 2),
    ("err", 3),
    ("warn", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
    ("trace1", 8),
    ("trace2", 9),
    ("trace3", 10),
    ("trace4", 11),
    ("trace5", 12),
    ("trace6", 13),
    ("trace7", 14),
    ("trace8", 15),
];

/// Makes the object, and gives the tables that belong to it as well. It is an empty table whose
/// reads go to the methods first and then to the fields: a method costs no call into the runtime to
/// find, and a field one.
pub(crate) fn object(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<(Table, Vec<Table>)> {
    let methods = lua.create_table()?;
    let mut parts = Vec::new();
    for (name, object) in tables::objects(lua, ctx)? {
        methods.raw_set(name, &object)?;
        parts.push(object);
    }
    tables::copies(lua, ctx, &methods)?;
    logs(lua, ctx, &methods)?;
    cookies(lua, ctx, &methods)?;
    strings(lua, ctx, &methods)?;
    httpd(lua, ctx, &methods)?;
    searches::install(lua, ctx, &methods)?;
    values::ivm(lua, ctx, &methods)?;
    let fields = lua.create_table()?;
    let own = ctx.clone();
    fields.raw_set(
        "__index",
        lua.create_function(move |lua, (_, key): (bool, BString)| field(lua, &own, &key))?,
    )?;
    methods.set_metatable(Some(fields))?;
    ctx.texts.show_in(methods.clone());
    let meta = lua.create_table()?;
    meta.raw_set("__index", methods)?;
    let own = ctx.clone();
    meta.raw_set(
        "__newindex",
        lua.create_function(move |lua, (_, key, value): (bool, LuaString, Value)| {
            set_field(lua, &own, &key.as_bytes(), &value)
        })?,
    )?;
    meta.raw_set("__metatable", false)?;
    meta.raw_set("__name", "request")?;
    let request = lua.create_table()?;
    request.set_metatable(Some(meta))?;
    Ok((request, parts))
}

/// A text field as a Lua value, nil when it is not set.
pub(crate) fn text_value(lua: &Lua, ctx: &Context, field: Field) -> mlua::Result<Value> {
    let mut value = Ok(Value::Nil);
    ctx.request()?.field(field, &mut |bytes| {
        if let Some(bytes) = bytes {
            value = ctx.texts.get(lua, field, bytes).map(Value::String);
        }
    });
    value
}

fn field(lua: &Lua, ctx: &Rc<Context>, key: &[u8]) -> mlua::Result<Value> {
    if let Some((_, field)) = texts::NAMES.iter().find(|(name, _)| name.as_bytes() == key) {
        return text_value(lua, ctx, *field);
    }
    let request = ctx.request()?;
    let number = |field| Ok(Value::Integer(request.number(field)));
    let flag = |field| Ok(Value::Boolean(request.number(field) != 0));
    match key {
        b"port" => number(Number::Port),
        b"status" => number(Number::Status),
        b"proxyreq" => number(Number::Proxyreq),
        b"started" => number(Number::Started),
        b"bytes_sent" => number(Number::BytesSent),
        b"client_port" => number(Number::ClientPort),
        b"is_https" => flag(Number::IsHttps),
        b"is_initial_req" => flag(Number::IsInitial),
        b"auth_name" | b"basic_auth_pw" => Ok(Value::String(lua.create_string("")?)),
        _ => {
            if let Some(value) = modlua::named(lua, ctx, key)? {
                return Ok(value);
            }
            const UNKNOWN: &Message = messages::scripts::UNKNOWN_FIELD;
            if ctx.server.logs(UNKNOWN.level()) && ctx.budget.may_log(key.len()) {
                let name = text::line(key);
                let line = UNKNOWN.line(&format!("r.{name} is not known, a script gets nil"));
                ctx.server.log(UNKNOWN.level(), &line);
            }
            Ok(Value::Nil)
        }
    }
}

fn set_field(lua: &Lua, ctx: &Context, key: &[u8], value: &Value) -> mlua::Result<()> {
    let request = ctx.request()?;
    let name = || text::line(key).into_owned();
    let number = match key {
        b"status" => Some(Number::Status),
        b"proxyreq" => Some(Number::Proxyreq),
        _ => None,
    };
    if let Some(field) = number {
        let number = match value {
            Value::Integer(number) => *number,
            other => match lua.coerce_integer(other.clone())? {
                Some(number) => number,
                None => return Err(mlua::Error::runtime(no_number(&name(), other))),
            },
        };
        return request.set_number(field, number).map_err(mlua::Error::runtime);
    }
    let field = match key {
        b"uri" => Field::Uri,
        b"args" => Field::Args,
        b"filename" => Field::Filename,
        b"handler" => Field::Handler,
        b"user" => Field::User,
        b"content_type" => Field::ContentType,
        _ => {
            return Err(mlua::Error::runtime(format!(
                "Property [{}] may not be set on a request_rec (uri, args, filename, handler, user, content_type, \
                 status and proxyreq may)",
                name()
            )));
        }
    };
    let result = match value {
        Value::Nil => ctx.set_field(field, None),
        Value::String(text) => ctx.set_field(field, Some(&text.as_bytes())),
        Value::Integer(number) => ctx.set_field(field, Some(number.to_string().as_bytes())),
        other => Err(format!("r.{}: expected a string, found a {}", name(), other.type_name())),
    };
    result.map_err(mlua::Error::runtime)
}

fn no_number(name: &str, value: &Value) -> String {
    match value {
        Value::Number(number) => format!("r.{name}: expected a whole number, found {number}"),
        other => format!("r.{name}: expected a number, found a {}", other.type_name()),
    }
}

fn logs(lua: &Lua, ctx: &Rc<Context>, methods: &Table) -> mlua::Result<()> {
    for (name, level) in LEVELS {
        let own = ctx.clone();
        let log = lua.create_function(move |_, (_, text): (bool, LuaString)| {
            if own.server.logs(level) {
                return own.log(level, &text::line(&text.as_bytes()));
            }
            Ok(())
        })?;
        methods.raw_set(name, log)?;
    }
    Ok(())
}

/// The value of a cookie of the request, as it stands.
pub(crate) fn cookie_value(lua: &Lua, ctx: &Context, name: &[u8]) -> mlua::Result<Value> {
    let mut value = Ok(Value::Nil);
    ctx.request()?.get(crate::host::RequestTable::HeadersIn, b"Cookie", &mut |header| {
        if let Some(found) = header.and_then(|header| text::cookie(header, name)) {
            value = text_of(lua, found).map(Value::String);
        }
    });
    value
}

fn cookies(lua: &Lua, ctx: &Rc<Context>, methods: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    let long = lua.create_function(move |lua, (_, name): (bool, LuaString)| {
        cookie_value(lua, &own, &name.as_bytes())
    })?;
    methods.raw_set("getcookie", shortcuts::getcookie(lua, ctx, &long)?)?;
    let own = ctx.clone();
    type Old = (bool, Value, Option<LuaString>, Option<bool>, Option<f64>);
    methods.raw_set(
        "setcookie",
        lua.create_function(move |_, (_, first, value, secure, expires): Old| {
            let line = match &first {
                Value::Table(table) => cookie_line(table)?,
                Value::String(key) => {
                    let value = value.as_ref().map(|value| value.as_bytes());
                    let value = handy(value.as_deref().unwrap_or_default())?;
                    handy(&key.as_bytes())?;
                    text::set_cookie(&text::NewCookie {
                        key: &key.as_bytes(),
                        value,
                        secure: secure.unwrap_or(false),
                        expires: expires.unwrap_or(0.0),
                        ..text::NewCookie::default()
                    })
                }
                other => {
                    return Err(mlua::Error::runtime(format!(
                        "setcookie: expected a table like {{key = \"a\", value = \"b\"}}, found a {}",
                        other.type_name()
                    )));
                }
            };
            own.spend(line.len() + tables::ENTRY_BYTES)?;
            own.request()?
                .add(crate::host::RequestTable::ErrHeadersOut, b"Set-Cookie", line.as_bytes())
                .map_err(mlua::Error::runtime)
        })?,
    )
}

fn cookie_line(table: &Table) -> mlua::Result<String> {
    let required = |name: &str| {
        table
            .get::<Option<LuaString>>(name)?
            .ok_or_else(|| mlua::Error::runtime(format!("setcookie: '{name}' is missing")))
    };
    let plain = |name: &str| -> mlua::Result<Option<String>> {
        let value = table.get::<Option<LuaString>>(name)?;
        let value = match &value {
            Some(value) => Some(String::from_utf8_lossy(handy(&value.as_bytes())?).into_owned()),
            None => None,
        };
        match value {
            Some(value) if value.bytes().any(|byte| byte < b' ' || byte == b';' || byte == 0x7f) => {
                Err(mlua::Error::runtime(format!("setcookie: '{name}' holds a ';' or a control character")))
            }
            value => Ok(value),
        }
    };
    let (key, value) = (required("key")?, required("value")?);
    let (key, value) = (key.as_bytes(), value.as_bytes());
    Ok(text::set_cookie(&text::NewCookie {
        key: handy(&key)?,
        value: handy(&value)?,
        secure: table.get::<Option<bool>>("secure")?.unwrap_or(false),
        httponly: table.get::<Option<bool>>("httponly")?.unwrap_or(false),
        expires: table.get::<Option<f64>>("expires")?.unwrap_or(0.0),
        path: plain("path")?,
        domain: plain("domain")?,
        samesite: plain("samesite")?,
    }))
}

fn strings(lua: &Lua, ctx: &Rc<Context>, methods: &Table) -> mlua::Result<()> {
    type Change = fn(&[u8]) -> Vec<u8>;
    let pure: [(&str, Change); 4] = [
        ("escape", text::escape),
        ("escape_html", text::escape_html),
        ("base64_encode", text::base64_encode),
        ("base64_decode", text::base64_decode),
    ];
    for (name, change) in pure {
        let function = move |lua: &Lua, (_, text): (bool, LuaString)| {
            lua.create_string(change(handy(&text.as_bytes())?))
        };
        methods.raw_set(name, lua.create_function(function)?)?;
    }
    let unescape = |lua: &Lua, (_, text): (bool, LuaString)| {
        let (text, plain) = (text.as_bytes(), text::unescape);
        text::is_encoded(handy(&text)?).then(|| lua.create_string(plain(&text))).transpose()
    };
    methods.raw_set("unescape", lua.create_function(unescape)?)?;
    for (name, kind) in [("md5", Digest::Md5), ("sha1", Digest::Sha1)] {
        let own = ctx.clone();
        let digest = move |_: &Lua, (_, text): (bool, LuaString)| {
            Ok(text::hex(&own.request()?.digest(kind, &text.as_bytes())))
        };
        methods.raw_set(name, lua.create_function(digest)?)?;
    }
    let own = ctx.clone();
    let parse = move |lua: &Lua, _: bool| {
        let mut tables = None;
        own.request()?.field(Field::Args, &mut |args| {
            tables = Some(tables::two_tables(lua, &own, forms::of_query(args.unwrap_or_default())));
        });
        tables.unwrap_or_else(|| tables::two_tables(lua, &own, std::iter::empty()))
    };
    methods.raw_set("parseargs", lua.create_function(parse)?)?;
    let own = ctx.clone();
    let parse = move |lua: &Lua, (_, max): (bool, Option<usize>)| {
        let mut tables = None;
        let most = own.budget.limits.get().memory_bytes / 16;
        let max = max.unwrap_or(8192).min(most.max(8192));
        own.spend(max)?;
        let mut kind = Vec::new();
        own.request()?.get(host::RequestTable::HeadersIn, b"Content-Type", &mut |value| {
            kind.extend_from_slice(value.unwrap_or_default());
        });
        own.request()?.body(max, &mut |body| {
            tables = Some(tables::two_tables(lua, &own, forms::of_body(&kind, body.unwrap_or_default())));
        });
        tables.unwrap_or_else(|| tables::two_tables(lua, &own, std::iter::empty()))
    };
    methods.raw_set("parsebody", lua.create_function(parse)?)
}

fn httpd(lua: &Lua, ctx: &Rc<Context>, methods: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    let ssl = move |lua: &Lua, (_, name): (bool, LuaString)| {
        own.request()?.ssl_var(&short(&name)?).map(|value| lua.create_string(value)).transpose()
    };
    methods.raw_set("ssl_var_lookup", lua.create_function(ssl)?)?;
    let own = ctx.clone();
    let url = move |lua: &Lua, (_, path): (bool, LuaString)| {
        own.spend(path.as_bytes().len())?;
        lua.create_string(own.request()?.construct_url(handy(&path.as_bytes())?))
    };
    methods.raw_set("construct_url", lua.create_function(url)?)?;
    let own = ctx.clone();
    let clock = move |_: &Lua, _: bool| Ok((own.server.time() * 1e6) as i64);
    methods.raw_set("clock", lua.create_function(clock)?)
}
