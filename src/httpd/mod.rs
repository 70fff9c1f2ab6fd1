// SPDX-License-Identifier: Apache-2.0
//! The wrapped ring: safe, non-owning views of httpd's objects. Nothing above this room and
//! `hooks`, `directives` touches a raw pointer of httpd.
#![allow(unsafe_code)]

pub mod accounts;
pub mod aliases;
pub mod client;
pub mod config;
pub mod confine;
pub mod connection;
pub mod copied;
pub mod cycle;
pub mod described;
pub mod digest;
pub mod exchange;
pub mod filter;
pub mod log;
pub mod memory;
pub mod mpm;
pub mod order;
pub mod own;
mod pcre;
pub mod pool;
pub mod process;
pub mod proxy;
pub mod regex;
pub mod request;
pub mod retained;
pub mod sections;
pub mod served;
pub mod sockets;
pub mod table;
pub mod tended;
pub mod tls;
pub mod worker;

pub use std::ffi::{CStr, CString};
use std::os::raw::c_char;

/// The bytes of a C string; None for NULL.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that lives and stays unchanged for `'a`.
pub unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// The text of a C string, with bytes that are not UTF-8 replaced.
///
/// # Safety
/// As [`bytes`].
pub unsafe fn text(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    String::from_utf8_lossy(unsafe { bytes(text) }.unwrap_or_default()).into_owned()
}
