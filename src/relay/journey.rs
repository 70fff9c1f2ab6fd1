// SPDX-License-Identifier: Apache-2.0
//! A request as the loop over attempts knows it: a value of its own, on its stack.

use std::sync::Arc;

use balance::choosing::Course;
use balance::counting::Ending;
use balance::engine::Now;
use balance::member::Member;
use balance::relay::{HookStatus, Outcome};
use balance::settings::PoolSettings;
use once_cell::sync::Lazy;

use super::record::Record;
use super::ticket::Wait;
use crate::httpd::exchange::Proxy;
use crate::httpd::request::Request;
use crate::serve::child::{Child, Thread};

/// A request, and the thread of a child that serves it.
#[derive(Clone, Copy)]
pub struct Serving<'r> {
    /// The request.
    pub request: Request<'r>,
    /// The process.
    pub child: &'static Child,
    /// The thread's own values.
    pub thread: &'r Thread,
}

/// A request that mod_proxy has handed over.
#[derive(Clone, Copy)]
pub struct Run<'r> {
    /// The request, and where it runs.
    pub serving: Serving<'r>,
    /// The values that mod_proxy passed.
    pub proxy: &'r Proxy,
    /// The record that is kept with the request.
    pub record: &'r Record,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// The meaning of the end.
    pub outcome: Outcome,
    /// The answer for mod_proxy, if the attempt was the last.
    pub answer: HookStatus,
    /// The member's status, or the one that httpd sends in place of it.
    pub status: u16,
    /// The client may have brought the failure about.
    pub excused: bool,
}

/// The cost of one attempt; all zeros where nobody was asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// When it began and ended, microseconds of the monotonic clock.
    pub began_us: u64,
    pub ended_us: u64,
    /// Bytes sent to the backend and received from it.
    pub moved: (u64, u64),
}

/// The state of the loop: where the request is, and what it has tried.
#[derive(Default)]
pub struct Journey {
    /// Its course so far.
    pub course: Course,
    /// How often another request was faster to the last place of a member.
    pub races: u32,
    /// Its wait for a place, see `queue=`.
    pub wait: Wait,
    /// Until when it waits for the first list of its pool's sources.
    pub first_list_ms: Option<u64>,
    /// The cost of the last attempt.
    pub spent: Spent,
    /// As what the last attempt at a member was counted.
    pub ending: Option<Ending>,
    /// When the first exchange began and the last one ended, microseconds of the monotonic clock.
    pub first_us: u64,
    pub over_us: u64,
    /// Further attempts by what the one before ended with, see
    /// [`balance::counting::RequestEnd::retries`].
    pub retries: [u32; 3],
    /// How the last attempt ended.
    pub last: Option<Ended>,
    /// The attempts before it, where requests with several are kept (`LuaBalancerDecisions`); of
    /// targets without a member.
    pub earlier: Vec<(Option<Arc<Member>>, Ended)>,
    /// Whether the environment names a member already.
    pub announced: bool,
    /// Whether the filter of the answer's headers was added.
    pub filters_answer: bool,
    /// Whether the filter that sees the request's body was added.
    pub filters_body: bool,
}

impl Journey {
    /// Microseconds that the last attempt took.
    pub fn took_us(&self) -> u64 {
        self.spent.ended_us.saturating_sub(self.spent.began_us)
    }

    /// The pool that the request is at, as it is now.
    pub fn now(&self, thread: &Thread) -> Option<Now> {
        self.course.pool.and_then(|pool| thread.balancer.now(pool))
    }
}

/// Settings of the pool that a request is at; defaults for ad-hoc targets.
pub fn settings_of(pool: Option<&Now>) -> &PoolSettings {
    static DEFAULTS: Lazy<PoolSettings> = Lazy::new(PoolSettings::default);
    pool.map_or_else(|| &*DEFAULTS, Now::settings)
}
