// SPDX-License-Identifier: Apache-2.0
//! The ways in which scripts of mod_lua name a backend: `r.filename = "proxy:…"`,
//! `r.handler = "proxy:…"`, and URLs that they return.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use balance::relay::HookStatus;
use balance::target::{self, path_start};
use script::Phase;

use super::fail::wrong_target;
use super::send::{self, BackendPath};
use super::visit::Visit;
use crate::httpd::request::PROXYREQ_REVERSE;
use crate::relay::journey::Serving;
use crate::relay::route::OF_FILE;
use balance::choosing::Decision;

/// Leaves no request in a state that httpd's modules take for impossible. A translated request has
/// a file name, which modules read without asking. A request for a proxy has the proxy's file name:
/// mod_proxy takes every other one for its own all the same.
pub fn settle(visit: &Visit<'_>, status: HookStatus) -> HookStatus {
    let Visit { serving: Serving { request, .. }, before, .. } = *visit;
    let goes_on = matches!(status, HookStatus::Ok | HookStatus::Declined);
    let is_accepted = before.phase == Phase::Translate && status == HookStatus::Ok;
    if is_accepted && request.filename().is_none() {
        request.set_filename(None);
    }
    if !goes_on || request.proxied_url().is_some() {
        return status;
    }
    request.set_proxyreq(before.proxyreq);
    if is_accepted && before.new_filename(request).is_some_and(is_special) {
        let message = "a fifo, a socket or a device, which would hold the thread that reads it";
        return wrong_target(visit, request.filename().unwrap_or_default(), message);
    }
    if before.phase == Phase::Translate || request.filename() == before.filename {
        return status;
    }
    settle_file(visit, status)
}

/// Whether there is something of this name that is neither a file nor a folder.
fn is_special(name: &[u8]) -> bool {
    let found = std::fs::metadata(Path::new(OsStr::from_bytes(name)));
    found.is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// In fixups httpd has looked at the file, and has checked the right to it. In the sandbox the file
/// stays the same; otherwise httpd is told about the new one.
fn settle_file(visit: &Visit<'_>, status: HookStatus) -> HookStatus {
    let Serving { request, child, .. } = visit.serving;
    if !child.library.is_sandboxed() {
        request.look_at_file();
        return status;
    }
    let message = "no file can be chosen in LuaHookSelect, since access was granted to the one that httpd has: set r.filename in \
                   LuaHookTranslate";
    wrong_target(visit, request.filename().unwrap_or_default(), message)
}

/// Declined. A mod_lua script may decline with `r.proxyreq` and `r.filename = "proxy:…"` set, as
/// mod_lua's documentation shows it. httpd itself would answer with 403; here the request goes to
/// the proxy.
pub fn declined(visit: &Visit<'_>) -> HookStatus {
    let Visit { serving: Serving { request, .. }, before, .. } = *visit;
    if request.proxyreq() == PROXYREQ_REVERSE
        && let Some(url) = before.new_filename(request).and_then(backend_of)
    {
        return to_filename(visit, url);
    }
    by_handler(visit).unwrap_or(HookStatus::Declined)
}

/// `apache2.OK`: with `r.filename = "proxy:…"` the request goes there over pooled connections.
pub fn accepted(visit: &Visit<'_>) -> HookStatus {
    let Visit { serving: Serving { request, .. }, before, .. } = *visit;
    if let Some(url) = before.new_filename(request).and_then(backend_of) {
        return to_filename(visit, url);
    }
    by_handler(visit).unwrap_or(HookStatus::Ok)
}

/// The text behind `proxy:`.
pub fn backend_of(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"proxy:")
}

/// `r.handler = "proxy:URL"`: the URL, and behind it the path that the script put into
/// `r.filename`. None when the script did not set it.
fn by_handler(visit: &Visit<'_>) -> Option<HookStatus> {
    let Visit { serving: Serving { request, .. }, before, .. } = *visit;
    let url = backend_of(before.new_handler(request)?)?;
    // FastCGI and its like want the file's path; an HTTP backend is asked for the client's path.
    let own = if speaks_http(url) { request.uri() } else { request.filename() };
    let path = before.new_filename(request).or(own).unwrap_or_default();
    // Split before the path is put behind it, so that no path becomes part of a host.
    let (base, own) = url.split_at(path_start(url, b"/"));
    let own = own.strip_suffix(b"/").unwrap_or(own);
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let answer = to_backend(visit, (base, &[own, b"/", path].concat()));
    if !speaks_http(url) {
        request.notes().set(OF_FILE, c"1");
    }
    Some(answer)
}

