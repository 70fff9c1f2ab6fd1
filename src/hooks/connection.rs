// SPDX-License-Identifier: Apache-2.0
//! The hooks of new connections.

use crate::faults;
use crate::ffi;
use crate::guard::guard;
use crate::httpd::connection;

/// Only looks on: the connection is made by who comes after.
pub(super) unsafe extern "C" fn create(
    _: *mut ffi::apr_pool_t,
    _: *mut ffi::server_rec,
    _: *mut ffi::apr_socket_t,
    _: std::os::raw::c_long,
    _: *mut std::os::raw::c_void,
    _: *mut ffi::apr_bucket_alloc_t,
) -> *mut ffi::conn_rec {
    guard((), || {
        faults::point("create_connection");
        connection::made();
    });
    std::ptr::null_mut()
}

/// mod_proxy has given the connection its name for TLS, and the modules that speak it have not
/// looked yet.
pub(super) unsafe extern "C" fn begins(
    connection: *mut ffi::conn_rec,
    _: *mut std::os::raw::c_void,
) -> std::os::raw::c_int {
    // SAFETY: the connection that httpd calls its hooks for.
    guard((), || unsafe { connection::begins(connection) });
    super::status::DECLINED
}
