// SPDX-License-Identifier: Apache-2.0
//! The session of a request to a sticky pool: whose it is, and whether a cookie binds the client
//! anew.

use std::sync::Arc;

use super::{Circumstances, Course, Stick};
use crate::api::{Balancer, NoMember, PoolId, View};
use crate::engine::Now;
use crate::live::Slot;
use crate::member::Member;
use crate::session::{self, Routed, Session};
use crate::settings::Sticky;

fn find<A: Circumstances>(
    around: &A,
    (pool, view): (PoolId, Option<&View>),
    avoid: &[Slot],
    sticky: &Sticky,
) -> Option<Session> {
    around.with_sent(|client| {
        session::find(sticky, client, &mut |route| around.handle().route(pool, view, route, avoid))
    })
}

/// Looks for the request's session in all of its pool, where nobody has looked yet: a script chose
/// the member, or the session was looked for in another pool.
pub fn look_again<A: Circumstances>(around: &A, course: &mut Course, sticky: &Sticky) -> Option<()> {
    let session = find(around, (course.pool?, None), &[], sticky);
    course.stick = Some(Box::new(Stick { session, ..Stick::default() }));
    Some(())
}

/// The member of the request's session. Ok(None): the request has no session, or one that any
/// member may take over.
pub(super) fn pick<A: Circumstances>(
    around: &A,
    course: &mut Course,
    now: &Now,
    view: Option<&View>,
) -> Result<Option<Arc<Member>>, NoMember> {
    let Some(sticky) = &now.settings().sticky else { return Ok(None) };
    let session = find(around, (now.membership().pool, view), &course.avoid(), sticky);
    if around.listens() {
        tell(around, sticky, session.as_ref());
    }
    let stick = course.stick.get_or_insert_default();
    let routed = session.as_ref().map_or(Routed::Unknown, |session| session.routed.clone());
    stick.session = session;
    stick.picked = matches!(routed, Routed::Member(_));
    match routed {
        Routed::Member(member) => Ok(Some(member)),
        Routed::Lost if sticky.force => Err(NoMember::SessionLost(now.membership().name.clone())),
        Routed::Lost | Routed::Unknown => Ok(None),
    }
}

#[cold]
fn tell<A: Circumstances>(around: &A, sticky: &Sticky, session: Option<&Session>) {
    let Some(session) = session else { return around.tell("no session") };
    let then = match &session.routed {
        Routed::Member(member) => format!("member {}", member.spec.name),
        Routed::Lost => "its members are out".to_owned(),
        Routed::Unknown => "no member has it".to_owned(),
    };
    let (name, route) = (session.name(sticky), session.route.escape_ascii());
    around.tell(&format!("session {name}, route {route}: {then}"));
}
