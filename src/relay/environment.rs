// SPDX-License-Identifier: Apache-2.0
//! The environment variables that tell where a request went, for headers, logs and scripts.

use std::ffi::CStr;
use std::sync::Arc;

use balance::engine::Now;
use balance::member::Member;

use super::circumstances::RouteChooser;
use super::journey::{Journey, Run};
use super::record::Report;
use crate::httpd::request::Request;
use crate::httpd::worker::Worker;

/// The client has gone before it had the whole answer.
pub const ABORTED: &CStr = c"aborted";

/// Sets those that name where an attempt goes, before it begins: what adds headers to the answer
/// sees them.
pub fn announce(
    request: Request<'_>,
    journey: &mut Journey,
    chooser: &RouteChooser<'_>,
    (pool, member, worker): (&Now, &Arc<Member>, Worker),
) {
    let env = request.env();
    // With the first attempt these keys are new.
    let first = !std::mem::replace(&mut journey.announced, true);
    const SCHEME: &[u8] = b"lb://";
    let [name, method, member, route] = request.pool().texts([
        &[SCHEME, pool.membership().name.as_bytes()],
        &[chooser.method(&journey.course, pool.settings()).as_bytes()],
        &[member.spec.name.as_bytes()],
        &[member.spec.route.as_bytes()],
    ]);
    env.point(first, c"LB_POOL", name.skip(SCHEME.len()));
    env.point(first, c"LB_MEMBER", member);
    env.point(first, c"LB_METHOD", method);
    env.point(first, c"BALANCER_NAME", name);
    env.point(first, c"BALANCER_WORKER_NAME", worker.url());
    env.point(first, c"BALANCER_WORKER_ROUTE", route);
}

/// The relay is over: sets those of the last attempt, and reports it. Called once a request, so
/// that the keys are new.
pub fn report(run: &Run<'_>, journey: &mut Journey, chooser: &RouteChooser<'_>, reason: &'static CStr) {
    let request = run.serving.request;
    let (env, memory) = (request.env(), request.pool());
    if journey.announced {
    } else if let Some(url) = chooser.target() {
        // Without the keys that may stand behind it.
        let [url] = memory.texts([&[url.split(' ').next().unwrap_or_default().as_bytes()]]);
        env.point(true, c"LB_MEMBER", url);
    } else if let Some(pool) = journey.now(run.serving.thread) {
        let method = chooser.method(&journey.course, pool.settings());
        let [name, method] = memory.texts([&[pool.membership().name.as_bytes()], &[method.as_bytes()]]);
        env.point(true, c"LB_POOL", name);
        env.point(true, c"LB_METHOD", method);
    }
    let reason = if request.aborted() { ABORTED } else { reason };
    let took_us = journey.took_us();
    let [attempts, seconds] = memory.texts([
        &[Decimal::new(u64::from(journey.course.attempts), 0).as_bytes()],
        &[Decimal::new(took_us, 6).as_bytes()],
    ]);
    env.point(true, c"LB_ATTEMPTS", attempts);
    env.point(true, c"LB_REASON", reason);
    env.point(true, c"LB_SECONDS", seconds);
    let report =
        Report { member: journey.course.member.take(), attempts: journey.course.attempts, took_us, reason };
    // There is one already where a script failed before.
    let _ = run.record.report.set(report);
}

/// A number's digits, without an allocation.
struct Decimal {
    digits: [u8; 24],
    start: usize,
}

impl Decimal {
    /// `number` with its last `places` digits behind a point.
    fn new(mut number: u64, places: usize) -> Self {
        let mut digits = [0; 24];
        let mut start = digits.len();
        let mut free = digits.iter_mut().rev();
        let mut put = |byte| {
            if let Some(place) = free.next() {
                *place = byte;
                start -= 1;
            }
        };
        for _ in 0..places {
            put(b'0' + (number % 10) as u8);
            number /= 10;
        }
        if places > 0 {
            put(b'.');
        }
        loop {
            put(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Decimal { digits, start }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}
