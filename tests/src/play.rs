// SPDX-License-Identifier: Apache-2.0
//! Backends that follow a script of their own, byte by byte: what a server never should send.

use std::io::{self, BufRead, Write};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::message::{Headers, read_body};

/// The next step of a backend on a connection whose request's header it has read.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Sends these bytes.
    Send(String),
    /// Sends these bytes so often, or until the peer takes no more.
    Repeat(String, usize),
    /// Sends these bytes one by one, with a pause after each.
    Drip(String, Duration),
    /// Reads the request's body as its header announces it.
    ReadBody,
    /// Reads this many bytes of it, at most.
    ReadSome(usize),
    /// Waits for [`Backend::open_gate`](crate::Backend::open_gate), or until the peer is gone.
    Gate,
    /// Resets the connection. Without it the connection is closed after the last step.
    Reset,
}

impl Step {
    /// Sends these bytes.
    pub fn send(bytes: &str) -> Self {
        Self::Send(bytes.to_owned())
    }

    /// A whole answer that says how the connection goes on.
    pub fn answer(status: u16, body: &str) -> Self {
        let length = body.len();
        Self::Send(format!(
            "HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ))
    }
}

/// Where connections wait for a word of the test.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    permits: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.permits.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    fn pass(&self, stream: &TcpStream) {
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        while *permits == 0 {
            if is_closed_by_peer(stream) {
                return;
            }
            let waited = self.changed.wait_timeout(permits, Duration::from_millis(20));
            permits = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *permits -= 1;
    }
}

/// Follows the steps; the connection is over afterwards.
pub(crate) fn play(
    steps: &[Step],
    mut stream: &TcpStream,
    reader: &mut impl BufRead,
    headers: &Headers,
    gate: &Gate,
) -> io::Result<()> {
    for step in steps {
        match step {
            Step::Send(bytes) => stream.write_all(bytes.as_bytes())?,
            Step::Repeat(bytes, times) => {
                for _ in 0..*times {
                    stream.write_all(bytes.as_bytes())?;
                }
            }
            Step::Drip(bytes, pause) => {
                for byte in bytes.bytes() {
                    stream.write_all(&[byte])?;
                    thread::sleep(*pause);
                }
            }
            Step::ReadBody => drop(read_body(reader, headers, false)?),
            Step::ReadSome(most) => read_some(reader, *most)?,
            Step::Gate => gate.pass(stream),
            Step::Reset => SockRef::from(stream).set_linger(Some(Duration::ZERO))?,
        }
    }
    Ok(())
}

fn read_some(reader: &mut impl BufRead, most: usize) -> io::Result<()> {
    let mut left = most;
    while left > 0 {
        let length = reader.fill_buf()?.len().min(left);
        if length == 0 {
            return Ok(());
        }
        reader.consume(length);
        left -= length;
    }
    Ok(())
}

/// Whether the peer closed. Bytes that it sent and nobody has read yet hide that.
pub(crate) fn is_closed_by_peer(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let peeked = stream.peek(&mut [0]);
    let _ = stream.set_nonblocking(false);
    matches!(peeked, Ok(0)) || peeked.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
}
