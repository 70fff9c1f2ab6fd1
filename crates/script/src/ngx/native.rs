//! What the Lua files of this folder are built on.

use std::net::IpAddr;
use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value, Variadic};

use super::ring;
use crate::answer::{Answer, MAX_MORE_TRIES};
use crate::api::{NOT_IN_A_REQUEST, handy, short, tables, text_value};
use crate::bounds::bounded;
use crate::context::{Context, Phase};
use crate::error::Halt;
use crate::host::{self, Digest, Field, Number};
use crate::text;

/// Numbers that `ngx` has: results, log levels, statuses, and methods as bits. As Lua strings all of them would take some KiB of every state.
const NUMBERS: [(&str, i64); 63] = [
    ("OK", 0),
    ("ERROR", -1),
    ("AGAIN", -2),
    ("DONE", -4),
    ("DECLINED", -5),
    ("STDERR", 0),
    ("EMERG", 1),
    ("ALERT", 2),
    ("CRIT", 3),
    ("ERR", 4),
    ("WARN", 5),
    ("NOTICE", 6),
    ("INFO", 7),
    ("DEBUG", 8),
    ("HTTP_OK", 200),
    ("HTTP_CREATED", 201),
    ("HTTP_ACCEPTED", 202),
    ("HTTP_NO_CONTENT", 204),
    ("HTTP_PARTIAL_CONTENT", 206),
    ("HTTP_SPECIAL_RESPONSE", 300),
    ("HTTP_MOVED_PERMANENTLY", 301),
    ("HTTP_MOVED_TEMPORARILY", 302),
    ("HTTP_SEE_OTHER", 303),
    ("HTTP_NOT_MODIFIED", 304),
    ("HTTP_TEMPORARY_REDIRECT", 307),
    ("HTTP_PERMANENT_REDIRECT", 308),
    ("HTTP_BAD_REQUEST", 400),
    ("HTTP_UNAUTHORIZED", 401),
    ("HTTP_PAYMENT_REQUIRED", 402),
    ("HTTP_FORBIDDEN", 403),
    ("HTTP_NOT_FOUND", 404),
    ("HTTP_NOT_ALLOWED", 405),
    ("HTTP_NOT_ACCEPTABLE", 406),
    ("HTTP_REQUEST_TIMEOUT", 408),
    ("HTTP_CONFLICT", 409),
    ("HTTP_GONE", 410),
    ("HTTP_UPGRADE_REQUIRED", 426),
    ("HTTP_TOO_MANY_REQUESTS", 429),
    ("HTTP_CLOSE", 444),
    ("HTTP_ILLEGAL", 451),
    ("HTTP_INTERNAL_SERVER_ERROR", 500),
    ("HTTP_NOT_IMPLEMENTED", 501),
    ("HTTP_METHOD_NOT_IMPLEMENTED", 501),
    ("HTTP_BAD_GATEWAY", 502),
    ("HTTP_SERVICE_UNAVAILABLE", 503),
    ("HTTP_GATEWAY_TIMEOUT", 504),
    ("HTTP_VERSION_NOT_SUPPORTED", 505),
    ("HTTP_INSUFFICIENT_STORAGE", 507),
    ("HTTP_GET", 2),
    ("HTTP_HEAD", 4),
    ("HTTP_POST", 8),
    ("HTTP_PUT", 16),
    ("HTTP_DELETE", 32),
    ("HTTP_MKCOL", 64),
    ("HTTP_COPY", 128),
    ("HTTP_MOVE", 256),
    ("HTTP_OPTIONS", 512),
    ("HTTP_PROPFIND", 1024),
    ("HTTP_PROPPATCH", 2048),
    ("HTTP_LOCK", 4096),
    ("HTTP_UNLOCK", 8192),
    ("HTTP_PATCH", 16384),
    ("HTTP_TRACE", 32768),
];

/// Makes the table of native functions.
pub(crate) fn functions(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    variables(lua, ctx, &table)?;
    requests(lua, ctx, &table)?;
    endings(lua, ctx, &table)?;
    peers(lua, ctx, &table)?;
    strings(lua, ctx, &table)?;
    host(lua, ctx, &table)?;
    ring::install(lua, ctx, &table)?;
    table.raw_set("null", Value::NULL)?;
    let number = |_: &Lua, name: Value| {
        let Value::String(name) = name else { return Ok(None) };
        Ok(NUMBERS.iter().find(|(known, _)| *name.as_bytes() == *known.as_bytes()).map(|(_, number)| *number))
    };
    table.raw_set("number", lua.create_function(number)?)?;
    let own = ctx.clone();
    let mark = move |_: &Lua, object: Table| {
        own.protected.get().map_or(Ok(()), |protected| protected.raw_set(&object, true))?;
        Ok(object)
    };
    table.raw_set("mark", lua.create_function(mark)?)?;
    Ok(table)
}

