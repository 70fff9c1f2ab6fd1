// SPDX-License-Identifier: Apache-2.0
//! Requests and connections that scripts make while they check or run on a timer: side by side with
//! the checks, bounded in time and size, with nothing kept between them.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use net::{Failure, HttpTarget, Link, Payload, Reach, Stage, Stream, io_words, printable, words};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::engine::Engine;

/// Most bytes of an answer's body.
const MOST_BODY: usize = 1 << 20;
/// Most bytes of one receive.
const MOST_RECEIVED: usize = 16 * 1024;
/// Names of hosts that are remembered.
const MOST_NAMES: usize = 512;

/// Bytes of bodies that all requests may have read so far and not handed on.
const MOST_ANSWERS: usize = 16 << 20;

/// The share of one request in these.
struct Held<'a> {
    all: &'a Cell<usize>,
    own: usize,
}

impl Held<'_> {
    /// Whether there is room for so much.
    fn grows_to(&mut self, bytes: usize) -> bool {
        let others = self.all.get() - self.own;
        if others + bytes > MOST_ANSWERS {
            return false;
        }
        self.all.set(others + bytes);
        self.own = bytes;
        true
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.set(self.all.get() - self.own);
    }
}

/// A request.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Request<'a> {
    /// `http://` or `https://`.
    pub url: &'a str,
    pub method: &'a str,
    pub headers: &'a [(String, Vec<u8>)],
    pub body: Vec<u8>,
    /// Whether an https server's certificate is verified.
    pub verify: bool,
    /// For all of it.
    pub timeout: Duration,
}

