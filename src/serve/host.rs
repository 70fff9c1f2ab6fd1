// SPDX-License-Identifier: Apache-2.0
//! httpd as scripts see it: the request of this thread, and the server.

use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use script::host::{
    Dict, Digest, Field, Level, Location, NO_REQUEST, Number, Request as RequestHost, RequestTable, Search,
    Server, SharedValues,
};
use script::rules;

use crate::faults;
use crate::httpd::config;
use crate::httpd::digest;
use crate::httpd::log;
use crate::httpd::memory;
use crate::httpd::mpm;
use crate::httpd::regex;
use crate::httpd::request::Request;
use crate::httpd::table::{AprTable, with_c_str};
use crate::keep::dicts::Dicts;
use crate::serve::keys::KeyExpressions;

/// The request that this thread's script is called for, while it is.
#[derive(Default)]
pub struct CurrentRequest {
    now: Cell<Option<Request<'static>>>,
    keys: Arc<KeyExpressions>,
}

/// Puts the request before this one back when the call is over, however it ends.
pub struct Entered<'c> {
    place: &'c CurrentRequest,
    before: Option<Request<'static>>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.place.now.set(self.before);
    }
}

impl CurrentRequest {
    /// No request yet.
    pub fn new(keys: Arc<KeyExpressions>) -> Self {
        CurrentRequest { keys, ..CurrentRequest::default() }
    }

    /// Makes `request` the current one until the answer is dropped.
    pub fn enter<'c>(&'c self, request: Request<'_>) -> Entered<'c> {
        // SAFETY: the value is reached through this cell only, and `Entered` takes it out before
        // the hook that owns the request returns.
        #[allow(unsafe_code)]
        let request: Option<Request<'static>> = unsafe { Request::from_ptr(request.as_ptr()) };
        Entered { place: self, before: self.now.replace(request) }
    }

    fn with<T>(&self, f: impl FnOnce(Request<'static>) -> T, otherwise: T) -> T {
        self.now.get().map_or(otherwise, f)
    }

    /// The current request, if any.
    pub fn get(&self) -> Option<Request<'static>> {
        self.now.get()
    }
}

