// SPDX-License-Identifier: Apache-2.0
//! One exchange with a backend: the scheme handlers of mod_proxy run over a request, and what they
//! leave on it.

use std::ffi::CStr;
use std::os::raw::c_char;

use balance::relay::{Asked, ErrorWords, Exchange, FailureSigns, HookStatus, SchemeModule};

use super::connection;
use super::memory;
use super::proxy::SchemeHandler;
use super::request::Request;
use super::worker::Worker;
use crate::ffi;

/// The variable that asks mod_proxy_http for a fresh connection to the backend.
const NOT_POOLED: &CStr = c"proxy-initial-not-pooled";
/// mod_proxy's words for the error page.
const ERROR_NOTES: &CStr = c"error-notes";
const NOTHING_READ: &[u8] = b"Error reading from remote server";
const NOT_FOUND: &[u8] = b"DNS lookup failure for";

/// The arguments that mod_proxy gives a scheme handler beyond the request.
pub struct Proxy {
    /// mod_proxy's configuration.
    pub conf: *mut ffi::proxy_server_conf,
    /// ProxyRemote's host, or NULL.
    pub name: *const c_char,
    /// ProxyRemote's port.
    pub port: ffi::apr_port_t,
}

/// The worker to ask, and how to ask it.
pub struct Dispatch<'c> {
    /// mod_proxy's handlers, in its order.
    pub handlers: &'c [SchemeHandler],
    /// The arguments of mod_proxy.
    pub proxy: &'c Proxy,
    /// The connection pool.
    pub worker: Worker,
    /// The URL for the handler, in the request's pool.
    pub url: *mut c_char,
    /// The module that speaks the scheme.
    pub module: SchemeModule,
    /// mod_proxy_http speaks TLS.
    pub secure: bool,
    /// Over no kept connection.
    pub fresh: bool,
}

/// An exchange, and when it began and ended: microseconds of the monotonic clock.
pub struct Timed {
    /// Its result.
    pub exchange: Exchange,
    /// Its begin.
    pub began_us: u64,
    /// Its end.
    pub ended_us: u64,
    /// Bytes sent to the backend and received from it, see [`Worker::take_moved`].
    pub moved: (u64, u64),
}

/// Runs the scheme handlers, as mod_proxy would.
pub fn run(request: Request<'_>, call: &Dispatch<'_>) -> Timed {
    let kept = KeepAlives::hide(request);
    let unpooled = call.fresh.then(|| Unpooled::ask(request));
    let status_before = http_status(request);
    let sent_before = call.worker.sent();
    let began_us = memory::monotonic_us();
    let (returned, connected) = connection::watch(|| run_handlers(request, call));
    let ended_us = memory::monotonic_us();
    drop(unpooled);
    drop(kept);
    let failed = matches!(returned, HookStatus::Http(_));
    let sent = call.worker.sent();
    let exchange = Exchange {
        module: call.module,
        returned,
        status_before,
        status: http_status(request),
        aborted: request.aborted(),
        connected,
        sent: sent != sent_before,
        secure: call.secure,
        exhausted: returned == HookStatus::Http(503) && !connected && call.worker.is_exhausted(),
        signs: if failed { signs(request) } else { FailureSigns::default() },
    };
    Timed { exchange, began_us, ended_us, moved: call.worker.take_moved(sent) }
}

fn run_handlers(request: Request<'_>, call: &Dispatch<'_>) -> HookStatus {
    let proxy = call.proxy;
    for handler in call.handlers {
        // SAFETY: mod_proxy's own handlers, with what mod_proxy itself would pass.
        let code = unsafe {
            handler(request.as_ptr(), call.worker.as_ptr(), proxy.conf, call.url, proxy.name, proxy.port)
        };
        let status = HookStatus::from_code(code);
        if status != HookStatus::Declined {
            return status;
        }
    }
    HookStatus::Declined
}

fn http_status(request: Request<'_>) -> u16 {
    request.status().clamp(0, 999) as u16
}

