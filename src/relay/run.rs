// SPDX-License-Identifier: Apache-2.0
//! The loop over attempts: choose, wait, send, judge, next. The one place that calls the others.

use std::sync::Arc;

use balance::api::{Balancer, NoMember};
use balance::choosing::{Chooser, Goal};
use balance::counting::Ending;
use balance::engine::Now;
use balance::member::Member;
use balance::relay::{HookStatus, Outcome};
use balance::status::Status;

use super::circumstances::{RouteChooser, chooser_of};
use super::journey::{Ended, Journey, Run, Serving, settings_of};
use super::record::Record;
use super::ticket::InVain;
use super::{environment, first_list, observe, refuse, sample, send, wait};
use crate::httpd::exchange::{self, Proxy};
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::serve::child;
use crate::serve::scope;

/// Runs a request to its end. Returns what mod_proxy expects of a scheme handler.
pub fn run(request: Request<'_>, proxy: &Proxy) -> HookStatus {
    let (Some(child), Some(record)) = (child::get(), Record::of(request)) else {
        return HookStatus::Http(503);
    };
    let answer = child::with_thread(child, |thread| {
        let serving = Serving { request, child, thread };
        attempts(&Run { serving, proxy, record })
    });
    answer.unwrap_or(HookStatus::Http(500))
}

fn attempts(run: &Run<'_>) -> HookStatus {
    let Run { serving, record, .. } = *run;
    let route = record.route();
    let mut chosen = chooser_of(&route);
    let mut journey = Journey::default();
    let status = serving.request.status();
    loop {
        let chooser = &mut chosen;
        let (goal, mut pool) = match (next_goal(serving, &mut journey, chooser), journey.last) {
            (Ok(found), _) => found,
            (Err(_), _) if journey.wait.in_vain.is_some_and(InVain::is_nobody) => {
                return refuse::give_up(run, &mut journey, chooser);
            }
            (Err(nobody), None) => match after_failed_method(serving, &journey, &nobody) {
                Some(pool) => {
                    chosen = pool;
                    continue;
                }
                None => return refuse::no_member(run, &mut journey, chooser, &nobody),
            },
            (Err(_), Some(last)) => return finish(run, &mut journey, chooser, last),
        };
        if let Goal::Member(id, _) = &goal
            && journey.course.pool != Some(*id)
        {
            journey.course.pool = Some(*id);
            pool = journey.now(serving.thread);
        }
        let Some(ended) = attempt(run, &mut journey, chooser, (pool.as_ref(), &goal)) else { continue };
        let settings = settings_of(pool.as_ref());
        let answered = matches!(ended.outcome, Outcome::Answered(_));
        let more = !answered
            && chooser.goes_on(
                &mut journey.course,
                (ended.outcome, exchange::asked(serving.request)),
                settings,
            );
        if !answered && log::logs_request(serving.request, log::DEBUG) {
            log_failure(serving.request, &journey, (pool.as_ref(), &goal), ended, more);
        }
        if !more {
            return finish(run, &mut journey, chooser, ended);
        }
        exchange::forget(serving.request, status);
    }
}

/// One attempt, counted. None: there was none, since the member is full or has gone.
fn attempt(
    run: &Run<'_>,
    journey: &mut Journey,
    chooser: &RouteChooser<'_>,
    (pool, goal): (Option<&Now>, &Goal),
) -> Option<Ended> {
    let before = journey.last.map(|last| (journey.course.member.clone(), last));
    let answer = &run.record.answer;
    answer.pool.set(journey.course.pool);
    answer.reverse.set(pool.is_some_and(|pool| pool.settings().set.reverse));
    let ended = match (goal, pool) {
        (Goal::Member(_, member), Some(pool)) => {
            let ended = send::to_member(run, journey, chooser, (pool, member))?;
            observe::attempt_ended(run.serving, journey, (pool, member), ended);
            ended
        }
        // The pool went away between pick and now.
        (Goal::Member(_, member), None) => {
            journey.course.tried.push(member.slot);
            return None;
        }
        (Goal::Target(url), _) => send::to_target(run, journey, url),
    };
    journey.course.last = Some((ended.outcome, ended.status));
    journey.last = Some(ended);
    if let Some(before) = before {
        count_retry(run, journey, before);
    }
    Some(ended)
}

