// SPDX-License-Identifier: Apache-2.0
//! The way of a simulation's request from its arrival to the member, or into a line.

use balance::rng::Rng;
use explain::Ruling;

use super::compare::{Answerer, Late, Served};
use super::faults::Fault;
use super::format::Record;
use super::queue::{Arrival, Dispatched};
use super::run::Simulation;
use super::workers::Outside;
use crate::world::ask::Ask;

/// Spreads the seeds of requests.
const DRAWS_SEED: u64 = 0xd1b5_4a32_d192_ed03;

/// The turn of a request at a worker, in seconds.
#[derive(Clone, Copy)]
struct Turn {
    /// The request's number.
    number: u64,
    /// Since the beginning.
    now: f64,
    /// How long it has waited for the worker.
    outside: f64,
    /// How long a member takes for it.
    took: f64,
    /// How long it took by the log.
    logged: Option<f64>,
}

impl Simulation {
    /// A request comes. Returns who answers it, as `LB_MEMBER` would say.
    pub fn arrive(&mut self, record: &Record, took: f64) -> Served {
        let now = (record.at - self.begin).max(0.0);
        self.pass_to(now, record.at);
        self.arrivals += 1;
        let number = self.arrivals;
        if self.workers.is_full() {
            self.workers.wait(Outside { number, came: now, record: record.clone(), took });
            return Served::Later(number);
        }
        let outside = 0.0;
        self.serve(&record.ask, Turn { number, now, outside, took, logged: record.took.seconds })
    }

    /// A worker is free, and takes the request that has waited longest.
    pub(super) fn take_next(&mut self, now: f64) {
        let Some(Outside { number, came, record, took }) = self.workers.free(now) else { return };
        let outside = now - came;
        let served =
            self.serve(&record.ask, Turn { number, now, outside, took, logged: record.took.seconds });
        if let Served::Now(answerer) = served {
            self.late.push((number, answerer));
        }
    }

    /// A worker has it from here on.
    fn serve(&mut self, ask: &Ask, turn: Turn) -> Served {
        let Turn { number, now, outside, took, logged } = turn;
        self.workers.begin();
        let draws = self.draw_for(number);
        let visited = self.world.visit(ask);
        for error in self.world.take_errors() {
            self.note_error(error);
        }
        self.world.server.take_lines();
        let sent = match visited.verdict {
            Ruling::Declined => {
                self.figures.declined += 1;
                self.workers.end_at(now + logged.unwrap_or_default());
                Dispatched::To(None)
            }
            Ruling::Answer { .. } => {
                self.figures.answered += 1;
                self.workers.end_at(now);
                Dispatched::To(None)
            }
            Ruling::Send(plan) => {
                let idempotent = !matches!(ask.method.as_str(), "POST" | "PATCH" | "CONNECT");
                let (at, waited, in_line) = (self.begin + now, 0.0, false);
                let arrival =
                    Arrival { number, came: now, now, at, outside, took, waited, in_line, idempotent };
                self.figures.requests += 1;
                self.set_out(plan, arrival, ask)
            }
        };
        self.world.pools.take_notices();
        let is_drawn = self.has_drawn(draws);
        match sent {
            Dispatched::To(name) => Served::Now(Answerer { name, is_drawn }),
            Dispatched::Waits(..) => {
                if is_drawn {
                    self.drawn.insert(number);
                }
                Served::Later(number)
            }
        }
    }

    /// Has a request draw from a seed of its own, where it is compared.
    pub(super) fn draw_for(&self, number: u64) -> Option<u64> {
        let seed = || Rng::new(self.world.setup().seed ^ number.wrapping_mul(DRAWS_SEED)).next_u64();
        let seed = self.draws_apart.then(seed)?;
        self.world.draw_from(seed);
        Some(seed)
    }

    /// Whether it has drawn.
    pub(super) fn has_drawn(&self, draws: Option<u64>) -> bool {
        draws.is_some_and(|seed| self.world.has_drawn(seed))
    }

    /// Everybody who waits has an end. No request comes any more.
    pub fn finish(&mut self) {
        loop {
            let worker = self.workers.next_end().filter(|_| self.workers.has_line());
            let ends = self.queues.next_end().into_iter().chain(worker);
            let Some(end) = ends.min_by(f64::total_cmp) else { break };
            self.pass_to(end, self.begin + end);
        }
    }

    /// A member of `--slow` and `--down` that is neither one of these nor added.
    pub fn unknown_member(&self, known: &[(String, String)]) -> Option<String> {
        Fault::unknown(&self.faults, known).map(str::to_owned)
    }

    /// The members that have served requests that have waited, since this was asked last.
    pub fn take_late(&mut self) -> Vec<Late> {
        std::mem::take(&mut self.late)
    }
}
