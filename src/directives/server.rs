// SPDX-License-Identifier: Apache-2.0
//! The record that httpd keeps of this module for a server.

use crate::ffi;
use crate::serve::own_config::ServerConfig;

/// This module's configuration of a server.
///
/// # Safety
/// `server` is a live server, in the configuration phase or only read, and nobody else has its
/// configuration meanwhile.
pub unsafe fn server_config<'s>(server: *mut ffi::server_rec) -> Option<&'s mut ServerConfig> {
    // SAFETY: the caller's promise; the pointer was made by `create_server_config`.
    unsafe {
        ffi::lb_module_config((*server).module_config, ffi::own_module()).cast::<ServerConfig>().as_mut()
    }
}
