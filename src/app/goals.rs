//! Where an attempt goes: what was decided, asked again for each, those left out that were tried.

use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId, Query, View};
use balance::engine::Now;
use balance::member::Member;
use balance::settings::Method;
use balance::status::Status;

use super::child::Thread;
use super::outcome::Outcome;
use super::record::{Choice, Decision, Record};
use super::{selecting, sessions};
use crate::httpd::log;
use crate::httpd::request::Request;

/// Where one attempt goes.
pub enum Goal {
    /// A member of a pool.
    Member(PoolId, Arc<Member>),
    /// An ad-hoc target.
    Target(Arc<str>),
}

/// The next one.
#[inline]
pub fn next(request: Request<'_>, thread: &Thread, record: &mut Record) -> Result<Goal, NoMember> {
    let Decision::Pool { pool, view, method, first } = &record.decision else {
        return next_without_pool(request, thread, record);
    };
    let pool = *pool;
    record.pool = Some(pool);
    if let Some(member) = first
        && record.attempts == 0
        && may_be_asked(thread, record, member)
    {
        return Ok(Goal::Member(pool, member.clone()));
    }
    let now = thread.balancer.now(pool).ok_or(NoMember::UnknownPool)?;
    let question = Question { pool, view: view.as_deref(), method: method.as_ref() };
    // A script that has asked a method itself did not ask for the session's member.
    if now.settings().sticky.is_some() && (first.is_none() || method.is_none()) {
        let (view, method) = (view.clone(), method.clone());
        let question = Question { pool, view: view.as_deref(), method: method.as_ref() };
        return ask_for_session(request, thread, record, &now, &question);
    }
    ask(request, thread, record, &now, &question)
}

/// The next one of a decision that is not one pool or view.
#[inline(never)]
fn next_without_pool(request: Request<'_>, thread: &Thread, record: &mut Record) -> Result<Goal, NoMember> {
    let tried = record.attempts as usize;
    match &record.decision {
        Decision::Target(url) if tried == 0 => Ok(Goal::Target(url.clone())),
        Decision::Script { peer, .. } if tried == 0 => Ok(Goal::Target(peer.clone())),
        Decision::Script { script, .. } => {
            let script = script.clone();
            selecting::next_peer(request, record, &script).map(Goal::Target)
        }
        Decision::List(list) => {
            let first = list.first().map(|(pool, _)| *pool);
            record.pool = record.pool.or(first);
            let untried = list.iter().find(|(_, member)| may_be_asked(thread, record, member));
            untried.cloned().map(|(pool, member)| Goal::Member(pool, member)).ok_or(NoMember::UnknownPool)
        }
        Decision::Each { .. } => next_of_each(request, thread, record),
        Decision::Nobody { pool, .. } => {
            record.pool = *pool;
            Err(NoMember::UnknownPool)
        }
        Decision::Target(_) | Decision::Pool { .. } => Err(NoMember::UnknownPool),
    }
}

/// A member that was named, not picked: it may be draining, or of weight 0.
fn may_be_asked(thread: &Thread, record: &Record, member: &Member) -> bool {
    !record.avoid().contains(&member.slot)
        && thread.balancer.status(member).is_some_and(Status::serves_sessions)
}

/// Of several choices each is asked until it has nobody left.
fn next_of_each(request: Request<'_>, thread: &Thread, record: &mut Record) -> Result<Goal, NoMember> {
    let mut nobody = NoMember::UnknownPool;
    loop {
        let Decision::Each { choices, at } = &record.decision else { return Err(nobody) };
        let Some(choice) = choices.get(*at).cloned() else { return Err(nobody) };
        let found = match choice {
            Choice::Member(pool, member) => {
                record.pool = Some(pool);
                may_be_asked(thread, record, &member)
                    .then_some(Goal::Member(pool, member))
                    .ok_or(NoMember::UnknownPool)
            }
            Choice::Pool(pool, view) => {
                record.pool = Some(pool);
                let question = Question { pool, view: view.as_deref(), method: None };
                thread
                    .balancer
                    .now(pool)
                    .ok_or(NoMember::UnknownPool)
                    .and_then(|now| ask_for_session(request, thread, record, &now, &question))
            }
        };
        match found {
            Ok(goal) => return Ok(goal),
            Err(why) => nobody = why,
        }
        if !go_on(record) {
            return Err(nobody);
        }
    }
}

/// Goes on to the next of several choices, which has its further attempts for itself. False when there is none.
pub fn go_on(record: &mut Record) -> bool {
    let Decision::Each { choices, at } = &mut record.decision else { return false };
    if *at + 1 >= choices.len() {
        return false;
    }
    *at += 1;
    record.earlier = record.attempts;
    true
}

/// A question to a pool. Without a method: its own.
struct Question<'q> {
    pool: PoolId,
    view: Option<&'q View>,
    method: Option<&'q Method>,
}

