// SPDX-License-Identifier: Apache-2.0
//! LuaSocket's names, all of them here: `socket` with `socket.tcp()`, `socket.http`, `ltn12`. In
//! timers and checks they wait as jobs do (`crate::jobs::io`). In requests, where a socket would
//! hold up a thread of the server, and at the top level of scripts they say where they work.

mod receive;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{AnyUserData, Function, Lua, LuaString, Table, UserData, Value, Variadic};

use self::receive::{MOST, Wanted};
use crate::context::Context;
use crate::context::kept::{MOST_RECEIVED, Shared};
use crate::context::wait::{Connection, Io};
use crate::jobs::arguments::{LONGEST, MOST_TEXT, place};
use crate::jobs::io;
use crate::jobs::reply::Held;
use crate::limits::frame::Phase;
use crate::native::chunk::internal;
use crate::sandbox::Sandbox;

/// Room that a socket keeps between two receives.
const KEPT: usize = 4 << 10;
/// Sockets that all scripts of a state may have open.
const MOST_SOCKETS: usize = 256;
/// `require "ltn12"`.
pub(crate) const LTN12: &str = include_str!("ltn12.lua");

/// Puts the module `socket` in place where jobs run; `ready` raises where nothing can wait.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Context>, sandbox: &Sandbox, ready: Function) -> mlua::Result<()> {
    let chunk = internal(lua, include_str!("tcp.lua"))?;
    let socket: Table = chunk.call((natives(lua, ctx)?, lua.globals(), ready))?;
    let socket: Value = sandbox.protect.call((socket, "socket"))?;
    ctx.modules.borrow_mut().insert("socket".to_owned(), socket);
    Ok(())
}

