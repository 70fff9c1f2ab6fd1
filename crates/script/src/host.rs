// SPDX-License-Identifier: Apache-2.0
//! The server as the runtime sees it. The module implements the traits over httpd, and
//! [`crate::offline`] without one. No method has a body here: a host that lacks something says so
//! itself. `tests/contract` holds the answers that both have to give. Time that scripts see, and
//! that timers go by, is the host's; limits on running code measure the process's own.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

pub use geo::Location;

/// Log levels, httpd's numbers (`APLOG_*`): 0 emerg … 7 debug, 8 trace1 … 15 trace8.
pub type Level = u8;

/// A search by a regular expression, httpd's (PCRE).
#[derive(Debug, Clone, Copy)]
pub struct Search<'a> {
    /// The text.
    pub text: &'a [u8],
    /// Where in it the search begins.
    pub from: usize,
    /// The pattern that is looked for.
    pub pattern: &'a str,
    /// Any of `i m s x`.
    pub flags: &'a str,
    /// The processor time that it may use. A search that would need more is given up, with an
    /// error.
    pub most: Duration,
}

/// The server at large: usable with and without a request.
pub trait Server {
    /// One line to the error log. Text, never a format. With a request, the request's log.
    fn log(&self, level: Level, text: &str);
    /// Whether that level is logged, so that nobody formats for nothing.
    fn logs(&self, level: Level) -> bool;
    /// Seconds, monotonic.
    fn now(&self) -> f64;
    /// Seconds since the epoch.
    fn time(&self) -> f64;
    /// Values of `r:ivm_set`, shared by all children.
    fn shared(&self) -> Rc<dyn SharedValues>;
    /// A `LuaBalancerDict` by name.
    fn dict(&self, name: &str) -> Option<Rc<dyn Dict>>;
    /// The location of an address. Ok(None): not in the databases; Err: there are none
    /// ([`NO_DATABASE`]), they cannot be read, or the text is not an address.
    fn geo(&self, address: &str) -> Result<Option<Location>, String>;
    /// Number of this child among its siblings, from 0.
    fn worker(&self) -> u32;
    /// How many children there may be at once.
    fn workers(&self) -> u32;
    /// Whether httpd was started with `-D name`, or a `Define` says so.
    fn is_defined(&self, name: &str) -> bool;
    /// Vetting is about to look at this file.
    fn looks_at(&self, path: &Path);
    /// The account that reads scripts, for the message about a file that it may not read.
    fn account(&self) -> Option<String>;
}

/// The message of `lb.geo` where there is no database.
pub const NO_DATABASE: &str =
    "lb.geo needs a database, for example: LuaBalancerGeoIP /usr/share/GeoIP/GeoLite2-City.mmdb";
/// The message of every function of a request where there is none.
pub const NO_REQUEST: &str = "no request here";

/// Bytes by key, shared by all children.
pub trait SharedValues {
    /// Calls `f` once with the value.
    fn get(&self, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>));
    /// Sets or (None) removes a value. Err: no room.
    fn set(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), String>;
}

/// A value in a dictionary.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Scalar {
    Bool(bool),
    Integer(i64),
    Number(f64),
    Text(Vec<u8>),
}

/// The way in which a call of a [`Dict`] stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// In any case.
    Set,
    /// Only when the key is absent.
    Add,
    /// Only when the key is there.
    Replace,
    /// In any case, and throws nothing out.
    SafeSet,
    /// Only when the key is absent, and throws nothing out.
    SafeAdd,
}

/// Why a dictionary did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DictError {
    /// For [`Store::Add`].
    #[error("exists")]
    Exists,
    /// For [`Store::Replace`], `incr`, `ttl`.
    #[error("not found")]
    NotFound,
    /// For `incr`.
    #[error("not a number")]
    NotANumber,
    /// Not even after all that may go is gone.
    #[error("no memory")]
    NoMemory,
    /// Another process changes that part of it and does not go on.
    #[error("busy: a process that writes there does not go on")]
    Busy,
}

