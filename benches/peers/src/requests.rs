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

/// The clients of a run, each over a kept-alive connection.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// So many at once.
    pub count: usize,
    /// How long each waits between an answer and its next request.
    pub pause: Duration,
    /// From the run's start; requests that begin within it are not counted.
    pub skip: Duration,
}

/// Runs the clients against a port of 127.0.0.1 for `length`.
pub fn run(port: u16, length: Duration, clients: &Clients) -> Seen {
    let start = Instant::now();
    let mut all = Seen::default();
    thread::scope(|scope| {
        let one = || one_client(port, clients, start + length);
        let threads: Vec<_> = (0..clients.count).map(|_| scope.spawn(one)).collect();
        for thread in threads {
            all.add(thread.join().unwrap_or_default());
        }
    });
    all
}

fn one_client(port: u16, clients: &Clients, until: Instant) -> Seen {
    let from = Instant::now() + clients.skip;
    let mut client = Client::new(port).timeout(Duration::from_secs(5));
    let mut seen = Seen::default();
    loop {
        let start = Instant::now();
        if start >= until || stop::requested() {
            return seen;
        }
        let outcome = client.try_get("/x");
        let took = start.elapsed();
        thread::sleep(clients.pause);
        if start < from {
            continue;
        }
        match outcome {
            Ok(response) if response.status == 200 => {
                seen.times_ms.push(took.as_secs_f64() * 1000.0);
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
