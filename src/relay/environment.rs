// SPDX-License-Identifier: Apache-2.0
//! The environment variables that tell where a request went, for headers, logs and scripts.

use std::ffi::CStr;
use std::sync::Arc;

use balance::engine::Now;
use balance::member::Member;

use super::circumstances::RouteChooser;
use super::journey::{Journey, Run};
use super::record::Report;
use crate::httpd::pool::{MemoryPool, Text};
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
    // Copies: the worker may be gone when the request is logged.
    let [name, method, member, route, url] = request.pool().texts([
        &[SCHEME, pool.membership().name.as_bytes()],
        &[chooser.method(&journey.course, pool.settings()).as_bytes()],
        &[member.spec.name.as_bytes()],
        &[member.spec.route.as_bytes()],
        &[worker.url()],
    ]);
    env.point(first, c"LB_POOL", name.skip(SCHEME.len()));
    env.point(first, c"LB_MEMBER", member);
    env.point(first, c"LB_METHOD", method);
    env.point(first, c"BALANCER_NAME", name);
    env.point(first, c"BALANCER_WORKER_NAME", url);
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
    let [seconds] = memory.texts([&[Seconds::new(took_us).as_bytes()]]);
    env.point(true, c"LB_ATTEMPTS", in_digits(journey.course.attempts, memory));
    env.point(true, c"LB_REASON", reason);
    env.point(true, c"LB_SECONDS", seconds);
    let report =
        Report { member: journey.course.member.take(), attempts: journey.course.attempts, took_us, reason };
    // There is one already where a script failed before.
    let _ = run.record.report.set(report);
}

/// How many attempts there were, as a text: mostly one.
fn in_digits<'r>(attempts: u32, memory: MemoryPool<'r>) -> Text<'r> {
    match attempts {
        1 => c"1".into(),
        _ => memory.texts([&[attempts.to_string().as_bytes()]])[0],
    }
}

/// The numbers below 100 in two digits each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// A duration in seconds with six digits behind the point, without an allocation.
struct Seconds {
    digits: [u8; 24],
    start: usize,
}

impl Seconds {
    const POINT: usize = 17;

    fn new(micros: u64) -> Self {
        let (mut whole, behind) = (micros / 1_000_000, (micros % 1_000_000) as usize);
        let mut digits = [b'.'; 24];
        digits[Self::POINT + 1..][..2].copy_from_slice(&PAIRS[behind / 10_000]);
        digits[Self::POINT + 3..][..2].copy_from_slice(&PAIRS[behind / 100 % 100]);
        digits[Self::POINT + 5..][..2].copy_from_slice(&PAIRS[behind % 100]);
        // 2⁶⁴ microseconds have fourteen digits before the point.
        let mut start = Self::POINT;
        loop {
            start -= 1;
            digits[start] = b'0' + (whole % 10) as u8;
            whole /= 10;
            if whole == 0 || start == 0 {
                return Seconds { digits, start };
            }
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}
