// SPDX-License-Identifier: Apache-2.0
//! How the threads that look are told something.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io;
use tokio::sync::watch;

/// A handle for those who tell; clones tell the same threads.
#[derive(Clone)]
pub struct Bell(Arc<Inner>);

struct Inner {
    fd: OwnedFd,
    refresh: AtomicBool,
    ended: AtomicBool,
    wishes: watch::Sender<Wish>,
}

/// The wishes so far.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    refreshes: u64,
    ended: bool,
}

impl Bell {
    /// A new one.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn new() -> std::io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (refresh, ended) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Bell(Arc::new(Inner { fd, refresh, ended, wishes: watch::Sender::default() })))
    }

    /// Has all sources looked at now.
    pub fn refresh(&self) {
        self.0.refresh.store(true, Ordering::Release);
        self.0.wishes.send_modify(|wish| wish.refreshes += 1);
        self.ring();
    }

    /// Ends the threads.
    pub fn end(&self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.wishes.send_modify(|wish| wish.ended = true);
        self.ring();
    }

    fn ring(&self) {
        // It fails when it has been rung more often than it can count: then it rings.
        let _ = io::write(&self.0.fd, &1_u64.to_ne_bytes());
    }

    /// The wishes of all who come from now on, for one that waits for them.
    pub(crate) fn wishes(&self) -> Wishes {
        let told = self.0.wishes.subscribe();
        let seen = told.borrow().refreshes;
        Wishes { told, seen }
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

/// The wishes, for one that waits for them.
pub(crate) struct Wishes {
    told: watch::Receiver<Wish>,
    /// Refreshes that were seen to.
    seen: u64,
}

impl Wishes {
    /// Waits until all sources are to be looked at.
    pub(crate) async fn refresh(&mut self) {
        let seen = self.seen;
        match self.told.wait_for(|wish| wish.refreshes > seen).await {
            Ok(wish) => self.seen = wish.refreshes,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for the end.
    pub(crate) async fn end(&mut self) {
        // Without anybody who could say more it is over as well.
        let _ = self.told.wait_for(|wish| wish.ended).await;
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}
