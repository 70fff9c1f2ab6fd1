// SPDX-License-Identifier: Apache-2.0
//! The parts that all checks of one prober share.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use net::{Lookup, Resolver, TlsConfigs};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use crate::limits::Sockets;
use crate::target::{Observation, ScriptCheck};

/// An observation, with the number of the watch that made it.
pub(crate) type Report = (u64, Observation);

pub(crate) struct Engine {
    pub(crate) resolver: Resolver,
    pub(crate) tls: TlsConfigs,
    /// Checks that may run.
    pub(crate) busy: Semaphore,
    /// Connections that may be kept between checks.
    pub(crate) idle: Arc<Semaphore>,
    pub(crate) script: RefCell<Option<ScriptCheck>>,
    pub(crate) reports: mpsc::UnboundedSender<Report>,
    /// The trouble that kept checks from running, for the owner's log.
    pub(crate) trouble: RefCell<Option<String>>,
    /// Bytes of answers to scripts that are read so far.
    pub(crate) answers: Cell<usize>,
    /// How long the owner kept the thread to itself, in total.
    away: Cell<Duration>,
}

impl Engine {
    pub(crate) fn new(sockets: Sockets, lookup: Lookup, reports: mpsc::UnboundedSender<Report>) -> Rc<Self> {
        Rc::new(Engine {
            resolver: Resolver::new(lookup),
            tls: TlsConfigs::new(),
            busy: Semaphore::new(sockets.busy),
            idle: Arc::new(Semaphore::new(sockets.idle)),
            script: RefCell::default(),
            reports,
            trouble: RefCell::default(),
            answers: Cell::default(),
            away: Cell::default(),
        })
    }

    /// The owner had the thread for itself, so that no answer could be read.
    pub(crate) fn was_away(&self, time: Duration) {
        self.away.set(self.away.get() + time);
    }

    /// Runs `work` for at most `timeout`, not counting time during which the owner had the thread:
    /// the member is not to blame for that. None: timed out.
    pub(crate) async fn within<T>(&self, timeout: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut alarm = pin!(tokio::time::sleep(timeout));
        let mut away = self.away.get();
        poll_fn(|cx| {
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            while alarm.as_mut().poll(cx).is_ready() {
                let more = self.away.get() - away;
                if more.is_zero() {
                    return Poll::Ready(None);
                }
                away += more;
                alarm.as_mut().reset(Instant::now() + more);
            }
            Poll::Pending
        })
        .await
    }
}