fn variables(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
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
        b"remote_port" => number(Number::ClientPort),
        b"remote_user" => field(Field::User),
        b"request" => field(Field::TheRequest),
        b"request_method" => field(Field::Method),
        b"request_id" => match field(Field::LogId)? {
            Value::Nil => string(text::hex(&request_id(ctx)?).as_bytes()),
            known => Ok(known),
        },
        b"binary_remote_addr" => {
            let mut address = None;
            ctx.request()?.field(Field::UseragentIp, &mut |text| {
                address = text.and_then(|text| std::str::from_utf8(text).ok()?.parse::<IpAddr>().ok());
            });
            match address {
                Some(IpAddr::V4(ip)) => string(&ip.octets()),
                Some(IpAddr::V6(ip)) => string(&ip.octets()),
                None => Ok(Value::Nil),
            }
        }
        b"request_filename" => field(Field::Filename),
        b"document_root" => field(Field::DocumentRoot),
        b"status" => number(Number::Status),
        b"https" => string(if ctx.request()?.number(Number::IsHttps) != 0 { b"on" } else { b"" }),
        _ => family(lua, ctx, name),
    }
}

/// What tells a request from others where mod_unique_id is not loaded, the same for as long as it lasts.
fn request_id(ctx: &Context) -> mlua::Result<Vec<u8>> {
    let request = ctx.request()?;
    let parts =
        [request.serial(), u64::from(std::process::id()), request.number(Number::Started).cast_unsigned()];
    let seed: Vec<u8> = parts.into_iter().flat_map(u64::to_le_bytes).collect();
    Ok(request.digest(Digest::Md5, &seed))
}

/// Names that nginx fills itself: a script cannot make variables of them.
const FIXED: [&[u8]; 23] = [
    b"uri",
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
    b"remote_port",
    b"remote_user",
    b"request",
    b"request_method",
    b"request_id",
    b"request_filename",
    b"document_root",
    b"status",
    b"https",
    b"binary_remote_addr",
    b"",
];

/// `ngx.var.NAME = value`: an environment variable of the request, so that LogFormat has it as `%{NAME}e`.
fn set_variable(ctx: &Context, name: &[u8], value: &Value) -> mlua::Result<()> {
    let families = [b"http_".as_slice(), b"cookie_", b"arg_"];
    if FIXED.contains(&name) || families.iter().any(|family| name.starts_with(family)) {
        let name = String::from_utf8_lossy(name);
        return Err(mlua::Error::runtime(format!(
            "variable \"{name}\" cannot be set: it is the request's own"
        )));
    }
    tables::set(ctx, host::Table::SubprocessEnv, name, value)
}

