//! `require "socket"` where there are no jobs: in requests, where a socket would hold up a thread of the server, and at the top
//! level of scripts. There it says where it works. Timers and checks have the one of [`crate::jobs::io`].

use std::rc::Rc;

use mlua::{Lua, Table, Value, Variadic};

use crate::context::{Context, Phase};

/// Most bytes that one receive gathers.
pub(crate) const MOST: usize = 1 << 20;

/// The module.
pub(crate) fn module(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let own = ctx.clone();
    let tcp = move |_: &Lua, _: Variadic<Value>| -> mlua::Result<()> {
        let here = match own.frame.get().phase {
            Phase::Load => "at the top level of a script",
            _ => "in a request, whose thread it would hold up",
        };
        Err(mlua::Error::runtime(format!(
            "socket.tcp works in timers and health checks only (LuaBalancerTimer, lb.every, LuaBalancerHealthCheck lua), not {here}"
        )))
    };
    module.raw_set("tcp", lua.create_function(tcp)?)?;
    let own = ctx.clone();
    module.raw_set("gettime", lua.create_function(move |_, ()| Ok(own.server.time()))?)?;
    module.raw_set("_VERSION", "tcp only")?;
    Ok(module)
}

/// What `receive` is asked for.
pub(crate) enum Wanted {
    Line,
    Bytes(usize),
    All,
}

impl Wanted {
    pub(crate) fn parse(pattern: &Value) -> mlua::Result<Self> {
        Ok(match pattern {
            Value::Nil => Wanted::Line,
            Value::Integer(count) => Wanted::Bytes(usize::try_from(*count).unwrap_or(0).min(MOST)),
            Value::String(text) if text.to_string_lossy().trim_start_matches('*').starts_with('a') => {
                Wanted::All
            }
            Value::String(_) => Wanted::Line,
            other => {
                let found = other.type_name();
                return Err(mlua::Error::runtime(format!(
                    "receive: expected \"*l\", \"*a\" or a number, found a {found}"
                )));
            }
        })
    }

    /// Takes what is wanted out of the buffer, if it is all there.
    pub(crate) fn take(&self, buffer: &mut Vec<u8>, closed: bool) -> Option<Vec<u8>> {
        match self {
            Wanted::Bytes(count) => (buffer.len() >= *count).then(|| buffer.drain(..count).collect()),
            Wanted::All => closed.then(|| std::mem::take(buffer)),
            Wanted::Line => {
                let end = buffer.iter().position(|byte| *byte == b'\n')?;
                let line: Vec<u8> = buffer.drain(..=end).collect();
                Some(line.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
            }
        }
    }
}
