// SPDX-License-Identifier: Apache-2.0
//! The simulation: arrivals of a log, real picks, members that answer in virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId};
use balance::choosing::Goal;
use balance::event::By;
use balance::lifecycle::{self, Attempt, Finding, Ramps, Subject};
use balance::live::Slot;
use balance::member::Member;
use balance::relay::Outcome;
use explain::{Plan, Way};

use super::compare::Late;
use super::faults::Fault;
use super::figures::{Failures, Series, Times};
use super::queue::{Arrival, Dispatched, Queues, Waiter};
use super::workers::Workers;
use crate::world::World;
use crate::world::ask::Ask;
use crate::world::setup::Setup;

/// The figures of one member.
#[derive(Debug, Clone, Default)]
pub struct MemberFigures {
    /// `POOL/NAME`.
    pub name: String,
    /// Requests that it answered.
    pub requests: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Most at the same time.
    pub peak: u32,
    /// How long they took.
    pub times: Times,
    inflight: u32,
}

/// The figures of all.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Members by the order in which they were first asked.
    pub members: Vec<MemberFigures>,
    /// All requests that somebody of ours was to answer.
    pub requests: u64,
    /// The requests that are not ours.
    pub declined: u64,
    /// The requests that scripts answered.
    pub answered: u64,
    /// The requests that went to backends of no pool.
    pub targets: u64,
    /// Further attempts.
    pub retries: u64,
    /// The requests that nobody served.
    pub unserved: u64,
    /// The requests that have waited in a queue.
    pub waited: u64,
    /// The requests that waited in vain.
    pub gave_up: u64,
    /// How long they waited.
    pub waits: Times,
    /// Sessions that went to another member than theirs.
    pub moved: u64,
    /// How long requests took.
    pub times: Times,
    /// Requests over time.
    pub series: Series,
}

/// An answer that is on its way: when it comes, in microseconds.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at_us: u64,
    number: u64,
    slot: Slot,
    took_us: u64,
}

/// See the module.
pub struct Simulation {
    pub(super) world: World,
    pub(super) faults: Rc<Vec<Fault>>,
    added: Vec<bool>,
    pub(super) begin: f64,
    due: BinaryHeap<Reverse<Due>>,
    /// Members by slot: number among the figures, pool, the member.
    known: Vec<Option<(usize, PoolId, Arc<Member>)>>,
    ramps: Ramps,
    next_tick: f64,
    /// By pool: seconds from check to check, when the next one is.
    checks: Vec<(PoolId, f64, f64)>,
    numbers: u64,
    /// Requests so far.
    pub(super) arrivals: u64,
    /// The requests that wait.
    pub(super) queues: Queues,
    /// httpd's workers.
    pub(super) workers: Workers,
    /// The members that have served requests that have waited.
    pub(super) late: Vec<Late>,
    /// Each request draws from a seed of its own: it is compared with others.
    pub(super) draws_apart: bool,
    /// The requests that wait and have drawn.
    pub(super) drawn: BTreeSet<u64>,
    /// The errors of scripts, and how often each came.
    errors: BTreeMap<String, u64>,
    /// The figures.
    pub figures: Figures,
}

/// Seconds between two looks at ejections and slow starts.
const TICK: f64 = 1.0;
/// Kinds of errors that are kept apart.
const MOST_ERRORS: usize = 20;

impl Simulation {
    /// From the moment of the first request on.
    pub fn new(mut setup: Setup, faults: Rc<Vec<Fault>>, begin: f64) -> Result<Self, String> {
        setup.epoch = begin;
        let world = World::new(Rc::new(setup))?;
        world.limit_patience();
        let mut checks = Vec::new();
        for membership in world.memberships() {
            let settings = world.handle().settings(membership.pool);
            if let Some(check) = settings.as_ref().and_then(|settings| settings.health.as_ref()) {
                let every = check.interval_ms as f64 / 1e3;
                checks.push((membership.pool, every, every));
            }
        }
        Ok(Simulation {
            world,
            added: vec![false; faults.len()],
            faults,
            begin,
            due: BinaryHeap::new(),
            known: Vec::new(),
            ramps: Ramps::default(),
            next_tick: TICK,
            checks,
            numbers: 0,
            arrivals: 0,
            queues: Queues::default(),
            workers: Workers::default(),
            late: Vec::new(),
            draws_apart: false,
            drawn: BTreeSet::new(),
            errors: BTreeMap::new(),
            figures: Figures::default(),
        })
    }

