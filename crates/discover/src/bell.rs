// SPDX-License-Identifier: Apache-2.0
//! How a thread that waits for files is told something.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io;

/// A handle for those who tell; clones tell the same thread.
#[derive(Clone)]
pub struct Bell(Arc<Inner>);

struct Inner {
    fd: OwnedFd,
    refresh: AtomicBool,
    ended: AtomicBool,
}

impl Bell {
    /// A new one.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn new() -> std::io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell(Arc::new(Inner { fd, refresh: AtomicBool::new(false), ended: AtomicBool::new(false) })))
    }

    /// Has all sources looked at now.
    pub fn refresh(&self) {
        self.0.refresh.store(true, Ordering::Release);
        self.ring();
    }

    /// Ends the thread.
    pub fn end(&self) {
        self.0.ended.store(true, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        // It fails when it has been rung more often than it can count: then it rings.
        let _ = io::write(&self.0.fd, &1_u64.to_ne_bytes());
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    /// Whether somebody wanted all looked at since the last time.
    pub(crate) fn take_refresh(&self) -> bool {
        self.0.refresh.swap(false, Ordering::AcqRel)
    }

    /// Stops ringing.
    pub(crate) fn heard(&self) {
        let _ = io::read(&self.0.fd, &mut [0_u8; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}
