// SPDX-License-Identifier: Apache-2.0
//! One line to the error log, at the module's own LogLevel. Text is never a format. The module's
//! own lines are messages of the catalogue, with its ids.

use std::ffi::CString;
use std::sync::atomic::{AtomicPtr, Ordering};

use messages::Message;

use super::pool::MemoryPool;
use super::request::Request;
use crate::ffi;

/// A level of httpd's LogLevel (`APLOG_*`).
pub type Level = u8;
/// Errors.
const ERR: Level = 3;
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

/// A message that belongs to no request.
pub fn server(message: &Message, text: &str) {
    if message.level() <= ERR && sink().is_none() {
        tell_watcher(text);
    }
    write(message.level(), &message.line(text));
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

/// A message about a request.
pub fn request(request: Request<'_>, message: &Message, text: &str) {
    of_request(request, message.level(), &message.line(text));
}

/// A script's own line, which has no id: of its request, if there is one.
pub fn of_script(request: Option<Request<'_>>, level: Level, text: &str) {
    match request {
        Some(request) => of_request(request, level, text),
        None => {
            if level <= ERR && sink().is_none() {
                tell_watcher(text);
            }
            write(level, text);
        }
    }
}

fn of_request(request: Request<'_>, level: Level, text: &str) {
    let line = line(text);
    // SAFETY: the request is alive for the call, the shim copies the text.
    unsafe { ffi::lb_log_request(i32::from(level), request.as_ptr(), line.as_ptr()) }
}

/// Whether a request's line of that level would be written.
pub fn logs_request(request: Request<'_>, level: Level) -> bool {
    // SAFETY: the request is alive for the call.
    unsafe { ffi::lb_logs_request(request.as_ptr(), i32::from(level)) != 0 }
}

/// A message while httpd reads its configuration; it also goes to the terminal.
pub fn startup(pool: MemoryPool<'_>, message: &Message, text: &str) {
    let line = line(&message.line(text));
    // SAFETY: a live pool; the shim copies the text.
    unsafe { ffi::lb_log_startup(i32::from(message.level()), pool.as_ptr(), line.as_ptr()) }
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