/// Notes why there was another attempt.
#[cold]
fn count_retry(run: &Run<'_>, journey: &mut Journey, before: (Option<Arc<Member>>, Ended)) {
    let reason = Ending::of(before.1.outcome, before.1.status, false).as_reason();
    if let Some(count) = reason.and_then(|reason| journey.retries.get_mut(reason)) {
        *count += 1;
    }
    if run.serving.child.main_config.config.sampling.size > 0 {
        journey.earlier.push(before);
    }
}

/// The relay is over with this attempt.
fn finish(run: &Run<'_>, journey: &mut Journey, chooser: &RouteChooser<'_>, last: Ended) -> HookStatus {
    observe::request_ended(run.serving, journey, journey.ending);
    environment::report(run, journey, chooser, last.outcome.word());
    let ending = Ending::of(last.outcome, last.status, run.serving.request.aborted());
    sample::request_ended(run, journey, chooser, (ending, last.status));
    last.answer
}

/// `LuaBalancerMethod lua` has failed: the pool that `LuaBalancerOnError` names has the request
/// from here on.
#[cold]
fn after_failed_method<'r>(
    serving: Serving<'r>,
    journey: &Journey,
    nobody: &NoMember,
) -> Option<RouteChooser<'r>> {
    if !matches!(nobody, NoMember::ScriptFailed) {
        return None;
    }
    let name = scope::pool_on_error(serving.request, serving.child)?;
    let pool = serving.thread.balancer.find(name).filter(|pool| journey.course.pool != Some(*pool))?;
    log::request(serving.request, messages::requests::USING_POOL, &format!("using pool {name}"));
    Some(Chooser::of_pool(pool))
}

#[cold]
fn log_failure(
    request: Request<'_>,
    journey: &Journey,
    (pool, goal): (Option<&Now>, &Goal),
    ended: Ended,
    more: bool,
) {
    let name = match goal {
        Goal::Member(_, member) => &member.spec.name,
        Goal::Target(_) => "the target",
    };
    let place = pool.map(|pool| format!("pool {}: ", pool.membership().name)).unwrap_or_default();
    let then = if more { "trying another member" } else { "giving up" };
    let (attempts, word) = (journey.course.attempts, ended.outcome.word().to_string_lossy());
    let text = format!("{place}attempt {attempts} at {name} failed: {word}, {then}");
    log::request(request, messages::requests::ATTEMPT_FAILED, &text);
}

/// Where the next attempt goes. In a pool with a queue the request waits for its turn, looks again,
/// and keeps its ticket until it has a place at a member. With the goal comes the request's pool,
/// as it was when the goal was found.
fn next_goal(
    serving: Serving<'_>,
    journey: &mut Journey,
    chooser: &mut RouteChooser<'_>,
) -> Result<(Goal, Option<Now>), NoMember> {
    loop {
        let looked = chooser.look(&serving, &mut journey.course);
        let now = journey.now(serving.thread);
        if looked.is_err() && first_list::has_come(serving, journey, now.as_ref()) {
            continue;
        }
        let Some(pool) = now.as_ref().filter(|pool| pool.settings().set.queue_ms > 0) else {
            return looked.map(|goal| (goal, now));
        };
        let nobody = match looked {
            Ok(Goal::Member(id, member)) => {
                // A session's member that takes no new requests is nobody's in the queue.
                let is_contested = serving.thread.balancer.status(&member).is_some_and(Status::usable);
                if !is_contested || wait::may_go(serving.child, journey, chooser, pool) {
                    return Ok((Goal::Member(id, member), now));
                }
                wait::nobody_is_free(pool)
            }
            Ok(target) => return Ok((target, now)),
            Err(nobody) if wait::would_help(journey, &nobody) => nobody,
            Err(nobody) => {
                journey.wait.leave();
                return Err(nobody);
            }
        };
        if !wait::wait_in_line(serving, journey, chooser, pool) {
            return Err(nobody);
        }
    }
}
