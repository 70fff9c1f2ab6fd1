//! Connections to backends: whether mod_proxy made one for an attempt, or took one that it kept.

use std::cell::Cell;

thread_local! {
    /// A scheme handler runs in one thread, and httpd makes the connections of an attempt in that thread.
    static MADE: Cell<bool> = const { Cell::new(false) };
}

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
