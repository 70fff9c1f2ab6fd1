// SPDX-License-Identifier: Apache-2.0
//! A child's hold on its background threads ([`crate::lead::thread`]): how they are told to end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::guard::guard;
use crate::httpd::memory;

/// How long the end of a child may wait for its threads.
const PATIENCE: Duration = Duration::from_millis(200);

/// The handle on the background thread.
pub struct Background {
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Signal {
    stop: AtomicBool,
    done: AtomicBool,
    /// The first states are made.
    prepared: AtomicBool,
    prober: Mutex<Option<probe::Waker>>,
    /// How many threads read databases or write the state file.
    asides: AtomicUsize,
    thread: OnceLock<std::thread::Thread>,
}

impl Background {
    /// A handle without any thread.
    pub fn new() -> Self {
        Background {
            signal: Arc::new(Signal {
                done: AtomicBool::new(true),
                prepared: AtomicBool::new(true),
                ..Signal::default()
            }),
        }
    }

    /// Has a thread of its own read a database; false when there is none to be had. It ends with
    /// the others.
    pub fn walk(&self, job: geo::Inspection) -> bool {
        let signal = self.signal.clone();
        self.aside("lua-balancer-db", move || job(&|| !signal.stop.load(Ordering::Acquire)))
    }

    /// Has a thread of its own do something that may take a while; false when there is none to be
    /// had. The child waits for its end a moment.
    pub fn aside(&self, name: &str, job: impl FnOnce() + Send + 'static) -> bool {
        let signal = self.signal.clone();
        signal.asides.fetch_add(1, Ordering::AcqRel);
        let body = move || {
            guard((), job);
            signal.asides.fetch_sub(1, Ordering::AcqRel);
        };
        let spawned =
            memory::with_signals_blocked(|| std::thread::Builder::new().name(name.to_owned()).spawn(body));
        if spawned.is_err() {
            self.signal.asides.fetch_sub(1, Ordering::AcqRel);
        }
        spawned.is_ok()
    }

    /// The prober that has the thread now, which [`Background::stop`] wakes. None: none has it.
    pub fn lends_to(&self, prober: Option<probe::Waker>) {
        *self.signal.prober.lock() = prober;
    }

    /// The thread that is to be woken.
    pub fn is_thread(&self, thread: &std::thread::Thread) {
        drop(self.signal.thread.set(thread.clone()));
    }

    /// Wakes the thread: an atomic and a system call.
    pub fn wake(&self) {
        if let Some(thread) = self.signal.thread.get() {
            thread.unpark();
        }
    }

    /// Whether the thread is to end.
    pub fn is_stopping(&self) -> bool {
        self.signal.stop.load(Ordering::Acquire)
    }

    /// Notes that the thread runs, or does not.
    pub fn runs(&self, runs: bool) {
        self.signal.done.store(!runs, Ordering::Release);
    }

    /// Notes that the first states are being made, or are not any more.
    pub fn prepares(&self, prepares: bool) {
        self.signal.prepared.store(!prepares, Ordering::Release);
    }

    /// Whether nobody makes first states.
    pub fn is_prepared(&self) -> bool {
        self.signal.prepared.load(Ordering::Acquire)
    }

    /// Ends the threads; false when the one that may lead has not ended in time. Under prefork this
    /// runs inside a signal handler, which may have interrupted anything: flags, and a bounded
    /// wait, but no lock.
    pub fn stop(&self) -> bool {
        let signal = &self.signal;
        signal.stop.store(true, Ordering::Release);
        script::watch::stop();
        if let Some(guard) = signal.prober.try_lock()
            && let Some(waker) = guard.as_ref()
        {
            waker.wake();
        }
        self.wake();
        let until = Instant::now() + PATIENCE;
        let has_ended = || {
            signal.done.load(Ordering::Acquire)
                && self.is_prepared()
                && script::watch::has_stopped()
                && signal.asides.load(Ordering::Acquire) == 0
        };
        while !has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
        signal.done.load(Ordering::Acquire)
    }
}