    pub(super) fn set_out(&mut self, plan: Plan, arrival: Arrival, ask: &Ask) -> Dispatched {
        let mut way = Way::new(&plan);
        let (wants, seconds) = match self.send(&mut way, &plan, &arrival) {
            Dispatched::Waits(wants, seconds) => (wants, seconds),
            sent => return sent,
        };
        let state = way.interrupted();
        let (ask, until) = (ask.clone(), arrival.came + seconds);
        self.figures.waited += 1;
        self.queues.join(Waiter { arrival, ask, plan, state, wants, until });
        Dispatched::Waits(wants, seconds)
    }

    pub(super) fn note_error(&mut self, error: String) {
        if self.errors.len() < MOST_ERRORS || self.errors.contains_key(&error) {
            *self.errors.entry(error).or_default() += 1;
        }
    }

    /// The failures of scripts, taken at the end.
    pub fn take_failures(&mut self) -> Failures {
        self.world.take_errors().into_iter().for_each(|error| self.note_error(error));
        Failures { errors: std::mem::take(&mut self.errors), given_up: self.world.given_up() }
    }

    /// Sends a request to a member that has a place, or has it wait for one.
    pub fn send(&mut self, way: &mut Way<'_>, plan: &Plan, arrival: &Arrival) -> Dispatched {
        let Arrival { at, now, took, .. } = *arrival;
        loop {
            if !arrival.in_line
                && let Some((wants, seconds)) = self.wants(way, plan, arrival.number)
                && self.queues.is_behind(wants)
            {
                return Dispatched::Waits(wants, seconds);
            }
            let (pool, member) = match way.next(&self.world) {
                Ok(Goal::Member(pool, member)) => (pool, member),
                Ok(Goal::Target(url)) => {
                    self.figures.targets += 1;
                    self.figures.times.add(arrival.outside + took);
                    self.workers.end_at(now + took);
                    return Dispatched::To(Some(url.split(' ').next().unwrap_or_default().to_owned()));
                }
                Err(nobody) => {
                    let are_full = !way.course.full.is_empty() || matches!(nobody, NoMember::Full(..));
                    if are_full && let Some((wants, seconds)) = self.wants(way, plan, arrival.number) {
                        return Dispatched::Waits(wants, seconds);
                    }
                    self.figures.unserved += 1;
                    self.workers.end_at(now);
                    return Dispatched::To(None);
                }
            };
            self.figures.retries += u64::from(way.course.attempts > 1);
            let number = self.number_of(pool, &member);
            let name = &self.figures.members[number].name;
            let pool_name = name.split('/').next().unwrap_or_default();
            let (factor, serves) = Fault::weigh(&self.faults, pool_name, &member.spec.name, at);
            if serves {
                let moved = way.course.route().is_some() && !way.course.is_by_session();
                self.figures.moved += u64::from(moved);
                self.begin_at(number, member.slot, (at, now), took * factor);
                self.workers.end_at(now + took * factor);
                self.figures.times.add(arrival.outside + arrival.waited + took * factor);
                return Dispatched::To(Some(self.figures.members[number].name.clone()));
            }
            self.figures.members[number].failures += 1;
            self.ended(pool, &member, Outcome::Connect, 0.0);
            let settings = self.world.handle().settings(pool);
            let again =
                settings.is_some_and(|settings| way.goes_on(Outcome::Connect, arrival.idempotent, &settings));
            if !again {
                self.figures.unserved += 1;
                self.workers.end_at(now);
                return Dispatched::To(None);
            }
        }
    }

    fn begin_at(&mut self, number: usize, slot: Slot, (at, now): (f64, f64), took: f64) {
        let figures = &mut self.figures.members[number];
        figures.inflight += 1;
        figures.peak = figures.peak.max(figures.inflight);
        figures.requests += 1;
        figures.times.add(took);
        self.world.pools.store().set_inflight(slot, figures.inflight);
        self.figures.series.add(at, number);
        self.numbers += 1;
        let took_us = (took * 1e6) as u64;
        self.due.push(Reverse(Due {
            at_us: (now * 1e6) as u64 + took_us,
            number: self.numbers,
            slot,
            took_us,
        }));
    }

    fn number_of(&mut self, pool: PoolId, member: &Arc<Member>) -> usize {
        let slot = member.slot as usize;
        if self.known.len() <= slot {
            self.known.resize(slot + 1, None);
        }
        if let Some((number, ..)) = &self.known[slot] {
            return *number;
        }
        let now = self.world.handle().now(pool);
        let pool_name = now.map(|now| now.membership().name.to_string()).unwrap_or_default();
        let number = self.figures.members.len();
        let name = format!("{pool_name}/{}", member.spec.name);
        self.figures.members.push(MemberFigures { name, ..MemberFigures::default() });
        self.known[slot] = Some((number, pool, member.clone()));
        number
    }

