// SPDX-License-Identifier: Apache-2.0
//! A client of a Unix socket.

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{ClientError, Request, Response, classify, read_response};
use crate::httpd::Httpd;
use crate::wait::patience;

/// A client with at most one connection, kept between requests. It never sends a request twice.
#[derive(Debug)]
pub struct SocketClient {
    path: PathBuf,
    connection: Option<BufReader<UnixStream>>,
}

impl SocketClient {
    /// A client of the socket at this path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), connection: None }
    }

    /// GET; panics without an answer.
    pub fn get(&mut self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    /// Any request; panics without an answer.
    pub fn send(&mut self, request: &Request) -> Response {
        self.try_send(request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    /// Any request.
    pub fn try_send(&mut self, request: &Request) -> Result<Response, ClientError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(connect(&self.path).map_err(ClientError::Connect)?),
        };
        let sent = connection.get_mut().write_all(&request.to_bytes());
        let response = read_response(&mut connection, request.is_head()).map_err(|error| match sent {
            Err(write) => classify(write, true),
            Ok(()) => error,
        })?;
        if !response.headers.lists("Connection", "close") {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    /// Ends the connection; the next request opens another.
    pub fn disconnect(&mut self) {
        self.connection = None;
    }
}

/// A connection to a socket, for whatever bytes.
pub fn connect(path: &Path) -> std::io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    let timeout = Some(patience(Duration::from_secs(20)));
    stream.set_read_timeout(timeout)?;
    stream.set_write_timeout(timeout)?;
    Ok(stream)
}

/// The number of the file at a path.
pub fn file_number(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().map(|found| found.ino())
}

impl Httpd {
    /// The path of the default socket of the control plane.
    pub fn socket_path(&self) -> PathBuf {
        self.dir().join("run/lua_balancer.sock")
    }

    /// A new client of that socket.
    pub fn socket(&self) -> SocketClient {
        SocketClient::new(&self.socket_path())
    }

    /// Sends a document to that socket, as somebody does who gives an order.
    pub fn order(&self, method: &str, target: &str, document: &str) -> Response {
        self.socket().send(&Request::json(method, target, document))
    }

    /// Patches what the target names, and returns the document that it is then.
    #[track_caller]
    pub fn patch(&self, target: &str, document: &str) -> String {
        let response = self.order("PATCH", target, document);
        assert_eq!(response.status, 200, "{}", response.text());
        response.text()
    }
}
