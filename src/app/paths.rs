//! The path and query that a backend is asked for: made once for a request, whoever chose and whatever member is asked.

use std::borrow::Cow;
use std::ffi::CStr;

use balance::target::{self, Target};

use super::child::{self, Child, Thread};
use super::record::{Chosen, Decision, Record};
use crate::ffi;
use crate::httpd::log;
use crate::httpd::pool::Text;
use crate::httpd::request::{PROXYREQ_PROXY, Request};
use crate::httpd::sections;

const OK: i32 = ffi::OK as i32;
const DECLINED: i32 = ffi::DECLINED;
const FORBIDDEN: i32 = ffi::HTTP_FORBIDDEN as i32;
const FAILED: i32 = ffi::HTTP_INTERNAL_SERVER_ERROR as i32;

/// The note of a request whose path is a file's, since its script named a handler: FastCGI gets it as it is, as with
/// `SetHandler "proxy:fcgi://…"`.
pub const OF_FILE: &CStr = c"lb-file-path";

/// The part of a path that is encoded text already, and the rest, which is decoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path<'p> {
    /// Used as it stands.
    pub encoded: &'p [u8],
    /// As in `r.uri`.
    pub decoded: &'p [u8],
}

impl Path<'_> {
    /// What may stand in a URL that is used as it stands.
    fn is_url_text(&self) -> bool {
        self.encoded.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
    }
}

/// Takes apart what a script wrote as a URL. Err: it holds what has no place in one.
pub fn split<'u>(request: Request<'_>, url: &'u [u8]) -> Result<Target<'u>, String> {
    let target = target::split(url, request.uri().unwrap_or_default());
    let query = Path { encoded: target.query.unwrap_or_default(), decoded: b"" };
    if !(Path { encoded: target.encoded, decoded: b"" }).is_url_text() || !query.is_url_text() {
        return Err("expected no blanks and no control characters but in the text of r.uri".into());
    }
    Ok(target)
}

/// Sends the request to a URL that a script wrote, its query in place of the request's.
pub fn send_to(request: Request<'_>, decision: Decision, thread: &Thread, target: &Target<'_>) -> i32 {
    if let Some(query) = target.query {
        request.set_args(Some(query));
    }
    if target.is_bare() {
        return send(request, decision, thread);
    }
    send_path(request, decision, thread, Path { encoded: target.encoded, decoded: target.decoded })
}

/// Hands the request to mod_proxy, to come back in `attempts`.
pub fn send(request: Request<'_>, decision: Decision, thread: &Thread) -> i32 {
    let uri = request.uri().unwrap_or(b"/");
    send_path(request, decision, thread, Path { encoded: b"", decoded: uri })
}

/// The same with another path. `r.uri` stays, since httpd chooses the sections that protect a request by it.
pub fn send_path(request: Request<'_>, decision: Decision, thread: &Thread, path: Path<'_>) -> i32 {
    if request.uri() == Some(b"*") {
        // `OPTIONS *` asks about this server, and nothing of mod_proxy's can ask a backend so.
        return DECLINED;
    }
    let pool = match &decision {
        Decision::Pool { pool, .. } => thread.balancer.now(*pool),
        _ => None,
    };
    let record = Record::attach(request, decision);
    // What a ProxyPass before this asked for its own path, and a script for a file's.
    if !request.notes().is_empty() {
        request.notes().unset(OF_FILE);
        request.notes().unset(c"proxy-nocanon");
        request.notes().unset(c"proxy-noencode");
    }
    let name = pool.as_ref().map_or("script", |pool| &*pool.membership().name);
    let begins = path.encoded.first().or(path.decoded.first()) == Some(&b'/');
    let [filename] = request.pool().texts([&[
        b"proxy:lb://",
        name.as_bytes(),
        if begins { b"" } else { b"/" },
        path.encoded,
        path.decoded,
    ]]);
    let encoded = path.encoded.strip_prefix(b"/").unwrap_or(path.encoded).len();
    record.chosen = Some(Chosen { url: filename.skip("proxy:".len()).as_ptr(), encoded });
    request.send_to_proxy(filename.as_ptr().cast_mut());
    OK
}