    fn ended(&self, pool: PoolId, member: &Member, outcome: Outcome, seconds: f64) {
        let Some(now) = self.world.handle().now(pool) else { return };
        let attempt = Attempt {
            member,
            outlier: &now.settings().outlier,
            outcome,
            excused: false,
            counted: None,
            took_ms: (seconds * 1e3) as f32,
            ended_ms: self.world.now_ms() as u32,
        };
        let members = || Some((self.world.handle().membership(pool)?, self.world.now_ms()));
        lifecycle::attempt_ended(self.world.pools.store(), &attempt, members);
    }

    /// Everything that happens up to a moment.
    pub(super) fn pass_to(&mut self, now: f64, at: f64) {
        self.skip(now);
        loop {
            let answer = self.due.peek().map(|Reverse(due)| due.at_us as f64 / 1e6);
            let check = self.checks.iter().map(|(_, _, next)| *next).min_by(f64::total_cmp);
            let end = self.queues.next_end();
            let worker = self.workers.next_end();
            let all = [answer, check, Some(self.next_tick), end, worker];
            let next = all.into_iter().flatten().min_by(f64::total_cmp).unwrap_or(now);
            if next > now {
                break;
            }
            self.world.set_now(next);
            if answer == Some(next) {
                self.answer();
            } else if check == Some(next) {
                self.check(next);
            } else if end == Some(next) {
                self.give_up(next);
            } else if worker == Some(next) {
                self.take_next(next);
            } else {
                self.tick(now);
            }
        }
        self.world.set_now(now);
        self.add(at);
    }

    /// Skips a long time without requests, but for its last hour.
    fn skip(&mut self, now: f64) {
        const LONG: f64 = 3600.0;
        let from = now - LONG;
        if self.world.now() < from {
            self.next_tick = self.next_tick.max(from);
            for (_, every, next) in &mut self.checks {
                *next += ((from - *next) / *every).ceil().max(0.0) * *every;
            }
        }
    }

    fn answer(&mut self) {
        let Some(Reverse(due)) = self.due.pop() else { return };
        let Some(Some((number, pool, member))) = self.known.get(due.slot as usize).cloned() else { return };
        let figures = &mut self.figures.members[number];
        figures.inflight = figures.inflight.saturating_sub(1);
        self.world.pools.store().set_inflight(due.slot, figures.inflight);
        self.ended(pool, &member, Outcome::Answered(200), due.took_us as f64 / 1e6);
        self.call(pool);
    }

    fn check(&mut self, next: f64) {
        let (store, at) = (self.world.pools.store(), self.begin + next);
        for (pool, every, due) in self.checks.iter_mut().filter(|(_, _, due)| *due <= next) {
            *due += *every;
            let (Some(settings), Some(membership)) =
                (self.world.handle().settings(*pool), self.world.handle().membership(*pool))
            else {
                continue;
            };
            let Some(check) = &settings.health else { continue };
            for member in membership.members.iter() {
                let (_, ok) = Fault::weigh(&self.faults, &membership.name, &member.spec.name, at);
                let found = Finding { ok, why: "simulated", ..Finding::default() };
                lifecycle::check_ended(store, Subject { pool: &membership.name, member }, check, &found);
            }
        }
    }

    /// Ejections end, slow starts go on. Long times without either are one step. Waiting requests
    /// may find a member that is back.
    fn tick(&mut self, now: f64) {
        self.world.pass_to(&mut self.ramps, self.next_tick);
        for pool in self.queues.pools() {
            while self.call(pool) {}
        }
        self.next_tick += TICK;
        if self.world.is_settled() && self.next_tick < now {
            self.next_tick = now.max(self.next_tick);
        }
    }

    /// Members that come by now.
    fn add(&mut self, at: f64) {
        for (number, fault) in self.faults.clone().iter().enumerate() {
            let Fault::Add(pool, spec, _) = fault else { continue };
            if self.added[number] || !fault.has_begun(at) {
                continue;
            }
            self.added[number] = true;
            for membership in self.world.memberships() {
                if pool.as_ref().is_none_or(|pool| membership.name.eq_ignore_ascii_case(pool))
                    && let Err(error) =
                        self.world.handle().add(membership.pool, (**spec).clone(), &By::Somebody)
                {
                    self.note_error(error.to_string());
                }
            }
        }
    }
}