/// A `LuaBalancerDict`: a bounded key/value store shared by all children. Every call is atomic.
pub trait Dict {
    /// The value, unless absent or past its time.
    fn get(&self, key: &[u8]) -> Result<Option<Scalar>, DictError>;
    /// Stores; `ttl` in seconds, 0 for ever. Ok(true): others were thrown out for it.
    fn store(&self, how: Store, key: &[u8], value: Scalar, ttl: f64) -> Result<bool, DictError>;
    /// Adds to a number; an absent one starts at `init` (living `init_ttl` seconds, 0 for ever), if
    /// there is one. Both are numbers; whole ones are added as such.
    fn incr(
        &self,
        key: &[u8],
        by: Scalar,
        init: Option<Scalar>,
        init_ttl: f64,
    ) -> Result<(Scalar, bool), DictError>;
    /// The value, also of an entry past its time that is still there, and whether its time is over.
    fn get_stale(&self, key: &[u8]) -> Result<Option<(Scalar, bool)>, DictError>;
    /// Removes.
    fn delete(&self, key: &[u8]) -> Result<(), DictError>;
    /// Seconds left, 0 for ever.
    fn ttl(&self, key: &[u8]) -> Result<f64, DictError>;
    /// Sets the seconds left, 0 for ever.
    fn expire(&self, key: &[u8], ttl: f64) -> Result<(), DictError>;
    /// Keys, at most `max` (0: all).
    fn keys(&self, max: usize) -> Result<Vec<Vec<u8>>, DictError>;
    /// Removes everything.
    fn clear(&self) -> Result<(), DictError>;
    /// Removes what is past its time, at most `max` (0: all), and gives the number.
    fn purge(&self, max: usize) -> Result<usize, DictError>;
    /// Bytes in all, and bytes free.
    fn room(&self) -> (usize, usize);
}

/// Text fields of the request, mod_lua's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Field {
    Method,
    Uri,
    UnparsedUri,
    Args,
    Hostname,
    Protocol,
    TheRequest,
    UseragentIp,
    User,
    Filename,
    Handler,
    ServerName,
    DocumentRoot,
    LogId,
    PathInfo,
    ContentType,
    ContextPrefix,
    ContextDocumentRoot,
    AuthType,
    Range,
    CanonicalFilename,
    Banner,
    /// `http` or `https`.
    Scheme,
}

/// Number fields of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Number {
    /// Server port as mod_lua's `r.port`.
    Port,
    /// Port of the client.
    ClientPort,
    Status,
    /// Microseconds since the epoch.
    Started,
    /// httpd's PROXYREQ number.
    Proxyreq,
    BytesSent,
    /// 1 or 0.
    IsHttps,
    /// 1 or 0.
    IsInitial,
}

/// httpd tables of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RequestTable {
    HeadersIn,
    HeadersOut,
    ErrHeadersOut,
    Notes,
    SubprocessEnv,
}

