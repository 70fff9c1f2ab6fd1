// SPDX-License-Identifier: Apache-2.0
//! Questions to one pool: its session first, then its method.

use std::sync::Arc;

use super::{Circumstances, Course, Goal, of_session};
use crate::api::{Balancer, NoMember, PoolId, Query, View};
use crate::engine::Now;
use crate::member::Member;
use crate::settings::Method;
use crate::status::Status;

/// A question to a pool. Without a method: its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct PoolQuestion<'d> {
    pub(super) pool: PoolId,
    pub(super) view: Option<&'d Arc<View>>,
    pub(super) method: Option<&'d Method>,
    pub(super) key: Option<&'d [u8]>,
}

/// A member that was named, not picked: it may be draining, or of weight 0.
pub(super) fn may_be_asked<A: Circumstances>(around: &A, course: &Course, member: &Member) -> bool {
    !course.avoid().contains(&member.slot)
        && around.handle().status(member).is_some_and(Status::serves_sessions)
}

/// The member of the request's session, in a sticky pool; or else whom the method picks.
pub(super) fn ask_for_session<A: Circumstances>(
    around: &A,
    course: &mut Course,
    now: &Now,
    question: &PoolQuestion<'_>,
) -> Result<Goal, NoMember> {
    let view = question.view.map(|view| &**view);
    if let Some(member) = of_session::pick(around, course, now, view)? {
        if around.listens() {
            trace(around, (question.pool, view), "the session", Ok(&*member));
        }
        return Ok(Goal::Member(question.pool, member));
    }
    ask(around, course, now, question)
}

#[inline]
pub(super) fn ask<A: Circumstances>(
    around: &A,
    course: &Course,
    now: &Now,
    question: &PoolQuestion<'_>,
) -> Result<Goal, NoMember> {
    let (pool, view, settings) = (question.pool, question.view.map(|view| &**view), now.settings());
    let method = question.method.unwrap_or(&settings.method);
    if let Method::Lua { script, function } = method {
        let picked = around.pick_by_script(now, (script, function), &course.avoid());
        if around.listens() {
            trace(around, (pool, view), script, picked.as_deref());
        }
        return picked.map(|member| Goal::Member(pool, member));
    }
    let of_pool;
    let key = match question.key {
        Some(key) => key,
        None => {
            of_pool = around.key(settings);
            &*of_pool
        }
    };
    let avoid = course.avoid();
    let query = Query { pool, view, method, key, avoid: &avoid };
    let picked = around.handle().pick_in(now, &query);
    if around.listens() {
        let found = picked.as_ref().map(|member| &***member);
        trace(around, (pool, view), method.name(), found);
    }
    picked.map(|member| Goal::Member(pool, member.into_owned()))
}

/// A pick in words: the pool, its candidates, who picked, and whom.
#[cold]
fn trace<A: Circumstances>(
    around: &A,
    (pool, view): (PoolId, Option<&View>),
    by: &str,
    picked: Result<&Member, &NoMember>,
) {
    let choice = picked.map_or_else(NoMember::to_string, |member| member.spec.name.clone());
    let state = around.handle().explain(pool, view);
    around.tell(&format!("{state}: {by} picked {choice}"));
}
