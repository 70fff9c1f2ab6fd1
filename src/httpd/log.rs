// SPDX-License-Identifier: Apache-2.0
//! One line to the error log, at the module's own LogLevel. Text is never a format.

use std::borrow::Cow;
use std::ffi::CString;
use std::sync::atomic::{AtomicPtr, Ordering};

use messages::Message;

use super::pool::MemoryPool;
use super::request::Request;
use crate::ffi;

/// A level of httpd's LogLevel (`APLOG_*`).
pub type Level = u8;
/// Critical conditions.
pub const CRIT: Level = 2;
/// Errors.
pub const ERR: Level = 3;
/// Warnings.
pub const WARNING: Level = 4;
/// Normal but significant.
pub const NOTICE: Level = 5;
/// Debugging.
pub const DEBUG: Level = 7;
/// Every decision.
pub const TRACE2: Level = 9;

/// Where lines go in a process that has no log: see [`divert`].
pub type Sink = fn(Level, &str);

static SINK: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// From now on lines without a request go there. For processes that have closed httpd's log.
pub fn divert(sink: Sink) {
    SINK.store(sink as *mut (), Ordering::Release);
}

static WATCHER: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// From now on lines of errors without a request are told there as well.
pub fn watch_errors(watcher: fn(&str)) {
    WATCHER.store(watcher as *mut (), Ordering::Release);
}

fn tell_watcher(text: &str) {
    let watcher = WATCHER.load(Ordering::Acquire);
    if !watcher.is_null() {
        // SAFETY: stored by `watch_errors` from a function of this type.
        let watcher = unsafe { std::mem::transmute::<*mut (), fn(&str)>(watcher) };
        watcher(text);
    }
}

fn sink() -> Option<Sink> {
    let sink = SINK.load(Ordering::Acquire);
    // SAFETY: stored by `divert` from a function of this type.
    (!sink.is_null()).then(|| unsafe { std::mem::transmute::<*mut (), Sink>(sink) })
}

static SERVER: AtomicPtr<ffi::server_rec> = AtomicPtr::new(std::ptr::null_mut());

/// Names the main server, whose log lines without a request go to. Set again in every configuration
/// cycle; NULL: none.
pub fn set_server(server: *mut ffi::server_rec) {
    SERVER.store(server, Ordering::Release);
}

/// The main server, or NULL before post_config.
pub fn main_server() -> *mut ffi::server_rec {
    SERVER.load(Ordering::Acquire)
}

fn line(text: &str) -> CString {
    let clean: Vec<u8> = text.bytes().map(|b| if b == 0 { b' ' } else { b }).collect();
    CString::new(clean).unwrap_or_default()
}

/// The heading of a line: a message, or the bare level of one without an id.
pub trait Heading: Copy {
    /// The level.
    fn level(self) -> Level;
    /// The line with this text.
    fn headed(self, text: &str) -> Cow<'_, str>;
}

impl Heading for &Message {
    fn level(self) -> Level {
        Message::level(self)
    }

    fn headed(self, text: &str) -> Cow<'_, str> {
        self.line(text).into()
    }
}

impl Heading for Level {
    fn level(self) -> Level {
        self
    }

    fn headed(self, text: &str) -> Cow<'_, str> {
        text.into()
    }
}

/// A line that belongs to no request.
pub fn server(heading: impl Heading, text: &str) {
    let (level, line) = (heading.level(), heading.headed(text));
    if level <= ERR && sink().is_none() {
        tell_watcher(text);
    }
    write(level, &line);
}

/// A message at `debug`, of a process that is not the one to tell it.
pub fn server_quietly(message: &Message, text: &str) {
    write(DEBUG, &message.line(text));
}

fn write(level: Level, text: &str) {
    if let Some(sink) = sink() {
        return sink(level, text);
    }
    let line = line(text);
    // SAFETY: the shim copies the text; a NULL server is allowed by ap_log_error and means standard
    // error.
    unsafe { ffi::lb_log_server(i32::from(level), main_server(), line.as_ptr()) }
}

/// Whether a line of that level would be written.
pub fn logs_server(level: Level) -> bool {
    let server = main_server();
    // SAFETY: the pointer, when not NULL, is httpd's main server of this configuration cycle.
    !server.is_null() && unsafe { ffi::lb_logs_server(server, i32::from(level)) } != 0
}

/// A line of a request.
pub fn request(request: Request<'_>, heading: impl Heading, text: &str) {
    let line = line(&heading.headed(text));
    // SAFETY: the request is alive for the call, the shim copies the text.
    unsafe { ffi::lb_log_request(i32::from(heading.level()), request.as_ptr(), line.as_ptr()) }
}

/// Whether a request's line of that level would be written.
pub fn logs_request(request: Request<'_>, level: Level) -> bool {
    // SAFETY: the request is alive for the call.
    unsafe { ffi::lb_logs_request(request.as_ptr(), i32::from(level)) != 0 }
}

/// A line while httpd reads its configuration; it also goes to the terminal.
pub fn startup(pool: MemoryPool<'_>, heading: impl Heading, text: &str) {
    let line = line(&heading.headed(text));
    // SAFETY: a live pool; the shim copies the text.
    unsafe { ffi::lb_log_startup(i32::from(heading.level()), pool.as_ptr(), line.as_ptr()) }
}

/// Makes a panic one line in the error log instead of raw lines on standard error.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info| {
        let what = info
            .payload()
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| info.payload().downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line())).unwrap_or_default();
        server(messages::starting::PANIC, &format!("internal error (panic) at {place}: {what}"));
    }));
}
