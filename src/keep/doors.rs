// SPDX-License-Identifier: Apache-2.0
//! The sockets of the control plane. The parent binds them, keeps them over restarts, and gives
//! them to its children.
#![allow(unsafe_code)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use config::{Config, Socket, SocketPath};

use crate::httpd::pool::MemoryPool;
use crate::httpd::retained::{Block, Plain};
use crate::httpd::sockets::{self, Found, Identity};
use crate::httpd::{log, memory, mpm, process};

/// Bytes of the longest path, with its end.
const PATH: usize = 108;
/// Bytes of the longest address, with its end.
const ADDRESS: usize = 64;

/// The parent's memory over restarts.
#[repr(C)]
struct Retained {
    /// When this server was started: epoch seconds.
    started_s: u64,
    socket: KeptSocket,
    metrics: KeptListener,
}

// SAFETY: fixed layout of numbers and bytes without drop; zeros stand for "no sockets yet".
unsafe impl Plain for Retained {}

#[repr(C)]
struct KeptSocket {
    is_there: bool,
    descriptor: RawFd,
    identity: Identity,
    mode: u32,
    /// 0: none was given; else its number and one more.
    group: u64,
    /// Zero padded.
    path: [u8; PATH],
}

#[repr(C)]
struct KeptListener {
    is_there: bool,
    descriptor: RawFd,
    /// Zero padded.
    address: [u8; ADDRESS],
}

static RETAINED: Block<Retained> = Block::new("mod_lua_balancer doors", 1);
/// That the socket's file has gone was said.
static IS_LOSS_SAID: AtomicBool = AtomicBool::new(false);

/// The doors that children answer at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Doors {
    owner: i32,
    socket: Option<RawFd>,
    metrics: Option<RawFd>,
    /// When the server was started: epoch seconds.
    pub started_s: u64,
}

/// The sockets as a child has them.
#[derive(Debug, Default)]
pub struct TakenOver {
    /// The Unix socket.
    pub socket: Option<OwnedFd>,
    /// The listener of metrics.
    pub metrics: Option<OwnedFd>,
}

impl Doors {
    /// To be called once in a child: from then on it has the sockets for itself, and can close
    /// them. A parent that is its own child has others of its own.
    pub fn take(&self) -> TakenOver {
        let own = memory::pid() != self.owner;
        let take = |number: RawFd| {
            if own {
                // SAFETY: inherited from the parent; nothing else in this process uses it.
                return Some(unsafe { OwnedFd::from_raw_fd(number) });
            }
            sockets::again(number).ok()
        };
        TakenOver { socket: self.socket.and_then(take), metrics: self.metrics.and_then(take) }
    }

    /// The child ends. One that is its own parent (`httpd -X`) ends without another word.
    pub fn end_with_child(&self) {
        if memory::pid() == self.owner {
            close_all();
        }
    }
}

/// The wishes for a socket.
struct Wanted<'c> {
    path: &'c str,
    mode: u32,
    group: Option<u32>,
    /// Its place in the configuration; empty for the default one.
    place: String,
}

/// Binds what the configuration wants and is not there yet, and closes what it does not want any
/// more. `default`: the default socket's path. At a restart what cannot be had is an error line,
/// and what is there stays.
///
/// # Errors
/// At a start: something that was configured cannot be had.
pub fn open(config: &Config, default: Option<&str>, restarting: bool) -> Result<Doors, String> {
    let opened = RETAINED.with(|kept| {
        if kept.started_s == 0 {
            kept.started_s = memory::epoch_s();
        }
        IS_LOSS_SAID.store(false, Ordering::Relaxed);
        let socket = kept.socket.open(wanted(&config.socket, default), restarting);
        let metrics = kept.metrics.open(config.metrics.listen);
        for error in [socket, metrics].into_iter().filter_map(Result::err) {
            if !restarting {
                return Err(error);
            }
            let text = format!("{error}; what there was stays as it is");
            log::server(messages::control::SOCKET_STAYS, &text);
        }
        Ok(Doors {
            owner: memory::pid(),
            socket: kept.socket.is_there.then_some(kept.socket.descriptor),
            metrics: kept.metrics.is_there.then_some(kept.metrics.descriptor),
            started_s: kept.started_s,
        })
    });
    opened.unwrap_or_else(|| Err("httpd keeps no retained data".into()))
}

