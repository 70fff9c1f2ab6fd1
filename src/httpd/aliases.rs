// SPDX-License-Identifier: Apache-2.0
//! The lines of ProxyPass and ProxyPassReverse that hold for a request.

use balance::stock::ways::{self, may_begin_ours};

use super::bytes;
use super::proxy::Api;
use super::request::Request;
use crate::ffi;

/// One line: the front's path (or pattern) and the URL for it.
#[derive(Clone, Copy)]
pub struct Alias<'r> {
    /// The front's path, as written.
    pub front: &'r [u8],
    /// The URL, as written.
    pub url: &'r [u8],
    /// `front` is a regular expression.
    pub is_pattern: bool,
    /// `nocanon`: the client's own spelling is put behind the URL.
    pub is_raw: bool,
}

/// # Safety
/// Points to a line of mod_proxy's configuration that lives for `'r`.
unsafe fn line<'r>(alias: &ffi::proxy_alias) -> Option<Alias<'r>> {
    // SAFETY: strings of the configuration.
    let (front, url) = unsafe { (bytes(alias.fake)?, bytes(alias.real)?) };
    let is_raw = alias.flags & ffi::PROXYPASS_NOCANON != 0;
    Some(Alias { front, url, is_pattern: !alias.regex.is_null(), is_raw })
}

/// # Safety
/// NULL or an array of `proxy_alias` that lives for `'r`.
unsafe fn lines<'r>(array: *const ffi::apr_array_header_t) -> impl Iterator<Item = Alias<'r>> {
    // SAFETY: the caller's promise; lines of that array.
    unsafe { records(array).iter().filter_map(|alias| line(alias)) }
}

/// # Safety
/// As [`lines`].
unsafe fn records<'r>(array: *const ffi::apr_array_header_t) -> &'r [ffi::proxy_alias] {
    // SAFETY: the caller's promise.
    unsafe {
        match array.as_ref() {
            Some(array) if array.nelts > 0 && !array.elts.is_null() => {
                std::slice::from_raw_parts(array.elts.cast(), array.nelts as usize)
            }
            _ => &[],
        }
    }
}

/// The target that a line makes of a path; None when it does not hold for it.
fn filled(alias: &ffi::proxy_alias, line: Alias<'_>, path: &[u8]) -> Option<Vec<u8>> {
    if alias.regex.is_null() {
        let rest = path.strip_prefix(line.front)?;
        return Some([line.url, rest].concat());
    }
    let mut found = [ffi::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; GROUPS];
    // SAFETY: an expression of the configuration; the array has the length that is passed.
    let rc = unsafe {
        let (text, length) = (path.as_ptr().cast(), path.len() as ffi::apr_size_t);
        ffi::ap_regexec_len(alias.regex, text, length, GROUPS as ffi::apr_size_t, found.as_mut_ptr(), 0)
    };
    let group = |group: &ffi::ap_regmatch_t| {
        let place = usize::try_from(group.rm_so).ok().zip(usize::try_from(group.rm_eo).ok());
        place.and_then(|(from, to)| path.get(from..to)).unwrap_or_default()
    };
    (rc == 0).then(|| ways::filled(line.url, &found.each_ref().map(group)))
}

/// Groups of a pattern that mod_proxy puts in.
const GROUPS: usize = 10;

impl Api {
    /// The lines of ProxyPass that may have mapped a request, in the order in which mod_proxy looks
    /// at them.
    pub fn forward_aliases<'r>(&self, request: Request<'r>) -> impl Iterator<Item = Alias<'r>> {
        // SAFETY: a live request; both outlive it, as they belong to the configuration or the
        // request.
        unsafe {
            let own = ffi::lb_location_alias(request.as_ptr(), self.module).as_ref();
            own.and_then(|alias| line(alias))
                .into_iter()
                .chain(lines(ffi::lb_proxy_aliases(request.as_ptr(), self.module)))
        }
    }

    /// The line by which a request may have come to a target in `lb://` that the line itself does
    /// not write. The value that a variable had is not known any more, so a variable that begins a
    /// target counts.
    pub fn filled_alias<'r>(&self, request: Request<'r>) -> Option<Alias<'r>> {
        // SAFETY: as above.
        let all = unsafe {
            let own = ffi::lb_location_alias(request.as_ptr(), self.module).as_ref();
            own.into_iter().chain(records(ffi::lb_proxy_aliases(request.as_ptr(), self.module)))
        };
        let is_ours = |url: &[u8]| url.get(..5).is_some_and(|begin| begin.eq_ignore_ascii_case(b"lb://"));
        let paths = [request.uri(), request.unparsed_uri()];
        all.filter_map(|alias| {
            // SAFETY: as above.
            let line = unsafe { line(alias) }.filter(|line| may_begin_ours(line.url))?;
            let unknown = alias.flags & ffi::PROXYPASS_INTERPOLATE != 0 && line.url.contains(&b'$');
            let mut paths = paths.into_iter().flatten().filter_map(|path| filled(alias, line, path));
            paths.any(|url| unknown || is_ours(&url)).then_some(line)
        })
        .next()
    }

    /// The URL to which a line of ProxyPass maps a request, with the line; as mod_proxy finds it,
    /// but for variables, which are left as they are written (true).
    pub fn mapped<'r>(&self, request: Request<'r>) -> Option<(Vec<u8>, Alias<'r>, bool)> {
        // SAFETY: as above.
        let all = unsafe {
            let own = ffi::lb_location_alias(request.as_ptr(), self.module).as_ref();
            own.into_iter().chain(records(ffi::lb_proxy_aliases(request.as_ptr(), self.module)))
        };
        let path = request.uri()?;
        let mut all = all.filter_map(|alias| {
            // SAFETY: as above.
            let line = unsafe { line(alias) }?;
            let unknown = alias.flags & ffi::PROXYPASS_INTERPOLATE != 0 && line.url.contains(&b'$');
            if line.is_pattern {
                return Some((filled(alias, line, path)?, line, unknown));
            }
            let taken = ways::taken(line.front, path)?;
            Some(([line.url, &path[taken..]].concat(), line, unknown))
        });
        all.next().filter(|(_, line, _)| line.url != b"!")
    }

    /// The lines of ProxyPassReverse that hold for a request.
    pub fn reverse_aliases<'r>(&self, request: Request<'r>) -> impl Iterator<Item = Alias<'r>> {
        // SAFETY: as above.
        unsafe { lines(ffi::lb_reverse_aliases(request.as_ptr(), self.module)) }
    }
}
