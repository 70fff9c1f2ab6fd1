//! `socket.tcp()` in a request: the few calls of LuaSocket that checks use. Blocking, never longer than the call's own time
//! limit. Timers and checks have the one of [`crate::jobs::io`], which does not block.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use mlua::{Lua, LuaString, Table, UserData, UserDataMethods, Value};

use crate::context::Context;

struct Socket {
    ctx: Rc<Context>,
    inner: RefCell<Inner>,
}

#[derive(Default)]
struct Inner {
    stream: Option<TcpStream>,
    timeout: Option<Duration>,
    /// Received, not asked for yet.
    buffer: Vec<u8>,
}

/// Most bytes that one receive gathers.
pub(crate) const MOST: usize = 1 << 20;

/// The module.
pub(crate) fn module(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Table> {
    let module = lua.create_table()?;
    let own = ctx.clone();
    let tcp =
        move |lua: &Lua, ()| lua.create_userdata(Socket { ctx: own.clone(), inner: RefCell::default() });
    module.raw_set("tcp", lua.create_function(tcp)?)?;
    let own = ctx.clone();
    module.raw_set("gettime", lua.create_function(move |_, ()| Ok(own.server.time()))?)?;
    module.raw_set("_VERSION", "tcp only")?;
    Ok(module)
}

type Told = (Value, Option<String>, Option<Value>);

fn failed(text: impl Into<String>) -> Told {
    (Value::Nil, Some(text.into()), None)
}

fn told(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "timeout".into(),
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => "closed".into(),
        _ => error.to_string(),
    }
}

impl Socket {
    /// The script's timeout, bounded by what the call may take at all.
    fn timeout(&self, wanted: Option<Duration>) -> Duration {
        let most = Duration::from_millis(self.ctx.budget.time_ms.get().max(1));
        wanted.map_or(most, |wanted| wanted.clamp(Duration::from_millis(1), most))
    }

    fn connect(&self, host: &str, port: u16) -> Told {
        let mut inner = self.inner.borrow_mut();
        let timeout = self.timeout(inner.timeout);
        let addresses = match (host, port).to_socket_addrs() {
            Ok(addresses) => addresses,
            Err(_) => return failed("host not found"),
        };
        let mut last = "host not found".to_owned();
        for address in addresses.take(2) {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(timeout)).ok();
                    stream.set_write_timeout(Some(timeout)).ok();
                    inner.stream = Some(stream);
                    return (Value::Integer(1), None, None);
                }
                Err(error) => last = told(&error),
            }
        }
        failed(last)
    }

    fn send(&self, data: &[u8]) -> Told {
        let mut inner = self.inner.borrow_mut();
        let Some(stream) = &mut inner.stream else { return failed("closed") };
        match stream.write_all(data) {
            Ok(()) => (Value::Integer(data.len() as i64), None, None),
            Err(error) => failed(told(&error)),
        }
    }

    /// `*l` (default), `*a`, or a number of bytes.
    fn receive(&self, lua: &Lua, pattern: &Value) -> mlua::Result<Told> {
        let wanted = Wanted::parse(pattern)?;
        let mut inner = self.inner.borrow_mut();
        let Inner { stream, buffer, .. } = &mut *inner;
        let Some(stream) = stream else { return Ok(failed("closed")) };
        loop {
            if let Some(found) = wanted.take(buffer, false) {
                return Ok((Value::String(lua.create_string(found)?), None, None));
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(count) if count > 0 && buffer.len() < MOST => buffer.extend(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                end => {
                    let error = end.err().map_or_else(|| "closed".to_owned(), |error| told(&error));
                    if let Some(found) = wanted.take(buffer, error == "closed") {
                        return Ok((Value::String(lua.create_string(found)?), None, None));
                    }
                    let partial = Value::String(lua.create_string(std::mem::take(buffer))?);
                    return Ok((Value::Nil, Some(error), Some(partial)));
                }
            }
        }
    }
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

impl UserData for Socket {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("settimeout", |_, this, seconds: Option<f64>| {
            let valid = seconds.filter(|seconds| *seconds >= 0.0 && *seconds < 1e6);
            let mut inner = this.inner.borrow_mut();
            inner.timeout = valid.map(Duration::from_secs_f64);
            let timeout = this.timeout(inner.timeout);
            if let Some(stream) = &inner.stream {
                stream.set_read_timeout(Some(timeout)).ok();
                stream.set_write_timeout(Some(timeout)).ok();
            }
            Ok(1)
        });
        methods.add_method("connect", |_, this, (host, port): (String, u16)| Ok(this.connect(&host, port)));
        methods.add_method("send", |_, this, data: LuaString| Ok(this.send(&data.as_bytes())));
        methods.add_method("receive", |lua, this, pattern: Value| this.receive(lua, &pattern));
        methods.add_method("close", |_, this, ()| {
            this.inner.borrow_mut().stream = None;
            Ok(1)
        });
    }
}