fn wanted<'c>(socket: &'c Socket, default: Option<&'c str>) -> Option<Wanted<'c>> {
    let (path, place) = match &socket.path {
        SocketPath::None => return None,
        SocketPath::Default => (default?, String::new()),
        SocketPath::At(path, place) => (path.as_str(), format!(" (LuaBalancerSocket, {place})")),
    };
    Some(Wanted { path, mode: socket.mode, group: socket.group.as_ref().map(|group| group.id), place })
}

impl KeptSocket {
    fn open(&mut self, wanted: Option<Wanted<'_>>, restarting: bool) -> Result<(), String> {
        let Some(wanted) = wanted else {
            self.close();
            return Ok(());
        };
        if self.is_as(&wanted) {
            return Ok(());
        }
        match self.bind(&wanted) {
            Ok(()) => Ok(()),
            Err(error) if wanted.place.is_empty() => {
                // Once: the default one is tried again at each restart.
                if !restarting {
                    log::server(
                        messages::control::NO_DEFAULT_SOCKET,
                        &format!(
                            "no socket for the control plane: {error}; LuaBalancerSocket names another path, or none"
                        ),
                    );
                }
                Ok(())
            }
            Err(error) => Err(format!("no socket for the control plane: {error}{}", wanted.place)),
        }
    }

    fn path(&self) -> &Path {
        Path::new(text(&self.path))
    }

    fn is_as(&self, wanted: &Wanted<'_>) -> bool {
        self.is_there
            && self.path() == Path::new(wanted.path)
            && (self.mode, self.group) == (wanted.mode, group_word(wanted.group))
            && self.loss().is_none()
    }

    /// Why the path does not lead to this socket any more.
    fn loss(&self) -> Option<&'static str> {
        if !self.is_there || sockets::identity(self.path()) == Some(self.identity) {
            return None;
        }
        match self.path().symlink_metadata() {
            Ok(_) => Some("something else is there"),
            Err(error) if error.kind() == ErrorKind::NotFound => Some("it was removed"),
            // Nobody knows.
            Err(_) => None,
        }
    }

    /// Binds the wanted one. The one before goes once it is there.
    fn bind(&mut self, wanted: &Wanted<'_>) -> Result<(), String> {
        let path = Path::new(wanted.path);
        let own = self.is_there && self.path() == path && sockets::identity(path) == Some(self.identity);
        let made = if own { beside(path, wanted) } else { in_place(path, wanted) };
        let descriptor = made.map_err(|error| error.replace("{path}", wanted.path))?;
        let identity = sockets::identity(path).ok_or_else(|| format!("{} has gone", wanted.path))?;
        if own {
            // The file is the new one's by now.
            process::close(self.descriptor);
        } else {
            self.close();
        }
        *self = KeptSocket {
            is_there: true,
            descriptor: descriptor.into_raw_fd(),
            identity,
            mode: wanted.mode,
            group: group_word(wanted.group),
            path: padded(wanted.path),
        };
        Ok(())
    }

    /// The file goes if it is this socket's.
    fn close(&mut self) {
        if self.is_there {
            sockets::remove(self.path(), self.identity);
            process::close(self.descriptor);
            self.is_there = false;
        }
    }
}

