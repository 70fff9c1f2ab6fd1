//! What jobs wait for, as plain values: the host does it. And `lb.http` and `lb.tcp` over it.

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

use mlua::{
    AnyUserData, Function, IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserData, Value, Variadic,
};

use crate::context::{Context, Phase};

/// How long `lb.http` and `lb.tcp` wait unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest `timeout=`; the job's own limit is shorter.
pub(crate) const LONGEST: f64 = 86_400.0;
/// Most bytes of a body, or of one `send`.
pub(crate) const MOST_TEXT: usize = 4 << 20;
/// Name of `lb.http` among the modules of a state.
pub(crate) const HTTP: &str = "lb.http";
/// Name of what looks host names up among the modules of a state.
pub(crate) const RESOLVE: &str = "resolve";
/// Name of what waits among the modules of a state.
pub(crate) const SLEEP: &str = "sleep";
/// Name of the token among the modules of a state.
const TOKEN: &str = "token of jobs";

/// Said where Lua's library stands between the script and the job.
pub(crate) const CANNOT_WAIT: &str =
    "cannot wait inside a function that string.gsub, table.sort or their like call";

/// A connection, of a type that the host knows. Closed when dropped.
#[derive(Clone)]
pub struct Connection(pub Rc<dyn Any>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// A request of `lb.http`. Header names are tokens and values hold no line ends; the URL is as the script gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HttpRequest {
    pub url: String,
    pub method: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Whether an https server's certificate is verified.
    pub verify: bool,
    pub timeout: Duration,
}

/// The answer to an [`HttpRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HttpAnswer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// What a job waits for. Every timeout is within what the job may still take.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Io {
    /// Answered by [`Reply::Http`].
    Http(HttpRequest),
    /// Answered by [`Reply::Connected`].
    Connect { host: String, port: u16, timeout: Duration },
    /// Answered by [`Reply::Slept`], after that time.
    Sleep { timeout: Duration },
    /// Answered by [`Reply::Resolved`].
    Resolve { host: String, timeout: Duration },
    /// Answered by [`Reply::Sent`], when all is sent.
    Send { on: Connection, data: Vec<u8>, timeout: Duration },
    /// Answered by [`Reply::Received`] as soon as something is there.
    Receive { on: Connection, timeout: Duration },
}

impl Io {
    /// What is copied out of Lua's memory to be sent.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Io::Http(request) => {
                let headers = request.headers.iter().map(|(name, value)| name.len() + value.len());
                request.url.len() + request.body.len() + headers.sum::<usize>()
            }
            Io::Send { data, .. } => data.len(),
            Io::Connect { .. } | Io::Sleep { .. } | Io::Resolve { .. } | Io::Receive { .. } => 0,
        }
    }

    pub(super) fn within(mut self, most: Duration) -> Self {
        let timeout = match &mut self {
            Io::Http(request) => &mut request.timeout,
            Io::Sleep { timeout }
            | Io::Resolve { timeout, .. }
            | Io::Connect { timeout, .. }
            | Io::Send { timeout, .. }
            | Io::Receive { timeout, .. } => timeout,
        };
        *timeout = most.min(*timeout);
        self
    }
}

/// The answer to an [`Io`]. Errors are words for scripts: `timeout`, `closed`, `connection refused`, `host not found`.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Reply {
    /// For the first turn, and after [`Step::Again`](crate::Step::Again).
    Nothing,
    Slept,
    Http(Result<HttpAnswer, String>),
    Connected(Result<Connection, String>),
    Resolved(Result<Vec<String>, String>),
    Sent(Result<(), String>),
    Received(Result<Vec<u8>, String>),
}

/// A connection on its way to the script's socket.
pub(crate) struct Held(pub(crate) Connection);
impl UserData for Held {}

