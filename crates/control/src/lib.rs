// SPDX-License-Identifier: Apache-2.0
//! The control plane: one request in, one answer out. It knows no httpd.
#![forbid(unsafe_code)]

use std::time::SystemTime;

/// Where a request has come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `SetHandler lua-balancer`.
    Handler,
    /// The Unix socket.
    Socket,
    /// The listener of metrics.
    Metrics,
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Where.
    pub door: Door,
    /// The user, as authenticated or as the system says.
    pub user: Option<String>,
    /// The address.
    pub from: Option<String>,
}

/// What `LuaBalancerAdmin` says at a place.
#[derive(Debug, Clone, Default)]
pub struct Admin {
    /// Changes are taken.
    pub on: bool,
    /// Without a user as well.
    pub anonymous: bool,
    /// From pages of this origin as well.
    pub origin: Option<String>,
    /// ServerName and its aliases.
    pub names: Vec<String>,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// Relative to the base; begins with a slash, still percent-encoded.
    pub path: &'a str,
    /// What is behind the `?`.
    pub query: Option<&'a str>,
    /// Names are in lower case.
    pub headers: &'a [(String, String)],
    /// At most 1 MiB and a byte.
    pub body: &'a [u8],
    /// Who asks.
    pub caller: Caller,
    /// What changes are taken.
    pub admin: Admin,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// How important a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A change.
    Notice,
    /// Something is wrong.
    Warning,
}

/// What is known of the server beside its table.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The module's version.
    pub version: &'static str,
    /// httpd's.
    pub httpd: String,
    /// Lua's.
    pub lua: &'static str,
    /// The configuration's number.
    pub generation: u32,
    /// When the server was started: epoch seconds.
    pub started_s: u64,
}

/// What answers are made of.
pub trait House {
    /// Everything that can be shown.
    fn snapshot(&self) -> balance::snapshot::Snapshot;
    /// What changes it.
    fn balancer(&self) -> &dyn balance::api::Balancer;
    /// See [`Facts`].
    fn facts(&self) -> Facts;
    /// The time.
    fn now(&self) -> SystemTime;
    /// Writes a line into the log.
    fn log(&self, level: Level, line: &str);
}

/// The path that the URLs of a request are relative to, and the rest of it.
pub fn base(path: &str) -> (&str, &str) {
    match path.find("/api/v1/") {
        Some(at) => path.split_at(at),
        None => (path, "/"),
    }
}

/// Answers a request.
pub fn respond(request: &Request<'_>, _: &dyn House) -> Response {
    let status = if request.method == "GET" && request.path == "/" { 200 } else { 404 };
    let headers = vec![("content-type", "application/json".to_owned())];
    Response { status, headers, body: br#"{"ok":true}"#.to_vec() }
}
