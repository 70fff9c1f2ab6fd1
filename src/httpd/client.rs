// SPDX-License-Identifier: Apache-2.0
//! The client of a request that waits: whether it is still there. Nothing is read from it.

use std::os::raw::c_int;

use crate::ffi;
use crate::httpd::request::Request;

/// The state of a client, as far as it is known without a byte from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// As far as anybody can tell.
    There,
    /// It sends no more. It may have closed the connection, or wait for its answer still: the
    /// packet is the same. See [`nudge`].
    SendsNoMore,
    /// Its connection is closed, by a reset or by httpd.
    Gone,
}

/// HTTP/1.1, the first version whose clients know interim answers.
const HTTP_1_1: c_int = 1001;

/// Looks at the client's connection.
pub fn look(request: Request<'_>) -> Presence {
    // SAFETY: a request's connection lives longer than it. HTTP/2 sets `aborted` from the
    // connection's own thread.
    let (aborted, is_stream) = unsafe {
        let connection = (*request.as_ptr()).connection;
        ((&raw const (*connection).aborted).read_volatile() != 0, !(*connection).master.is_null())
    };
    if aborted {
        return Presence::Gone;
    }
    // A stream has no socket of its own, and the one of its connection is another thread's.
    if is_stream { Presence::There } else { socket(request).map_or(Presence::There, look_at) }
}

/// -1 once the MPM has closed it, as it does when the child is told to end at once.
fn socket(request: Request<'_>) -> Option<c_int> {
    let mut fd: c_int = -1;
    // SAFETY: the connection is the request's; its socket lives as long, closed or not. Writes one
    // int.
    unsafe {
        let socket = ffi::ap_get_conn_socket((*request.as_ptr()).connection);
        let known = !socket.is_null() && ffi::apr_os_sock_get(&mut fd, socket) == ffi::APR_SUCCESS as i32;
        known.then_some(fd)
    }
}

#[cfg(target_os = "linux")]
fn look_at(fd: c_int) -> Presence {
    if fd < 0 {
        return Presence::Gone;
    }
    let mut asked = libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry, and no time. Should the MPM have closed the socket just now, this looks at
    // another one: no harm.
    let found = unsafe { libc::poll(&mut asked, 1, 0) };
    match asked.revents {
        _ if found <= 0 => Presence::There,
        events if events & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 => Presence::Gone,
        _ => Presence::SendsNoMore,
    }
}

/// Elsewhere the flags of poll mean other things.
#[cfg(not(target_os = "linux"))]
fn look_at(fd: c_int) -> Presence {
    if fd < 0 { Presence::Gone } else { Presence::There }
}

/// Tells a client that sends no more that its request waits (102). A closed connection answers that
/// with a reset, which [`look`] sees then; to who reads it says nothing. False where it cannot be
/// told: before HTTP/1.1, inside of another request, or while something for the client is on its
/// way.
pub fn nudge(request: Request<'_>) -> bool {
    let r = request.as_ptr();
    // SAFETY: a live request of this thread, and its connection.
    let (is_behind, version) = unsafe { ((*(*r).connection).data_in_output_filters != 0, (*r).proto_num) };
    let is_old = version < HTTP_1_1 || request.env().get(c"force-response-1.0").is_some();
    if is_behind || is_old || request.is_subrequest() || !has_room(request) {
        return false;
    }
    // SAFETY: as above; nothing of the answer was sent.
    unsafe {
        let (status, line) = ((*r).status, (*r).status_line);
        ((*r).status, (*r).status_line) = (ffi::HTTP_PROCESSING as c_int, std::ptr::null());
        ffi::ap_send_interim_response(r, 0);
        ((*r).status, (*r).status_line) = (status, line);
    }
    true
}

/// Whether a few bytes can be written without waiting.
fn has_room(request: Request<'_>) -> bool {
    let Some(fd) = socket(request).filter(|fd| *fd >= 0) else { return false };
    let mut asked = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, and no time.
    let found = unsafe { libc::poll(&mut asked, 1, 0) };
    found > 0 && asked.revents & libc::POLLOUT != 0
}
