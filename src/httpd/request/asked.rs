// SPDX-License-Identifier: Apache-2.0
//! Questions about a request, and orders for it, that are calls of httpd's functions.

use std::ffi::CStr;
use std::os::raw::c_int;

use super::Request;
use crate::ffi;
use crate::httpd::config::Expression;
use crate::httpd::pool::Text;

impl<'r> Request<'r> {
    /// Has httpd answer with this text, or redirect to this URL, instead of its own page for a
    /// status.
    pub fn custom_response(self, status: u16, text: &[u8]) {
        // SAFETY: a live request; httpd keeps the text's address, which is in the request's pool.
        unsafe { ffi::ap_custom_response(self.as_ptr(), c_int::from(status), self.pool().copy(text)) }
    }

    /// Sends text to the client.
    pub fn write(self, text: &[u8]) {
        for part in text.chunks(1 << 20) {
            // SAFETY: a live request; `part` holds as many bytes as are named.
            if unsafe { ffi::ap_rwrite(part.as_ptr().cast(), part.len() as c_int, self.as_ptr()) } < 0 {
                break;
            }
        }
    }

    /// Document root of the request.
    pub fn document_root(self) -> Option<&'r [u8]> {
        // SAFETY: returns a string of the configuration or the request.
        unsafe { super::super::bytes(ffi::ap_document_root(self.as_ptr())) }
    }

    /// Context document root.
    pub fn context_document_root(self) -> Option<&'r [u8]> {
        // SAFETY: as `document_root`.
        unsafe { super::super::bytes(ffi::ap_context_document_root(self.as_ptr())) }
    }

    /// Context prefix.
    pub fn context_prefix(self) -> Option<&'r [u8]> {
        // SAFETY: as `document_root`.
        unsafe { super::super::bytes(ffi::ap_context_prefix(self.as_ptr())) }
    }

    /// Name of the server, by UseCanonicalName.
    pub fn server_name(self) -> Option<&'r [u8]> {
        // SAFETY: as `document_root`.
        unsafe { super::super::bytes(ffi::ap_get_server_name(self.as_ptr())) }
    }

    /// The server's name and, when it is not the scheme's, port: as httpd writes them into URLs
    /// that name itself.
    pub fn own_authority(self) -> Vec<u8> {
        // SAFETY: as `document_root`.
        let name = unsafe { super::super::bytes(ffi::ap_get_server_name_for_url(self.as_ptr())) }
            .unwrap_or_default();
        let port = self.server_port();
        // SAFETY: a live request.
        if u32::from(port) == unsafe { ffi::lb_default_port(self.as_ptr()) } {
            name.to_vec()
        } else {
            [name, b":", port.to_string().as_bytes()].concat()
        }
    }

    /// Port of the server, by UseCanonicalName.
    pub fn server_port(self) -> u16 {
        // SAFETY: a live request.
        unsafe { ffi::ap_get_server_port(self.as_ptr()) as u16 }
    }

    /// Port of the client.
    pub fn client_port(self) -> u16 {
        // SAFETY: a live request.
        unsafe { ffi::lb_client_port(self.as_ptr()) as u16 }
    }

    /// `http` or `https`.
    pub fn scheme(self) -> &'r [u8] {
        // SAFETY: returns a static or pool string.
        unsafe { super::super::bytes(ffi::lb_http_scheme(self.as_ptr())) }.unwrap_or(b"http")
    }

    /// Type of authentication of this place.
    pub fn auth_type(self) -> Option<&'r [u8]> {
        // SAFETY: as `document_root`.
        unsafe { super::super::bytes(ffi::ap_auth_type(self.as_ptr())) }
    }

    /// A full URL for a path of this server.
    pub fn construct_url(self, path: &CStr) -> Option<&'r [u8]> {
        // SAFETY: httpd copies the path into the request's pool.
        unsafe {
            super::super::bytes(ffi::ap_construct_url(self.pool().as_ptr(), path.as_ptr(), self.as_ptr()))
        }
    }

    /// A variable of mod_ssl; None when unset or without mod_ssl.
    pub fn ssl_var(self, name: &CStr) -> Option<&'r [u8]> {
        // SAFETY: the shim copies the name into the request's pool.
        unsafe { super::super::bytes(ffi::lb_ssl_var(self.as_ptr(), name.as_ptr())) }
    }

    /// Whether AllowEncodedSlashes NoDecode leaves encoded slashes in the path.
    pub fn keeps_encoded_slashes(self) -> bool {
        // SAFETY: a live request.
        unsafe { ffi::lb_encoded_slashes_kept(self.as_ptr()) != 0 }
    }

    /// Evaluates a condition in httpd's expression language; restricted: without what reads files.
    pub fn condition(self, text: &CStr, restricted: bool) -> Result<bool, String> {
        let mut error = std::ptr::null();
        // SAFETY: a live request; the shim writes a pool string or NULL to `error`.
        let answer = unsafe {
            ffi::lb_eval_condition(self.as_ptr(), text.as_ptr(), c_int::from(restricted), &mut error)
        };
        // SAFETY: as above.
        if answer < 0 { Err(unsafe { super::super::text(error) }) } else { Ok(answer != 0) }
    }

    /// Evaluates a text with `%{NAME}` in it.
    pub fn word(self, text: &CStr, restricted: bool) -> Result<Vec<u8>, String> {
        let mut error = std::ptr::null();
        // SAFETY: a live request. The shim gives a text of malloc's, which this function frees, or
        // NULL and a pool string in `error`.
        unsafe {
            let value = ffi::lb_eval_word(self.as_ptr(), text.as_ptr(), c_int::from(restricted), &mut error);
            if value.is_null() {
                return Err(super::super::text(error));
            }
            let copy = CStr::from_ptr(value).to_bytes().to_vec();
            libc::free(value.cast());
            Ok(copy)
        }
    }

    /// Evaluates a parsed string expression.
    pub fn string_expression(self, expr: Expression) -> Result<&'r [u8], String> {
        let mut error = std::ptr::null();
        // SAFETY: the expression lives in the configuration's pool, as long as any request of this
        // configuration.
        let value = unsafe { ffi::lb_eval_string_expr(self.as_ptr(), expr.0, &mut error) };
        if !error.is_null() {
            // SAFETY: a pool string.
            return Err(unsafe { super::super::text(error) });
        }
        // SAFETY: a pool string or NULL.
        Ok(unsafe { super::super::bytes(value) }.unwrap_or_default())
    }

    /// After an internal redirect: what a script has read of the body before is there for this
    /// request, too.
    pub fn carry_body(self) {
        if !self.get().prev.is_null() {
            // SAFETY: a live request, and those before it, which live as long.
            unsafe { ffi::lb_carry_body(self.as_ptr()) }
        }
    }

    /// The body of at most `max` bytes, read now.
    pub fn read_body(self, max: usize) -> Option<&'r [u8]> {
        let mut length = 0;
        // SAFETY: the shim allocates in the request's pool and writes the length.
        let text = unsafe { ffi::lb_read_body(self.as_ptr(), max, &mut length) };
        // SAFETY: `length` bytes at `text`, in the request's pool.
        (!text.is_null()).then(|| unsafe { std::slice::from_raw_parts(text.cast(), length) })
    }

    /// The first byte of `text` that may not stand in a request line, as httpd judges it: control
    /// characters and blanks.
    pub fn has_bad_character(text: Text<'_>) -> bool {
        // SAFETY: a NUL-terminated string.
        unsafe { *ffi::ap_scan_vchar_obstext(text.as_ptr()) != 0 }
    }
}
