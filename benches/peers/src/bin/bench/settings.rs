// SPDX-License-Identifier: Apache-2.0
//! The settings of a run, from the environment: everything can be made smaller.

use std::env;
use std::path::PathBuf;

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many members, one part of the run each.
    pub members: Vec<usize>,
    /// Rounds of turns of CPU time.
    pub rounds: usize,
    /// Seconds of a turn.
    pub seconds: usize,
    /// Connections of the load.
    pub connections: usize,
    /// Threads of each of httpd's two children.
    pub threads: usize,
    /// Rounds of turns of latency.
    pub latency_rounds: usize,
    /// Seconds of such a turn.
    pub latency_seconds: usize,
    /// Requests under way at any time in such a turn.
    pub latency_clients: usize,
    /// Parts of names; empty: every way. Plain ProxyPass is always there.
    pub only: Vec<String>,
    /// `cpu`, `latency`, `memory`, `scale`.
    pub steps: Vec<String>,
    /// The folder of the report.
    pub out: PathBuf,
    /// Variables that were given, as one writes them before the command.
    pub given: String,
}

const NAMES: [&str; 10] = [
    "MEMBERS",
    "ROUNDS",
    "SECONDS_EACH",
    "CONNECTIONS",
    "THREADS",
    "LATENCY_ROUNDS",
    "LATENCY_SECONDS",
    "LATENCY_CLIENTS",
    "ONLY",
    "STEPS",
];

impl Settings {
    /// From environment variables; what is not set has its default.
    pub fn from_environment() -> Result<Self, String> {
        let given = NAMES.iter().filter_map(|name| Some(format!("{name}={} ", quoted(&text(name)?))));
        Ok(Self {
            members: list("MEMBERS", "3,100,1000")
                .iter()
                .map(|word| positive("MEMBERS", word))
                .collect::<Result<_, _>>()?,
            rounds: number("ROUNDS", 7)?,
            seconds: number("SECONDS_EACH", 1)?,
            connections: number("CONNECTIONS", 16)?,
            threads: number("THREADS", 25)?,
            latency_rounds: number("LATENCY_ROUNDS", 5)?,
            latency_seconds: number("LATENCY_SECONDS", 4)?,
            latency_clients: number("LATENCY_CLIENTS", 20)?,
            only: list("ONLY", ""),
            steps: list("STEPS", "cpu,latency,memory,scale"),
            out: text("OUT").unwrap_or_else(|| "docs/performance".to_owned()).into(),
            given: given.collect(),
        })
    }

    /// Whether this step is wanted.
    pub fn has_step(&self, name: &str) -> bool {
        self.steps.iter().any(|step| step == name)
    }

    /// Whether a way of this name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn quoted(value: &str) -> String {
    if value.contains(' ') { format!("'{value}'") } else { value.to_owned() }
}

fn list(name: &str, default: &str) -> Vec<String> {
    let value = text(name).unwrap_or_else(|| default.to_owned());
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn number(name: &str, default: usize) -> Result<usize, String> {
    text(name).map_or(Ok(default), |value| positive(name, &value))
}

fn positive(name: &str, value: &str) -> Result<usize, String> {
    let number = value.parse().ok().filter(|number| *number > 0 && *number <= 10_000);
    number.ok_or_else(|| format!("{name}={value}: expected a number from 1 to 10000"))
}
