// SPDX-License-Identifier: Apache-2.0
//! Connections to backends: whether mod_proxy made one for an attempt, or took one that it kept;
//! and the name that TLS asks for.

use std::cell::Cell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::raw::c_char;
use std::ptr::null;

use crate::ffi;

thread_local! {
    /// A scheme handler runs in one thread, and httpd makes the connections of an attempt in it.
    static MADE: Cell<bool> = const { Cell::new(false) };
    /// The name for connections made now: NULL, or a text that outlives the [`TlsName`] of it.
    static NAME: Cell<*const c_char> = const { Cell::new(null()) };
}

/// Where mod_proxy leaves a backend's name for the modules that speak TLS: they ask for it, and
/// want it in the certificate.
const TLS_NAME: &CStr = c"proxy-request-hostname";

/// Runs a scheme handler. Returns what it returns, and whether it made a connection.
pub fn watch<T>(handler: impl FnOnce() -> T) -> (T, bool) {
    MADE.set(false);
    let value = handler();
    (value, MADE.get())
}

/// httpd makes a connection.
pub fn made() {
    MADE.set(true);
}

/// Connections with TLS that this thread makes until it is dropped ask for a name that is not the
/// URL's.
pub struct TlsName<'n>(PhantomData<&'n CStr>);

impl<'n> TlsName<'n> {
    /// From here on.
    pub fn new(name: &'n CStr) -> Self {
        NAME.set(name.as_ptr());
        TlsName(PhantomData)
    }
}

impl Drop for TlsName<'_> {
    fn drop(&mut self) {
        NAME.set(null());
    }
}

/// A connection is there, and TLS has not begun on it.
///
/// # Safety
/// `connection` is the connection that httpd calls its pre_connection hooks for.
pub unsafe fn begins(connection: *mut ffi::conn_rec) {
    let name = NAME.get();
    if name.is_null() {
        return;
    }
    // SAFETY: a live connection and its notes, into whose pool both texts are copied. The name is
    // alive as long as there is a `TlsName`.
    unsafe {
        let notes = (*connection).notes;
        if !ffi::apr_table_get(notes, TLS_NAME.as_ptr()).is_null() {
            ffi::apr_table_set(notes, TLS_NAME.as_ptr(), name);
        }
    }
}
