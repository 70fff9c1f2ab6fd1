// SPDX-License-Identifier: Apache-2.0
//! How a server is told to end, from any thread, step by step.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

/// Tells a server to end. That is not taken back.
#[derive(Debug, Clone)]
pub struct Ender(Arc<Signal>);

#[derive(Debug)]
struct Signal {
    step: AtomicU8,
    notify: Notify,
}

/// How far a server is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Step {
    /// It serves.
    Serves,
    /// It serves, and keeps no connection after an answer.
    Leaves,
    /// It takes no new connections either.
    Closed,
    /// It finishes what it is at, and no more.
    Ends,
}

impl Default for Ender {
    fn default() -> Self {
        Ender(Arc::new(Signal { step: AtomicU8::new(Step::Serves as u8), notify: Notify::new() }))
    }
}

impl Ender {
    /// From now on connections end with their next answer.
    pub fn leave(&self) {
        self.go(Step::Leaves);
    }

    /// Beside that, no connection is taken any more: the sockets are closed.
    pub fn close(&self) {
        self.go(Step::Closed);
    }

    /// Beside that, [`crate::DoorKeeper::run`] returns when what has begun is answered, or a moment
    /// later. As `leave` and `close` it allocates nothing and waits for nobody.
    pub fn end(&self) {
        self.go(Step::Ends);
    }

    /// Whether connections are to end with their next answer.
    pub fn is_leaving(&self) -> bool {
        self.has_come_to(Step::Leaves)
    }

    /// Whether the sockets are to be closed.
    pub fn is_closed(&self) -> bool {
        self.has_come_to(Step::Closed)
    }

    pub(crate) fn has_come_to(&self, step: Step) -> bool {
        self.0.step.load(Ordering::Acquire) >= step as u8
    }

    fn go(&self, step: Step) {
        if self.0.step.fetch_max(step as u8, Ordering::AcqRel) < step as u8 {
            self.0.notify.notify_one();
        }
    }

    /// Waits for a step. For one waiter at a time.
    pub(crate) async fn wait_for(&self, step: Step) {
        while !self.has_come_to(step) {
            self.0.notify.notified().await;
        }
    }
}
