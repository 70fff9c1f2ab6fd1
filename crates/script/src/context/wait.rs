// SPDX-License-Identifier: Apache-2.0
//! The things that jobs wait for, as plain values: the host does them.

use std::any::Any;
use std::rc::Rc;
use std::time::Duration;

/// A connection, of a type that the host knows. Closed when dropped.
#[derive(Clone)]
pub struct Connection(pub Rc<dyn Any>);

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// A request of `lb.http`. Header names are tokens and values hold no line ends; the URL is as the
/// script gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HttpRequest {
    pub url: String,
    pub method: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// Whether an https server's certificate is verified.
    pub verify: bool,
    pub timeout: Duration,
}

/// The answer to an [`HttpRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HttpAnswer {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// A thing that a job waits for. Every timeout is within the time that the job may still take.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Io {
    /// Answered by [`Reply::Http`].
    Http(HttpRequest),
    /// Answered by [`Reply::Connected`].
    Connect { host: String, port: u16, timeout: Duration },
    /// Answered by [`Reply::Slept`], after that time.
    Sleep { timeout: Duration },
    /// Answered by [`Reply::Resolved`].
    Resolve { host: String, timeout: Duration },
    /// Answered by [`Reply::Sent`], when all is sent.
    Send { on: Connection, data: Vec<u8>, timeout: Duration },
    /// Answered by [`Reply::Received`] as soon as something is there.
    Receive { on: Connection, timeout: Duration },
}

impl Io {
    /// The number of bytes that are copied out of Lua's memory to be sent.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Io::Http(request) => {
                let headers = request.headers.iter().map(|(name, value)| name.len() + value.len());
                request.url.len() + request.body.len() + headers.sum::<usize>()
            }
            Io::Send { data, .. } => data.len(),
            Io::Connect { .. } | Io::Sleep { .. } | Io::Resolve { .. } | Io::Receive { .. } => 0,
        }
    }

    pub(crate) fn within(mut self, most: Duration) -> Self {
        let timeout = match &mut self {
            Io::Http(request) => &mut request.timeout,
            Io::Sleep { timeout }
            | Io::Resolve { timeout, .. }
            | Io::Connect { timeout, .. }
            | Io::Send { timeout, .. }
            | Io::Receive { timeout, .. } => timeout,
        };
        *timeout = most.min(*timeout);
        self
    }
}

/// The answer to an [`Io`]. Errors are words for scripts: `timeout`, `closed`, `connection
/// refused`, `host not found`.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Reply {
    /// For the first turn, and after [`Step::Again`](crate::Step::Again).
    Nothing,
    Slept,
    Http(Result<HttpAnswer, String>),
    Connected(Result<Connection, String>),
    Resolved(Result<Vec<String>, String>),
    Sent(Result<(), String>),
    Received(Result<Vec<u8>, String>),
}