/// `require "socket.http"` over the state's `lb.http`, which refuses in requests. A table of the
/// script's own.
pub(crate) fn http(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Value> {
    let http = ctx.modules.borrow().get(io::HTTP).cloned();
    let http = http.unwrap_or(Value::Function(io::refused(lua, "socket.http")?));
    internal(lua, include_str!("http.lua"))?.call((http, lua.globals()))
}

/// `require "socket"` where there are no jobs: it says where it works.
pub(crate) fn refusing(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Table> {
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

/// A socket of a script.
struct Socket {
    connection: RefCell<Option<Open>>,
    timeout: Cell<Option<Duration>>,
    /// Until when the `receive` that is under way may wait, whatever comes in meanwhile.
    until: Cell<Option<Instant>>,
    /// Received, not asked for yet.
    buffer: RefCell<Vec<u8>>,
    /// How much of it is counted in what all jobs share.
    counted: Cell<usize>,
    shared: Rc<Shared>,
}
impl UserData for Socket {}

/// A connection, and a share in the count of those that are open.
struct Open {
    connection: Connection,
    _counted: Rc<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.count(0);
    }
}

impl Socket {
    fn new(shared: Rc<Shared>) -> Self {
        Socket {
            connection: RefCell::default(),
            timeout: Cell::default(),
            until: Cell::default(),
            buffer: RefCell::default(),
            counted: Cell::default(),
            shared,
        }
    }

    /// Notes how much the buffer holds.
    fn count(&self, bytes: usize) {
        let others = self.shared.received.get().saturating_sub(self.counted.replace(bytes));
        self.shared.received.set(others.saturating_add(bytes));
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.shared.received.get().saturating_add(bytes) <= MOST_RECEIVED
    }

    fn close(&self) {
        self.connection.take();
        self.buffer.take();
        self.count(0);
    }

    /// The time that the `receive` that is under way has left; a first wait begins it. None:
    /// nothing.
    fn left(&self, first: bool) -> Option<Duration> {
        if first {
            self.until.set(Instant::now().checked_add(self.timeout()));
        }
        let left = self.until.get()?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// None waits as long as the job may take.
    fn timeout(&self) -> Duration {
        self.timeout.get().unwrap_or(Duration::from_secs_f64(LONGEST))
    }
}

/// The functions that `tcp.lua` is made of.
fn natives(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    let own = ctx.clone();
    native.raw_set("time", lua.create_function(move |_, ()| Ok(own.server.time()))?)?;
    native.raw_set("token", io::token(lua, ctx)?)?;
    let own = ctx.clone();
    let new = move |lua: &Lua, ()| {
        let shared = own.jobs.as_ref().map(|jobs| jobs.shared.clone()).unwrap_or_default();
        lua.create_userdata(Socket::new(shared))
    };
    native.raw_set("new", lua.create_function(new)?)?;
    let settimeout = |_: &Lua, (socket, seconds): (AnyUserData, Option<f64>)| {
        let valid = seconds.filter(|seconds| (0.0..=LONGEST).contains(seconds));
        let shortest = Duration::from_millis(1);
        socket.borrow::<Socket>()?.timeout.set(valid.map(|s| Duration::from_secs_f64(s).max(shortest)));
        Ok(())
    };
    native.raw_set("settimeout", lua.create_function(settimeout)?)?;
    let own = ctx.clone();
    let connect = move |lua: &Lua, (socket, host, port): (AnyUserData, Value, Value)| {
        let (host, port) = place("connect", &host, &port)?;
        if is_full(lua, &own) {
            return Ok(Some(format!("more than {MOST_SOCKETS} sockets are open")));
        }
        let socket = socket.borrow::<Socket>()?;
        socket.close();
        Ok(io::want(&own, Io::Connect { host, port, timeout: socket.timeout() }))
    };
    native.raw_set("want_connect", lua.create_function(connect)?)?;
    let own = ctx.clone();
    let attach = move |_: &Lua, (socket, held): (AnyUserData, AnyUserData)| {
        let connection = held.take::<Held>()?.0;
        let _counted = own.jobs.as_ref().map(|jobs| jobs.sockets.clone()).unwrap_or_default();
        socket.borrow::<Socket>()?.connection.replace(Some(Open { connection, _counted }));
        Ok(())
    };
    native.raw_set("attach", lua.create_function(attach)?)?;
    let own = ctx.clone();
    let send = move |_: &Lua, (socket, data): (AnyUserData, LuaString)| {
        let socket = socket.borrow::<Socket>()?;
        let data = data.as_bytes();
        if data.len() > MOST_TEXT {
            return Ok(Some(format!("more than {} MiB to be sent at once", MOST_TEXT >> 20)));
        }
        let data = data.to_vec();
        Ok(on_connection(&socket, |on| io::want(&own, Io::Send { on, data, timeout: socket.timeout() })))
    };
    native.raw_set("want_send", lua.create_function(send)?)?;
    let own = ctx.clone();
    let receive = move |_: &Lua, (socket, first): (AnyUserData, bool)| {
        let socket = socket.borrow::<Socket>()?;
        Ok(on_connection(&socket, |on| match socket.left(first) {
            Some(timeout) => io::want(&own, Io::Receive { on, timeout }),
            None => Some("timeout".into()),
        }))
    };
    native.raw_set("want_receive", lua.create_function(receive)?)?;
    native.raw_set("take", lua.create_function(take_received)?)?;
    let close = |_: &Lua, socket: AnyUserData| {
        socket.borrow::<Socket>()?.close();
        Ok(())
    };
    native.raw_set("close", lua.create_function(close)?)?;
    Ok(native)
}

/// Whether no further socket may be opened. Sockets that scripts have forgotten do not count.
fn is_full(lua: &Lua, ctx: &Context) -> bool {
    let full = || ctx.jobs.as_ref().is_some_and(|jobs| Rc::strong_count(&jobs.sockets) > MOST_SOCKETS);
    full() && lua.gc_collect().is_ok() && full()
}

fn on_connection(socket: &Socket, f: impl FnOnce(Connection) -> Option<String>) -> Option<String> {
    match &*socket.connection.borrow() {
        Some(open) => f(open.connection.clone()),
        None => Some("closed".into()),
    }
}

/// `(socket, pattern, chunk, error) -> done, value, error, partial`: what `receive` gives once it
/// is all there.
#[allow(clippy::type_complexity)]
fn take_received(
    lua: &Lua,
    (socket, pattern, chunk, mut error): (AnyUserData, Value, Option<LuaString>, Option<String>),
) -> mlua::Result<(bool, Value, Option<String>, Option<LuaString>)> {
    let socket = socket.borrow::<Socket>()?;
    let wanted = Wanted::parse(&pattern)?;
    let mut buffer = socket.buffer.borrow_mut();
    if let Some(chunk) = chunk.as_ref().map(LuaString::as_bytes) {
        match socket.has_room(chunk.len()) {
            true => buffer.extend_from_slice(&chunk),
            false => error = Some(format!("sockets hold more than {} MiB", MOST_RECEIVED >> 20)),
        }
    }
    let closed = error.as_deref() == Some("closed");
    let found = wanted.take(&mut buffer, closed);
    if found.is_some() && buffer.capacity() > KEPT {
        // The rest keeps no more room than it needs.
        buffer.shrink_to_fit();
    }
    socket.count(buffer.len());
    if let Some(found) = found {
        return Ok((true, Value::String(lua.create_string(found)?), None, None));
    }
    let error = match error {
        None if buffer.len() >= MOST => format!("more than {MOST} bytes"),
        None => return Ok((false, Value::Nil, None, None)),
        Some(error) => error,
    };
    socket.count(0);
    let partial = lua.create_string(std::mem::take(&mut *buffer))?;
    Ok((true, Value::Nil, Some(error), Some(partial)))
}
