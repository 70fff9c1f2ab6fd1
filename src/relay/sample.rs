// SPDX-License-Identifier: Apache-2.0
//! Decisions that are kept to be looked at: a share of all, and those that went wrong.

use std::ffi::CStr;
use std::sync::Arc;

use balance::api::Balancer;
use balance::counting::Ending;
use balance::member::Member;
use balance::sampled::{self, MOST_BYTES, SampledAttempt, SampledRequest, text_of};
use balance::trial::WHOLE;
use config::Sampling;

use super::circumstances::RouteChooser;
use super::journey::{Ended, Journey, Run, Serving};
use super::observe;
use crate::httpd::memory;
use crate::httpd::request::Request;

/// The relay is over with a request, and has reported it: keeps it where that is wanted. Most
/// requests cost a draw here.
#[inline(always)]
pub fn request_ended(run: &Run<'_>, journey: &Journey, chooser: &RouteChooser<'_>, ended: (Ending, u16)) {
    let rule = &run.serving.child.main_config.config.sampling;
    let is_failed = !matches!(ended.0, Ending::Ok | Ending::Aborted);
    if is_drawn(run.serving, rule) || rule.errors && is_failed || rule.retries && journey.course.attempts > 1
    {
        keep(run, journey, chooser, ended);
    }
}

#[inline(always)]
fn is_drawn(serving: Serving<'_>, rule: &Sampling) -> bool {
    rule.share > 0 && serving.thread.balancer.draw(WHOLE) < rule.share
}

/// A hook has failed, and the answer is this status: the request comes to no relay. Sub-requests
/// are answered to nobody.
#[cold]
pub fn hook_failed(serving: Serving<'_>, (reason, status): (&str, u16)) {
    let rule = &serving.child.main_config.config.sampling;
    if serving.request.is_subrequest() || !rule.errors && !is_drawn(serving, rule) {
        return;
    }
    let path = path_of(serving.request);
    let at_ms = memory::epoch_ms();
    append(serving, SampledRequest { at_ms, status, reason, path: &path, ..SampledRequest::default() }, &[]);
}

fn append(serving: Serving<'_>, sampled: SampledRequest<'_>, attempts: &[SampledAttempt<'_>]) {
    let mut room = [0; MOST_BYTES];
    serving.child.table.decisions().append(sampled.pack(attempts, &mut room), memory::monotonic_ms());
}

/// The words of the environment are those of logs.
#[cold]
#[inline(never)]
fn keep(run: &Run<'_>, journey: &Journey, chooser: &RouteChooser<'_>, (ending, status): (Ending, u16)) {
    let request = run.serving.request;
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
    append(run.serving, sampled, &attempts);
}

/// The path that the client has sent, whatever scripts and rewriting have made of it.
fn path_of(request: Request<'_>) -> String {
    sampled::path_of(request.sent().unparsed_uri().unwrap_or_default())
}

fn attempt<'j>((member, ended): &'j (Option<Arc<Member>>, Ended)) -> SampledAttempt<'j> {
    let member = member.as_ref().map_or("", |member| &member.spec.name);
    SampledAttempt { member, ending: Ending::of(ended.outcome, ended.status, false) }
}
