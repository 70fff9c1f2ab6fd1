// SPDX-License-Identifier: Apache-2.0
//! Where an attempt goes when no other member is left.

use std::sync::Arc;

use super::{Circumstances, Course, Goal};
use crate::api::{Balancer, PoolId, View};
use crate::member::Member;
use crate::relay::Outcome;
use crate::settings::Method;
use crate::status::Status;

/// The last member once more, over a fresh connection. It may have closed the kept one just when
/// the request came.
pub(super) fn same_again<A: Circumstances>(around: &A, course: &Course, outcome: Outcome) -> Option<Goal> {
    if !matches!(outcome, Outcome::Reset | Outcome::Stale) || course.fresh {
        return None;
    }
    let (pool, member) = (course.pool?, course.member.clone()?);
    let serves = around.handle().status(&member).is_some_and(Status::serves_sessions);
    (serves && !course.full.contains(&member.slot)).then_some(Goal::Member(pool, member))
}

/// Whether the member is out for failures alone, and this request has not asked it.
pub(super) fn is_ejected<A: Circumstances>(around: &A, course: &Course, member: &Member) -> bool {
    let status = around.handle().status(member);
    !course.avoid().contains(&member.slot)
        && status.is_some_and(|s| s.has(Status::EJECTED) && s.without(Status::EJECTED).usable())
}

/// An ejected member of a pool or view that this request has not asked.
pub(super) fn ejected_of<A: Circumstances>(
    around: &A,
    course: &Course,
    (pool, view): (PoolId, Option<&View>),
    method: Option<&Method>,
) -> Option<Goal> {
    let now = around.handle().now(pool)?;
    if matches!(method.unwrap_or(&now.settings().method), Method::Lua { .. }) {
        // The function alone says which members are left.
        return None;
    }
    let inside = |member: &&Arc<Member>| view.is_none_or(|view| view.holds(member));
    let mut members = now.membership().members.iter().filter(inside);
    let found = members.find(|member| is_ejected(around, course, member))?;
    Some(Goal::Member(pool, found.clone()))
}
