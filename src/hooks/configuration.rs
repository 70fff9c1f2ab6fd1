// SPDX-License-Identifier: Apache-2.0
//! Hooks of the configuration phase.

use super::status::{FAILED, OK};
use super::with_proxy;
use crate::directives;
use crate::faults;
use crate::ffi::{apr_pool_t, server_rec};
use crate::guard::guard;
use crate::httpd::log;
use crate::httpd::pool::MemoryPool;
use crate::httpd::process::OneThread;
use crate::route::canon;
use crate::start::{self, Refused};

pub(super) unsafe extern "C" fn pre_config(
    pconf: *mut apr_pool_t,
    _: *mut apr_pool_t,
    _: *mut apr_pool_t,
) -> i32 {
    guard(FAILED, || {
        faults::point("pre_config");
        log::set_server(std::ptr::null_mut());
        canon::watch_targets(start::has_open_targets());
        // SAFETY: httpd's configuration pool.
        status(unsafe { pool(pconf) }.and_then(|pool| start::pre_config(pool, with_proxy::register)))
    })
}

pub(super) unsafe extern "C" fn check_config(
    pconf: *mut apr_pool_t,
    _: *mut apr_pool_t,
    _: *mut apr_pool_t,
    _: *mut server_rec,
) -> i32 {
    guard(FAILED, || {
        faults::point("check_config");
        // SAFETY: httpd's configuration pool. Its parent has one thread.
        let (pool, alone) = unsafe { (pool(pconf), OneThread::assume()) };
        status(pool.and_then(|pool| start::check_config(pool, alone)))
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
        log::set_server(server);
        // SAFETY: httpd's configuration pool and main server, whose directives have been read. Its
        // parent has one thread.
        let (pool, main, alone) =
            unsafe { (pool(pconf), directives::server_config(server), OneThread::assume()) };
        status(main.ok_or(Refused).and_then(|main| start::post_config(pool?, alone, main.section)))
    })
}

/// # Safety
/// `pconf` is httpd's configuration pool.
unsafe fn pool(pconf: *mut apr_pool_t) -> Result<MemoryPool<'static>, Refused> {
    // SAFETY: the caller's promise; what is kept there is gone with the configuration, which
    // 'static stands for.
    unsafe { MemoryPool::from_ptr(pconf) }.ok_or(Refused)
}

fn status(result: Result<(), Refused>) -> i32 {
    if result.is_ok() { OK } else { FAILED }
}
