// SPDX-License-Identifier: Apache-2.0
//! `ngx.var`: the request's variables, and those that scripts set.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlua::{Lua, LuaString, Table, Value};

use crate::api::{tables, text_value};
use crate::context::Context;
use crate::host::{self, Digest, Field, Number};
use crate::strings::text;

/// `var(name)` and `set_var(name, value)`.
pub(super) fn install(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    table.raw_set(
        "var",
        lua.create_function(move |lua, name: LuaString| variable(lua, &own, &name.as_bytes()))?,
    )?;
    let own = ctx.clone();
    let set = move |_: &Lua, (name, value): (LuaString, Value)| set_variable(&own, &name.as_bytes(), &value);
    table.raw_set("set_var", lua.create_function(set)?)
}

/// `ngx.var.NAME`; nil for what is not set and for what httpd has nothing for.
fn variable(lua: &Lua, ctx: &Context, name: &[u8]) -> mlua::Result<Value> {
    let string = |text: &[u8]| lua.create_string(text).map(Value::String);
    let number = |field| string(ctx.request()?.number(field).to_string().as_bytes());
    let field = |field| text_value(lua, ctx, field);
    match name {
        b"uri" | b"document_uri" => field(Field::Uri),
        b"request_uri" => field(Field::UnparsedUri),
        b"args" | b"query_string" => field(Field::Args),
        b"is_args" => string(if field(Field::Args)?.is_nil() { b"" } else { b"?" }),
        b"scheme" => field(Field::Scheme),
        b"host" => field(Field::Hostname),
        b"server_name" => field(Field::ServerName),
        b"server_port" => number(Number::Port),
        b"server_addr" => ctx.request()?.server_addr().map_or(Ok(Value::Nil), |text| string(text.as_bytes())),
        b"server_protocol" => field(Field::Protocol),
        b"remote_addr" => field(Field::UseragentIp),
        b"binary_remote_addr" => binary_address(lua, ctx),
        b"remote_port" => number(Number::ClientPort),
        b"remote_user" => field(Field::User),
        b"request" => field(Field::TheRequest),
        b"request_method" => field(Field::Method),
        b"request_id" => request_id(lua, ctx),
        b"request_filename" => field(Field::Filename),
        b"document_root" => field(Field::DocumentRoot),
        b"status" => number(Number::Status),
        b"https" => string(if ctx.request()?.number(Number::IsHttps) != 0 { b"on" } else { b"" }),
        _ => family(lua, ctx, name),
    }
}

/// The client's address as its 4 or 16 bytes.
fn binary_address(lua: &Lua, ctx: &Context) -> mlua::Result<Value> {
    let mut address = None;
    ctx.request()?.field(Field::UseragentIp, &mut |text| {
        address = text.and_then(|text| String::from_utf8_lossy(text).parse::<IpAddr>().ok());
    });
    match address {
        Some(IpAddr::V4(address)) => lua.create_string(address.octets()).map(Value::String),
        Some(IpAddr::V6(address)) => lua.create_string(address.octets()).map(Value::String),
        None => Ok(Value::Nil),
    }
}

/// One text for all of a request: httpd's own number of it where there is one, else 32 hex digits.
fn request_id(lua: &Lua, ctx: &Context) -> mlua::Result<Value> {
    const NOTE: &[u8] = b"lb-request-id";
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let noted = tables::get(lua, ctx, host::RequestTable::Notes, NOTE)?;
    if !noted.is_nil() {
        return Ok(noted);
    }
    let mut known = text_value(lua, ctx, Field::LogId)?;
    if known.is_nil() {
        let request = ctx.request()?;
        let (time, count) = (ctx.server.time(), COUNT.fetch_add(1, Ordering::Relaxed));
        let parts = format!("{} {time:?} {count} {}", std::process::id(), request.serial());
        known = Value::String(lua.create_string(text::hex(&request.digest(Digest::Md5, parts.as_bytes())))?);
    }
    tables::set(ctx, host::RequestTable::Notes, NOTE, &known)?;
    Ok(known)
}

/// Variables that stand for something of the request, and what to set instead of them.
fn fixed_variable(name: &[u8]) -> Option<&'static str> {
    const NAMES: [&[u8]; 22] = [
        b"document_uri",
        b"request_uri",
        b"query_string",
        b"is_args",
        b"scheme",
        b"host",
        b"server_name",
        b"server_port",
        b"server_addr",
        b"server_protocol",
        b"remote_addr",
        b"binary_remote_addr",
        b"remote_port",
        b"remote_user",
        b"request",
        b"request_method",
        b"request_id",
        b"request_filename",
        b"document_root",
        b"status",
        b"https",
        b"uri",
    ];
    if name.starts_with(b"http_") || name.starts_with(b"cookie_") {
        return Some("ngx.req.set_header");
    }
    if name.starts_with(b"arg_") {
        return Some("ngx.req.set_uri_args");
    }
    NAMES.contains(&name).then_some(if name == b"uri" { "ngx.req.set_uri" } else { "a name of your own" })
}

/// `ngx.var.NAME = value`: the arguments, or a variable of the script's own, which is one of the
/// environment.
fn set_variable(ctx: &Context, name: &[u8], value: &Value) -> mlua::Result<()> {
    let shown = || text::line(name).into_owned();
    if name == b"args" {
        let text = match value {
            Value::Nil => None,
            value => Some(value.to_string()?),
        };
        ctx.request()?;
        return ctx
            .set_field(Field::Args, text.as_ref().map(|text| text.as_bytes()))
            .map_err(mlua::Error::runtime);
    }
    if let Some(instead) = fixed_variable(name) {
        return Err(mlua::Error::runtime(format!("variable \"{}\" not changeable: use {instead}", shown())));
    }
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if name.is_empty() || name.len() > 64 || !name.iter().all(good) {
        return Err(mlua::Error::runtime(format!(
            "variable \"{}\" cannot be set: expected a name of at most 64 letters, digits and '_'",
            shown()
        )));
    }
    tables::set(ctx, host::RequestTable::SubprocessEnv, name, value)
}

fn family(lua: &Lua, ctx: &Context, name: &[u8]) -> mlua::Result<Value> {
    if let Some(name) = name.strip_prefix(b"http_") {
        let header: Vec<u8> = name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
        return tables::get(lua, ctx, host::RequestTable::HeadersIn, &header);
    }
    if let Some(name) = name.strip_prefix(b"cookie_") {
        return crate::api::cookie_value(lua, ctx, name);
    }
    // httpd's counterpart of a variable that nginx has by `set $name`.
    let Some(name) = name.strip_prefix(b"arg_") else {
        return tables::get(lua, ctx, host::RequestTable::SubprocessEnv, name);
    };
    let mut value = Ok(Value::Nil);
    ctx.request()?.field(Field::Args, &mut |args| {
        // nginx gives the value as it stands, not unescaped.
        let found = args.unwrap_or_default().split(|byte| *byte == b'&').find_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            pair[..at].eq_ignore_ascii_case(name).then(|| &pair[at + 1..])
        });
        if let Some(found) = found {
            value = lua.create_string(found).map(Value::String);
        }
    });
    value
}
