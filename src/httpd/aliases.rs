//! What ProxyPass and ProxyPassReverse say about a request.

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
    // SAFETY: the caller's promise.
    let all: &'r [ffi::proxy_alias] = unsafe {
        match array.as_ref() {
            Some(array) if array.nelts > 0 && !array.elts.is_null() => {
                std::slice::from_raw_parts(array.elts.cast(), array.nelts as usize)
            }
            _ => &[],
        }
    };
    // SAFETY: lines of that array.
    all.iter().filter_map(|alias| unsafe { line(alias) })
}

impl Api {
    /// The lines of ProxyPass that may have mapped a request, in the order in which mod_proxy looks at them.
    pub fn forward_aliases<'r>(&self, request: Request<'r>) -> impl Iterator<Item = Alias<'r>> {
        // SAFETY: a live request; both outlive it, as they belong to the configuration or the request.
        unsafe {
            let own = ffi::lb_location_alias(request.as_ptr(), self.module).as_ref();
            own.and_then(|alias| line(alias))
                .into_iter()
                .chain(lines(ffi::lb_proxy_aliases(request.as_ptr(), self.module)))
        }
    }

    /// The lines of ProxyPassReverse that hold for a request.
    pub fn reverse_aliases<'r>(&self, request: Request<'r>) -> impl Iterator<Item = Alias<'r>> {
        // SAFETY: as above.
        unsafe { lines(ffi::lb_reverse_aliases(request.as_ptr(), self.module)) }
    }
}
