// SPDX-License-Identifier: Apache-2.0
//! A backend whose manners, good and bad, are method calls.
//!
//! Every answer names the backend in `X-Backend` and in the body (`name uri`), and echoes what
//! arrived: `X-Method`, `X-Uri`, `X-Host`, `X-Body-Length`, `X-Body-Hash` ([`body_hash`]) and
//! `X-Connection` (its number, from 1).

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::{SockRef, Socket};

use crate::message::{Headers, body_hash, read_body, read_head};
use crate::play::{Gate, Step, play};
use crate::ports::ReservedPort;

/// How requests are answered; the health path (see [`Backend::health_status`]) is not affected by
/// the manners that concern a request.
#[derive(Clone, Debug, Default, PartialEq)]
enum Manner {
    #[default]
    Answer,
    Hang,
    Reset,
    ResetKeptAlive,
    CloseAfterAccept,
    Slow(Duration),
    SlowEvery(usize, Duration),
    CloseAtRandom,
    Play(Vec<Step>),
    HalfHeader,
    HalfBody,
    Status(u16),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET`, `POST`, …
    pub method: String,
    /// The request target as sent.
    pub uri: String,
    /// Its header fields.
    pub headers: Headers,
    /// Bytes of the body.
    pub body_length: usize,
    /// [`body_hash`] of the body.
    pub body_hash: String,
    /// The connection's number, from 1.
    pub connection: usize,
}

#[derive(Debug, Default)]
struct State {
    manner: Manner,
    health: Option<u16>,
    closed: bool,
    extra: Vec<(String, String)>,
    chunked: bool,
    recorded: Vec<Recorded>,
    streams: Vec<(usize, TcpStream)>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    state: Mutex<State>,
    changed: Condvar,
    connections: AtomicUsize,
    requests: AtomicUsize,
    health_checks: AtomicUsize,
    in_flight: AtomicUsize,
    at_work: AtomicUsize,
    most_at_work: AtomicUsize,
    gate: Gate,
}

/// A backend on a loopback port of its own, ended when dropped.
#[derive(Debug)]
pub struct Backend {
    shared: Arc<Shared>,
    reserved: ReservedPort,
    listener: Mutex<Option<Socket>>,
}

/// The path that health checks ask for; it is counted and answered apart from other requests.
pub const HEALTH_PATH: &str = "/health";
const REMEMBERED: usize = 20_000;

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
            at_work: AtomicUsize::new(0),
            most_at_work: AtomicUsize::new(0),
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

    /// What [`HEALTH_PATH`] answers; by default it is answered like any other request.
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
        self.shared.most_at_work.load(Ordering::SeqCst)
    }

    /// What arrived, health checks included, in order (the first 20,000).
    pub fn recorded(&self) -> Vec<Recorded> {
        self.state().recorded.clone()
    }

    /// What arrived last.
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept_loop(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept() {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let Ok(copy) = stream.try_clone() else { continue };
        {
            let mut state = lock(&shared.state);
            if state.closed || state.manner == Manner::CloseAfterAccept {
                continue;
            }
            state.streams.push((number, copy));
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let _ = serve_connection(&stream, number, &shared);
            lock(&shared.state).streams.retain(|(other, _)| *other != number);
        });
    }
}

/// Requests of one connection until it ends or a manner ends it.
fn serve_connection(stream: &TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(16 * 1024, stream);
    let mut nth = 0;
    while let Some((line, headers)) = read_head(&mut reader)? {
        nth += 1;
        if let Some(steps) = steps_for(shared, &line) {
            record(shared, &line, headers.clone(), &[], number);
            let _in_flight = InFlight::enter(shared);
            return play(&steps, stream, &mut reader, &headers, &shared.gate);
        }
        if headers.lists("Expect", "100-continue") {
            (&mut &*stream).write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = read_body(&mut reader, &headers, false)?;
        let keep_alive = !headers.lists("Connection", "close");
        let request = record(shared, &line, headers, &body, number);
        let _in_flight = InFlight::enter(shared);
        if request.headers.lists("Upgrade", "websocket") {
            return echo_upgraded(stream, &mut reader, shared);
        }
        if !respond(stream, shared, &request, nth)? || !keep_alive {
            return Ok(());
        }
    }
    Ok(())
}

/// The steps of a backend that plays; health checks get an ordinary answer.
fn steps_for(shared: &Shared, line: &str) -> Option<Vec<Step>> {
    let of_check = line.split(' ').nth(1).is_some_and(|uri| uri.split('?').next() == Some(HEALTH_PATH));
    match &lock(&shared.state).manner {
        Manner::Play(steps) if !of_check => Some(steps.clone()),
        _ => None,
    }
}

struct InFlight<'a>(&'a Shared);

impl<'a> InFlight<'a> {
    fn enter(shared: &'a Shared) -> Self {
        shared.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

fn record(shared: &Shared, line: &str, headers: Headers, body: &[u8], connection: usize) -> Recorded {
    let mut words = line.splitn(3, ' ');
    let mut word = || words.next().unwrap_or("").to_owned();
    let (method, uri) = (word(), word());
    let request =
        Recorded { method, uri, headers, body_length: body.len(), body_hash: body_hash(body), connection };
    let counter = if is_health(&request) { &shared.health_checks } else { &shared.requests };
    let mut state = lock(&shared.state);
    if state.recorded.len() < REMEMBERED {
        state.recorded.push(request.clone());
    }
    drop(state);
    counter.fetch_add(1, Ordering::SeqCst);
    request
}

fn is_health(request: &Recorded) -> bool {
    request.uri.split('?').next() == Some(HEALTH_PATH)
}

/// Answers one request; false ends the connection.
fn respond(stream: &TcpStream, shared: &Shared, request: &Recorded, nth: usize) -> io::Result<bool> {
    let (manner, health) = {
        let state = lock(&shared.state);
        (state.manner.clone(), state.health.filter(|_| is_health(request)))
    };
    if let Some(code) = health {
        return send_answer(stream, shared, request, code);
    }
    match manner {
        Manner::Reset => reset(stream),
        Manner::ResetKeptAlive if nth > 1 => reset(stream),
        Manner::Hang => {
            if wait_for_other_manner(stream, shared) {
                respond(stream, shared, request, nth)
            } else {
                Ok(false)
            }
        }
        Manner::Slow(delay) => {
            work(shared, delay);
            send_answer(stream, shared, request, 200)
        }
        Manner::SlowEvery(n, delay) => {
            if shared.requests.load(Ordering::SeqCst).is_multiple_of(n.max(1)) {
                work(shared, delay);
            }
            send_answer(stream, shared, request, 200)
        }
        Manner::CloseAtRandom => {
            send_answer(stream, shared, request, 200)?;
            Ok(!closes_now(request.connection, nth))
        }
        Manner::CloseAfterAccept | Manner::Play(_) => Ok(false),
        Manner::HalfHeader => send_and_close(stream, b"HTTP/1.1 200 OK\r\nX-Ba"),
        Manner::HalfBody => {
            send_and_close(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789")
        }
        Manner::Status(code) => send_answer(stream, shared, request, code),
        Manner::Answer | Manner::ResetKeptAlive => send_answer(stream, shared, request, 200),
    }
}

fn work(shared: &Shared, delay: Duration) {
    let now = shared.at_work.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_at_work.fetch_max(now, Ordering::SeqCst);
    thread::sleep(delay);
    shared.at_work.fetch_sub(1, Ordering::SeqCst);
}

/// One answer in three or so, half of them after a moment of up to a millisecond.
fn closes_now(connection: usize, nth: usize) -> bool {
    let mixed = body_hash(format!("{connection}/{nth}").as_bytes());
    let dice = u64::from_str_radix(&mixed, 16).unwrap_or(0) >> 7;
    if !dice.is_multiple_of(3) {
        return false;
    }
    if dice.is_multiple_of(2) {
        thread::sleep(Duration::from_micros(dice / 6 % 1000));
    }
    true
}

/// A zero linger turns the close of the last descriptor into RST.
fn reset(stream: &TcpStream) -> io::Result<bool> {
    SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    Ok(false)
}

fn send_and_close(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<bool> {
    stream.write_all(bytes)?;
    Ok(false)
}

/// Blocks while the backend hangs; false when the peer gave up first.
fn wait_for_other_manner(stream: &TcpStream, shared: &Shared) -> bool {
    let mut state = lock(&shared.state);
    while state.manner == Manner::Hang {
        if is_closed_by_peer(stream) {
            return false;
        }
        let wait = shared.changed.wait_timeout(state, Duration::from_millis(50));
        state = wait.unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}

/// Whether the peer closed. What it sent and nobody has read yet hides that.
pub(crate) fn is_closed_by_peer(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let peeked = stream.peek(&mut [0]);
    let _ = stream.set_nonblocking(false);
    matches!(peeked, Ok(0)) || peeked.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
}

fn send_answer(mut stream: &TcpStream, shared: &Shared, request: &Recorded, code: u16) -> io::Result<bool> {
    let name = &shared.name;
    let body = format!("{name} {}\n", request.uri);
    let mut answer = format!(
        "HTTP/1.1 {code} Whatever\r\nX-Backend: {name}\r\nX-Method: {}\r\nX-Uri: {}\r\nX-Host: {}\r\n\
         X-Body-Length: {}\r\nX-Body-Hash: {}\r\nX-Connection: {}\r\nContent-Type: text/plain\r\n",
        request.method,
        request.uri,
        request.headers.get("Host").unwrap_or(""),
        request.body_length,
        request.body_hash,
        request.connection,
    );
    let chunked = {
        let state = lock(&shared.state);
        for (key, value) in &state.extra {
            answer.push_str(&format!("{key}: {value}\r\n"));
        }
        state.chunked
    };
    let bodyless = request.method == "HEAD" || code == 204 || code == 304;
    if chunked && !bodyless {
        answer
            .push_str(&format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    } else {
        answer.push_str(&format!("Content-Length: {}\r\n\r\n", if code == 204 { 0 } else { body.len() }));
        answer.push_str(if bodyless { "" } else { &body });
    }
    stream.write_all(answer.as_bytes())?;
    Ok(true)
}

/// Switches protocols, then sends back every byte until the peer closes.
fn echo_upgraded(mut stream: &TcpStream, reader: &mut impl BufRead, shared: &Shared) -> io::Result<()> {
    let switch = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Backend: {}\r\n\r\n",
        shared.name
    );
    stream.write_all(switch.as_bytes())?;
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}
