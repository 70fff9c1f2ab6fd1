// SPDX-License-Identifier: Apache-2.0
//! Members by a service of Consul, as a directive says it.

/// Where `consul:` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsulPlace {
    /// The agent's URL and the service, as written: `http://127.0.0.1:8500/app`.
    pub url: String,
    /// `tag=`: instances with it alone.
    pub tag: Option<String>,
    /// `passing=`: instances whose checks pass alone.
    pub passing: bool,
    /// `dc=`: the datacenter; None: the agent's own.
    pub dc: Option<String>,
    /// `every=`: milliseconds after which a question is answered though nothing has changed.
    pub every_ms: u64,
    /// `timeout=`: milliseconds that an answer may take beyond that.
    pub timeout_ms: u64,
    /// `token_file=`: the file with the token that is sent along.
    pub token_file: Option<String>,
    /// `ca=`: the file with the certificates that are trusted; None: the system's store.
    pub ca: Option<String>,
}

impl ConsulPlace {
    /// With all keys at their defaults.
    pub fn of(url: String) -> Self {
        let (tag, dc, token_file, ca) = (None, None, None, None);
        ConsulPlace { url, tag, passing: true, dc, every_ms: 30_000, timeout_ms: 5000, token_file, ca }
    }

    /// The agent's URL, and the name of the service.
    pub fn parts(&self) -> (&str, &str) {
        self.url.rsplit_once('/').unwrap_or((&self.url, ""))
    }
}