#[cold]
fn signs(request: Request<'_>) -> FailureSigns {
    let notes = request.notes();
    let coding = request.headers_in().get(c"Transfer-Encoding");
    FailureSigns {
        timed_out: notes.get(c"proxy_timedout").is_some(),
        overridden: notes.get(c"proxy-error-override").is_some(),
        words: notes.get(ERROR_NOTES).map_or(ErrorWords::None, words),
        unknown_coding: coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked")),
    }
}

fn words(text: &[u8]) -> ErrorWords {
    let hold = |words: &[u8]| text.windows(words.len()).any(|part| part == words);
    if hold(NOT_FOUND) {
        ErrorWords::NameNotFound
    } else if hold(NOTHING_READ) {
        ErrorWords::NothingRead
    } else {
        ErrorWords::Other
    }
}

/// The facts of a request with a failed attempt that say whether it may be asked again.
pub fn asked(request: Request<'_>) -> Asked {
    // RFC 9110, 9.2.2. (HEAD has GET's number.)
    let idempotent = [ffi::M_GET, ffi::M_PUT, ffi::M_DELETE, ffi::M_OPTIONS, ffi::M_TRACE];
    Asked {
        idempotent: idempotent.contains(&request.method_number()),
        has_body: request.has_body(),
        expects: request.headers_in().get(c"Expect").is_some(),
        answered: request.bytes_sent() > 0,
        aborted: request.aborted(),
    }
}

/// Takes back what a failed exchange left on the request. `status`: what it had before the first
/// one; that of an error document is the error's, by which httpd knows not to look for another
/// document.
pub fn forget(request: Request<'_>, status: i32) {
    for note in [c"uds_path", ERROR_NOTES, c"verbose-error-to", c"proxy_timedout", c"proxy-error-override"] {
        request.notes().unset(note);
    }
    request.set_status(status);
}

/// mod_proxy drops a kept-alive client without an answer when a backend fails before answering; it
/// looks at the connection's number of requests. That number is put aside around the handler, and
/// added back.
struct KeepAlives<'r> {
    request: Request<'r>,
    saved: i32,
    not_pooled: Option<&'r [u8]>,
}

impl<'r> KeepAlives<'r> {
    fn hide(request: Request<'r>) -> Option<Self> {
        let saved = request.keepalives();
        if saved == 0 {
            return None;
        }
        let max = request.keepalive_max();
        if max != 0 && saved >= max {
            // httpd would go by the number to end the connection after this request.
            request.end_connection_after();
        }
        // Asks for a fresh connection to the backend only with a client's first request, for what
        // it looks like now.
        let not_pooled = request.env().get(NOT_POOLED);
        if not_pooled.is_some() {
            request.env().unset(NOT_POOLED);
        }
        request.set_keepalives(0);
        Some(KeepAlives { request, saved, not_pooled })
    }
}

impl Drop for KeepAlives<'_> {
    fn drop(&mut self) {
        self.request.set_keepalives(self.request.keepalives() + self.saved);
        if let Some(value) = self.not_pooled {
            self.request.env().set_bytes(NOT_POOLED.to_bytes(), value);
        }
    }
}

/// Asks mod_proxy_http for a fresh connection to the backend, for one attempt. Only heard while
/// [`KeepAlives`] hides the client's earlier requests.
struct Unpooled<'r> {
    request: Request<'r>,
    before: Option<&'r [u8]>,
}

impl<'r> Unpooled<'r> {
    fn ask(request: Request<'r>) -> Self {
        let before = request.env().get(NOT_POOLED);
        request.env().set(NOT_POOLED, c"1");
        Unpooled { request, before }
    }
}

impl Drop for Unpooled<'_> {
    fn drop(&mut self) {
        match self.before {
            Some(value) => self.request.env().set_bytes(NOT_POOLED.to_bytes(), value),
            None => self.request.env().unset(NOT_POOLED),
        }
    }
}