/// An answer, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ProbeResponse {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// Makes requests and connections. Its futures run on the thread, and during the turns, of the
/// [`Prober`](crate::Prober) that it comes from.
#[derive(Clone)]
pub struct Client(Rc<Engine>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    pub(crate) fn new(engine: Rc<Engine>) -> Self {
        Client(engine)
    }

    /// Lets all others run once.
    pub async fn pause(&self) {
        tokio::task::yield_now().await;
    }

    /// Waits.
    pub async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Sends a request and reads the answer, whatever its status. Redirects are not followed.
    ///
    /// # Errors
    /// Why there is none, for administrators.
    pub async fn http(&self, request: Request<'_>) -> Result<ProbeResponse, String> {
        let target = HttpTarget::parse(request.url)?;
        let stage = Cell::new(Stage::Connect);
        let timeout = request.timeout;
        let deadline = Instant::now() + timeout;
        let work = self.exchange(&target, request, deadline, &stage);
        let result = self.0.within(timeout, work).await;
        let timed_out = || Err(Failure::TimedOut { after: timeout, stage: stage.get() });
        result.unwrap_or_else(timed_out).map_err(|failure| {
            // Both are keys of checks.
            failure.to_string().replace(" (see sni=)", "").replace(" (see ca=)", "")
        })
    }

    async fn exchange(
        &self,
        target: &HttpTarget,
        mut request: Request<'_>,
        deadline: Instant,
        stage: &Cell<Stage>,
    ) -> Result<ProbeResponse, Failure> {
        let body = std::mem::take(&mut request.body);
        let made = made(target, &request, body)?;
        let mut stream = self.dial(&target.place, request.timeout, deadline, stage).await?;
        if let Some(name) = &target.server_name {
            stream = net::handshake(&self.0.tls, (request.verify, None), name, stream, stage).await?;
        }
        let exchange = |error| Failure::Exchange(words(&error));
        let mut link = Link::new(stream, None).await?;
        stage.set(Stage::Header);
        let answer = link.send(made).await.map_err(exchange)?;
        let status = answer.status().as_u16();
        let pairs = answer.headers().iter();
        let headers = pairs.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        stage.set(Stage::Body);
        let (mut incoming, mut body) = (answer.into_body(), Vec::new());
        let mut held = Held { all: &self.0.answers, own: 0 };
        while let Some(piece) = link.piece(&mut incoming).await.map_err(exchange)? {
            let bytes = body.len() + piece.len();
            if bytes > MOST_BODY {
                let why = format!("HTTP {status}: the body has more than {} KiB", MOST_BODY / 1024);
                return Err(Failure::Exchange(why));
            }
            if !held.grows_to(bytes) {
                let why =
                    format!("HTTP {status}: answers of more than {} MiB are under way", MOST_ANSWERS >> 20);
                return Err(Failure::Exchange(why));
            }
            body.extend_from_slice(&piece);
        }
        Ok(ProbeResponse { status, headers, body })
    }

    async fn dial(
        &self,
        place: &Reach,
        timeout: Duration,
        deadline: Instant,
        stage: &Cell<Stage>,
    ) -> Result<Stream, Failure> {
        self.0.resolver.keep_at_most(MOST_NAMES);
        let addresses = place.addresses(&self.0.resolver, timeout, stage).await?;
        Ok(place.connect(&addresses, deadline, stage).await?.0)
    }

    /// Opens a TCP connection; `host` is a name, or an address without brackets.
    ///
    /// # Errors
    /// In LuaSocket's words: `timeout`, `connection refused`, `host not found`.
    pub async fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<Tcp, String> {
        let stage = Cell::new(Stage::Connect);
        let place = Reach::at(host, port);
        let work = self.dial(&place, timeout, Instant::now() + timeout, &stage);
        match self.0.within(timeout, work).await {
            Some(Ok(stream)) => Ok(Tcp(stream)),
            Some(Err(Failure::Lookup { .. })) => Err("host not found".into()),
            Some(Err(Failure::Connect { why, .. })) => Err(match why.as_str() {
                "refused" => "connection refused".into(),
                "timed out" => "timeout".into(),
                _ => why,
            }),
            Some(Err(failure)) => Err(failure.to_string()),
            None => Err("timeout".into()),
        }
    }

    /// The addresses of a name, as the system has them.
    ///
    /// # Errors
    /// `timeout`, `host not found`.
    pub async fn resolve(&self, host: &str, timeout: Duration) -> Result<Vec<IpAddr>, String> {
        let stage = Cell::new(Stage::Connect);
        let place = Reach::at(host, 0);
        self.0.resolver.keep_at_most(MOST_NAMES);
        let work = place.addresses(&self.0.resolver, timeout, &stage);
        match self.0.within(timeout, work).await {
            Some(Ok(addresses)) => Ok(addresses.iter().map(SocketAddr::ip).collect()),
            Some(Err(_)) => Err("host not found".into()),
            None => Err("timeout".into()),
        }
    }

    /// Sends all of `data`.
    ///
    /// # Errors
    /// `timeout`, `closed` or the system's words.
    pub async fn send(&self, on: &mut Tcp, data: &[u8], timeout: Duration) -> Result<(), String> {
        let work = async {
            on.0.write_all(data).await?;
            on.0.flush().await
        };
        let result = self.0.within(timeout, work).await;
        result.map_or_else(|| Err("timeout".into()), |result| result.map_err(|error| socket_words(&error)))
    }

    /// Waits for bytes and gives those that are there.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn receive(&self, on: &mut Tcp, timeout: Duration) -> Result<Vec<u8>, String> {
        let mut chunk = vec![0; MOST_RECEIVED];
        match self.0.within(timeout, on.0.read(&mut chunk)).await {
            None => Err("timeout".into()),
            Some(Err(error)) => Err(socket_words(&error)),
            Some(Ok(0)) => Err("closed".into()),
            Some(Ok(count)) => {
                chunk.truncate(count);
                Ok(chunk)
            }
        }
    }
}

/// An open connection.
pub struct Tcp(Stream);

impl std::fmt::Debug for Tcp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tcp")
    }
}

fn socket_words(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, UnexpectedEof};
    match error.kind() {
        ConnectionReset | BrokenPipe | UnexpectedEof | NotConnected => "closed".into(),
        _ => io_words(error),
    }
}

fn made(
    target: &HttpTarget,
    request: &Request<'_>,
    body: Vec<u8>,
) -> Result<hyper::Request<Payload>, Failure> {
    let bad = |what: &str| Failure::Settings(format!("'{}' cannot be sent", printable(what, 60)));
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, target.host_header.clone());
    headers.insert(header::USER_AGENT, HeaderValue::from_static("mod_lua_balancer"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let mut own = HeaderMap::new();
    for (name, value) in request.headers {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad(name))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| bad(name))?;
        own.append(key, value);
    }
    // Replaces what stands there, and keeps repeated ones.
    headers.extend(own);
    let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| bad(request.method))?;
    let mut made = hyper::Request::new(Payload::new(Bytes::from(body)));
    (*made.method_mut(), *made.uri_mut(), *made.headers_mut()) = (method, target.uri.clone(), headers);
    Ok(made)
}
