// SPDX-License-Identifier: Apache-2.0
//! A raw HTTP/1.1 client: keep-alive, chunked bodies, arbitrary bytes, every response parsed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::message::{Headers, read_body, read_head};
use crate::wait::patience;

/// How a body travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEncoding {
    /// With `Content-Length`.
    Length,
    /// In chunks of 64 KiB.
    Chunked,
}

/// A request to send.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    encoding: BodyEncoding,
}

impl Request {
    /// Any method on any target, which is sent as it stands.
    pub fn new(method: &str, target: &str) -> Self {
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, headers: Vec::new(), body: Vec::new(), encoding: BodyEncoding::Length }
    }

    /// GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// POST with a body.
    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", target) }
    }

    /// Any method with a document as its body.
    pub fn json(method: &str, target: &str, document: impl Into<Vec<u8>>) -> Self {
        Self { body: document.into(), ..Self::new(method, target) }.header("Content-Type", "application/json")
    }

    /// Whether the answer has no body.
    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The same with another method.
    pub fn with_method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    /// One more header field; a `Host` replaces the default one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How the body travels.
    pub fn encoding(mut self, encoding: BodyEncoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            bytes.extend_from_slice(b"Host: localhost\r\n");
        }
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let has_body = !self.body.is_empty() || self.method == "POST" || self.method == "PUT";
        match self.encoding {
            BodyEncoding::Chunked if has_body => self.push_chunks(&mut bytes),
            BodyEncoding::Length if has_body => {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes());
                bytes.extend_from_slice(&self.body);
            }
            _ => bytes.extend_from_slice(b"\r\n"),
        }
        bytes
    }

    fn push_chunks(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        for chunk in self.body.chunks(64 * 1024) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
}

/// A response.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields.
    pub headers: Headers,
    /// The body, decoded from chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The name of the backend that answered, empty when none did.
    pub fn backend(&self) -> &str {
        self.header("X-Backend").unwrap_or("")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Panics unless a document has all of these parts.
#[track_caller]
pub fn assert_says(document: &str, parts: &[&str]) {
    for part in parts {
        assert!(document.contains(part), "{part} in {document}");
    }
}

/// Why there is no response.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens.
    Connect(io::Error),
    /// The server closed or reset the connection before the first byte of an answer.
    NoAnswer(io::Error),
    /// An answer began and is not complete or not HTTP.
    Broken(io::Error),
    /// No answer in time.
    Timeout,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::NoAnswer(error) => write!(f, "connection ended before an answer: {error}"),
            Self::Broken(error) => write!(f, "incomplete answer: {error}"),
            Self::Timeout => write!(f, "no answer in time"),
        }
    }
}

impl std::error::Error for ClientError {}

