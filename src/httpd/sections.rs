// SPDX-License-Identifier: Apache-2.0
//! `<Proxy>` sections of mod_proxy: which ones a URL is in.

use std::ffi::CStr;
use std::os::raw::c_void;
use std::ptr::null_mut;

use super::proxy;
use super::request::Request;
use crate::ffi;

/// Modules whose directives say who may go somewhere.
const AUTHORISATION: [&CStr; 2] = [c"mod_authz_core.c", c"mod_access_compat.c"];

/// Whether a section for `lb://` that this URL is in says who may go there. httpd has obeyed it
/// when it checked the request's access.
pub fn grants(request: Request<'_>, url: &CStr) -> bool {
    let module = proxy::module();
    // SAFETY: a request's server, and mod_proxy's own configuration of it, live as long as httpd's
    // configuration.
    let sections =
        unsafe { sections(ffi::lb_module_config((*request.server()).module_config, module).cast()) };
    // SAFETY: httpd's list of modules.
    let checks = AUTHORISATION.map(|name| unsafe { ffi::ap_find_linked_module(name.as_ptr()) });
    sections.iter().any(|section| {
        // SAFETY: a section's record of mod_proxy, or NULL.
        let own = unsafe { record_of(*section, module).cast::<ffi::proxy_dir_conf>().as_ref() };
        own.is_some_and(|own| is_for_pools(own, url) && holds(own, url))
            && checks.iter().any(|check| !record_of(*section, *check).is_null())
    })
}

/// Whether a section is one for `lb://`, and for no more than the beginning of a pool's name.
fn is_for_pools(section: &ffi::proxy_dir_conf, url: &CStr) -> bool {
    // SAFETY: the section's path as written, or NULL.
    let path = unsafe { super::bytes(section.p) }.unwrap_or_default();
    if !section.r.is_null() {
        return path.strip_prefix(b"^").is_some_and(|path| path.starts_with(b"lb://"));
    }
    // mod_proxy compares with case, and has not looked at the section for `LB://`.
    let rest = || url.to_bytes().strip_prefix(path);
    let ends = || {
        rest().is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b'?')) || path.ends_with(b"/"))
    };
    path.starts_with(b"lb://") && (section.p_is_fnmatch != 0 || path.len() > b"lb://".len() && ends())
}

/// A module's part of a configuration; NULL when there is none.
pub(super) fn record_of(vector: *mut ffi::ap_conf_vector_t, module: *mut ffi::module) -> *mut c_void {
    if vector.is_null() || module.is_null() {
        return null_mut();
    }
    // SAFETY: a vector of httpd has a place for every loaded module.
    unsafe { ffi::lb_module_config(vector, module) }
}

/// # Safety
/// `conf` is mod_proxy's configuration of a server, which lives as long as httpd's.
pub(super) unsafe fn sections<'c>(conf: *mut ffi::proxy_server_conf) -> &'c [*mut ffi::ap_conf_vector_t] {
    // SAFETY: the caller's promise; an array of such pointers, complete since the configuration was
    // read.
    unsafe {
        match conf.as_ref().and_then(|conf| conf.sec_proxy.as_ref()) {
            Some(array) if array.nelts > 0 && !array.elts.is_null() => {
                std::slice::from_raw_parts(array.elts.cast(), array.nelts as usize)
            }
            _ => &[],
        }
    }
}

/// Whether a URL is in a `<Proxy>` section, as mod_proxy looks; but scheme and host have no case.
pub(super) fn holds(section: &ffi::proxy_dir_conf, url: &CStr) -> bool {
    // SAFETY: the section's own expression and path, a NUL-terminated URL.
    unsafe {
        if !section.r.is_null() {
            let url = url.to_bytes();
            return ffi::ap_regexec_len(section.r, url.as_ptr().cast(), url.len() as _, 0, null_mut(), 0)
                == 0;
        }
        if section.p.is_null() {
            return false;
        }
        if section.p_is_fnmatch != 0 {
            return ffi::apr_fnmatch(section.p, url.as_ptr(), 0) == 0;
        }
        let path = super::bytes(section.p).unwrap_or_default();
        let (url, host) = (url.to_bytes(), authority_end(path));
        url.len() >= path.len()
            && url[..host].eq_ignore_ascii_case(&path[..host])
            && url[host..].starts_with(&path[host..])
    }
}

/// Where the host and port of a URL end.
fn authority_end(url: &[u8]) -> usize {
    let socket = if url.starts_with(b"unix:") { url.iter().position(|b| *b == b'|').unwrap_or(0) } else { 0 };
    let host = url[socket..].windows(3).position(|part| part == b"://").map_or(socket, |at| socket + at + 3);
    url[host..].iter().position(|b| *b == b'/').map_or(url.len(), |at| host + at)
}
