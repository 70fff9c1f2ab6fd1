// SPDX-License-Identifier: Apache-2.0
//! Latency while one of ten members takes ten times as long as the others.

use std::time::Duration;

use peers::backends::Slow;
use peers::requests::{self, Clients, Seen};
use peers::stats::median;
use peers::stop;

use crate::servers::{self, Running, Scene, Way};
use crate::settings::Settings;

/// Members, the first of them slow.
pub const MEMBERS: usize = 10;
/// How long the others take.
pub const USUAL: Duration = Duration::from_millis(2);
/// How long the slow one takes.
pub const SLOW: Duration = Duration::from_millis(20);
/// At the start of each turn: not counted, so that every server has seen its members.
pub const SKIPPED: Duration = Duration::from_secs(1);

/// The ways that are compared.
const WAYS: [&str; 7] = [
    "mod_proxy_balancer bybusyness",
    "nginx random two least_conn",
    "HAProxy leastconn",
    "lb:// round_robin",
    "lb:// least_connections",
    "lb:// power_of_two",
    "lb:// least_latency",
];

/// The times that a way's clients saw.
#[derive(Clone, Debug)]
pub struct LatencyRow {
    /// The way.
    pub name: String,
    /// The numbers, or why there are none.
    pub outcome: Result<Latency, String>,
}

/// Medians over the rounds of each turn's number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Milliseconds.
    pub p50: f64,
    /// Milliseconds.
    pub p90: f64,
    /// Milliseconds.
    pub p99: f64,
    /// Milliseconds.
    pub p999: f64,
    /// Percent of the requests that went to the slow member.
    pub slow_percent: f64,
    /// Requests per second.
    pub per_second: f64,
    /// Requests of all turns without a 200.
    pub failed: usize,
}

struct Contender {
    way: Way,
    server: Result<Running, String>,
    turns: Vec<Turn>,
    failed: usize,
}

/// The figures of one turn: p50, p90, p99, p99.9, the slow member's percent, requests per second.
type Turn = [f64; 6];

/// A row for each way.
pub fn run(settings: &Settings) -> Result<Vec<LatencyRow>, String> {
    let backend = Slow::start(MEMBERS, USUAL, SLOW)?;
    let scene = Scene { members: MEMBERS, port: backend.port(), threads: settings.threads };
    let ways = servers::all()
        .into_iter()
        .filter(|way| WAYS.contains(&way.name.as_str()) && settings.wants(&way.name));
    let mut contenders: Vec<_> = ways.map(|way| Contender::start(way, &scene)).collect();
    for round in 0..=settings.latency_rounds {
        eprintln!("latency: round {round} of {} (0: warm-up)", settings.latency_rounds);
        for contender in &mut contenders {
            stop::check()?;
            let seconds = if round == 0 { 2 } else { settings.latency_seconds.max(2) };
            contender.turn(settings.latency_clients, Duration::from_secs(seconds as u64), round > 0);
        }
    }
    Ok(contenders.into_iter().map(Contender::row).collect())
}

impl Contender {
    fn start(way: Way, scene: &Scene) -> Self {
        let server = way.start(scene);
        if let Err(reason) = &server {
            eprintln!("{} does not start: {reason}", way.name);
        }
        Self { way, server, turns: Vec::new(), failed: 0 }
    }

    fn turn(&mut self, clients: usize, length: Duration, counts: bool) {
        let Ok(server) = &self.server else { return };
        let clients = Clients { count: clients, pause: Duration::ZERO, skip: SKIPPED };
        let seen = requests::run(server.port(), length, &clients);
        if seen.times_ms.is_empty() {
            let reason = seen.reason.unwrap_or_else(|| "no request".to_owned());
            self.server = Err(format!("{reason} ({})", server.last_words()));
        } else if counts {
            self.failed += seen.failed;
            self.turns.push(numbers(&seen, length - SKIPPED));
        }
    }

    fn row(self) -> LatencyRow {
        let outcome = match self.server {
            Ok(_) => Ok(medians(&self.turns, self.failed)),
            Err(reason) => Err(reason),
        };
        LatencyRow { name: self.way.name, outcome }
    }
}

fn numbers(seen: &Seen, length: Duration) -> Turn {
    let count = seen.times_ms.len() as f64;
    let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|share| seen.below(share));
    [p50, p90, p99, p999, 100.0 * seen.of_slow as f64 / count, count / length.as_secs_f64()]
}

fn medians(turns: &[Turn], failed: usize) -> Latency {
    let of = |index: usize| median(&turns.iter().map(|turn| turn[index]).collect::<Vec<_>>());
    let (slow_percent, per_second) = (of(4), of(5));
    Latency { p50: of(0), p90: of(1), p99: of(2), p999: of(3), slow_percent, per_second, failed }
}
