// SPDX-License-Identifier: Apache-2.0
//! A child's hold on the thread that answers at the sockets of the control plane
//! (`control::thread`): how it is told to end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use listen::Ender;

use crate::httpd::memory;

/// How long the end of a child may wait for answers that have begun.
const PATIENCE: Duration = Duration::from_millis(1200);
/// How long an answer of others may be waited for once the child ends: less than it waits itself.
const GRACE_MS: u64 = 400;

/// See the module.
pub struct Answering {
    ender: Ender,
    done: AtomicBool,
    /// When the child was told to end, by the table's clock; 0: not yet.
    ended_ms: AtomicU64,
}

impl Answering {
    /// Without a thread.
    pub fn new() -> Self {
        Answering { ender: Ender::default(), done: AtomicBool::new(true), ended_ms: AtomicU64::new(0) }
    }

    /// There is to be a thread, which is told to end by this.
    pub fn begins(&self) -> Ender {
        self.done.store(false, Ordering::Release);
        self.ender.clone()
    }

    /// There is none any more.
    pub fn has_ended(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// The child is told to end once it has answered what it is at.
    pub fn leave(&self) {
        self.ender.leave();
    }

    /// Whether it was told so, and takes connections still.
    pub fn is_leaving(&self) -> bool {
        self.ender.is_leaving() && !self.ender.is_closed()
    }

    /// Others take connections from now on, or nobody does.
    pub fn close(&self) {
        self.ender.close();
    }

    /// Whether no connections are taken any more.
    pub fn is_closed(&self) -> bool {
        self.ender.is_closed()
    }

    /// The child ends. As all of these it may be called inside of a signal handler.
    pub fn end(&self) {
        self.ended_ms.store(memory::monotonic_ms().max(1), Ordering::Release);
        self.ender.end();
    }

    /// Whether what is answered now is to be answered with what is known: the child is about to be
    /// gone.
    pub fn is_pressed(&self) -> bool {
        let ended_ms = self.ended_ms.load(Ordering::Acquire);
        ended_ms != 0 && memory::monotonic_ms() >= ended_ms + GRACE_MS
    }

    /// Waits, for a bounded time, for what has begun.
    pub fn wait(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.done.load(Ordering::Acquire) && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