/// The current request of this thread. One value a thread, reused: [`Request::active`] tells
/// whether there is a request now; the runtime raises "no request here" in every other case and
/// never calls the rest.
pub trait Request {
    /// Whether a request is being handled.
    fn active(&self) -> bool;
    /// Calls `f` once with the field's bytes, or None when it is not set.
    fn field(&self, field: Field, f: &mut dyn FnMut(Option<&[u8]>));
    /// Sets `Uri`, `Args`, `Filename`, `Handler`, `User`, `ContentType`; None clears. Err names the
    /// field that may not be set or the byte that may not stand in it (control characters, NUL).
    fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String>;
    /// A number field.
    fn number(&self, field: Number) -> i64;
    /// Sets `Status` or `Proxyreq`.
    fn set_number(&self, field: Number, value: i64) -> Result<(), String>;
    /// Calls `f` once with the first value of a key (case-insensitive).
    fn get(&self, table: RequestTable, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>));
    /// Sets or (None) unsets a key. Err when key or value hold CR, LF or NUL in a header table.
    fn set(&self, table: RequestTable, key: &[u8], value: Option<&[u8]>) -> Result<(), String>;
    /// Adds a further value of a key. Err as in [`Request::set`].
    fn add(&self, table: RequestTable, key: &[u8], value: &[u8]) -> Result<(), String>;
    /// Calls `f` with every pair, repeated keys as often as they stand; false from `f` ends it.
    fn each(&self, table: RequestTable, f: &mut dyn FnMut(&[u8], &[u8]) -> bool);
    /// Calls `f` once with the text of a POSTed form of at most `max` bytes; None when there is
    /// none. (mod_lua's parsebody)
    fn body(&self, max: usize, f: &mut dyn FnMut(Option<&[u8]>));
    /// `r:ssl_var_lookup`.
    fn ssl_var(&self, name: &str) -> Option<Vec<u8>>;
    /// `r:construct_url`.
    fn construct_url(&self, path: &[u8]) -> Vec<u8>;
    /// `r:expr`: an httpd expression, as a condition. Restricted: without what reads files.
    fn expr(&self, expression: &str, restricted: bool) -> Result<bool, String>;
    /// The same as a text: `%{NAME}`, and what stands around it.
    fn expr_word(&self, word: &str, restricted: bool) -> Result<Vec<u8>, String>;
    /// `r:regex`: groups 0 … n, None for an unmatched group; Ok(None): no match.
    #[allow(clippy::type_complexity)]
    fn regex(&self, search: &Search<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>, String>;
    /// Calls `f` with the places of the groups of every match, until it says false. Returns the
    /// groups that have names.
    #[allow(clippy::type_complexity)]
    fn regex_each(
        &self,
        search: &Search<'_>,
        f: &mut dyn FnMut(Vec<Option<Range<usize>>>) -> bool,
    ) -> Result<Vec<(usize, String)>, String>;
    /// `r:escape_html`, `r:os_escape_path` and so on are pure and live in the runtime; digests are
    /// httpd's, as raw bytes (16 or 20).
    fn digest(&self, kind: Digest, data: &[u8]) -> Vec<u8>;
    /// An httpd expression as text, for `LuaBalancerMethod … key="%{…}"`.
    fn expr_text(&self, expression: &str) -> Result<Vec<u8>, String>;
    /// Tells requests of this thread apart: `ngx.ctx` begins anew when it changes.
    fn serial(&self) -> u64;
    /// The server's address of this connection.
    fn server_addr(&self) -> Option<String>;
    /// Text, or a URL, that httpd answers with instead of its own page for a status.
    fn custom_response(&self, status: u16, text: &[u8]) -> Result<(), String>;
}

/// Digests that httpd brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Digest {
    Md5,
    Sha1,
}

/// The request of a state that has none: the background thread's, or one that judges.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRequest;

impl Request for NoRequest {
    fn active(&self) -> bool {
        false
    }
    fn field(&self, _field: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(None);
    }
    fn set_field(&self, _field: Field, _value: Option<&[u8]>) -> Result<(), String> {
        Err(NO_REQUEST.into())
    }
    fn number(&self, _field: Number) -> i64 {
        0
    }
    fn set_number(&self, _field: Number, _value: i64) -> Result<(), String> {
        Err(NO_REQUEST.into())
    }
    fn get(&self, _table: RequestTable, _key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(None);
    }
    fn set(&self, _table: RequestTable, _key: &[u8], _value: Option<&[u8]>) -> Result<(), String> {
        Err(NO_REQUEST.into())
    }
    fn each(&self, _table: RequestTable, _f: &mut dyn FnMut(&[u8], &[u8]) -> bool) {}
    fn body(&self, _max: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(None);
    }
    fn ssl_var(&self, _name: &str) -> Option<Vec<u8>> {
        None
    }
    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        path.to_vec()
    }
    fn expr(&self, _expression: &str, _restricted: bool) -> Result<bool, String> {
        Err(NO_REQUEST.into())
    }
    fn expr_word(&self, _word: &str, _restricted: bool) -> Result<Vec<u8>, String> {
        Err(NO_REQUEST.into())
    }
    fn regex(&self, _search: &Search<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
        Err(NO_REQUEST.into())
    }
    fn digest(&self, _kind: Digest, _data: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn add(&self, _table: RequestTable, _key: &[u8], _value: &[u8]) -> Result<(), String> {
        Err(NO_REQUEST.into())
    }
    fn regex_each(
        &self,
        _search: &Search<'_>,
        _f: &mut dyn FnMut(Vec<Option<Range<usize>>>) -> bool,
    ) -> Result<Vec<(usize, String)>, String> {
        Err(NO_REQUEST.into())
    }
    fn expr_text(&self, _expression: &str) -> Result<Vec<u8>, String> {
        Err(NO_REQUEST.into())
    }
    fn serial(&self) -> u64 {
        0
    }
    fn server_addr(&self) -> Option<String> {
        None
    }
    fn custom_response(&self, _status: u16, _text: &[u8]) -> Result<(), String> {
        Err(NO_REQUEST.into())
    }
}
