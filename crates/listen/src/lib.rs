// SPDX-License-Identifier: Apache-2.0
//! HTTP/1.1 at listening sockets that somebody else has bound, on the thread that calls
//! [`DoorKeeper::run`]. No client holds up another: each has so much time for a head, a body and an
//! answer, and the number of connections is bounded. It knows nothing of what is answered.
#![forbid(unsafe_code)]

mod connection;
mod door;
mod ender;
mod guests;
mod line;
mod parked;
mod race;
mod server;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub use ender::Ender;
pub use parked::{AnswerWhen, Parked};
pub use server::DoorKeeper;

/// A request, read as a whole.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Its method.
    pub method: String,
    /// Its path, as sent. It begins with a slash.
    pub path: String,
    /// The text behind the `?`.
    pub query: Option<String>,
    /// Names are in lower case.
    pub headers: Vec<(String, String)>,
    /// At most [`ConnectionLimits::most_body`] bytes.
    pub body: Vec<u8>,
    /// The sender.
    pub peer: RemoteEnd,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteEnd {
    /// A process of this user (its number), on the same machine.
    User(u32),
    /// A client at this address.
    Address(IpAddr),
    /// The system does not tell.
    Unknown,
}

/// The answer.
#[derive(Debug, Clone, Default)]
pub struct Outgoing {
    /// The status code.
    pub status: u16,
    /// Header fields. The length of the body is added.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener),
    /// A socket of TCP.
    Tcp(std::net::TcpListener),
}

/// Answers a request, or says what its answer waits for. It is called on the server's thread, and
/// nobody else is answered meanwhile.
pub type Answerer = Rc<dyn Fn(Incoming) -> AnswerWhen>;

/// Answers a request whose head alone is there, if no body makes a difference. It is called on the
/// server's thread.
pub type Refuser = Rc<dyn Fn(&Incoming) -> Option<Outgoing>>;

/// Answers a request on a thread of its own, one after the other: what takes long holds up no other
/// request.
pub type Aside = Arc<dyn Fn(Incoming) -> Outgoing + Send + Sync>;

/// A listening socket and what is answered there.
pub struct Entrance {
    /// The socket.
    pub listener: Listener,
    /// The limits of clients.
    pub limits: ConnectionLimits,
    /// The answers to requests whose body need not be read.
    pub refuse: Refuser,
    /// The answers.
    pub answer: Answerer,
    /// The answers to other methods than GET and HEAD, where they are made aside.
    pub aside: Option<Aside>,
}

/// The limits of the clients of one door.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at once. One more takes the place of the one that has waited for longest.
    pub connections: usize,
    /// Time for a request's head; a kept connection has it as well until its next one.
    pub head: Duration,
    /// Time for a request's body.
    pub body: Duration,
    /// Time for an answer to be taken.
    pub answer: Duration,
    /// Bytes of a body that are read; no body is read when it is 0.
    pub most_body: usize,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            connections: 256,
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            most_body: (1 << 20) + 1,
        }
    }
}