/// Binds a socket where there is none, or one that an ended server has left. The error has
/// `{path}` for the path.
fn in_place(path: &Path, wanted: &Wanted<'_>) -> Result<OwnedFd, String> {
    match sockets::look(path) {
        Ok(Found::Nothing) => {}
        Ok(Found::Leftover) => std::fs::remove_file(path)
            .map_err(|error| format!("{{path}} is left of a server that has ended, and stays: {error}"))?,
        Ok(Found::Answered) => {
            return Err("another server answers at {path}: each needs a path of its own".into());
        }
        Ok(Found::Other) => return Err("there is something else at {path}, which is left alone".into()),
        Err(error) => return Err(format!("{{path}} cannot be looked at: {error}")),
    }
    sockets::at_path(path, wanted.mode, wanted.group)
        .map_err(|error| format!("{{path}} cannot be bound: {error}"))
}

/// Binds a socket in place of this server's own at the same path, so that there is one at any
/// moment.
fn beside(path: &Path, wanted: &Wanted<'_>) -> Result<OwnedFd, String> {
    let mut name = path.as_os_str().to_owned();
    name.push("~");
    if name.len() >= PATH {
        std::fs::remove_file(path).map_err(|error| format!("{{path}} cannot be removed: {error}"))?;
        return in_place(path, wanted);
    }
    let name = Path::new(&name);
    let made = in_place(name, wanted)?;
    match std::fs::rename(name, path) {
        Ok(()) => Ok(made),
        Err(error) => {
            drop(std::fs::remove_file(name));
            Err(format!("{{path}} cannot be replaced: {error}"))
        }
    }
}

impl KeptListener {
    fn open(&mut self, wanted: Option<SocketAddr>) -> Result<(), String> {
        let Some(address) = wanted else {
            self.close();
            return Ok(());
        };
        let name = address.to_string();
        if self.is_there && text(&self.address) == name {
            return Ok(());
        }
        let made = sockets::at_address(address).map_err(|error| {
            format!("no listener for metrics (LuaBalancerMetrics listen={name}): {error}")
        })?;
        self.close();
        *self = KeptListener { is_there: true, descriptor: made.into_raw_fd(), address: padded(&name) };
        Ok(())
    }

    fn close(&mut self) {
        if self.is_there {
            process::close(self.descriptor);
            self.is_there = false;
        }
    }
}

fn group_word(group: Option<u32>) -> u64 {
    group.map_or(0, |group| u64::from(group) + 1)
}

fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut padded = [0; N];
    padded.iter_mut().zip(text.bytes().take(N - 1)).for_each(|(place, byte)| *place = byte);
    padded
}

fn text(padded: &[u8]) -> &str {
    let bytes = padded.split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Closes the sockets and removes the file when the process ends for good.
struct AtEnd {
    owner: i32,
}

/// pre_config: whatever becomes of the configuration that is read, the process's end is cared for.
pub fn close_at_end(pool: MemoryPool<'static>) {
    pool.keep(AtEnd { owner: memory::pid() });
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        if memory::pid() == self.owner && mpm::is_exiting() {
            close_all();
        }
    }
}

/// Closes all when the parent takes no connections any more but waits for its children: nobody is
/// to wait for an answer that does not come.
pub fn close_if_stopping() {
    if mpm::has_closed_its_listeners() {
        close_all();
    }
}

/// Says once that nobody finds the socket by its path any more. Its children hold the descriptors
/// that they were born with, so that another socket is of use to the next ones alone.
pub fn watch() {
    let lost = RETAINED.with(|kept| Some((kept.socket.loss()?, kept.socket.path().display().to_string())));
    let Some((why, path)) = lost.flatten() else {
        IS_LOSS_SAID.store(false, Ordering::Relaxed);
        return;
    };
    if !IS_LOSS_SAID.swap(true, Ordering::Relaxed) {
        let text = format!(
            "the control plane's socket has gone from {path}: {why}; a graceful restart binds it anew"
        );
        log::server(messages::control::SOCKET_GONE, &text);
    }
}

fn close_all() {
    RETAINED.with(|kept| {
        kept.socket.close();
        kept.metrics.close();
    });
}
