// SPDX-License-Identifier: Apache-2.0
//! A watch that is open: events, one a line.

use std::time::Duration;

use hyper::body::Incoming;
use net::Link;
use tokio::time::Instant;

/// Most bytes of an event.
const MOST: usize = 16 << 20;

/// The next thing that a watch says.
pub(super) enum Heard {
    /// An event.
    Line(Vec<u8>),
    /// Its time is over, or its connection was cut: the next one goes on from there.
    End,
}

/// See the module.
pub(super) struct Watch {
    link: Link,
    body: Incoming,
    /// Bytes that are not looked at yet.
    buffer: Vec<u8>,
    /// So many of them have no end of a line.
    searched: usize,
    began: Instant,
    most: Duration,
}

impl Watch {
    /// `most`: a server that has not ended it by then is silent.
    pub(super) fn new(link: Link, body: Incoming, most: Duration) -> Self {
        Watch { link, body, buffer: Vec::new(), searched: 0, began: Instant::now(), most }
    }

    /// For how long it has been open.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits for the next event. It may be dropped in the midst: nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Heard, String> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + at;
                let rest = self.buffer.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                return Ok(Heard::Line(line));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MOST {
                return Err(format!("an event has more than {} MiB", MOST >> 20));
            }
            let piece =
                tokio::time::timeout_at(self.began + self.most, self.link.piece(&mut self.body)).await;
            match piece {
                Ok(Ok(Some(piece))) => self.buffer.extend_from_slice(&piece),
                Ok(Ok(None) | Err(_)) => return Ok(Heard::End),
                Err(_) => return Err(self.silent()),
            }
        }
    }

    fn silent(&self) -> String {
        format!("timed out after {}s: the server does not end the watch in its time", self.most.as_secs())
    }
}
