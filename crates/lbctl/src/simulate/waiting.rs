// SPDX-License-Identifier: Apache-2.0
//! A simulation's requests in their queues: what they wait for, who is called, who gives up.

use balance::api::PoolId;
use balance::choosing::Decision;
use balance::settings::Method;
use explain::{Plan, Way};

use super::compare::Answerer;
use super::queue::{Arrival, Dispatched, Waiter, Wants};
use super::run::Simulation;

impl Simulation {
    /// The thing that a request would wait for, in a pool with a queue; and how long, in seconds.
    pub fn wants(&self, way: &Way<'_>, plan: &Plan, number: u64) -> Option<(Wants, f64)> {
        let pool = way.course.pool.or(match &plan.decision {
            Decision::Pool { pool, .. } => Some(*pool),
            Decision::List(members) => members.first().map(|(pool, _)| *pool),
            _ => None,
        })?;
        let now = self.world.handle().now(pool)?;
        let queue_ms = now.settings().set.queue_ms;
        if queue_ms == 0 {
            return None;
        }
        let wants = way.chooser().wants(&way.course, &now)?;
        let by_script = match &plan.decision {
            Decision::Pool { method, .. } => {
                matches!(method.as_ref().unwrap_or(&now.settings().method), Method::Lua { .. })
            }
            _ => false,
        };
        // Nobody knows whom the function will name: such a request stands in nobody's way.
        let wants = if by_script { (wants.0, Some(u64::MAX - number)) } else { wants };
        // The module's clock has whole milliseconds: one more, so that none is missing.
        Some((wants, (queue_ms + 1) as f64 / 1e3))
    }

    /// A place is free in a pool: the first that can use it has it. False: nobody can.
    pub fn call(&mut self, pool: PoolId) -> bool {
        let mut queue = self.queues.take(pool);
        let (mut place, mut used) = (0, false);
        // The things that were looked for in vain.
        let mut gone: Vec<Wants> = Vec::new();
        while place < queue.len() && !used {
            if gone.contains(&queue[place].wants) {
                place += 1;
                continue;
            }
            let Some(waiter) = queue.remove(place) else { break };
            match self.look_again(waiter) {
                Some(waiter) => {
                    gone.push(waiter.wants);
                    queue.insert(place, waiter);
                    place += 1;
                }
                None => used = true,
            }
        }
        self.queues.put_back(pool, queue);
        used
    }

    /// One that was called looks for a member; it comes back when there is none.
    fn look_again(&mut self, mut waiter: Waiter) -> Option<Waiter> {
        waiter.state.0.looks_again();
        waiter.ask.put(&self.world.request, true);
        let draws = self.draw_for(waiter.arrival.number);
        let mut way = Way::resumed(&waiter.plan, std::mem::take(&mut waiter.state));
        let now = self.world.now();
        let waited = now - waiter.arrival.came;
        let arrival = Arrival { now, at: self.begin + now, waited, in_line: true, ..waiter.arrival };
        let sent = self.send(&mut way, &waiter.plan, &arrival);
        let is_drawn = self.has_drawn(draws);
        match sent {
            Dispatched::To(name) => {
                self.figures.waits.add(waited);
                self.ends_late(arrival.number, name, is_drawn);
                None
            }
            Dispatched::Waits(..) => {
                waiter.state = way.interrupted();
                Some(waiter)
            }
        }
    }

    /// Everybody whose time is up goes without an answer.
    pub fn give_up(&mut self, now: f64) {
        while let Some(waiter) = self.queues.expired(now) {
            self.figures.waits.add(now - waiter.arrival.came);
            self.figures.gave_up += 1;
            self.figures.unserved += 1;
            self.workers.end_at(now);
            self.ends_late(waiter.arrival.number, None, false);
        }
    }

    /// One that has waited has its member, or nobody.
    fn ends_late(&mut self, number: u64, name: Option<String>, is_drawn: bool) {
        let is_drawn = self.drawn.remove(&number) || is_drawn;
        self.late.push((number, Answerer { name, is_drawn }));
    }
}
