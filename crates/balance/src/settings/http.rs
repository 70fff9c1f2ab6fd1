// SPDX-License-Identifier: Apache-2.0
//! Members by a web server's list, as a directive says it.

/// Where `http:` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPlace {
    /// `http://` or `https://`.
    pub url: String,
    /// `every=`: milliseconds from one poll to the next.
    pub every_ms: u64,
    /// `timeout=`: milliseconds that a poll may take in all.
    pub timeout_ms: u64,
    /// `bearer_file=`: the file with the token that is sent along.
    pub bearer_file: Option<String>,
    /// `ca=`: the file with the certificates that are trusted; None: the system's store.
    pub ca: Option<String>,
}

impl HttpPlace {
    /// With all keys at their defaults.
    pub fn of(url: String) -> Self {
        HttpPlace { url, every_ms: 30_000, timeout_ms: 10_000, bearer_file: None, ca: None }
    }
}
