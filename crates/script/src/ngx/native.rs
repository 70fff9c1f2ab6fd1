//! What the Lua files of this folder are built on.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use mlua::{Lua, LuaString, MultiValue, Table, Value, Variadic};

use super::{regex, ring};
use crate::answer::{Answer, MAX_MORE_TRIES, Peer};
use crate::api::{NOT_IN_A_REQUEST, tables, text_value};
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

/// What a script that chooses a backend cannot have, and what to use instead.
const INSTEAD: [(&str, &str); 15] = [
    ("sleep", "a request's thread must not sleep; queue= lets requests wait, ngx.timer.at runs later"),
    ("exec", "use httpd's RewriteRule, or ngx.req.set_uri"),
    ("thread", "use ngx.timer.at, or lb.http in timers"),
    ("socket", "use require \"socket\" in timers and checks"),
    ("location", "there are no sub-requests here; use lb.http in timers"),
    ("semaphore", "use lb.dict"),
    ("hmac_sha1", "use ngx.sha1_bin or lb.hash"),
    ("crc32c", "use ngx.crc32_short"),
    ("parse_http_time", "use os.time with the parts of the date"),
    ("quote_sql_str", "there is no database here"),
    ("on_abort", "use LuaHookFinish"),
    ("arg", "bodies are the backend's; use httpd's filters"),
    ("is_subrequest", "use r.is_initial_req"),
    ("headers_sent", "a script runs before the answer's headers"),
    ("get_raw_phases", "use ngx.get_phase()"),
];

/// Nothing, or the error for a name of OpenResty's that is left out.
fn instead(_: &Lua, name: Value) -> mlua::Result<()> {
    let Value::String(name) = name else { return Ok(()) };
    match INSTEAD.iter().find(|(known, _)| *name.as_bytes() == *known.as_bytes()) {
        Some((name, words)) => {
            Err(mlua::Error::runtime(format!("ngx.{name} is not available here: {words}")))
        }
        None => Ok(()),
    }
}

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
    regex::install(lua, ctx, &table)?;
    table.raw_set("null", Value::NULL)?;
    let number = |_: &Lua, name: Value| {
        let Value::String(name) = name else { return Ok(None) };
        Ok(NUMBERS.iter().find(|(known, _)| *name.as_bytes() == *known.as_bytes()).map(|(_, number)| *number))
    };
    table.raw_set("number", lua.create_function(number)?)?;
    table.raw_set("instead", lua.create_function(instead)?)?;
    let re = |lua: &Lua, (native, raw): (Table, Table)| -> mlua::Result<Value> {
        crate::sandbox::internal(lua, include_str!("re.lua"))?.call((native, raw))
    };
    table.raw_set("re", lua.create_function(re)?)?;
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
    let noted = tables::get(lua, ctx, host::Table::Notes, NOTE)?;
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
    tables::set(ctx, host::Table::Notes, NOTE, &known)?;
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

