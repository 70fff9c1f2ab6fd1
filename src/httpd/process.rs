// SPDX-License-Identifier: Apache-2.0
//! Processes of the module's own: made by fork, ended by number, talked to over socket pairs.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::memory;
use crate::guard::guard;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// Says that a process has one thread: a fork is safe for any work in it.
#[derive(Debug, Clone, Copy)]
pub struct OneThread {
    pid: i32,
}

impl OneThread {
    /// # Safety
    /// This process has one thread whenever the value, or a copy of it, is used.
    pub unsafe fn assume() -> Self {
        OneThread { pid: memory::pid() }
    }

    /// Whether this is the process that it speaks of, and none that was forked since.
    pub fn is_here(self) -> bool {
        self.pid == memory::pid()
    }
}

/// Makes a process that runs `body` and ends. The parent's functions at exit do not run in it.
///
/// # Errors
/// The system gives no process, or `alone` speaks of another one than this.
pub fn fork(alone: OneThread, body: impl FnOnce(OneThread)) -> io::Result<i32> {
    if !alone.is_here() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // SAFETY: this process has one thread. The new process never returns from here.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: what a fork makes has one thread; `body` starts none while it uses this.
            let alone = unsafe { OneThread::assume() };
            guard((), || body(alone));
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(0) }
        }
        pid => Ok(pid),
    }
}

/// Two ends of a connection between processes; neither is kept over exec. `records`: what is sent
/// in one piece is received in one.
pub fn socket_pair(records: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = if records { libc::SOCK_SEQPACKET } else { libc::SOCK_STREAM };
    let mut ends = [-1; 2];
    // SAFETY: writes two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: two new descriptors that nobody else has.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Room for the control message that carries one descriptor.
#[repr(C, align(8))]
struct Control([u8; 64]);

/// A message header over these places. They have to outlive its use.
fn header(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: a plain structure, for which zeros mean nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: arithmetic.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
    message
}

/// Sends a few bytes and a descriptor in one piece, without waiting.
pub fn send(to: RawFd, bytes: &[u8], passed: &OwnedFd) -> io::Result<()> {
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let message = header(&mut part, &mut control);
    // SAFETY: the header's places are of this frame and large enough for one descriptor.
    let sent = unsafe {
        let first = libc::CMSG_FIRSTHDR(&message);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        libc::CMSG_DATA(first).cast::<RawFd>().write_unaligned(passed.as_raw_fd());
        libc::sendmsg(to, &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The finding of [`receive`].
pub enum Received {
    /// Nothing now.
    Nothing,
    /// All other ends are closed.
    End,
    /// A message; without its descriptor, if there was none.
    Message(Vec<u8>, Option<OwnedFd>),
}

/// Receives what [`send`] sent, without waiting.
pub fn receive(from: RawFd) -> Received {
    let mut bytes = [0_u8; 64];
    let mut control = Control([0; 64]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut message = header(&mut part, &mut control);
    // SAFETY: the header's places are of this frame, and the lengths are theirs.
    let count = unsafe { libc::recvmsg(from, &mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) };
    let Ok(count) = usize::try_from(count) else { return Received::Nothing };
    // SAFETY: the system has filled the header in; a descriptor in it is this process's own.
    let passed = unsafe {
        let first = libc::CMSG_FIRSTHDR(&message);
        let is_one = !first.is_null()
            && (*first).cmsg_level == libc::SOL_SOCKET
            && (*first).cmsg_type == libc::SCM_RIGHTS;
        is_one.then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(first).cast::<RawFd>().read_unaligned()))
    };
    if count == 0 && passed.is_none() {
        Received::End
    } else {
        Received::Message(bytes[..count].to_vec(), passed)
    }
}

/// Reads what is there, without waiting. Ok(0): the other ends are closed. WouldBlock: nothing yet.
pub fn read(from: RawFd, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: writes at most the slice's length.
    let count = unsafe { libc::recv(from, into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes all, waiting for room.
pub fn write_all(to: RawFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: reads the slice.
        let count = unsafe { libc::send(to, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        match usize::try_from(count) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Closes a descriptor that nothing uses any more.
pub fn close(descriptor: RawFd) {
    // SAFETY: the callers own it.
    unsafe { libc::close(descriptor) };
}

/// Writes as much as there is room for, without waiting.
pub fn write_some(to: RawFd, bytes: &[u8]) {
    // SAFETY: reads the slice.
    unsafe { libc::send(to, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
}

/// Waits until one of the descriptors can be read or `time` is over.
pub fn wait_for(descriptors: &[RawFd], time: Duration) {
    let mut all: Vec<libc::pollfd> =
        descriptors.iter().map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 }).collect();
    let time = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: a list of this frame.
    unsafe { libc::poll(all.as_mut_ptr(), all.len() as libc::nfds_t, time) };
}

/// Asks whether a child of this process has ended, and takes its status. Err: there is none of that
/// number.
pub fn ended(pid: i32) -> io::Result<Option<ExitStatus>> {
    let mut status = 0;
    // SAFETY: writes one status.
    match unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Some(read_status(status))),
    }
}

/// Whether a child of this process was stopped by a signal, and has not gone on.
pub fn is_stopped(pid: i32) -> bool {
    let Ok(id) = libc::id_t::try_from(pid) else { return false };
    // SAFETY: writes one structure of this frame, in which 0 stands for nobody.
    unsafe {
        let mut found: libc::siginfo_t = std::mem::zeroed();
        let asked = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, id, &mut found, asked) == 0 && found.si_pid() == pid
    }
}

/// Any child of this process that has ended. Its number stays its own until [`ended`] takes its
/// status.
pub fn any_ended() -> Option<i32> {
    // SAFETY: writes one structure of this frame, in which 0 stands for nobody.
    let pid = unsafe {
        let mut found: libc::siginfo_t = std::mem::zeroed();
        let asked = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        match libc::waitid(libc::P_ALL, 0, &mut found, asked) {
            0 => found.si_pid(),
            _ => 0,
        }
    };
    (pid > 0).then_some(pid)
}

fn read_status(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status))
    } else {
        ExitStatus::Exit(libc::WEXITSTATUS(status))
    }
}

/// Kills a process of this module's own.
pub fn kill(pid: i32) {
    if pid > 1 {
        // SAFETY: a plain system call.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Kills a process that leads a session, and all of its group.
pub fn kill_group(pid: i32) {
    if pid > 1 {
        // SAFETY: plain system calls.
        unsafe {
            libc::kill(-pid, libc::SIGKILL);
            libc::kill(pid, libc::SIGKILL);
        }
    }
}

/// Asks a process that [`super::confine::serve`] has set up to end.
pub fn ask_to_end(pid: i32) {
    if pid > 1 {
        // SAFETY: a plain system call.
        unsafe { libc::kill(pid, super::confine::END) };
    }
}
