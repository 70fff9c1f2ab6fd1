// SPDX-License-Identifier: Apache-2.0
//! The end of an attempt, and of a request, counts: for numbers, and for the member's state.

use std::sync::Arc;

use balance::api::Balancer;
use balance::choosing::Stick;
use balance::counting::{AttemptEnd, Counters, Ending, RequestEnd, SessionEnd};
use balance::engine::Now;
use balance::lifecycle::{self, Attempt};
use balance::member::Member;
use balance::relay::Outcome;
use balance::session::Routed;

use super::journey::{Ended, Journey, Serving};
use crate::httpd::memory;
use crate::keep::events;

/// Counts it: its outcome, requests and failures, response time, outlier detection.
pub fn attempt_ended(
    serving: Serving<'_>,
    journey: &mut Journey,
    (pool, member): (&Now, &Arc<Member>),
    ended: Ended,
) {
    let (sent, received) = journey.spent.moved;
    let ending = Ending::of(ended.outcome, ended.status, serving.request.aborted());
    let answered = matches!(ended.outcome, Outcome::Answered(_)).then_some(ended.status);
    let counted = AttemptEnd { ending, answered, took_us: journey.took_us(), sent, received };
    journey.ending = Some(ending);
    let attempt = Attempt {
        member,
        outlier: &pool.settings().outlier,
        outcome: ended.outcome,
        excused: ended.excused,
        took_ms: counted.took_us as f32 / 1e3,
        counted: Some(&counted),
        ended_ms: (journey.spent.ended_us / 1000) as u32,
    };
    let members =
        || Some((serving.thread.balancer.membership(journey.course.pool?)?, memory::monotonic_ms()));
    if let Some(event) = lifecycle::attempt_ended(&serving.child.table, &attempt, members) {
        events::tell(&serving.child.table, &event.into());
    }
}

/// The relay is over with a request: counts it in the pool that it was at last. Without an ending
/// it was at none, but at an ad-hoc target.
#[inline(always)]
pub fn request_ended(serving: Serving<'_>, journey: &Journey, ending: Option<Ending>) {
    let (Some(pool), Some(ending)) = (journey.course.pool, ending) else { return };
    let (waited_us, took_us) = (journey.wait.waited_us(), took_us(journey));
    let session = journey.course.stick.as_ref().and_then(|stick| session_end(serving, journey, stick));
    let counted = RequestEnd { ending, took_us, waited_us, retries: journey.retries, session };
    serving.child.table.count_request(pool, &counted);
}

/// The same for one that nobody could be asked for.
#[cold]
#[inline(never)]
pub fn request_refused(serving: Serving<'_>, journey: &Journey, ending: Ending) {
    let ending = if serving.request.aborted() { Ending::Aborted } else { ending };
    request_ended(serving, journey, Some(ending));
}

/// From the first attempt, or the wait for it, to the last one's end, microseconds.
#[inline(always)]
pub fn took_us(journey: &Journey) -> u64 {
    let waited_us = journey.wait.waited_us();
    let is_all = waited_us.is_none() && journey.first_us == journey.spent.began_us;
    if is_all { journey.took_us() } else { took_in_all(journey, waited_us) }
}

#[cold]
fn took_in_all(journey: &Journey, waited_us: Option<u64>) -> u64 {
    let from_us = match journey.wait.since_us() {
        Some(since_us) if journey.first_us == 0 || since_us < journey.first_us => since_us,
        _ => journey.first_us,
    };
    journey.over_us.saturating_sub(from_us).max(waited_us.unwrap_or(0))
}

/// The end of the session, at a sticky pool.
fn session_end(serving: Serving<'_>, journey: &Journey, stick: &Stick) -> Option<SessionEnd> {
    journey.now(serving.thread)?.settings().sticky.as_ref()?;
    match (&stick.session, &journey.course.member) {
        (None, Some(_)) => Some(SessionEnd::New),
        (Some(session), Some(member)) if session.is_of(&member.spec.route) => Some(SessionEnd::Kept),
        (Some(_), Some(_)) => Some(SessionEnd::Moved),
        (Some(session), None) if session.routed == Routed::Lost => Some(SessionEnd::Lost),
        (_, None) => None,
    }
}