fn speaks_http(url: &[u8]) -> bool {
    let scheme = url.rsplit(|byte| *byte == b'|').next().unwrap_or_default();
    [b"http".as_slice(), b"h2", b"ws"].iter().any(|start| starts_with(scheme, start))
}

/// Whether `text` starts with this, without case.
fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// `r.filename = "proxy:URL"`. mod_lua's scripts write it for both phases: in translate_name httpd
/// takes it for decoded text and encodes it, in fixups it goes to the backend as it stands. The
/// client's own text stands in either.
fn to_filename(visit: &Visit<'_>, url: &[u8]) -> HookStatus {
    let Visit { serving: Serving { request, .. }, before, .. } = *visit;
    let written = request.unparsed_uri().is_some_and(|own| own.starts_with(b"/") && url.ends_with(own));
    let decoded = !target::split(url, request.uri().unwrap_or_default()).decoded.is_empty();
    // A prefix that may not stand in a URL gets encoded, and the client's own text behind it stays.
    let stands = if written { send::split(request, url).is_ok() } else { before.phase == Phase::Select };
    if stands && !decoded && !names_other_proxy(url) {
        return to_url(visit, url);
    }
    let (base, path) = url.split_at(path_start(url, b"/"));
    to_backend(visit, (base, path))
}

/// Whether a URL is of `lb://` or `balancer://`, for which this module opens no connection by
/// itself.
fn names_other_proxy(url: &[u8]) -> bool {
    starts_with(url, b"lb://") || starts_with(url, b"balancer://")
}

/// Sends the request to the worker's URL and path that a script of mod_lua set, decoded as `r.uri`
/// is. The query stays the request's.
fn to_backend(visit: &Visit<'_>, (base, path): (&[u8], &[u8])) -> HookStatus {
    let request = visit.serving.request;
    if starts_with(base, b"balancer://") {
        return HookStatus::Ok;
    }
    let encoded = match as_the_client_wrote(visit.serving, path) {
        Ok(encoded) => encoded,
        Err(status) => return status,
    };
    let path = encoded.as_deref().unwrap_or(path);
    let answer = if starts_with(base, b"lb://") {
        request.send_to_proxy(request.pool().concat(&[b"proxy:", base, path]));
        HookStatus::Ok
    } else {
        match worker_url(base) {
            Ok(base) => {
                let path = BackendPath { encoded: b"", decoded: path };
                send::send_path(visit.serving, Decision::Target(base.into()), path)
            }
            Err(message) => return wrong_target(visit, base, &message),
        }
    };
    if encoded.is_some() {
        request.notes().set(c"proxy-nocanon", c"1");
    }
    answer
}

/// The path that a script has made of `r.unparsed_uri`: the client's own text in it, encoded and
/// with the query, stays, and the text before it gets encoded. None: the path is decoded text, as
/// mod_lua's are.
fn as_the_client_wrote(serving: Serving<'_>, path: &[u8]) -> Result<Option<Vec<u8>>, HookStatus> {
    let Serving { request, child, .. } = serving;
    let own = request.unparsed_uri().filter(|own| own.starts_with(b"/") && request.uri() != Some(*own));
    let Some((own, before)) = own.and_then(|own| Some((own, path.strip_suffix(own)?))) else {
        return Ok(None);
    };
    let [text] = request.pool().texts([&[before.strip_prefix(b"/").unwrap_or(before)]]);
    let encoded = child.api.encode_path(request, text).ok_or(HookStatus::Http(400))?;
    let slash: &[u8] = if encoded.is_empty() { b"" } else { b"/" };
    // The script may have given the request other arguments than the client.
    let args = request.args().filter(|_| !own.contains(&b'?'));
    let query = args.map(|args| [b"?", args].concat()).unwrap_or_default();
    Ok(Some([slash, encoded, own, &query].concat()))
}

/// A URL that a script returned: scheme, host and port make the worker; a path in it replaces the
/// request's, and a query its query.
pub fn to_url(visit: &Visit<'_>, url: &[u8]) -> HookStatus {
    let request = visit.serving.request;
    let target = send::split(request, url);
    match target.and_then(|target| Ok((worker_url(target.base)?, target))) {
        Ok((base, target)) => send::send_to(visit.serving, Decision::Target(base.into()), &target),
        Err(message) => wrong_target(visit, url, &message),
    }
}

/// The worker's URL, checked as a member's is.
fn worker_url(base: &[u8]) -> Result<String, String> {
    let base = String::from_utf8_lossy(base);
    balance::url::MemberUrl::parse(&base).map(|url| url.to_string()).map_err(|error| error.to_string())
}