fn table(request: Request<'static>, name: RequestTable) -> AprTable<'static> {
    match name {
        RequestTable::HeadersIn => request.headers_in(),
        RequestTable::HeadersOut => request.headers_out(),
        RequestTable::ErrHeadersOut => request.err_headers_out(),
        RequestTable::Notes => request.notes(),
        RequestTable::SubprocessEnv => request.env(),
    }
}

/// The refusal of a handler that [`is_dav`] finds.
const NO_DAV: &str =
    "the handler 'dav-handler' is set by mod_dav itself, where Dav is on; elsewhere it would end the process";

/// Whether a handler, or a type that httpd would take for one, is mod_dav's, which expects a
/// section with `Dav on` unseen.
fn is_dav(name: &[u8]) -> bool {
    let name = name.split(|byte| *byte == b';').next().unwrap_or_default();
    name.trim_ascii_end() == b"dav-handler"
}

impl RequestHost for CurrentRequest {
    fn active(&self) -> bool {
        self.now.get().is_some()
    }

    fn field(&self, field: Field, f: &mut dyn FnMut(Option<&[u8]>)) {
        let Some(r) = self.now.get() else { return f(None) };
        f(match field {
            Field::Method => r.method(),
            Field::Uri => r.uri(),
            Field::UnparsedUri => r.unparsed_uri(),
            Field::Args => r.args(),
            Field::Hostname => r.hostname(),
            Field::Protocol => r.protocol(),
            Field::TheRequest => r.the_request(),
            Field::UseragentIp => r.useragent_ip(),
            Field::User => r.user(),
            Field::Filename => r.filename().filter(|name| !name.is_empty()),
            Field::Handler => r.handler(),
            Field::ServerName => r.server_name(),
            Field::DocumentRoot => r.document_root(),
            Field::LogId => r.log_id(),
            Field::PathInfo => r.path_info(),
            Field::ContentType => r.content_type(),
            Field::ContextPrefix => r.context_prefix(),
            Field::ContextDocumentRoot => r.context_document_root(),
            Field::AuthType => r.auth_type(),
            Field::Range => r.range(),
            Field::CanonicalFilename => r.canonical_filename(),
            Field::Banner => Some(digest::server_banner()),
            Field::Scheme => Some(r.scheme()),
        });
    }

    fn set_field(&self, field: Field, value: Option<&[u8]>) -> Result<(), String> {
        let Some(r) = self.now.get() else { return Err(NO_REQUEST.into()) };
        rules::check_field(field, value)?;
        match (field, value) {
            (Field::Uri, value) => r.set_uri(value.unwrap_or(b"/")),
            (Field::Args, value) => r.set_args(value),
            (Field::Filename, value) => r.set_filename(value),
            (Field::Handler, Some(value)) if is_dav(value) && r.handler() != Some(value) => {
                return Err(NO_DAV.into());
            }
            (Field::ContentType, Some(value)) if is_dav(value) => return Err(NO_DAV.into()),
            (Field::Handler, value) => r.set_handler(value),
            (Field::User, value) => r.set_user(value),
            (Field::ContentType, value) => r.set_content_type(value),
            (other, _) => return Err(format!("{other:?} may not be set")),
        }
        Ok(())
    }

    fn number(&self, field: Number) -> i64 {
        let Some(r) = self.now.get() else { return 0 };
        match field {
            Number::Port => i64::from(r.server_port()),
            Number::ClientPort => i64::from(r.client_port()),
            Number::Status => i64::from(r.status()),
            Number::Started => r.started_us(),
            Number::Proxyreq => i64::from(r.proxyreq()),
            Number::BytesSent => r.bytes_sent(),
            Number::IsHttps => i64::from(r.scheme() == b"https"),
            Number::IsInitial => i64::from(r.is_initial()),
        }
    }

    fn set_number(&self, field: Number, value: i64) -> Result<(), String> {
        let Some(r) = self.now.get() else { return Err(NO_REQUEST.into()) };
        let value = rules::check_number(field, value)?;
        match field {
            Number::Status => r.set_status(value),
            Number::Proxyreq => r.set_proxyreq(value),
            other => return Err(format!("{other:?} may not be set")),
        }
        Ok(())
    }

    fn get(&self, name: RequestTable, key: &[u8], f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.now.get().and_then(|r| table(r, name).get_bytes(key)));
    }

    fn set(&self, name: RequestTable, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let Some(r) = self.now.get() else { return Err(NO_REQUEST.into()) };
        let target = rules::check_pair(name, key, value.unwrap_or_default()).map(|()| table(r, name))?;
        match value {
            None => drop(with_c_str(key, |key| target.unset(key))),
            Some(value) => drop(with_c_str(key, |key| with_c_str(value, |value| target.set(key, value)))),
        }
        Ok(())
    }

    fn add(&self, name: RequestTable, key: &[u8], value: &[u8]) -> Result<(), String> {
        let r = self.now.get().ok_or(NO_REQUEST)?;
        let target = rules::check_pair(name, key, value).map(|()| table(r, name))?;
        with_c_str(key, |key| with_c_str(value, |value| target.add(key, value)));
        Ok(())
    }

    fn each(&self, name: RequestTable, f: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        self.with(|r| table(r, name).each(f), ());
    }

    fn body(&self, max: usize, f: &mut dyn FnMut(Option<&[u8]>)) {
        f(self.now.get().and_then(|r| r.read_body(max)));
    }

    fn ssl_var(&self, name: &str) -> Option<Vec<u8>> {
        let name = CString::new(name).ok()?;
        self.now.get()?.ssl_var(&name).map(<[u8]>::to_vec)
    }

    fn construct_url(&self, path: &[u8]) -> Vec<u8> {
        let made = self
            .now
            .get()
            .and_then(|r| with_c_str(path, |path: &CStr| r.construct_url(path).map(<[u8]>::to_vec)));
        made.flatten().unwrap_or_default()
    }

    fn expr(&self, expression: &str, restricted: bool) -> Result<bool, String> {
        let text = CString::new(expression).map_err(|_| "a NUL byte in the expression".to_owned())?;
        self.with(|r| r.condition(&text, restricted), Err(NO_REQUEST.into()))
    }

    fn expr_word(&self, word: &str, restricted: bool) -> Result<Vec<u8>, String> {
        let text = CString::new(word).map_err(|_| "a NUL byte in the expression".to_owned())?;
        self.with(|r| r.word(&text, restricted), Err(NO_REQUEST.into()))
    }

    fn serial(&self) -> u64 {
        // One request's memory is used again by others, at another time.
        self.with(|r| r.started_us().cast_unsigned() ^ (r.as_ptr().addr() as u64).rotate_left(40), 0)
    }

    fn regex(&self, search: &Search<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
        let r = self.now.get().ok_or(NO_REQUEST)?;
        regex::groups(r.pool(), search)
    }

    fn regex_each(
        &self,
        search: &Search<'_>,
        f: &mut dyn FnMut(Vec<Option<Range<usize>>>) -> bool,
    ) -> Result<Vec<(usize, String)>, String> {
        let r = self.now.get().ok_or(NO_REQUEST)?;
        regex::each(r.pool(), search, f)
    }

    fn expr_text(&self, expression: &str) -> Result<Vec<u8>, String> {
        let r = self.now.get().ok_or(NO_REQUEST)?;
        self.keys.text(r, expression).map(Cow::into_owned)
    }

    fn server_addr(&self) -> Option<String> {
        Some(String::from_utf8_lossy(self.now.get()?.server_addr()?).into_owned())
    }

    fn custom_response(&self, status: u16, text: &[u8]) -> Result<(), String> {
        let r = self.now.get().ok_or(NO_REQUEST)?;
        rules::check_text("the text", text, b"\0")?;
        r.custom_response(status, text);
        Ok(())
    }

    fn digest(&self, kind: Digest, data: &[u8]) -> Vec<u8> {
        match kind {
            Digest::Md5 => digest::md5(data).to_vec(),
            Digest::Sha1 => digest::sha1(data).to_vec(),
        }
    }
}

