//! What the runtime asks of the server it lives in. The module implements both traits over httpd; tests have plain ones.

/// Log levels, httpd's numbers (`APLOG_*`): 0 emerg … 7 debug, 8 trace1 … 15 trace8.
pub type Level = u8;

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
pub enum Table {
    HeadersIn,
    HeadersOut,
    ErrHeadersOut,
    Notes,
    SubprocessEnv,
}

/// The current request of this thread. One value a thread, reused: [`Request::active`] tells whether there is a request
/// now; the runtime raises "no request here" in every other case and never calls the rest.
pub trait Request {
    /// Whether a request is being handled.
    fn active(&self) -> bool;
    /// Calls `f` once with the field's bytes, or None when it is not set.
    fn field(&self, field: Field, f: &mut dyn FnMut(Option<&[u8]>));
    /// Sets `Uri`, `Args`, `Filename`, `Handler`, `User`, `ContentType`; None clears. Err names the field that may not be set
    /// or the byte that may not stand in it (control characters, NUL).
    fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String>;
    /// A number field.
    fn number(&self, field: Number) -> i64;
    /// Sets `Status` or `Proxyreq`.
    fn set_number(&self, field: Number, value: i64) -> Result<(), String>;
    /// Calls `f` once with the first value of a key (case-insensitive).
    fn get(&self, table: Table, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>));
    /// Sets or (None) unsets a key. Err when key or value hold CR, LF or NUL in a header table.
    fn set(&self, table: Table, key: &[u8], value: Option<&[u8]>) -> Result<(), String>;
    /// Calls `f` with every pair, repeated keys as often as they stand; false from `f` ends it.
    fn each(&self, table: Table, f: &mut dyn FnMut(&[u8], &[u8]) -> bool);
    /// Calls `f` once with the text of a POSTed form of at most `max` bytes; None when there is none. (mod_lua's parsebody)
    fn body(&self, max: usize, f: &mut dyn FnMut(Option<&[u8]>));
    /// `r:ssl_var_lookup`.
    fn ssl_var(&self, name: &str) -> Option<Vec<u8>>;
    /// `r:construct_url`.
    fn construct_url(&self, path: &[u8]) -> Vec<u8>;
    /// `r:expr`: an httpd expression, as a condition.
    fn expr(&self, expression: &str) -> Result<bool, String>;
    /// `r:regex`: httpd's (PCRE) regular expressions; groups 0 … n, None for an unmatched group; Ok(None): no match.
    /// Flags: any of `i m s x`.
    #[allow(clippy::type_complexity)]
    fn regex(&self, text: &[u8], pattern: &str, flags: &str) -> Result<Option<Vec<Option<Vec<u8>>>>, String>;
    /// `r:escape_html`, `r:os_escape_path` and so on are pure and live in the runtime; digests are httpd's.
    fn digest(&self, kind: Digest, data: &[u8]) -> Vec<u8>;
}

/// Digests that httpd brings along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Digest {
    Md5,
    Sha1,
}
