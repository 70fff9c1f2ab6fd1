// SPDX-License-Identifier: Apache-2.0
//! Listening sockets that the parent binds and its children inherit. None is kept over exec.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Connections that may wait to be taken.
const WAITING: libc::c_int = 1024;

/// The file that a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Identity {
    device: u64,
    number: u64,
}

/// The file at a path.
pub enum Found {
    /// Nothing.
    Nothing,
    /// A socket that somebody listens at.
    Answered,
    /// A socket that nobody listens at.
    Leftover,
    /// Something else.
    Other,
}

/// Looks what is at a path, without waiting.
///
/// # Errors
/// The system does not tell.
pub fn look(path: &Path) -> io::Result<Found> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => return Ok(Found::Other),
        Ok(_) => {}
    }
    match connect(path) {
        Ok(()) => Ok(Found::Answered),
        Err(error) => match error.raw_os_error() {
            // A full queue is somebody's.
            Some(libc::EAGAIN | libc::EINPROGRESS) => Ok(Found::Answered),
            // Another kind of socket has an owner as well.
            Some(libc::EPROTOTYPE) => Ok(Found::Other),
            Some(libc::ECONNREFUSED) => Ok(Found::Leftover),
            Some(libc::ENOENT) => Ok(Found::Nothing),
            _ => Err(error),
        },
    }
}

fn connect(path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_bytes();
    let too_long = || io::Error::from_raw_os_error(libc::ENAMETOOLONG);
    // SAFETY: a plain structure, for which zeros mean nothing.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if bytes.len() >= address.sun_path.len() {
        return Err(too_long());
    }
    address.sun_path.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte as libc::c_char);
    // SAFETY: plain system calls; the descriptor is closed by its owner, the address is of this
    // frame.
    unsafe {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let socket = libc::socket(libc::AF_UNIX, kind, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        let address = std::ptr::from_ref(&address).cast();
        if libc::connect(socket.as_raw_fd(), address, length) == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// Binds a socket at a path where nothing is, with these rights from its first moment on.
///
/// # Errors
/// The system's; nothing is left at the path then.
pub fn at_path(path: &Path, mode: u32, group: Option<u32>) -> io::Result<OwnedFd> {
    let made = with_mask(!mode & 0o777, || UnixListener::bind(path))?;
    let set = || {
        if let Some(group) = group {
            std::os::unix::fs::lchown(path, None, Some(group))?;
        }
        // A folder's own rules may have given others.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        ready(made.into())
    };
    set().inspect_err(|_| drop(std::fs::remove_file(path)))
}

/// Binds a socket at an address.
///
/// # Errors
/// The system's.
pub fn at_address(address: SocketAddr) -> io::Result<OwnedFd> {
    ready(TcpListener::bind(address)?.into())
}

/// All who inherit it wait for connections together, so that none may wait within `accept`.
fn ready(socket: OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: plain system calls on a socket that listens; both change what all its owners share.
    let done = unsafe {
        let number = socket.as_raw_fd();
        libc::listen(number, WAITING) == 0 && libc::fcntl(number, libc::F_SETFL, libc::O_NONBLOCK) == 0
    };
    if done { Ok(socket) } else { Err(io::Error::last_os_error()) }
}

fn with_mask<T>(mask: u32, body: impl FnOnce() -> T) -> T {
    // SAFETY: plain system calls. The parent, which alone binds, has one thread.
    unsafe {
        let before = libc::umask(mask as libc::mode_t);
        let value = body();
        libc::umask(before);
        value
    }
}

/// The file at a path, if it is a socket.
pub fn identity(path: &Path) -> Option<Identity> {
    let found = std::fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_socket())?;
    Some(Identity { device: found.dev(), number: found.ino() })
}

/// Removes a socket's file if it is this one.
pub fn remove(path: &Path, identity: Identity) {
    if self::identity(path) == Some(identity) {
        drop(std::fs::remove_file(path));
    }
}

/// Another descriptor of a socket.
///
/// # Errors
/// There is none left, or the socket is closed.
pub fn again(socket: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a plain system call; the new descriptor is nobody else's.
    unsafe {
        match libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 3) {
            -1 => Err(io::Error::last_os_error()),
            number => Ok(OwnedFd::from_raw_fd(number)),
        }
    }
}
