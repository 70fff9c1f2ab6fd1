//! Hooks of the configuration phase.

use super::{FAILED, OK};
use crate::app::startup;
use crate::faults;
use crate::ffi::{apr_pool_t, server_rec};
use crate::guard::guard;

pub(super) unsafe extern "C" fn pre_config(
    pconf: *mut apr_pool_t,
    _: *mut apr_pool_t,
    _: *mut apr_pool_t,
) -> i32 {
    guard(FAILED, || {
        faults::point("pre_config");
        // SAFETY: httpd's configuration pool.
        status(unsafe { startup::pre_config(pconf) })
    })
}

pub(super) unsafe extern "C" fn check_config(
    pconf: *mut apr_pool_t,
    _: *mut apr_pool_t,
    _: *mut apr_pool_t,
    server: *mut server_rec,
) -> i32 {
    guard(FAILED, || {
        faults::point("check_config");
        // SAFETY: httpd's configuration pool and main server.
        status(unsafe { startup::check_config(pconf, server) })
    })
}

pub(super) unsafe extern "C" fn post_config(
    pconf: *mut apr_pool_t,
    _: *mut apr_pool_t,
    _: *mut apr_pool_t,
    server: *mut server_rec,
) -> i32 {
    guard(FAILED, || {
        faults::point("post_config");
        // SAFETY: httpd's configuration pool and main server.
        status(unsafe { startup::post_config(pconf, server) })
    })
}

fn status(result: Result<(), startup::Refused>) -> i32 {
    if result.is_ok() { OK } else { FAILED }
}