impl Reply {
    pub(super) fn into_values(self, lua: &Lua) -> mlua::Result<MultiValue> {
        let failed = |why: String| (Value::Nil, why).into_lua_multi(lua);
        match self {
            Reply::Nothing | Reply::Slept => Ok(MultiValue::new()),
            Reply::Http(Ok(answer)) => answer_table(lua, &answer)?.into_lua_multi(lua),
            Reply::Connected(Ok(connection)) => lua.create_userdata(Held(connection))?.into_lua_multi(lua),
            Reply::Resolved(Ok(addresses)) => lua.create_sequence_from(addresses)?.into_lua_multi(lua),
            Reply::Sent(Ok(())) => true.into_lua_multi(lua),
            Reply::Received(Ok(data)) => lua.create_string(data)?.into_lua_multi(lua),
            Reply::Http(Err(why))
            | Reply::Connected(Err(why))
            | Reply::Resolved(Err(why))
            | Reply::Sent(Err(why))
            | Reply::Received(Err(why)) => failed(why),
        }
    }
}

fn answer_table(lua: &Lua, answer: &HttpAnswer) -> mlua::Result<Table> {
    let headers = lua.create_table_with_capacity(0, answer.headers.len())?;
    for (name, value) in &answer.headers {
        let name = name.to_ascii_lowercase();
        let value = match headers.raw_get::<Option<LuaString>>(name.as_str())? {
            Some(before) => [&before.as_bytes(), b", ".as_slice(), value].concat(),
            None => value.clone(),
        };
        headers.raw_set(name, lua.create_string(value)?)?;
    }
    let table = lua.create_table_with_capacity(0, 3)?;
    table.raw_set("status", answer.status)?;
    table.raw_set("headers", headers)?;
    table.raw_set("body", lua.create_string(&answer.body)?)?;
    Ok(table)
}

/// What a job yields when it waits; scripts never see it.
pub(crate) fn token(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Value> {
    if let Some(known) = ctx.modules.borrow().get(TOKEN) {
        return Ok(known.clone());
    }
    let token = Value::Table(lua.create_table()?);
    ctx.modules.borrow_mut().insert(TOKEN.to_owned(), token.clone());
    Ok(token)
}

pub(super) fn is_token(ctx: &Context, value: Option<&Value>) -> bool {
    value.is_some_and(|value| {
        ctx.modules.borrow().get(TOKEN).is_some_and(|token| token.to_pointer() == value.to_pointer())
    })
}

/// `lb.http` and `lb.tcp`. Where jobs run, the function that raises where nothing can wait is the answer.
pub(crate) fn install(lua: &Lua, ctx: &Rc<Context>, lb: &Table) -> mlua::Result<Option<Function>> {
    if ctx.jobs.is_none() {
        for name in ["http", "tcp"] {
            lb.raw_set(name, refused(lua, &format!("lb.{name}"))?)?;
        }
        return Ok(None);
    }
    let chunk = crate::sandbox::internal(lua, include_str!("io.lua"))?;
    let (http, tcp, resolve, ready, sleep): (Value, Value, Value, Function, Value) =
        chunk.call((natives(lua, ctx)?, lua.globals()))?;
    lb.raw_set("http", &http)?;
    ctx.modules.borrow_mut().insert(HTTP.to_owned(), http);
    ctx.modules.borrow_mut().insert(RESOLVE.to_owned(), resolve);
    ctx.modules.borrow_mut().insert(SLEEP.to_owned(), sleep);
    lb.raw_set("tcp", tcp)?;
    Ok(Some(ready))
}

/// What stands where nothing can wait.
pub(crate) fn refused(lua: &Lua, name: &str) -> mlua::Result<Function> {
    let name = name.to_owned();
    lua.create_function(move |_, _: Variadic<Value>| Err::<(), _>(not_here(&name)))
}

fn not_here(name: &str) -> mlua::Error {
    mlua::Error::runtime(format!("{name} works in checks and timers only"))
}

fn natives(lua: &Lua, ctx: &Rc<Context>) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    native.raw_set("token", token(lua, ctx)?)?;
    native.raw_set("cannot_wait", CANNOT_WAIT)?;
    let own = ctx.clone();
    let check_place = move |_: &Lua, name: String| {
        if own.frame.get().phase == Phase::Timer { Ok(()) } else { Err(not_here(&name)) }
    };
    native.raw_set("check_place", lua.create_function(check_place)?)?;
    let own = ctx.clone();
    let http = move |_: &Lua, spec: Value| match http_request(&spec)? {
        Ok(request) => Ok(want(&own, Io::Http(request))),
        Err(why) => Ok(Some(why)),
    };
    native.raw_set("want_http", lua.create_function(http)?)?;
    let own = ctx.clone();
    let tcp = move |_: &Lua, (host, port, timeout): (Value, Value, Value)| {
        let (host, port) = place("lb.tcp", &host, &port)?;
        let timeout = seconds("lb.tcp", &timeout)?.unwrap_or(PATIENCE);
        Ok(want(&own, Io::Connect { host, port, timeout }))
    };
    native.raw_set("want_tcp", lua.create_function(tcp)?)?;
    let own = ctx.clone();
    let resolve = move |_: &Lua, (host, timeout): (Value, Value)| {
        let (host, _) = place("resty.dns.resolver", &host, &Value::Integer(1))?;
        let timeout = seconds("resty.dns.resolver", &timeout)?.unwrap_or(PATIENCE);
        Ok(want(&own, Io::Resolve { host, timeout }))
    };
    native.raw_set("want_resolve", lua.create_function(resolve)?)?;
    let own = ctx.clone();
    native.raw_set("is_job", lua.create_function(move |_, ()| Ok(own.frame.get().phase == Phase::Timer))?)?;
    let own = ctx.clone();
    let sleep = move |_: &Lua, time: Value| {
        let timeout = seconds("sleep", &time)?.unwrap_or(PATIENCE);
        Ok(want(&own, Io::Sleep { timeout }))
    };
    native.raw_set("want_sleep", lua.create_function(sleep)?)?;
    let drop_held = |_: &Lua, held: AnyUserData| held.take::<Held>().map(drop);
    native.raw_set("drop", lua.create_function(drop_held)?)?;
    Ok(native)
}

