// SPDX-License-Identifier: Apache-2.0
//! A request that the module answers itself.

use std::ffi::CString;

use super::request::Request;
use crate::ffi;

/// Whether the handler of a request is this one.
pub fn is_for(request: Request<'_>, handler: &[u8]) -> bool {
    request.handler() == Some(handler)
}

/// Methods that answers of OPTIONS name, beside those that httpd adds itself.
pub fn allow_changes(request: Request<'_>) {
    let methods = [ffi::M_GET, ffi::M_PUT, ffi::M_POST, ffi::M_DELETE, ffi::M_PATCH];
    let bits = methods.iter().fold(0, |bits, method| bits | 1 << method);
    // SAFETY: alive and handled by this thread alone; its list of methods is NULL or lives as long.
    unsafe {
        if let Some(list) = (*request.as_ptr()).allowed_methods.as_mut() {
            list.method_mask |= bits;
        }
    }
}

/// Sets the type of the answer's body.
pub fn set_content_type(request: Request<'_>, value: &str) {
    let Ok(value) = CString::new(value) else { return };
    let copy = request.pool().copy(value.as_bytes());
    // SAFETY: a live request; the text is in its pool.
    unsafe { ffi::ap_set_content_type(request.as_ptr(), copy) }
}

/// ServerName and what ServerAlias says, patterns among it, of the request's virtual host.
pub fn names(request: Request<'_>) -> Vec<String> {
    // SAFETY: a request's server lives as long as the configuration; its names are arrays of C
    // strings, or NULL.
    unsafe {
        let server = &*request.server();
        let mut names = vec![super::text(server.server_hostname)];
        for array in [server.names, server.wild_names] {
            let Some(array) = array.as_ref() else { continue };
            let count = usize::try_from(array.nelts).unwrap_or(0);
            if count > 0 {
                let all = std::slice::from_raw_parts(array.elts.cast::<*const std::os::raw::c_char>(), count);
                names.extend(all.iter().map(|name| super::text(*name)));
            }
        }
        names.retain(|name| !name.is_empty());
        names
    }
}
