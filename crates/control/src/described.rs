// SPDX-License-Identifier: Apache-2.0
//! A request in words, for an explanation, and why there may be none.

use std::net::IpAddr;

/// A request that somebody describes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Described {
    /// Its method.
    pub method: String,
    /// Its target: a path and query, an absolute URL, or `*`.
    pub uri: String,
    /// Its headers in order; `Host` is one of them.
    pub headers: Vec<(String, String)>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The user that httpd would have authenticated.
    pub user: Option<String>,
    /// The port of the server that is asked, where the description says it: in the host, or else in
    /// the URL.
    pub port: Option<u16>,
}

/// Why there is no explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unexplained {
    /// As many are made as may be at the same time.
    Busy,
    /// There is no memory.
    NoMemory,
    /// Something else, in words.
    Broken(String),
}
