// SPDX-License-Identifier: Apache-2.0
//! Decisions that are kept to be looked at: a share of all, and those that went wrong.

use std::ffi::CStr;
use std::sync::Arc;

use balance::api::Balancer;
use balance::counting::Ending;
use balance::member::Member;
use balance::sampled::{self, MOST_BYTES, SampledAttempt, SampledRequest, text_of};
use balance::trial::WHOLE;

use super::circumstances::RouteChooser;
use super::journey::{Ended, Journey, Run};
use super::observe;
use crate::httpd::memory;
use crate::httpd::request::Request;

/// The relay is over with a request, and has reported it: keeps it where that is wanted. Most
/// requests cost a draw here.
#[inline(always)]
pub fn request_ended(run: &Run<'_>, journey: &Journey, chooser: &RouteChooser<'_>, ended: (Ending, u16)) {
    let rule = &run.serving.child.main_config.config.sampling;
    let is_failed = !matches!(ended.0, Ending::Ok | Ending::Aborted);
    if rule.share > 0 && run.serving.thread.balancer.draw(WHOLE) < rule.share
        || rule.errors && is_failed
        || rule.retries && journey.course.attempts > 1
    {
        keep(run, journey, chooser, ended);
    }
}

/// The words of the environment are those of logs.
#[cold]
#[inline(never)]
fn keep(run: &Run<'_>, journey: &Journey, chooser: &RouteChooser<'_>, (ending, status): (Ending, u16)) {
    let (request, table) = (run.serving.request, &run.serving.child.table);
    let env = request.env();
    let word = |name: &CStr| text_of(env.get(name).unwrap_or_default(), MOST_BYTES);
    let pool = journey.course.pool;
    let view = chooser.view().map(AsRef::as_ref);
    let path = path_of(request);
    let sampled = SampledRequest {
        at_ms: memory::epoch_ms(),
        took_us: observe::took_us(journey),
        status,
        candidates: pool.map_or(0, |pool| run.serving.thread.balancer.usable(pool, view) as u32),
        pool: word(c"LB_POOL"),
        member: word(c"LB_MEMBER"),
        method: word(c"LB_METHOD"),
        reason: word(c"LB_REASON"),
        path: &path,
    };
    let mut attempts: Vec<SampledAttempt<'_>> = journey.earlier.iter().map(attempt).collect();
    if journey.last.is_some() {
        let member = if pool.is_some() { sampled.member } else { "" };
        attempts.push(SampledAttempt { member, ending });
    }
    table.decisions().append(sampled.pack(&attempts, &mut [0; MOST_BYTES]), memory::monotonic_ms());
}

/// The path that the client has sent, whatever scripts and rewriting have made of it.
fn path_of(request: Request<'_>) -> String {
    sampled::path_of(request.sent().unparsed_uri().unwrap_or_default())
}

fn attempt<'j>((member, ended): &'j (Option<Arc<Member>>, Ended)) -> SampledAttempt<'j> {
    let member = member.as_ref().map_or("", |member| &member.spec.name);
    SampledAttempt { member, ending: Ending::of(ended.outcome, ended.status, false) }
}