/// mod_proxy's canon hook for `lb://pool/path`: looks the pool up, encodes the path once for all attempts.
pub fn canonicalise<'r>(request: Request<'r>, url: Text<'r>) -> i32 {
    let rest = url.skip("lb://".len());
    let length = rest.bytes().iter().position(|b| *b == b'/').unwrap_or(rest.bytes().len());
    let path = rest.skip(length + 1);
    let Some(child) = child::get() else { return FAILED };
    let holds =
        |record: &&mut Record| record.chose(request, url.bytes()) || record.borrowed && record.is_of(request);
    let record = match Record::of(request).filter(holds) {
        Some(record) => record,
        None => {
            if request.proxyreq() == PROXYREQ_PROXY && !sections::grants(request, url.c_str()) {
                let text =
                    "refused: a forward proxy reaches a pool only by <Proxy \"lb://POOL\"> with Require";
                log::request(request, log::ERR, text);
                return FORBIDDEN;
            }
            let name = &rest.bytes()[..length];
            let found = child::with_thread(child, |thread| thread.balancer.find_bytes(name)).flatten();
            let Some(pool) = found else {
                let name = String::from_utf8_lossy(name);
                log::request(request, log::ERR, &format!("lb://{name}: there is no pool of that name"));
                return FAILED;
            };
            Record::attach(request, Decision::Pool { pool, view: None, method: None, first: None })
        }
    };
    record.raw_path = path.as_ptr();
    record.url = request.proxied();
    if request.is_subrequest() {
        record.lend(request);
    }
    match record.chosen.map(|chosen| chosen.encoded) {
        Some(0) => prepare(request, child, record, path),
        Some(encoded) => prepare_encoded(request, child, record, (path, encoded)),
        None => prepare(request, child, record, by_handler(request).unwrap_or(path)),
    }
}

/// With `SetHandler "proxy:lb://pool/path"` mod_proxy puts the file's path behind the URL, which is what FastCGI wants; an HTTP
/// backend is asked for what the client asked for, behind the URL's own path.
fn by_handler<'r>(request: Request<'r>) -> Option<Text<'r>> {
    let url = request.handler()?.strip_prefix(b"proxy:")?;
    let own = url.split_at(target::path_start(url, b"/")).1;
    let own = own.strip_suffix(b"/").unwrap_or(own);
    let uri = request.uri_text();
    if own.is_empty() {
        return Some(uri.skip(usize::from(uri.bytes().starts_with(b"/"))));
    }
    let [path] = request.pool().texts([&[&own[1..], uri.bytes()]]);
    Some(path)
}

/// A path that begins with encoded text: that much stands as it is. Backends of other schemes encode it themselves.
fn prepare_encoded<'r>(
    request: Request<'r>,
    child: &Child,
    record: &mut Record,
    (path, encoded): (Text<'r>, usize),
) -> i32 {
    let (stands, rest) = (&path.bytes()[..encoded.min(path.bytes().len())], path.skip(encoded));
    let Some(rest_encoded) = child.api.encode_path(request, rest) else { return 400 };
    let plain = script::unescape_with(stands, false);
    if !plain.contains(&0) {
        record.raw_path = request.pool().concat(&[&plain, rest.bytes()]);
    }
    finish(request, record, &[stands, rest_encoded].concat(), request.args())
}

fn prepare<'r>(request: Request<'r>, child: &Child, record: &mut Record, text: Text<'r>) -> i32 {
    // Most requests have no notes here.
    let notes = Some(request.notes()).filter(|notes| !notes.is_empty());
    let has = |note| notes.is_some_and(|notes| notes.get(note).is_some());
    let raw = has(c"proxy-nocanon");
    let (encoded, args): (Cow<'_, [u8]>, Option<&[u8]>) = if raw {
        (Cow::Borrowed(text.bytes()), None)
    } else if has(c"proxy-noencode") {
        (Cow::Borrowed(text.bytes()), request.args())
    } else {
        match child.api.encode_path(request, text) {
            Some(encoded) => (Cow::Borrowed(encoded), request.args()),
            None => return 400,
        }
    };
    finish(request, record, &encoded, args)
}

fn finish(request: Request<'_>, record: &mut Record, path: &[u8], args: Option<&[u8]>) -> i32 {
    let mark: &[u8] = if args.is_some() { b"?" } else { b"" };
    let [tail] = request.pool().texts([&[b"/", path, mark, args.unwrap_or_default()]]);
    if Request::has_bad_character(tail) {
        log::request(
            request,
            log::ERR,
            "the path or query to be forwarded holds control characters or blanks",
        );
        return 403;
    }
    record.tail = tail.as_ptr().cast_mut();
    // mod_proxy reads only scheme and pool from here on.
    OK
}