fn family(lua: &Lua, ctx: &Context, name: &[u8]) -> mlua::Result<Value> {
    if let Some(name) = name.strip_prefix(b"http_") {
        let header: Vec<u8> = name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
        return tables::get(lua, ctx, host::Table::HeadersIn, &header);
    }
    if let Some(name) = name.strip_prefix(b"cookie_") {
        return crate::api::cookie_value(lua, ctx, name);
    }
    let Some(name) = name.strip_prefix(b"arg_") else {
        return tables::get(lua, ctx, host::Table::SubprocessEnv, name);
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

fn requests(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    for (name, which) in [("headers", host::Table::HeadersIn), ("response_headers", host::Table::HeadersOut)]
    {
        let own = ctx.clone();
        table.raw_set(name, lua.create_function(move |lua, ()| flat(lua, &tables::pairs(&own, which)?))?)?;
        let own = ctx.clone();
        let get = move |lua: &Lua, key: LuaString| tables::get(lua, &own, which, &key.as_bytes());
        table.raw_set(format!("get_{name}"), lua.create_function(get)?)?;
        let own = ctx.clone();
        let set = move |_: &Lua, (key, value): (LuaString, Value)| {
            tables::set(&own, which, &key.as_bytes(), &value)
        };
        table.raw_set(format!("set_{name}"), lua.create_function(set)?)?;
        let own = ctx.clone();
        let add = move |_: &Lua, (key, value): (LuaString, LuaString)| {
            handy(&value.as_bytes())?;
            let clean: Vec<u8> = value.as_bytes().iter().map(|b| if *b < b' ' { b' ' } else { *b }).collect();
            own.spend(key.as_bytes().len() + clean.len() + tables::ENTRY_BYTES)?;
            own.request()?.add(which, &key.as_bytes(), &clean).map_err(mlua::Error::runtime)
        };
        table.raw_set(format!("add_{name}"), lua.create_function(add)?)?;
    }
    for (name, field) in [("set_uri", Field::Uri), ("set_args", Field::Args)] {
        let own = ctx.clone();
        let set = move |_: &Lua, value: Option<LuaString>| {
            let bytes = value.as_ref().map(|value| value.as_bytes());
            own.request()?;
            own.set_field(field, bytes.as_deref()).map_err(mlua::Error::runtime)
        };
        table.raw_set(name, lua.create_function(set)?)?;
    }
    let own = ctx.clone();
    let parsed = move |lua: &Lua, max: usize| {
        let mut found = None;
        own.request()?
            .field(Field::Args, &mut |text| found = Some(decoded(lua, &own, text.unwrap_or_default(), max)));
        found.unwrap_or_else(|| decoded(lua, &own, b"", max))
    };
    table.raw_set("uri_args", lua.create_function(parsed)?)?;
    let own = ctx.clone();
    let decode = move |lua: &Lua, (args, max): (LuaString, usize)| decoded(lua, &own, &args.as_bytes(), max);
    table.raw_set("decode_args", lua.create_function(decode)?)?;
    let own = ctx.clone();
    let status = move |_: &Lua, new: Option<i64>| {
        let request = own.request()?;
        if let Some(new) = new {
            request.set_number(Number::Status, new).map_err(mlua::Error::runtime)?;
        }
        Ok(request.number(Number::Status))
    };
    table.raw_set("status", lua.create_function(status)?)?;
    let own = ctx.clone();
    let serial = move |_: &Lua, ()| {
        own.keeps_request.set(true);
        Ok(own.request()?.serial().cast_signed())
    };
    table.raw_set("serial", lua.create_function(serial)?)?;
    let own = ctx.clone();
    let started = move |_: &Lua, ()| Ok(own.request()?.number(Number::Started) as f64 / 1e6);
    table.raw_set("started", lua.create_function(started)?)
}

/// `{ key, value, key, value, … }` in order.
fn flat(lua: &Lua, pairs: &[(Vec<u8>, Vec<u8>)]) -> mlua::Result<Table> {
    let list = lua.create_table_with_capacity(pairs.len() * 2, 0)?;
    for (key, value) in pairs {
        list.raw_push(lua.create_string(key)?)?;
        list.raw_push(lua.create_string(value)?)?;
    }
    Ok(list)
}

/// Arguments as OpenResty gives them: true for a bare key, a list for a repeated one. `max` 0: all.
fn decoded(lua: &Lua, ctx: &Context, args: &[u8], max: usize) -> mlua::Result<(Table, Option<&'static str>)> {
    let table = lua.create_table()?;
    let mut steps = 0;
    let parts = args.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    for (count, part) in parts.enumerate() {
        ctx.step(&mut steps)?;
        if max > 0 && count >= max {
            return Ok((table, Some("truncated")));
        }
        let at = part.iter().position(|byte| *byte == b'=');
        let key = text::unescape(&part[..at.unwrap_or(part.len())]);
        if key.is_empty() {
            continue;
        }
        let value = match at {
            Some(at) => Value::String(lua.create_string(text::unescape(&part[at + 1..]))?),
            None => Value::Boolean(true),
        };
        let key = lua.create_string(key)?;
        match table.raw_get::<Value>(&key)? {
            Value::Nil => table.raw_set(key, value)?,
            Value::Table(list) => list.raw_push(value)?,
            first => table.raw_set(key, lua.create_sequence_from([first, value])?)?,
        }
    }
    Ok((table, None))
}

fn endings(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    let exit = move |_: &Lua, status: i64| -> mlua::Result<()> {
        let mut has_peer = false;
        own.say(|said| has_peer = !said.peer.host.is_empty());
        if status == 0 && has_peer {
            // The peer is the decision, and this is nginx's way to say that the phase is over.
            return end_here(&own);
        }
        let answer = match status {
            0 | -5 => Answer::Decline,
            -1 => Answer::Status(500),
            200..=599 => Answer::Status(status as u16),
            other => {
                return Err(mlua::Error::runtime(format!(
                    "ngx.exit: expected ngx.OK, ngx.ERROR, ngx.DECLINED or a status from 200 to 599, found {other}"
                )));
            }
        };
        end(&own, answer)
    };
    table.raw_set("exit", lua.create_function(exit)?)?;
    let own = ctx.clone();
    let redirect = move |_: &Lua, (uri, status): (LuaString, Option<u16>)| -> mlua::Result<()> {
        let status = status.unwrap_or(302);
        if !matches!(status, 301 | 302 | 303 | 307 | 308) {
            return Err(mlua::Error::runtime(format!(
                "ngx.redirect: only ngx.HTTP_MOVED_TEMPORARILY (302), 301, 303, 307 and 308 are allowed, found {status}"
            )));
        }
        let uri = uri.as_bytes();
        if let Some(byte) = uri.iter().find(|byte| **byte < b' ' || **byte == 0x7f) {
            return Err(mlua::Error::runtime(format!("ngx.redirect: unsafe byte {byte:#04x} in the URI")));
        }
        let request = own.request()?;
        request.set(host::Table::HeadersOut, b"Location", Some(&uri)).map_err(mlua::Error::runtime)?;
        end(&own, Answer::Status(status))
    };
    table.raw_set("redirect", lua.create_function(redirect)?)
}

/// The answer is given.
fn end(ctx: &Context, answer: Answer) -> mlua::Result<()> {
    ctx.request()?;
    ctx.say(|said| said.answer = Some(answer));
    end_here(ctx)
}

/// Before the balancer phase the script ends here; in it, it goes on, as in OpenResty.
fn end_here(ctx: &Context) -> mlua::Result<()> {
    match ctx.frame.get().phase {
        Phase::Pick => Ok(()),
        _ => Err(ctx.budget.end(Halt::Answered).raise()),
    }
}

fn peers(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    table.raw_set(
        "is_address",
        lua.create_function(|_, text: LuaString| {
            Ok(short(&text).is_ok_and(|text| text.parse::<IpAddr>().is_ok()))
        })?,
    )?;
    let own = ctx.clone();
    let can = move |_: &Lua, ()| {
        let phase = own.frame.get().phase;
        Ok(own.request.active() && matches!(phase, Phase::Translate | Phase::Select | Phase::Pick))
    };
    table.raw_set("can_balance", lua.create_function(can)?)?;
    let own = ctx.clone();
    let set = move |_: &Lua, (host, port, tls_name): (LuaString, u16, Option<LuaString>)| {
        let (host, tls_name) = (short(&host)?, tls_name.as_ref().map(short).transpose()?);
        own.say(|said| {
            let peer = &mut said.peer;
            (peer.host, peer.port, peer.tls_name) = (host, port, tls_name);
        });
        Ok(())
    };
    table.raw_set("set_peer", lua.create_function(set)?)?;
    let own = ctx.clone();
    let tries = move |_: &Lua, tries: f64| {
        let most = f64::from(MAX_MORE_TRIES.saturating_sub(own.attempt.get().before));
        // Not above `most`, so that it fits; what is no number is 0.
        own.say(|said| said.peer.more_tries = Some(tries.min(most) as u32));
        Ok(tries > most)
    };
    table.raw_set("set_tries", lua.create_function(tries)?)?;
    let own = ctx.clone();
    let timeouts = move |_: &Lua, (connect, send, read): (Option<f64>, Option<f64>, Option<f64>)| {
        own.say(|said| said.peer.timeouts = [connect, send, read]);
        Ok(())
    };
    table.raw_set("set_timeouts", lua.create_function(timeouts)?)?;
    let own = ctx.clone();
    let tls = move |_: &Lua, on: bool| {
        own.say(|said| said.peer.tls = on);
        Ok(())
    };
    table.raw_set("set_tls", lua.create_function(tls)?)?;
    let own = ctx.clone();
    let failure = move |_: &Lua, ()| {
        Ok(match own.attempt.get().last_failure {
            Some((good, status)) => (Some(if good { "next" } else { "failed" }), Some(status)),
            None => (None, None),
        })
    };
    table.raw_set("last_failure", lua.create_function(failure)?)
}

fn strings(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    type Change = fn(&[u8]) -> Vec<u8>;
    let pure: [(&str, Change); 4] = [
        ("escape_uri", |text| text::escape_but(text, b"-._~", false)),
        ("unescape_uri", |text| text::unescape_with(text, true)),
        ("encode_base64", text::base64_encode),
        ("decode_base64", text::base64_decode),
    ];
    for (name, change) in pure {
        let function = move |lua: &Lua, text: LuaString| lua.create_string(change(handy(&text.as_bytes())?));
        table.raw_set(name, lua.create_function(function)?)?;
    }
    table
        .raw_set("crc32", lua.create_function(|_, text: LuaString| Ok(crc32fast::hash(&text.as_bytes())))?)?;
    let own = ctx.clone();
    let digest = move |lua: &Lua, (sha1, hex, text): (bool, bool, LuaString)| {
        let kind = if sha1 { Digest::Sha1 } else { Digest::Md5 };
        let bytes = own.request()?.digest(kind, &text.as_bytes());
        if hex { lua.create_string(text::hex(&bytes)) } else { lua.create_string(bytes) }
    };
    table.raw_set("digest", lua.create_function(digest)?)?;
    let own = ctx.clone();
    let regex = move |lua: &Lua, (text, pattern, flags): (LuaString, LuaString, LuaString)| match own
        .request()?
        .regex(&text.as_bytes(), &short(&pattern)?, &short(&flags)?)
    {
        Ok(None) => Ok((Value::Nil, None)),
        Err(error) => Ok((Value::Nil, Some(error))),
        Ok(Some(groups)) => {
            let table = lua.create_table_with_capacity(groups.len(), 1)?;
            for (at, group) in groups.iter().enumerate() {
                match group {
                    Some(group) => table.raw_set(at, lua.create_string(group)?)?,
                    None => table.raw_set(at, false)?,
                }
            }
            Ok((Value::Table(table), None))
        }
    };
    table.raw_set("regex", lua.create_function(regex)?)
}

fn host(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    let log = move |_: &Lua, (level, values): (u8, Variadic<Value>)| {
        if own.server.logs(level) {
            return own.log(level, &crate::text::joined(&values, "")?);
        }
        Ok(())
    };
    table.raw_set("log", bounded(lua, "many", &lua.create_function(log)?)?)?;
    let own = ctx.clone();
    table.raw_set("time", lua.create_function(move |_, ()| Ok(own.server.time()))?)?;
    let own = ctx.clone();
    table.raw_set(
        "worker",
        lua.create_function(move |_, ()| Ok((own.server.worker(), std::process::id())))?,
    )?;
    let own = ctx.clone();
    let phase = move |_: &Lua, ()| {
        Ok(match own.frame.get().phase {
            Phase::Load => "init_worker",
            // Whoever uses ngx.balancer is in its phase, by nginx's names.
            Phase::Translate | Phase::Select if own.modules.borrow().contains_key("ngx.balancer") => {
                "balancer"
            }
            Phase::Translate => "rewrite",
            Phase::Select => "access",
            Phase::Pick => "balancer",
            Phase::Finish => "log",
            Phase::Timer => "timer",
        })
    };
    table.raw_set("phase", lua.create_function(phase)?)?;
    let own = ctx.clone();
    type Timer = (f64, bool, mlua::Function, MultiValue);
    let timer = move |_: &Lua, (seconds, repeats, function, args): Timer| match own.frame.get().phase {
        Phase::Load | Phase::Timer => {
            let name = if repeats { "ngx.timer.every" } else { "ngx.timer.at" };
            crate::jobs::start_timer(&own, name, seconds, repeats, function, args).map(crate::jobs::told)
        }
        _ => Ok((None, Some(NOT_IN_A_REQUEST.to_owned()))),
    };
    table.raw_set("timer", bounded(lua, "many", &lua.create_function(timer)?)?)?;
    let own = ctx.clone();
    let dict = move |lua: &Lua, name: LuaString| match own.server.dict(&crate::api::shown(&name)) {
        Some(dict) => crate::api::dict_object(lua, dict).map(Value::UserData),
        None => Ok(Value::Nil),
    };
    table.raw_set("dict", lua.create_function(dict)?)
}
