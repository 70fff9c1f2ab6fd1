// SPDX-License-Identifier: Apache-2.0
//! A backend whose manners, good and bad, are method calls.
//!
//! Every answer names the backend in `X-Backend` and in the body (`name uri`), and echoes what
//! arrived: `X-Method`, `X-Uri`, `X-Host`, `X-Body-Length`, `X-Body-Hash`
//! ([`body_hash`](crate::message::body_hash)) and `X-Connection` (its number, from 1).

mod meter;
mod serving;
mod shared;

use std::net::{Ipv4Addr, Shutdown};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use socket2::Socket;

pub use self::meter::Measure;
pub use self::shared::{HEALTH_PATH, Recorded};

use self::meter::Meter;
use self::serving::accept_loop;
use self::shared::{Manner, Shared, State, lock};
use crate::play::{Gate, Step};
use crate::ports::ReservedPort;

/// A backend on a loopback port of its own, ended when dropped.
#[derive(Debug)]
pub struct Backend {
    shared: Arc<Shared>,
    reserved: ReservedPort,
    listener: Mutex<Option<Socket>>,
}

impl Backend {
    /// A backend that answers 200.
    pub fn new(name: &str) -> Self {
        Self::at(name, ReservedPort::new())
    }

    /// A backend that answers 200 at the same port of another loopback address.
    pub fn twin(&self, name: &str, ip: Ipv4Addr) -> Self {
        Self::at(name, self.reserved.twin(ip))
    }

    fn at(name: &str, reserved: ReservedPort) -> Self {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
            connections: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            health_checks: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            meter: Mutex::new(Meter::new()),
            gate: Gate::default(),
        });
        let backend = Self { shared, reserved, listener: Mutex::default() };
        backend.listen();
        backend
    }

    /// A backend whose port refuses connections.
    pub fn refusing(name: &str) -> Self {
        let backend = Self::new(name);
        backend.refuse();
        backend
    }

    /// Backends with these names.
    pub fn named<const N: usize>(names: [&str; N]) -> [Self; N] {
        names.map(Self::new)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its port, the same for its whole life.
    pub fn port(&self) -> u16 {
        self.reserved.port()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Answers 200 again; requests that hang are answered now, a closed port opens.
    pub fn answer(&self) {
        self.set(Manner::Answer);
        self.listen();
    }

    /// Closes the port and every open connection: connecting is refused.
    pub fn refuse(&self) {
        if let Some(listener) = lock(&self.listener).take() {
            let _ = listener.shutdown(Shutdown::Both);
        }
        let mut state = self.state();
        state.closed = true;
        for (_, stream) in state.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Reads requests and keeps them without an answer until [`answer`](Self::answer) or another
    /// manner.
    pub fn hang(&self) {
        self.set(Manner::Hang);
    }

    /// Reads the request, then resets the connection without a byte of answer.
    pub fn reset(&self) {
        self.set(Manner::Reset);
    }

    /// Answers the first request of a connection and resets it when the next one arrives: the
    /// keep-alive race.
    pub fn reset_kept_alive(&self) {
        self.set(Manner::ResetKeptAlive);
    }

    /// Accepts connections and closes them at once. Open ones are closed as well.
    pub fn close_after_accept(&self) {
        self.set(Manner::CloseAfterAccept);
        for (_, stream) in self.state().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Answers after this long.
    pub fn slow(&self, delay: Duration) {
        self.set(Manner::Slow(delay));
    }

    /// Answers after as many milliseconds as stand behind `ms=` in the target.
    pub fn slow_as_asked(&self) {
        self.set(Manner::SlowAsAsked);
    }

    /// Answers every `n`th request after this long, the others at once.
    pub fn slow_every(&self, n: usize, delay: Duration) {
        self.set(Manner::SlowEvery(n, delay));
    }

    /// Answers, and closes every third connection or so after an answer that promised to keep it:
    /// at once, or a moment later, when the next request may be on its way.
    pub fn close_at_random(&self) {
        self.set(Manner::CloseAtRandom);
    }

    /// Does these steps once a request's header is read, the body still unread, and closes at their
    /// end.
    pub fn play(&self, steps: impl Into<Vec<Step>>) {
        self.set(Manner::Play(steps.into()));
    }

    /// Lets connections that are at a [`Step::Gate`] go on, each call one step of one connection.
    pub fn open_gate(&self) {
        self.shared.gate.open();
    }

    /// Sends part of a header and closes.
    pub fn half_header(&self) {
        self.set(Manner::HalfHeader);
    }

    /// Announces 1000 bytes, sends 10 and closes.
    pub fn half_body(&self) {
        self.set(Manner::HalfBody);
    }

    /// Answers with this status.
    pub fn status(&self, code: u16) {
        self.set(Manner::Status(code));
    }

    /// Sets the answer to [`HEALTH_PATH`]; by default it is answered like any other request.
    pub fn health_status(&self, code: u16) {
        self.state().health = Some(code);
    }

    /// Adds a header to every answer from now on.
    pub fn add_header(&self, name: &str, value: &str) {
        self.state().extra.push((name.to_owned(), value.to_owned()));
    }

    /// Takes back what [`add_header`](Self::add_header) added.
    pub fn clear_headers(&self) {
        self.state().extra.clear();
    }

    /// Answers with chunks instead of a length.
    pub fn chunked(&self) {
        self.state().chunked = true;
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests read so far, without health checks.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Requests for [`HEALTH_PATH`] so far.
    pub fn health_checks(&self) -> usize {
        self.shared.health_checks.load(Ordering::SeqCst)
    }

    /// Requests read and not answered yet.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// The largest number of requests that a slow backend ever had to work on at once. A request
    /// counts until just before its answer is sent, so that nobody can have taken its place
    /// already.
    pub fn most_at_work(&self) -> usize {
        self.measured().most
    }

    /// Begins to measure anew how many requests it works on at once ([`measured`](Self::measured)).
    pub fn measure(&self, limit: usize) {
        lock(&self.shared.meter).begin(limit);
    }

    /// The measure since then, or since its start, of the requests that
    /// [`most_at_work`](Self::most_at_work) counts.
    pub fn measured(&self) -> Measure {
        lock(&self.shared.meter).read()
    }

    /// The requests that arrived, health checks included, in order (the first 20,000).
    pub fn recorded(&self) -> Vec<Recorded> {
        self.state().recorded.clone()
    }

    /// The last request that arrived.
    pub fn last(&self) -> Option<Recorded> {
        self.state().recorded.last().cloned()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    fn set(&self, manner: Manner) {
        self.state().manner = manner;
        self.shared.changed.notify_all();
    }

    fn listen(&self) {
        let mut slot = lock(&self.listener);
        if slot.is_some() {
            return;
        }
        self.state().closed = false;
        let listener = self.reserved.listen();
        *slot = Some(listener.try_clone().expect("clone a listener").into());
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || accept_loop(&listener, &shared));
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.refuse();
        self.set(Manner::CloseAfterAccept);
    }
}