/// Notes what the job will wait for. The answer is what scripts are told instead of waiting.
pub(crate) fn want(ctx: &Context, io: Io) -> Option<String> {
    let jobs = ctx.jobs.as_ref()?;
    let full = jobs.full(io.bytes());
    if full.is_none() {
        jobs.wanted.replace(Some(io));
    }
    full
}

/// A host and a port as scripts give them.
pub(crate) fn place(name: &str, host: &Value, port: &Value) -> mlua::Result<(String, u16)> {
    let wrong = |what: &str, found: &Value| {
        let found = found.to_string().unwrap_or_else(|_| found.type_name().to_owned());
        mlua::Error::runtime(format!("{name}: expected {what}, found {found}"))
    };
    let text = match host {
        Value::String(text) => text.to_str().ok().map(|text| text.to_owned()),
        _ => None,
    };
    let good = |text: &String| {
        !text.is_empty() && text.len() <= 255 && !text.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    let text = text.filter(good).ok_or_else(|| wrong("a host name or address", host))?;
    let text = text.trim_start_matches('[').trim_end_matches(']').to_owned();
    let number = match port {
        Value::Integer(port) => u16::try_from(*port).ok(),
        Value::Number(port) if port.fract() == 0.0 && (1.0..=65_535.0).contains(port) => Some(*port as u16),
        Value::String(port) => port.to_str().ok().and_then(|port| port.parse().ok()),
        _ => None,
    };
    let number = number.filter(|port| *port > 0).ok_or_else(|| wrong("a port from 1 to 65535", port))?;
    Ok((text, number))
}

fn seconds(name: &str, value: &Value) -> mlua::Result<Option<Duration>> {
    let number = match value {
        Value::Nil => return Ok(None),
        Value::Integer(number) => *number as f64,
        Value::Number(number) => *number,
        _ => f64::NAN,
    };
    if !(0.001..=LONGEST).contains(&number) {
        let found = value.to_string().unwrap_or_else(|_| value.type_name().to_owned());
        return Err(mlua::Error::runtime(format!(
            "{name}: expected a timeout in seconds, from 0.001 to {LONGEST}, found {found}"
        )));
    }
    Ok(Some(Duration::from_secs_f64(number)))
}

/// Most headers of `lb.http`, the longest one in bytes, and all of them.
const MAX_HEADERS: usize = 256;
const MAX_HEADER: usize = 16 << 10;
const ALL_HEADERS: usize = 256 << 10;
/// Longest URL.
const MAX_URL: usize = 16 << 10;

/// Raises when a key is of a wrong type; the inner Err is what the script gets as a message.
fn http_request(spec: &Value) -> mlua::Result<Result<HttpRequest, String>> {
    let wrong = |text: String| mlua::Error::runtime(format!("lb.http: {text}"));
    let Value::Table(spec) = spec else {
        let found = spec.type_name();
        return Err(wrong(format!(
            "expected a table such as {{url = \"http://10.0.0.1:8080/health\"}}, found a {found}"
        )));
    };
    let mut request = HttpRequest {
        url: String::new(),
        method: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
        verify: true,
        timeout: PATIENCE,
    };
    let mut with_body = false;
    let text = |key: &str, value: &Value| match value {
        Value::String(text) if key == "a header" && text.as_bytes().len() > MAX_HEADER => {
            Err(wrong(format!("a header is longer than {MAX_HEADER} bytes")))
        }
        Value::String(text) if key != "body" && text.as_bytes().len() > MAX_URL => {
            Err(wrong(format!("{key} is longer than {MAX_URL} bytes")))
        }
        Value::String(text) if text.as_bytes().len() > MOST_TEXT => {
            Err(wrong(format!("{key} has more than {} MiB", MOST_TEXT >> 20)))
        }
        Value::String(text) => Ok(text.as_bytes().to_vec()),
        Value::Integer(_) | Value::Number(_) => Ok(value.to_string()?.into_bytes()),
        other => Err(wrong(format!("{key} has to be a string, found a {}", other.type_name()))),
    };
    for pair in spec.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = key.to_string()?;
        match key.as_str() {
            "url" => request.url = String::from_utf8_lossy(&text("url", &value)?).into_owned(),
            "method" => request.method = String::from_utf8_lossy(&text("method", &value)?).into_owned(),
            "body" => (request.body, with_body) = (text("body", &value)?, true),
            "timeout" => request.timeout = seconds("lb.http", &value)?.unwrap_or(PATIENCE),
            "verify" => request.verify = value != Value::Boolean(false),
            "headers" => {
                let Value::Table(headers) = &value else {
                    return Err(wrong(format!(
                        "headers has to be a table such as {{Accept = \"text/plain\"}}, found a {}",
                        value.type_name()
                    )));
                };
                let mut bytes = 0;
                let mut push = |name: String, value: Vec<u8>| {
                    bytes += name.len() + value.len();
                    if request.headers.len() >= MAX_HEADERS || bytes > ALL_HEADERS {
                        return Err(wrong(format!(
                            "more than {MAX_HEADERS} headers, or {} KiB of them",
                            ALL_HEADERS >> 10
                        )));
                    }
                    request.headers.push((name, value));
                    Ok(())
                };
                for pair in headers.pairs::<Value, Value>() {
                    let (name, value) = pair?;
                    let name = String::from_utf8_lossy(&text("a header's name", &name)?).into_owned();
                    match &value {
                        Value::Table(list) => {
                            for value in list.sequence_values::<Value>() {
                                push(name.clone(), text("a header", &value?)?)?;
                            }
                        }
                        value => push(name, text("a header", value)?)?,
                    }
                }
            }
            other => {
                return Err(wrong(format!(
                    "unknown key '{other}': expected url, method, headers, body, timeout or verify"
                )));
            }
        }
    }
    if request.url.is_empty() {
        return Err(wrong("url is missing, for example {url = \"http://10.0.0.1:8080/health\"}".into()));
    }
    if request.method.is_empty() {
        request.method = if with_body { "POST" } else { "GET" }.into();
    }
    Ok(checked(request))
}

/// What could be more than one header, or one request.
fn checked(request: HttpRequest) -> Result<HttpRequest, String> {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if !token(&request.method) || request.method.eq_ignore_ascii_case("CONNECT") {
        return Err(format!("method: '{}' is none, expected one such as GET", clean(&request.method)));
    }
    for (name, value) in &request.headers {
        if !token(name) {
            return Err(format!("header '{}': not a header's name", clean(name)));
        }
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(format!("header {name}: a value may not hold line ends or NUL"));
        }
        if ["content-length", "transfer-encoding"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return Err(format!("header {name}: is set by the body, not by hand"));
        }
    }
    Ok(request)
}

fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(60).collect()
}
