// SPDX-License-Identifier: Apache-2.0
//! The canonical form of `lb://pool/path`: the path and query that a backend is asked for, made
//! once for a request, for any choice and any member.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use balance::relay::HookStatus;
use balance::target;

use crate::httpd::log;
use crate::httpd::pool::Text;
use crate::httpd::request::{PROXYREQ_PROXY, Request};
use crate::httpd::sections;
use crate::relay::record::Record;
use crate::serve::anywhere;
use crate::serve::child::{self, Child};
use crate::serve::scope::Scope;
use balance::choosing::Decision;

/// Whether the configuration has ProxyPass lines whose target a client's words may fill; set in
/// each pre_config.
static OPEN_TARGETS: AtomicBool = AtomicBool::new(false);

/// Says whether there are such lines.
pub fn watch_targets(on: bool) {
    OPEN_TARGETS.store(on, Ordering::Relaxed);
}

/// The line by which a client may have written the target in `lb://`, where no line of the
/// configuration has.
fn filled_by(request: Request<'_>, child: &Child) -> Option<String> {
    let (handlers, targets) = (anywhere::OPEN_HANDLERS.is_there(), OPEN_TARGETS.load(Ordering::Relaxed));
    if !handlers && !targets {
        return None;
    }
    if request.handler().is_some_and(|handler| handler.starts_with(b"proxy:")) {
        let is_open = Scope::of(request, child).is_some_and(|scope| scope.has_open_handler());
        return is_open.then(|| "SetHandler".to_owned());
    }
    if !targets {
        return None;
    }
    let alias = child.api.filled_alias(request)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
    Some(format!("ProxyPass or ProxyPassMatch {} {}", text(alias.front), text(alias.url)))
}

/// mod_proxy's canon hook for `lb://pool/path`: looks the pool up, encodes the path once for all
/// attempts.
pub fn canonicalise<'r>(request: Request<'r>, url: Text<'r>) -> HookStatus {
    let rest = url.skip("lb://".len());
    let length = rest.bytes().iter().position(|b| *b == b'/').unwrap_or(rest.bytes().len());
    let path = rest.skip(length + 1);
    let Some(child) = child::get() else { return HookStatus::Http(500) };
    let holds = |record: &&Record| {
        record.chose(request, url.bytes()) || record.route().borrowed && record.is_of(request)
    };
    let record = match Record::of(request).filter(holds) {
        Some(record) => record,
        None => {
            if let Some(line) = filled_by(request, child) {
                let text = format!(
                    "refused: a client's words may have become the target by {line}; a pool is reached only where the line writes \
                     lb:// itself"
                );
                log::request(request, messages::requests::CLIENTS_TARGET, &text);
                return HookStatus::Http(403);
            }
            if request.proxyreq() == PROXYREQ_PROXY && !sections::grants(request, url.c_str()) {
                let text =
                    "refused: a forward proxy reaches a pool only by <Proxy \"lb://POOL\"> with Require";
                log::request(request, messages::requests::FORWARD_PROXY, text);
                return HookStatus::Http(403);
            }
            let name = &rest.bytes()[..length];
            let found = child::with_thread(child, |thread| thread.balancer.find_bytes(name)).flatten();
            let Some(pool) = found else {
                let name = String::from_utf8_lossy(name);
                let text = format!("lb://{name}: there is no pool of that name");
                log::request(request, messages::requests::NO_POOL, &text);
                return HookStatus::Http(500);
            };
            Record::decide(request, Decision::pool(pool))
        }
    };
    let chosen = {
        let mut route = record.write_route();
        (route.path.raw, route.path.url) = (path.into(), request.proxied());
        route.chosen
    };
    if request.is_subrequest() {
        record.lend(request);
    }
    match chosen.map(|chosen| chosen.encoded) {
        Some(0) => prepare(request, child, record, path),
        Some(encoded) => prepare_encoded(request, child, record, (path, encoded)),
        None => prepare(request, child, record, by_handler(request).unwrap_or(path)),
    }
}

/// With `SetHandler "proxy:lb://pool/path"` mod_proxy puts the file's path behind the URL, which is
/// what FastCGI wants; an HTTP backend is asked for what the client asked for, behind the URL's own
/// path.
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

/// A path that begins with encoded text, which stays as it is. Backends of other schemes encode the
/// path themselves.
fn prepare_encoded<'r>(
    request: Request<'r>,
    child: &Child,
    record: &Record,
    (path, encoded): (Text<'r>, usize),
) -> HookStatus {
    let (stands, rest) = (&path.bytes()[..encoded.min(path.bytes().len())], path.skip(encoded));
    let Some(rest_encoded) = child.api.encode_path(request, rest) else { return HookStatus::Http(400) };
    let plain = script::unescape_with(stands, false);
    if !plain.contains(&0) {
        let [raw] = request.pool().texts([&[&plain, rest.bytes()]]);
        record.write_route().path.raw = raw.into();
    }
    finish(request, record, &[stands, rest_encoded].concat(), request.args())
}

fn prepare<'r>(request: Request<'r>, child: &Child, record: &Record, text: Text<'r>) -> HookStatus {
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
            None => return HookStatus::Http(400),
        }
    };
    finish(request, record, &encoded, args)
}

fn finish(request: Request<'_>, record: &Record, path: &[u8], args: Option<&[u8]>) -> HookStatus {
    let mark: &[u8] = if args.is_some() { b"?" } else { b"" };
    let [tail] = request.pool().texts([&[b"/", path, mark, args.unwrap_or_default()]]);
    if Request::has_bad_character(tail) {
        log::request(
            request,
            messages::requests::BAD_CHARACTERS,
            "the path or query to be forwarded holds control characters or blanks",
        );
        return HookStatus::Http(403);
    }
    record.write_route().path.tail = tail.into();
    // mod_proxy reads only scheme and pool from here on.
    HookStatus::Ok
}