/// A client with at most one connection, kept alive between requests.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    timeout: Duration,
    strict: bool,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client of a loopback port; connects with the first request.
    pub fn new(port: u16) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { address, timeout: Duration::from_secs(20), strict: false, connection: None }
    }

    /// How long to wait for each part of an answer (default 20 s).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Does not send a request again when a kept-alive connection ends before its answer. Without
    /// this the client does it once, as every HTTP client must: a server may close an idle
    /// connection at any time.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// GET; panics without an answer.
    pub fn get(&mut self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    /// Any request; panics without an answer.
    pub fn send(&mut self, request: &Request) -> Response {
        match self.try_send(request) {
            Ok(response) => response,
            Err(error) => panic!("{} {}: {error}", request.method, request.target),
        }
    }

    /// GET.
    pub fn try_get(&mut self, target: &str) -> Result<Response, ClientError> {
        self.try_send(&Request::get(target))
    }

    /// Any request.
    pub fn try_send(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.try_send_bytes(&request.to_bytes(), request.method == "HEAD")
    }

    /// These very bytes, then one answer.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> Result<Response, ClientError> {
        self.try_send_bytes(bytes, false)
    }

    /// As [`Self::try_send_raw`]; the answer to HEAD has no body.
    pub fn try_send_raw_of(&mut self, bytes: &[u8], head: bool) -> Result<Response, ClientError> {
        self.try_send_bytes(bytes, head)
    }

    /// Ends the connection; the next request opens another.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Whether a connection is open and kept from an earlier request.
    pub fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// The raw connection, for what comes after an upgrade.
    pub fn stream(&mut self) -> &mut BufReader<TcpStream> {
        self.connection.as_mut().expect("an open connection")
    }

    /// The names of the backends that answer `n` requests, in order.
    pub fn sequence(&mut self, target: &str, n: usize) -> Vec<String> {
        (0..n).map(|_| self.get(target).backend().to_owned()).collect()
    }

    /// How many of `n` requests each backend answers.
    pub fn shares(&mut self, target: &str, n: usize) -> BTreeMap<String, usize> {
        count(self.sequence(target, n))
    }

    fn try_send_bytes(&mut self, bytes: &[u8], head: bool) -> Result<Response, ClientError> {
        let reused = self.connection.is_some();
        match self.exchange(bytes, head) {
            Err(ClientError::NoAnswer(_)) if reused && !self.strict => self.exchange(bytes, head),
            outcome => outcome,
        }
    }

    fn exchange(&mut self, bytes: &[u8], head: bool) -> Result<Response, ClientError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        // A server may answer (413, 400) and close while the body is still being sent: read the
        // answer anyway.
        let sent = connection.get_mut().write_all(bytes);
        let response = read_response(&mut connection, head).map_err(|error| match (error, sent) {
            (ClientError::Broken(read), _) => ClientError::Broken(read),
            (_, Err(write)) => classify(write, true),
            (read, Ok(())) => read,
        })?;
        if !response.headers.lists("Connection", "close") {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    fn connect(&self) -> Result<BufReader<TcpStream>, ClientError> {
        let timeout = patience(self.timeout);
        let stream = TcpStream::connect_timeout(&self.address, timeout).map_err(ClientError::Connect)?;
        stream.set_nodelay(true).map_err(ClientError::Connect)?;
        stream.set_read_timeout(Some(timeout)).map_err(ClientError::Connect)?;
        stream.set_write_timeout(Some(timeout)).map_err(ClientError::Connect)?;
        Ok(BufReader::new(stream))
    }
}

/// How often each name occurs.
pub fn count(names: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    names.into_iter().fold(BTreeMap::new(), |mut counts, name| {
        *counts.entry(name).or_insert(0) += 1;
        counts
    })
}

pub(crate) fn read_response(connection: &mut impl BufRead, head: bool) -> Result<Response, ClientError> {
    loop {
        let first = connection.fill_buf().map_err(|error| classify(error, true))?;
        if first.is_empty() {
            return Err(ClientError::NoAnswer(ErrorKind::UnexpectedEof.into()));
        }
        let parsed = read_head(connection).map_err(|error| classify(error, false))?;
        let (line, headers) = parsed.ok_or_else(|| ClientError::Broken(ErrorKind::UnexpectedEof.into()))?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.ok_or_else(|| {
            ClientError::Broken(io::Error::new(ErrorKind::InvalidData, format!("status line {line:?}")))
        })?;
        if status == 100 {
            continue;
        }
        let bodyless = head || status == 101 || status == 204 || status == 304;
        let body = if bodyless {
            Vec::new()
        } else {
            read_body(connection, &headers, true).map_err(|error| classify(error, false))?
        };
        return Ok(Response { status, headers, body });
    }
}

pub(crate) fn classify(error: io::Error, nothing_read: bool) -> ClientError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Timeout,
        _ if nothing_read => ClientError::NoAnswer(error),
        _ => ClientError::Broken(error),
    }
}

/// Sends bytes on a connection of their own and returns everything the server says until it closes
/// or is silent for `timeout`: for requests that no parser should see.
pub fn raw_exchange(port: u16, bytes: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(answer),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(answer);
            }
            Err(error) => return Err(error),
        }
    }
}
