// SPDX-License-Identifier: Apache-2.0
//! Requests that wait for a place at a member (`queue=`), in virtual time, in the module's order.

use std::collections::VecDeque;

use balance::api::PoolId;
use balance::choosing::Course;
use explain::Plan;

use crate::world::ask::Ask;

/// The thing that a request waits for: any member of a pool, or a part of it.
pub type Wants = (PoolId, Option<u64>);

/// A request on its way, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Its number.
    pub number: u64,
    /// When it came, since the beginning.
    pub came: f64,
    /// The time, since the beginning and since the epoch.
    pub now: f64,
    /// The same since the epoch.
    pub at: f64,
    /// How long it has waited for a worker of httpd.
    pub outside: f64,
    /// How long a member takes for it.
    pub took: f64,
    /// How long it has waited in a queue.
    pub waited: f64,
    /// It comes from there.
    pub in_line: bool,
    /// It may be sent twice.
    pub idempotent: bool,
}

/// Where it has gone.
pub enum Dispatched {
    /// To this member or target, or to nobody.
    To(Option<String>),
    /// It waits for this, at most so many seconds.
    Waits(Wants, f64),
}

/// A request that waits.
pub struct Waiter {
    pub arrival: Arrival,
    pub ask: Ask,
    pub plan: Plan,
    /// Its tries, and the number of choices behind it.
    pub state: (Course, usize),
    pub wants: Wants,
    /// Seconds since the beginning at which it gives up.
    pub until: f64,
}

/// The queues of all pools.
#[derive(Default)]
pub struct Queues(Vec<(PoolId, VecDeque<Waiter>)>);

impl Queues {
    /// Whether anybody waits for the same. Requests that wait for something else have looked in
    /// vain: the place that is free now is of no use to them.
    pub fn is_behind(&self, wants: Wants) -> bool {
        self.of(wants.0).is_some_and(|queue| queue.iter().any(|waiter| waiter.wants == wants))
    }

    fn of(&self, pool: PoolId) -> Option<&VecDeque<Waiter>> {
        self.0.iter().find(|(own, _)| *own == pool).map(|(_, queue)| queue)
    }

    /// The queue of a pool, to be put back.
    pub fn take(&mut self, pool: PoolId) -> VecDeque<Waiter> {
        let found = self.0.iter_mut().find(|(own, _)| *own == pool);
        found.map(|(_, queue)| std::mem::take(queue)).unwrap_or_default()
    }

    /// Puts a queue back that was taken.
    pub fn put_back(&mut self, pool: PoolId, queue: VecDeque<Waiter>) {
        if let Some((_, own)) = self.0.iter_mut().find(|(own, _)| *own == pool) {
            *own = queue;
        }
    }

    /// Puts one at the end.
    pub fn join(&mut self, waiter: Waiter) {
        let pool = waiter.wants.0;
        match self.0.iter_mut().find(|(own, _)| *own == pool) {
            Some((_, queue)) => queue.push_back(waiter),
            None => self.0.push((pool, VecDeque::from([waiter]))),
        }
    }

    /// Pools in which somebody waits.
    pub fn pools(&self) -> Vec<PoolId> {
        self.0.iter().filter(|(_, queue)| !queue.is_empty()).map(|(pool, _)| *pool).collect()
    }

    /// When the next one gives up. A pool's requests all wait equally long.
    pub fn next_end(&self) -> Option<f64> {
        self.0.iter().filter_map(|(_, queue)| queue.front()).map(|waiter| waiter.until).min_by(f64::total_cmp)
    }

    /// One whose time is up.
    pub fn expired(&mut self, now: f64) -> Option<Waiter> {
        let is_late = |queue: &VecDeque<Waiter>| queue.front().is_some_and(|waiter| waiter.until <= now);
        self.0.iter_mut().find(|(_, queue)| is_late(queue))?.1.pop_front()
    }
}
