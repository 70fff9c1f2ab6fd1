// SPDX-License-Identifier: Apache-2.0
//! Our hooks in mod_proxy.

use std::os::raw::{c_char, c_int};

use super::status::{DECLINED, FAILED, OK};
use crate::faults;
use crate::ffi;
use crate::guard::guard;
use crate::httpd::exchange::Proxy;
use crate::httpd::pool::Text;
use crate::httpd::request::Request;
use crate::relay;
use crate::route::{canon, entry};

/// mod_proxy asks for a worker. `lb://` requests get the child's one stand-in: the loop over
/// attempts picks the real one.
pub(super) unsafe extern "C" fn pre_request(
    worker: *mut *mut ffi::proxy_worker,
    balancer: *mut *mut ffi::proxy_balancer,
    r: *mut ffi::request_rec,
    _: *mut ffi::proxy_server_conf,
    url: *mut *mut c_char,
) -> c_int {
    guard(FAILED, || {
        faults::point("pre_request");
        // SAFETY: mod_proxy's arguments: a live request, a URL as C string, places for worker and
        // balancer.
        unsafe {
            if !is_ours(*url) {
                return DECLINED;
            }
            let Some(request) = Request::from_ptr(r) else { return DECLINED };
            match entry::stand_in(request) {
                Ok(stand_in) => {
                    *worker = stand_in.as_ptr();
                    *balancer = std::ptr::null_mut();
                    OK
                }
                Err(status) => status.code(),
            }
        }
    })
}

/// Canonical form of `lb://pool/path`.
pub(super) unsafe extern "C" fn canon_handler(r: *mut ffi::request_rec, url: *mut c_char) -> c_int {
    guard(FAILED, || {
        faults::point("canon_handler");
        // SAFETY: mod_proxy's arguments: a live request, a URL as C string in its pool.
        unsafe {
            if !is_ours(url) {
                return DECLINED;
            }
            Request::from_ptr(r)
                .map_or(DECLINED, |request| canon::canonicalise(request, Text::from_ptr(url)).code())
        }
    })
}

/// The loop over attempts.
pub(super) unsafe extern "C" fn scheme_handler(
    r: *mut ffi::request_rec,
    _: *mut ffi::proxy_worker,
    conf: *mut ffi::proxy_server_conf,
    url: *mut c_char,
    proxy_name: *const c_char,
    proxy_port: ffi::apr_port_t,
) -> c_int {
    guard(FAILED, || {
        faults::point("scheme_handler");
        // SAFETY: mod_proxy's arguments: a live request, a URL as C string, its own configuration.
        unsafe {
            if !is_ours(url) {
                return DECLINED;
            }
            let Some(request) = Request::from_ptr(r) else { return DECLINED };
            let proxy = Proxy { conf, name: proxy_name, port: proxy_port };
            relay::run::run(request, &proxy).code()
        }
    })
}

/// # Safety
/// `url` is NULL or a C string.
unsafe fn is_ours(url: *const c_char) -> bool {
    // SAFETY: the caller's promise.
    !url.is_null() && unsafe { libc::strncasecmp(url, c"lb://".as_ptr(), 5) } == 0
}
