//! Connections to backends: whether mod_proxy made one for an attempt, or took one that it kept; and the name that TLS asks for.

use std::cell::Cell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::null;

use super::pool::Text;
use super::table::Table;
use crate::ffi;

thread_local! {
    /// A scheme handler runs in one thread, and httpd makes the connections of an attempt in that thread.
    static MADE: Cell<bool> = const { Cell::new(false) };
    /// The name for connections made now: NULL, or a text that outlives the [`Named`] that put it here.
    static NAME: Cell<*const std::os::raw::c_char> = const { Cell::new(null()) };
}

/// Where mod_proxy leaves the name of a backend for the modules that speak TLS: it is asked for, and has to be in the certificate.
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

/// Connections with TLS that this thread makes until it is dropped ask for a name that is not the URL's.
pub struct Named<'r>(PhantomData<Text<'r>>);

impl<'r> Named<'r> {
    /// From here on.
    pub fn new(name: Text<'r>) -> Self {
        NAME.set(name.as_ptr());
        Named(PhantomData)
    }
}

impl Drop for Named<'_> {
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
    // SAFETY: a live connection and its notes. The name is alive as long as there is a `Named`.
    let (notes, name) = unsafe { (Table::from_ptr((*connection).notes), CStr::from_ptr(name)) };
    if notes.get(TLS_NAME).is_some() {
        notes.set(TLS_NAME, name);
    }
}
