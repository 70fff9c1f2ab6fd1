// SPDX-License-Identifier: Apache-2.0
//! The times of requests at one server, in turns without and with something that goes on beside
//! them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::requests::{self, Clients};
use crate::stats::{Spread, median};

/// How it is compared.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// Of a turn.
    pub length: Duration,
    /// Turns with something beside; there is one more without.
    pub rounds: usize,
    /// The clients of each turn.
    pub clients: Clients,
}

/// The times of requests, milliseconds.
#[derive(Debug)]
pub struct Beside {
    /// Half of them took less.
    pub p50: f64,
    /// All but a hundredth took less, in turns without.
    pub p99: f64,
    /// The same, in turns with something beside.
    pub p99_beside: f64,
    /// The p99 of each turn with it, by that of the turns before and after it.
    pub ratio: Spread,
    /// Requests a second.
    pub rate: f64,
    /// Requests without a 200.
    pub failed: usize,
}

impl Turns {
    /// Compares. `beside` goes on until it is told to end; `name` is for the lines that tell how
    /// far it is.
    pub fn compare(&self, port: u16, name: &str, beside: &(dyn Fn(&AtomicBool) + Sync)) -> Beside {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let (mut medians, mut rates, mut failed) = (Vec::new(), Vec::new(), 0);
        let mut turn = |is_with: bool| {
            let ended = AtomicBool::new(false);
            let seen = thread::scope(|scope| {
                if is_with {
                    scope.spawn(|| beside(&ended));
                }
                let seen = requests::run(port, self.length, &self.clients);
                ended.store(true, Ordering::Relaxed);
                seen
            });
            failed += seen.failed;
            medians.push(seen.below(0.5));
            rates.push(seen.times_ms.len() as f64 / (self.length - self.clients.skip).as_secs_f64());
            seen.below(0.99)
        };
        without.push(turn(false));
        for round in 1..=self.rounds {
            with.push(turn(true));
            without.push(turn(false));
            let (alone, beside) = (without[round], with[round - 1]);
            eprintln!("{name}, round {round} of {}: p99 {alone:.2} ms, with {beside:.2} ms", self.rounds);
        }
        let pairs = with.iter().zip(without.windows(2));
        let ratios: Vec<f64> = pairs.map(|(seen, around)| seen / ((around[0] + around[1]) / 2.0)).collect();
        Beside {
            p50: median(&medians),
            p99: median(&without),
            p99_beside: median(&with),
            ratio: Spread::of(&ratios),
            rate: median(&rates),
            failed,
        }
    }
}

impl Beside {
    /// The head of a table, with a word for what goes on beside.
    pub fn head(beside: &str) -> String {
        format!(
            "| members | p50 | p99 | p99 {beside} | ratio of p99 (median, quartiles) | requests/s | failed |\n\
             |---|---|---|---|---|---|---|"
        )
    }

    /// A row of it.
    pub fn row(&self, members: usize) -> String {
        let Beside { p50, p99, p99_beside, ratio: Spread { low, median, high }, rate, failed } = self;
        format!(
            "| {members} | {p50:.2} | {p99:.2} | {p99_beside:.2} | {median:.2} ({low:.2}–{high:.2}) | {rate:.0} | {failed} |"
        )
    }
}