/// The member of the request's session, in a sticky pool; or else whom the method picks.
fn ask_for_session(
    request: Request<'_>,
    thread: &Thread,
    record: &mut Record,
    now: &Now,
    question: &Question<'_>,
) -> Result<Goal, NoMember> {
    let Question { pool, view, .. } = *question;
    if let Some(sticky) = &now.settings().sticky
        && let Some(member) = sessions::pick(request, thread, record, pool, view, sticky)?
    {
        if log::logs_request(request, log::TRACE2) {
            trace(request, thread, (pool, view), "the session", Ok(&*member));
        }
        return Ok(Goal::Member(pool, member));
    }
    ask(request, thread, record, now, question)
}

#[inline]
fn ask(
    request: Request<'_>,
    thread: &Thread,
    record: &Record,
    now: &Now,
    question: &Question<'_>,
) -> Result<Goal, NoMember> {
    let Question { pool, view, method } = *question;
    let settings = now.settings();
    let method = method.unwrap_or(&settings.method);
    if let Method::Lua { script, function } = method {
        let picked = selecting::pick_by_script(request, thread, pool, script, function, &record.avoid());
        if log::logs_request(request, log::TRACE2) {
            trace(request, thread, (pool, view), script, picked.as_deref());
        }
        return picked.map(|member| Goal::Member(pool, member));
    }
    let of_pool;
    let key = match &record.key {
        Some(key) => key,
        None => {
            of_pool = selecting::key_of(request, settings);
            &*of_pool
        }
    };
    let avoid = record.avoid();
    let query = Query { pool, view, method, key, avoid: &avoid };
    let picked = thread.balancer.pick_in(now, &query);
    if log::logs_request(request, log::TRACE2) {
        let found = picked.as_ref().map(|member| &***member);
        trace(request, thread, (pool, view), method.name(), found);
    }
    picked.map(|member| Goal::Member(pool, member.into_owned()))
}

/// A pick at `LogLevel trace2`: the pool, its candidates, who picked, and whom.
#[cold]
fn trace(
    request: Request<'_>,
    thread: &Thread,
    (pool, view): (PoolId, Option<&View>),
    by: &str,
    picked: Result<&Member, &NoMember>,
) {
    let choice = picked.map_or_else(NoMember::to_string, |member| member.spec.name.clone());
    let state = thread.balancer.explain(pool, view);
    log::request(request, log::TRACE2, &format!("{state}: {by} picked {choice}"));
}

/// Nobody else is left: the last member once more, over a fresh connection. It may have closed the kept one just when the
/// request came.
pub fn same_again(thread: &Thread, record: &Record, outcome: Outcome) -> Option<Goal> {
    if !matches!(outcome, Outcome::Reset | Outcome::Stale) || record.fresh {
        return None;
    }
    let (pool, member) = (record.pool?, record.member.clone()?);
    let serves = thread.balancer.status(&member).is_some_and(Status::serves_sessions);
    (serves && !record.full.contains(&member.slot)).then_some(Goal::Member(pool, member))
}

/// Everybody else has failed this request: one that is ejected may be back, and can do no worse.
pub fn last_resort(thread: &Thread, record: &Record, nobody: &NoMember) -> Option<Goal> {
    if matches!(nobody, NoMember::SessionLost(_)) {
        return None;
    }
    match &record.decision {
        Decision::Pool { pool, view, method, .. } => {
            ejected_of(thread, record, *pool, view.as_deref(), method.as_ref())
        }
        Decision::List(list) => {
            let (pool, found) = list.iter().find(|(_, member)| is_ejected(thread, record, member))?;
            Some(Goal::Member(*pool, found.clone()))
        }
        Decision::Each { choices, .. } => choices.iter().find_map(|choice| match choice {
            Choice::Member(pool, member) if is_ejected(thread, record, member) => {
                Some(Goal::Member(*pool, member.clone()))
            }
            Choice::Member(..) => None,
            Choice::Pool(pool, view) => ejected_of(thread, record, *pool, view.as_deref(), None),
        }),
        Decision::Target(_) | Decision::Nobody { .. } | Decision::Script { .. } => None,
    }
}

fn is_ejected(thread: &Thread, record: &Record, member: &Member) -> bool {
    let status = thread.balancer.status(member);
    !record.avoid().contains(&member.slot)
        && status.is_some_and(|s| s.has(Status::EJECTED) && s.without(Status::EJECTED).usable())
}

fn ejected_of(
    thread: &Thread,
    record: &Record,
    pool: PoolId,
    view: Option<&View>,
    method: Option<&Method>,
) -> Option<Goal> {
    let settings = thread.balancer.settings(pool)?;
    if matches!(method.unwrap_or(&settings.method), Method::Lua { .. }) {
        // Who is left is for the function to say.
        return None;
    }
    let membership = thread.balancer.membership(pool)?;
    let inside = |member: &&Arc<Member>| view.is_none_or(|view| view.holds(member));
    let mut members = membership.members.iter().filter(inside);
    members.find(|member| is_ejected(thread, record, member)).map(|found| Goal::Member(pool, found.clone()))
}
