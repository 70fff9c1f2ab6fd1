// SPDX-License-Identifier: Apache-2.0
//! Where an attempt goes when no other member is left.

use std::sync::Arc;

use balance::api::{Balancer, PoolId, View};
use balance::member::Member;
use balance::relay::Outcome;
use balance::settings::Method;
use balance::status::Status;

use super::journey::{Goal, Journey, Turn};

/// The last member once more, over a fresh connection. It may have closed the kept one just when
/// the request came.
pub fn same_again(turn: Turn<'_>, journey: &Journey, outcome: Outcome) -> Option<Goal> {
    if !matches!(outcome, Outcome::Reset | Outcome::Stale) || journey.fresh {
        return None;
    }
    let (pool, member) = (journey.pool?, journey.member.clone()?);
    let serves = turn.thread.balancer.status(&member).is_some_and(Status::serves_sessions);
    (serves && !journey.full.contains(&member.slot)).then_some(Goal::Member(pool, member))
}

/// Whether the member is out for failures alone, and this request has not asked it.
pub fn is_ejected(turn: Turn<'_>, journey: &Journey, member: &Member) -> bool {
    let status = turn.thread.balancer.status(member);
    !journey.avoid().contains(&member.slot)
        && status.is_some_and(|s| s.has(Status::EJECTED) && s.without(Status::EJECTED).usable())
}

/// An ejected member of a pool or view that this request has not asked.
pub fn ejected_of(
    turn: Turn<'_>,
    journey: &Journey,
    (pool, view): (PoolId, Option<&View>),
    method: Option<&Method>,
) -> Option<Goal> {
    let settings = turn.thread.balancer.settings(pool)?;
    if matches!(method.unwrap_or(&settings.method), Method::Lua { .. }) {
        // The function alone says which members are left.
        return None;
    }
    let membership = turn.thread.balancer.membership(pool)?;
    let inside = |member: &&Arc<Member>| view.is_none_or(|view| view.holds(member));
    let mut members = membership.members.iter().filter(inside);
    let found = members.find(|member| is_ejected(turn, journey, member))?;
    Some(Goal::Member(pool, found.clone()))
}