/// `ngx.var.NAME = value`: the arguments, or a variable of the script's own, which is one of the environment.
fn set_variable(ctx: &Context, name: &[u8], value: &Value) -> mlua::Result<()> {
    let shown = || String::from_utf8_lossy(name).into_owned();
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
    // What nginx has `set $name` for.
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
            let clean: Vec<u8> = value.as_bytes().iter().map(|b| if *b < b' ' { b' ' } else { *b }).collect();
            own.spend(key.as_bytes().len() + clean.len())?;
            own.request()?.add(which, &key.as_bytes(), &clean).map_err(mlua::Error::runtime)
        };
        table.raw_set(format!("add_{name}"), lua.create_function(add)?)?;
    }
    for (name, field) in [("set_uri", Field::Uri), ("set_args", Field::Args)] {
        let own = ctx.clone();
        let set = move |_: &Lua, value: Option<LuaString>| {
            let bytes = value.as_ref().map(|value| value.as_bytes().to_vec());
            own.request()?;
            own.set_field(field, bytes.as_deref()).map_err(mlua::Error::runtime)
        };
        table.raw_set(name, lua.create_function(set)?)?;
    }
    let own = ctx.clone();
    let parsed = move |lua: &Lua, max: usize| {
        let mut args = Vec::new();
        own.request()?.field(Field::Args, &mut |text| args = text.unwrap_or_default().to_vec());
        decoded(lua, &args, max)
    };
    table.raw_set("uri_args", lua.create_function(parsed)?)?;
    table.raw_set(
        "decode_args",
        lua.create_function(|lua, (args, max): (LuaString, usize)| decoded(lua, &args.as_bytes(), max))?,
    )?;
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
fn decoded(lua: &Lua, args: &[u8], max: usize) -> mlua::Result<(Table, Option<&'static str>)> {
    let table = lua.create_table()?;
    let parts = args.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    for (count, part) in parts.enumerate() {
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
        let answer = match status {
            0 | -5 => Answer::Decline,
            -1 => Answer::Status(500),
            100..=599 => Answer::Status(status as u16),
            other => {
                return Err(mlua::Error::runtime(format!(
                    "ngx.exit: expected ngx.OK, ngx.ERROR, ngx.DECLINED or a status from 100 to 599, found {other}"
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

/// The answer is given. Before the balancer phase the script ends here; in it, it goes on, as in OpenResty.
fn end(ctx: &Context, answer: Answer) -> mlua::Result<()> {
    ctx.request()?;
    // `ngx.exit(ngx.OK)` behind `set_current_peer` ends the phase, and the peer stays.
    ctx.say(|said| {
        if answer != Answer::Decline || said.peer.host.is_empty() {
            said.answer = Some(answer);
        }
    });
    match ctx.frame.get().phase {
        Phase::Pick => Ok(()),
        _ => Err(ctx.budget.end(Halt::Answered).raise()),
    }
}

fn peers(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    table.raw_set(
        "is_address",
        lua.create_function(|_, text: LuaString| Ok(text.to_string_lossy().parse::<IpAddr>().is_ok()))?,
    )?;
    let own = ctx.clone();
    let can = move |_: &Lua, ()| {
        let phase = own.frame.get().phase;
        Ok(own.request.active() && matches!(phase, Phase::Translate | Phase::Select | Phase::Pick))
    };
    table.raw_set("can_balance", lua.create_function(can)?)?;
    let own = ctx.clone();
    let set = move |_: &Lua, (host, port, tls_name): (String, u16, Option<String>)| {
        own.say(|said| {
            let peer = &mut said.peer;
            (peer.host, peer.port, peer.tls_name) = (host, port, tls_name);
            checked_peer(peer)
        })
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
        own.say(|said| {
            said.peer.tls = on;
            checked_peer(&said.peer)
        })
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

/// A peer is an address, and mod_proxy takes the name for TLS from the URL.
fn checked_peer(peer: &Peer) -> mlua::Result<()> {
    let Some(name) = peer.tls_name.as_ref().filter(|name| peer.tls && **name != peer.host) else {
        return Ok(());
    };
    Err(mlua::Error::runtime(format!(
        "ngx.balancer: \"{name}\" as the name for TLS of {} is not available here: make it a member, \
         LuaBalancerMember https://{name}:{}, and return that one",
        peer.host,
        if peer.port == 0 { 443 } else { peer.port }
    )))
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
        let function = move |lua: &Lua, text: LuaString| lua.create_string(change(&text.as_bytes()));
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
    table.raw_set("digest", lua.create_function(digest)?)
}

fn host(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    let log = move |_: &Lua, (level, values): (u8, Variadic<Value>)| {
        if own.server.logs(level) {
            own.server.log(level, &crate::text::joined(&values, "")?);
        }
        Ok(())
    };
    table.raw_set("log", lua.create_function(log)?)?;
    let own = ctx.clone();
    table.raw_set("time", lua.create_function(move |_, ()| Ok(own.server.time()))?)?;
    let own = ctx.clone();
    table.raw_set(
        "worker",
        lua.create_function(move |_, ()| {
            Ok((own.server.worker(), std::process::id(), own.server.workers()))
        })?,
    )?;
    let own = ctx.clone();
    let write = move |_: &Lua, (name, text): (String, LuaString)| {
        crate::api::modlua::write(&own, &name, &text.as_bytes())
    };
    table.raw_set("write", lua.create_function(write)?)?;
    let cookie_time = |_: &Lua, seconds: f64| Ok(text::http_date(seconds.clamp(0.0, 1e11) as u64));
    table.raw_set("http_date", lua.create_function(cookie_time)?)?;
    let own = ctx.clone();
    let phase = move |_: &Lua, ()| {
        Ok(match own.frame.get().phase {
            Phase::Load => "init_worker",
            Phase::Translate | Phase::Select | Phase::Pick => "balancer",
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
    table.raw_set("timer", lua.create_function(timer)?)?;
    let own = ctx.clone();
    let dict = move |lua: &Lua, name: String| match own.server.dict(&name) {
        Some(dict) => crate::api::dict_object(lua, dict).map(Value::UserData),
        None => Ok(Value::Nil),
    };
    table.raw_set("dict", lua.create_function(dict)?)
}
