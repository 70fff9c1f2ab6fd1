// SPDX-License-Identifier: Apache-2.0
//! The way back: `reverse=on` and `ProxyPassReverse … lb://pool/`. Location, Content-Location, URI
//! and Destination that name a member, and cookies' domains and paths that do, come back as the
//! front's.

use balance::api::{Balancer, PoolId};
use balance::reverse::{Names, PathPair, behind_prefix, map_cookie, map_exactly, map_location};
use balance::target::path_start;

use super::record::Record;
use crate::httpd::aliases::Alias;
use crate::httpd::request::Request;
use crate::httpd::table::{AprTable, KeySet};
use crate::httpd::{CStr, CString};
use crate::serve::child::{self, Child};

const SCHEME: &[u8] = b"lb://";
const LOCATIONS: [&CStr; 4] = [c"Location", c"Content-Location", c"URI", c"Destination"];
const MAPPED: KeySet =
    KeySet::new(&[c"Location", c"Content-Location", c"URI", c"Destination", c"Set-Cookie"]);

/// Whether a line of ProxyPassReverse for this request names a pool.
pub fn is_configured(request: Request<'_>, child: &Child) -> bool {
    child.api.reverse_aliases(request).any(|alias| names_pool(alias.url))
}

fn names_pool(url: &[u8]) -> bool {
    url.get(..SCHEME.len()).is_some_and(|head| head.eq_ignore_ascii_case(SCHEME))
}

/// The name of the pool, and the path behind it.
fn split(url: &[u8]) -> (&[u8], &[u8]) {
    let (pool, path) = url.split_at(path_start(url, b"/"));
    (pool.get(SCHEME.len()..).unwrap_or_default(), path)
}

/// Rewrites the answer's headers; called once, when they are known and not yet sent.
pub fn map_back(request: Request<'_>, record: &Record) {
    let headers = request.headers_out();
    if !headers.holds_any(&MAPPED) {
        return;
    }
    let cookies = headers.get(c"Set-Cookie").is_some() && record.answer.reverse.get();
    let Some(child) = child::get() else { return };
    for key in LOCATIONS {
        let mapped = headers.get(key).and_then(|value| map_header(request, child, record, value));
        if let Some(url) = mapped.and_then(|path| full(request, path)) {
            headers.set(key, &url);
        }
    }
    if cookies {
        let (front, back) = prefixes(request, child, record);
        with_names(child, record.answer.pool.get(), |names| {
            map_cookies(request, headers, names, PathPair { front: &front, back: &back });
        });
    }
}

/// The front's path, or URL, for a header that names a member: by the lines of ProxyPassReverse
/// first, then as the request was mapped.
fn map_header(request: Request<'_>, child: &'static Child, record: &Record, value: &[u8]) -> Option<Vec<u8>> {
    let configured =
        child.api.reverse_aliases(request).filter(|alias| names_pool(alias.url)).find_map(|alias| {
            let (pool, back) = split(alias.url);
            let pool =
                child::with_thread(child, |thread| thread.balancer.find(&String::from_utf8_lossy(pool)));
            let mapping = PathPair { front: alias.front, back };
            with_names(child, pool.flatten(), |names| map_exactly(names, mapping, value)).flatten()
        });
    if configured.is_some() || !record.answer.reverse.get() {
        return configured;
    }
    let (front, back) = prefixes(request, child, record);
    with_names(child, record.answer.pool.get(), |names| {
        map_location(names, PathPair { front: &front, back: &back }, value)
    })
    .flatten()
}

fn with_names<T>(
    child: &'static Child,
    pool: Option<PoolId>,
    body: impl FnOnce(&Names<'_>) -> T,
) -> Option<T> {
    let membership =
        child::with_thread(child, |thread| pool.and_then(|pool| thread.balancer.membership(pool)));
    let membership = membership.flatten()?;
    Some(body(&Names::new(membership.members.iter().map(|member| &member.spec.url))))
}

/// A full URL of this server; a line of ProxyPassReverse may have made one itself.
fn full(request: Request<'_>, path: Vec<u8>) -> Option<CString> {
    let path = CString::new(path).ok()?;
    if !path.to_bytes().starts_with(b"/") {
        return Some(path);
    }
    request.construct_url(&path).and_then(|url| CString::new(url).ok())
}

/// The path of the front and that of the pool's URL, encoded, as ProxyPass or SetHandler wrote
/// them. Both are empty where neither did: then a script or a pattern is taken to have left the
/// path as it was.
fn prefixes(request: Request<'_>, child: &Child, record: &Record) -> (Vec<u8>, Vec<u8>) {
    let encoded = |path: &[u8]| {
        let [text] = request.pool().texts([&[path]]);
        child.api.encode_path(request, text).unwrap_or(path).to_vec()
    };
    let route = record.route();
    let Some(url) = route.path.url.bytes(request.pool()).filter(|_| route.chosen.is_none()) else {
        return Default::default();
    };
    if let Some(own) = request.handler().and_then(|handler| handler.strip_prefix(b"proxy:")) {
        return (Vec::new(), encoded(split(own).1));
    }
    let by_line = child.api.forward_aliases(request).find_map(|alias| mapped_by(request, alias, url));
    by_line.map_or_else(Default::default, |(front, back)| (encoded(front), encoded(back)))
}

/// The front's path and the path of the pool's URL in a line of ProxyPass, if it made this URL.
fn mapped_by<'r>(request: Request<'r>, alias: Alias<'r>, url: &'r [u8]) -> Option<(&'r [u8], &'r [u8])> {
    if alias.is_pattern || !names_pool(url) {
        return None;
    }
    let paths = [request.uri(), request.unparsed_uri().filter(|_| alias.is_raw)];
    let real = paths.into_iter().flatten().find_map(|path| {
        let real = url.strip_suffix(behind_prefix(path, alias.front)?)?;
        // The line's URL may have variables in it.
        (real == alias.url || alias.url.contains(&b'$') && names_pool(real)).then_some(real)
    })?;
    Some((alias.front, split(real).1))
}

fn map_cookies(request: Request<'_>, headers: AprTable<'_>, names: &Names<'_>, mapping: PathPair<'_>) {
    let host = request.hostname().unwrap_or_default();
    let mut all = Vec::new();
    let mut changed = false;
    headers.each(&mut |key, value| {
        if key.eq_ignore_ascii_case(b"Set-Cookie") {
            let mapped = map_cookie(names, mapping, value, host);
            changed |= mapped.is_some();
            all.push(mapped.unwrap_or_else(|| value.to_vec()));
        }
        true
    });
    if !changed {
        return;
    }
    headers.unset(c"Set-Cookie");
    for cookie in all {
        if let Ok(cookie) = CString::new(cookie) {
            headers.add(c"Set-Cookie", &cookie);
        }
    }
}