/// The server: logs go to the request's log while there is one.
pub struct HttpdServer {
    current: Rc<CurrentRequest>,
    worker: u32,
    dicts: Arc<Dicts>,
}

impl HttpdServer {
    /// For a thread whose requests are in `current`, in the child with this number.
    pub fn new(current: Rc<CurrentRequest>, worker: u32, dicts: Arc<Dicts>) -> Self {
        HttpdServer { current, worker, dicts }
    }
}

impl Server for HttpdServer {
    fn log(&self, level: Level, text: &str) {
        faults::point("script_call");
        faults::nap("script_naps", 6);
        faults::nap("script_sleeps", 20);
        log::of_script(self.current.get(), level, text);
    }

    fn logs(&self, level: Level) -> bool {
        self.current
            .get()
            .map_or_else(|| log::logs_server(level), |request| log::logs_request(request, level))
    }

    fn now(&self) -> f64 {
        memory::monotonic_us() as f64 / 1e6
    }

    fn time(&self) -> f64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
    }

    fn worker(&self) -> u32 {
        self.worker
    }

    fn workers(&self) -> u32 {
        mpm::children()
    }

    fn is_defined(&self, name: &str) -> bool {
        CString::new(name).is_ok_and(|name| config::is_defined(&name))
    }

    fn geo(&self, address: &str) -> Result<Option<Location>, String> {
        crate::keep::geoip::find(address)
    }

    fn shared(&self) -> Rc<dyn SharedValues> {
        self.dicts.values()
    }

    fn dict(&self, name: &str) -> Option<Rc<dyn Dict>> {
        self.dicts.find(name)
    }

    /// Only the process that vets a script reads it and tells about its files.
    fn looks_at(&self, _path: &Path) {}

    fn account(&self) -> Option<String> {
        None
    }
}
