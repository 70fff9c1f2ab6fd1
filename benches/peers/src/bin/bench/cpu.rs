// SPDX-License-Identifier: Apache-2.0
//! CPU time per request: every way takes its turns between two of plain ProxyPass.

use peers::backends::Fast;
use peers::stats::{Spread, median};
use peers::stop;
use peers::wrk::{Load, Turn};

use crate::servers::{self, Kind, PLAIN, Running, Scene, Way};
use crate::settings::Settings;

/// CPU time with so many members.
#[derive(Clone, Debug)]
pub struct CpuTable {
    /// How many.
    pub members: usize,
    /// A row for each way.
    pub rows: Vec<CpuRow>,
}

/// The cost of a way.
#[derive(Clone, Debug)]
pub struct CpuRow {
    /// The way.
    pub name: String,
    /// The owner of the code.
    pub kind: Kind,
    /// The numbers, or why there are none.
    pub outcome: Result<Cost, String>,
}

/// Medians over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Microseconds per request.
    pub cpu_us: f64,
    /// Relative to plain ProxyPass just before and after.
    pub ratio: Spread,
    /// Requests per second.
    pub per_second: f64,
    /// Failed requests of all turns.
    pub failed: u64,
}

/// A way under measurement.
pub struct Contender {
    name: String,
    kind: Kind,
    server: Result<Running, String>,
    _backend: Option<Fast>,
    turns: Vec<Turn>,
    ratios: Vec<f64>,
    failures: usize,
}

/// One table for each number of members.
pub fn run(settings: &Settings) -> Result<Vec<CpuTable>, String> {
    settings.members.iter().map(|members| table(settings, *members)).collect()
}

fn table(settings: &Settings, members: usize) -> Result<CpuTable, String> {
    let ways = servers::all().into_iter().filter(|way| way.name == PLAIN || settings.wants(&way.name));
    let mut contenders = Vec::new();
    for way in ways {
        stop::check()?;
        contenders.push(Contender::start(&way, members, settings.threads));
    }
    // Long enough for connections to all members.
    let warm_up = Load::many_paths(1 + members / 500, settings.connections);
    let load = Load::many_paths(settings.seconds, settings.connections);
    let title = format!("{members} members");
    if let Err(reason) = compare(&mut contenders, &warm_up, &load, settings.rounds, &title) {
        stop::check()?;
        eprintln!("{title}: ends early: {reason}");
    }
    Ok(CpuTable { members, rows: contenders.iter().map(Contender::row).collect() })
}

/// Turns of all contenders; the first is the floor, which has a turn between any two others.
pub fn compare(
    contenders: &mut [Contender],
    warm_up: &Load,
    load: &Load,
    rounds: usize,
    title: &str,
) -> Result<(), String> {
    let Some((floor, others)) = contenders.split_first_mut() else { return Ok(()) };
    floor.turn(warm_up)?;
    others.iter_mut().for_each(|other| drop(other.turn(warm_up)));
    let mut floors = Vec::new();
    for round in 1..=rounds {
        eprintln!("{title}: round {round} of {rounds}");
        floors.extend(floor.turn(load));
        for other in others.iter_mut() {
            stop::check()?;
            let Ok(turn) = other.turn(load) else { continue };
            let after = match floor.turn(load) {
                Err(_) if floor.server.is_ok() => continue,
                after => after?,
            };
            let around = floors.last().map_or(after.cpu_us, |before| (before.cpu_us + after.cpu_us) / 2.0);
            other.ratios.push(turn.cpu_us / around);
            other.turns.push(turn);
            floors.push(after);
        }
    }
    floor.ratios =
        floors.windows(3).map(|three| three[1].cpu_us * 2.0 / (three[0].cpu_us + three[2].cpu_us)).collect();
    floor.turns = floors;
    Ok(())
}

impl Contender {
    /// Starts a way and a backend of its own: a process may not have as many connections open as
    /// all ways together keep. One that does not start stays, with the reason.
    fn start(way: &Way, members: usize, threads: usize) -> Self {
        let backend = servers::caught(|| Fast::start(members));
        let server = backend
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|backend| way.start(&Scene { members, port: backend.port(), threads }));
        Self { _backend: backend.ok(), ..Self::new(&way.name, way.kind, server) }
    }

    /// A server that was started, or the reason why not.
    pub fn new(name: &str, kind: Kind, server: Result<Running, String>) -> Self {
        if let Err(reason) = &server {
            eprintln!("{name} does not start: {reason}");
        }
        Self {
            name: name.to_owned(),
            kind,
            server,
            _backend: None,
            turns: Vec::new(),
            ratios: Vec::new(),
            failures: 0,
        }
    }

    /// One turn. A second failure is the last.
    fn turn(&mut self, load: &Load) -> Result<Turn, String> {
        let server = self.server.as_ref().map_err(Clone::clone)?;
        let outcome = load.turn(server.pid(), server.port());
        if let Err(reason) = &outcome {
            let reason = format!("{reason} ({})", server.last_words());
            eprintln!("{}: {reason}", self.name);
            self.failures += 1;
            if self.failures > 1 {
                self.server = Err(reason);
            }
        }
        outcome
    }

    /// The results.
    pub fn row(&self) -> CpuRow {
        let of = |what: fn(&Turn) -> f64| median(&self.turns.iter().map(what).collect::<Vec<_>>());
        let cost = || Cost {
            cpu_us: of(|turn| turn.cpu_us),
            ratio: Spread::of(&self.ratios),
            per_second: of(|turn| turn.per_second),
            failed: self.turns.iter().map(|turn| turn.failed).sum(),
        };
        let outcome = match &self.server {
            Err(reason) => Err(reason.clone()),
            Ok(_) if self.turns.is_empty() => Err("no turn succeeded".to_owned()),
            Ok(_) => Ok(cost()),
        };
        CpuRow { name: self.name.clone(), kind: self.kind, outcome }
    }
}
