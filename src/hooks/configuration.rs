//! Hooks of the configuration phase.

use super::{FAILED, OK};
use crate::app::startup;
use crate::ffi::{apr_pool_t, server_rec};
use crate::guard::guard;

pub(super) unsafe extern "C" fn pre_config(
    pconf: *mut apr_pool_t,
    _: *mut apr_pool_t,
    _: *mut apr_pool_t,
) -> i32 {
    // SAFETY: httpd's configuration pool.
    guard(FAILED, || status(unsafe { startup::pre_config(pconf) }))
}

pub(super) unsafe extern "C" fn check_config(
    pconf: *mut apr_pool_t,
    _: *mut apr_pool_t,
    _: *mut apr_pool_t,
    server: *mut server_rec,
) -> i32 {
    // SAFETY: httpd's configuration pool and main server.
    guard(FAILED, || status(unsafe { startup::check_config(pconf, server) }))
}

pub(super) unsafe extern "C" fn post_config(
    pconf: *mut apr_pool_t,
    _: *mut apr_pool_t,
    _: *mut apr_pool_t,
    server: *mut server_rec,
) -> i32 {
    // SAFETY: httpd's configuration pool and main server.
    guard(FAILED, || status(unsafe { startup::post_config(pconf, server) }))
}

fn status(result: Result<(), startup::Refused>) -> i32 {
    if result.is_ok() { OK } else { FAILED }
}
