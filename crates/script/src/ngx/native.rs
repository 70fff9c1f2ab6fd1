// SPDX-License-Identifier: Apache-2.0
//! The functions that the Lua files of this folder are built on.

use std::net::IpAddr;
use std::rc::Rc;

use balance::target::is_tls_name;
use mlua::{Lua, LuaString, MultiValue, Table, Value, Variadic};

use super::{names, regex, ring, variables};
use crate::api::arguments::{NOT_IN_A_REQUEST, handy, short, shown};
use crate::api::tables;
use crate::context::Context;
use crate::decision::answer::{Answer, MAX_MORE_TRIES, Peer};
use crate::error::Halt;
use crate::host::{self, Digest, Field, Number};
use crate::limits::frame::Phase;
use crate::native::bounds::bounded;
use crate::strings::text;

/// Makes the table of native functions.
pub(crate) fn functions(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    variables::install(lua, ctx, &table)?;
    requests(lua, ctx, &table)?;
    endings(lua, ctx, &table)?;
    peers(lua, ctx, &table)?;
    strings(lua, ctx, &table)?;
    host(lua, ctx, &table)?;
    ring::install(lua, ctx, &table)?;
    regex::install(lua, ctx, &table)?;
    table.raw_set("null", Value::NULL)?;
    names::install(lua, &table)?;
    let re = |lua: &Lua, (native, raw): (Table, Table)| -> mlua::Result<Value> {
        crate::native::chunk::internal(lua, include_str!("re.lua"))?.call((native, raw))
    };
    table.raw_set("re", lua.create_function(re)?)?;
    let rare = |lua: &Lua, all: (Table, Table, Table)| -> mlua::Result<()> {
        crate::native::chunk::internal(lua, include_str!("rare.lua"))?.call(all)
    };
    table.raw_set("rare", lua.create_function(rare)?)?;
    let own = ctx.clone();
    let mark = move |_: &Lua, object: Table| {
        own.protected.get().map_or(Ok(()), |protected| protected.raw_set(&object, true))?;
        Ok(object)
    };
    table.raw_set("mark", lua.create_function(mark)?)?;
    Ok(table)
}

fn requests(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    for (name, which) in
        [("headers", host::RequestTable::HeadersIn), ("response_headers", host::RequestTable::HeadersOut)]
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
        request.set(host::RequestTable::HeadersOut, b"Location", Some(&uri)).map_err(mlua::Error::runtime)?;
        end(&own, Answer::Status(status))
    };
    table.raw_set("redirect", lua.create_function(redirect)?)
}

/// The answer is given. Before the balancer phase the script ends here; in it, it goes on, as in
/// OpenResty.
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
    let set = move |_: &Lua, (host, port, name): (LuaString, u16, Option<LuaString>)| {
        let (host, name) = (short(&host)?, name.as_ref().map(short).transpose()?);
        own.say(|said| {
            let peer = &mut said.peer;
            (peer.host, peer.port, peer.tls_name) = (host, port, name);
            checked_peer(peer)
        })
    };
    table.raw_set("set_peer", lua.create_function(set)?)?;
    let own = ctx.clone();
    let tries = move |_: &Lua, tries: f64| {
        let most = f64::from(MAX_MORE_TRIES.saturating_sub(own.attempt.get().before));
        // Not above `most`, so that it fits; NaN becomes 0.
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
            checked_peer(&mut said.peer)
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

/// The name for TLS goes out to the peer, and stands behind its URL. Like nginx, without a port.
fn checked_peer(peer: &mut Peer) -> mlua::Result<()> {
    let Some(name) = peer.tls_name.as_mut().filter(|_| peer.tls) else { return Ok(()) };
    if let Some((host, port)) = name.split_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        *name = host.to_owned();
    }
    if is_tls_name(name) {
        return Ok(());
    }
    let shown: String = name.escape_debug().take(100).collect();
    Err(mlua::Error::runtime(format!(
        "ngx.balancer: \"{shown}\" is not a name for TLS: expected that of a host, such as backend.example"
    )))
}

fn strings(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    type Change = fn(&[u8]) -> Vec<u8>;
    let pure: [(&str, Change); 4] = [
        ("escape_uri", text::escape_uri),
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
    table.raw_set("digest", lua.create_function(digest)?)
}

fn host(lua: &Lua, ctx: &Rc<Context>, table: &Table) -> mlua::Result<()> {
    let own = ctx.clone();
    let log = move |_: &Lua, (level, values): (u8, Variadic<Value>)| {
        if own.server.logs(level) {
            return own.log(level, &crate::strings::text::joined(&values, "")?);
        }
        Ok(())
    };
    table.raw_set("log", bounded(lua, "many", &lua.create_function(log)?)?)?;
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
            crate::jobs::timers::start_timer(&own, name, seconds, repeats, (function, args))
                .map(crate::jobs::timers::told)
        }
        _ => Ok((None, Some(NOT_IN_A_REQUEST.to_owned()))),
    };
    table.raw_set("timer", bounded(lua, "many", &lua.create_function(timer)?)?)?;
    let own = ctx.clone();
    let dict = move |lua: &Lua, name: LuaString| match own.server.dict(&shown(&name)) {
        Some(dict) => crate::api::dict_object(lua, dict).map(Value::UserData),
        None => Ok(Value::Nil),
    };
    table.raw_set("dict", lua.create_function(dict)?)
}
