// SPDX-License-Identifier: Apache-2.0
//! The connections of a backend: each request is answered in the manner that holds then.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::shared::{HEALTH_PATH, Manner, REMEMBERED, Recorded, Shared, lock};
use crate::message::{Headers, body_hash, read_body, read_head};
use crate::play::{Step, is_closed_by_peer, play};

/// Serves connections until the listener is shut down.
pub(super) fn accept_loop(listener: &TcpListener, shared: &Arc<Shared>) {
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
        Manner::SlowAsAsked => {
            let ms = request.uri.split("ms=").nth(1).and_then(|ms| ms.parse().ok());
            work(shared, Duration::from_millis(ms.unwrap_or(0)));
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
    lock(&shared.meter).comes();
    thread::sleep(delay);
    lock(&shared.meter).goes();
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
