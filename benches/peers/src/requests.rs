// SPDX-License-Identifier: Apache-2.0
//! A closed loop of clients that keeps the time of every request: so many requests are under way at
//! any time.

use std::thread;
use std::time::{Duration, Instant};

use crate::backends::SLOW_BODY;
use crate::stats::quantile;
use crate::stop;
use server_tests::client::Client;

/// The counts of the clients.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Milliseconds from request to response.
    pub times_ms: Vec<f64>,
    /// Requests that the slow member answered.
    pub of_slow: usize,
    /// Requests without a 200.
    pub failed: usize,
    /// The reason of one of them.
    pub reason: Option<String>,
}

impl Seen {
    /// The time below which this share (0 … 1) of the requests lies.
    pub fn below(&self, share: f64) -> f64 {
        quantile(&self.times_ms, share)
    }

    fn add(&mut self, mut other: Seen) {
        self.times_ms.append(&mut other.times_ms);
        self.of_slow += other.of_slow;
        self.failed += other.failed;
        self.reason = self.reason.take().or(other.reason);
    }
}

/// Runs `clients`, each over a kept-alive connection, for `length`; what began before `skip` is not
/// counted.
pub fn run(port: u16, clients: usize, skip: Duration, length: Duration) -> Seen {
    let start = Instant::now();
    let mut all = Seen::default();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..clients).map(|_| scope.spawn(|| one_client(port, start + skip, start + length))).collect();
        for thread in threads {
            all.add(thread.join().unwrap_or_default());
        }
    });
    all
}

fn one_client(port: u16, from: Instant, until: Instant) -> Seen {
    let mut client = Client::new(port).timeout(Duration::from_secs(5));
    let mut seen = Seen::default();
    loop {
        let start = Instant::now();
        if start >= until || stop::requested() {
            return seen;
        }
        let outcome = client.try_get("/x");
        if start < from {
            continue;
        }
        match outcome {
            Ok(response) if response.status == 200 => {
                seen.times_ms.push(start.elapsed().as_secs_f64() * 1000.0);
                seen.of_slow += usize::from(response.body == SLOW_BODY.as_bytes());
            }
            Ok(response) => fail(&mut seen, format!("status {}", response.status)),
            Err(error) => fail(&mut seen, error.to_string()),
        }
    }
}

fn fail(seen: &mut Seen, reason: String) {
    seen.failed += 1;
    seen.reason.get_or_insert(reason);
    // A server that refuses at once must not be asked a million times.
    thread::sleep(Duration::from_millis(10));
}
