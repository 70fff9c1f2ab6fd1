// SPDX-License-Identifier: Apache-2.0
//! A request that no client has sent: made from its description, with the virtual host and the
//! sections that it would have. No hook decides over it, and nothing of it is ever sent.

use std::ffi::CString;
use std::net::IpAddr;

use super::bytes;
use super::request::Request;
use crate::ffi;

/// The parts of a description.
#[derive(Debug, Clone, Copy)]
pub struct DescribedParts<'d> {
    /// The method.
    pub method: &'d str,
    /// The request's target, as in its first line.
    pub uri: &'d str,
    /// Its headers; `Host` is one of them.
    pub headers: &'d [(String, String)],
    /// The client's address.
    pub client: IpAddr,
    /// The port of the server that was asked. 0, or one at which it does not listen: the first one
    /// for the scheme.
    pub port: u16,
    /// It was asked over TLS.
    pub is_secure: bool,
}

/// The request, and the memory that it lives in.
pub struct DescribedRequest {
    memory: *mut ffi::apr_pool_t,
    raw: *mut ffi::request_rec,
    /// The status with which httpd refuses it before any hook; 0: it does not.
    pub refused: u16,
}

impl DescribedRequest {
    /// Makes one, in memory of its own. None: a text has a NUL, or there is no memory.
    pub fn new(parts: &DescribedParts<'_>) -> Option<Self> {
        let client = CString::new(parts.client.to_string()).ok()?;
        let mut memory = std::ptr::null_mut();
        // SAFETY: makes a pool that no other one knows of. The server lives as long as the process.
        let made = unsafe {
            if ffi::apr_pool_create_unmanaged_ex(&raw mut memory, None, std::ptr::null_mut()) != 0 {
                return None;
            }
            let (port, is_secure) = (i32::from(parts.port), i32::from(parts.is_secure));
            let raw = ffi::lb_describe(memory, ffi::ap_server_conf, client.as_ptr(), port, is_secure);
            DescribedRequest { memory, raw, refused: 0 }
        };
        made.filled(parts)
    }

    fn filled(mut self, parts: &DescribedParts<'_>) -> Option<Self> {
        let request = self.request()?;
        let pool = request.pool();
        let has_nul = |text: &str| text.contains('\0');
        if has_nul(parts.method) || has_nul(parts.uri) {
            return None;
        }
        for (name, value) in parts.headers {
            let (name, value) = (CString::new(name.as_str()).ok()?, CString::new(value.as_str()).ok()?);
            request.headers_in().add(&name, &value);
        }
        let line = format!("{} {} HTTP/1.1", parts.method, parts.uri);
        // SAFETY: a request that this thread has made; the texts are copied into its pool.
        unsafe {
            let raw = self.raw;
            (*raw).the_request = pool.copy(line.as_bytes());
            (*raw).method = pool.copy(parts.method.as_bytes());
            (*raw).method_number = ffi::ap_method_number_of((*raw).method);
            (*raw).header_only = i32::from(parts.method == "HEAD");
            (*raw).protocol = pool.copy(b"HTTP/1.1");
            (*raw).proto_num = 1001;
            (*raw).request_time = super::memory::epoch_us();
            ffi::ap_parse_uri(raw, pool.copy(parts.uri.as_bytes()));
        }
        // SAFETY: as above; line and headers are in.
        let refused = unsafe { ffi::lb_place_described(self.raw) };
        self.refused = refused.clamp(0, 999) as u16;
        Some(self)
    }

    /// The request, as long as this value is there. None: httpd has made none.
    pub fn request(&self) -> Option<Request<'_>> {
        // SAFETY: it lives in this value's memory, and this thread alone has it.
        unsafe { Request::from_ptr(self.raw) }
    }
}

impl Drop for DescribedRequest {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and nobody borrows the request any more.
        unsafe { ffi::apr_pool_destroy(self.memory) };
    }
}

impl Request<'_> {
    /// The words of `SetHandler` here.
    pub fn set_handler_here(&self) -> Option<&[u8]> {
        // SAFETY: a live request with its sections; a text of the configuration, or in its pool.
        unsafe { bytes(ffi::lb_set_handler(self.as_ptr())) }
    }

    /// Whether sections with conditions (`<If>`) may hold here.
    pub fn has_conditions(&self) -> bool {
        // SAFETY: a live request with its sections.
        unsafe { ffi::lb_has_conditions(self.as_ptr()) != 0 }
    }
}
