// SPDX-License-Identifier: Apache-2.0
//! A watch: a request whose answer goes on, one line of JSON for each change.

use hyper::body::Incoming;
use net::Link;

use crate::error::EtcdError;
use crate::secret::Secrets;
use crate::wire::{self, MOST, WatchAnswer};

/// See the module.
pub struct Watch {
    link: Link,
    body: Incoming,
    endpoint: String,
    /// The password and the token, which the server may send back.
    secrets: Secrets,
    /// The part of a line that is there.
    line: Vec<u8>,
    /// Up to here there is no end of a line in it.
    seen: usize,
}

impl Watch {
    pub(crate) fn new(link: Link, body: Incoming, endpoint: String, secrets: Secrets) -> Self {
        Watch { link, body, endpoint, secrets, line: Vec::new(), seen: 0 }
    }

    /// The next answer. It may take any time, and may be dropped and called again.
    ///
    /// # Errors
    /// The connection has ended, or the answer is not etcd's.
    pub async fn next(&mut self) -> Result<WatchAnswer, EtcdError> {
        loop {
            if let Some(at) = self.line[self.seen..].iter().position(|byte| *byte == b'\n') {
                let rest = self.line.split_off(self.seen + at + 1);
                let line = std::mem::replace(&mut self.line, rest);
                self.seen = 0;
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return wire::read_watch(&line).map_err(|why| self.garbage(why));
            }
            self.seen = self.line.len();
            if self.line.len() > MOST {
                return Err(self.garbage(format!("a line of the watch has more than {} MiB", MOST >> 20)));
            }
            match self.link.piece(&mut self.body).await {
                Ok(Some(piece)) => self.line.extend_from_slice(&piece),
                Ok(None) => return Err(self.away("the watch has ended".into())),
                Err(error) => return Err(self.away(net::words(&error))),
            }
        }
    }

    fn away(&self, why: String) -> EtcdError {
        EtcdError::Away { endpoint: self.endpoint.clone(), why: self.secrets.shown(&why), sent: true }
    }

    fn garbage(&self, why: String) -> EtcdError {
        EtcdError::Garbage { endpoint: self.endpoint.clone(), why: self.secrets.shown(&why) }
    }
}
