// SPDX-License-Identifier: Apache-2.0
//! Sticky sessions of a request: whose session it is, and the cookie that binds a client without
//! one.

use std::ffi::CString;
use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId, View};
use balance::engine::Now;
use balance::live::Slot;
use balance::member::Member;
use balance::relay::Outcome;
use balance::session::{self, Routed, Session};
use balance::settings::Sticky;
use balance::sticky::{Sent, Source, is_about, set_cookie};

use super::chooser::Chooser;
use super::journey::{Journey, Turn};
use super::record::{Offer, Record};
use super::stick::Stick;
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::httpd::table::AprTable;

fn look(
    turn: Turn<'_>,
    (pool, view): (PoolId, Option<&View>),
    avoid: &[Slot],
    sticky: &Sticky,
) -> Option<Session> {
    let client = Sent {
        url: turn.request.unparsed_uri().unwrap_or_default(),
        cookies: turn.request.headers_in().get(c"Cookie").unwrap_or_default(),
    };
    session::find(sticky, client, &mut |route| turn.thread.balancer.route(pool, view, route, avoid))
}

/// The member of the request's session. Ok(None): the request has no session, or one that any
/// member may take over.
pub fn pick(
    turn: Turn<'_>,
    journey: &mut Journey,
    (pool, view): (PoolId, Option<&View>),
    sticky: &Sticky,
) -> Result<Option<Arc<Member>>, NoMember> {
    let session = look(turn, (pool, view), &journey.avoid(), sticky);
    if log::logs_request(turn.request, log::TRACE2) {
        explain(turn.request, sticky, session.as_ref());
    }
    let stick = journey.stick.get_or_insert_default();
    let routed = session.as_ref().map_or(Routed::Unknown, |session| session.routed.clone());
    stick.session = session;
    stick.picked = matches!(routed, Routed::Member(_));
    match routed {
        Routed::Member(member) => Ok(Some(member)),
        Routed::Lost if sticky.force => {
            let name = turn.thread.balancer.membership(pool).map(|membership| membership.name.clone());
            Err(NoMember::SessionLost(name.unwrap_or_default()))
        }
        Routed::Lost | Routed::Unknown => Ok(None),
    }
}

fn explain(request: Request<'_>, sticky: &Sticky, session: Option<&Session>) {
    let Some(session) = session else {
        return log::request(request, log::TRACE2, "no session");
    };
    let then = match &session.routed {
        Routed::Member(member) => format!("member {}", member.spec.name),
        Routed::Lost => "its members are out".to_owned(),
        Routed::Unknown => "no member has it".to_owned(),
    };
    let (name, route) = (name_of(sticky, session), session.route.escape_ascii());
    log::request(request, log::TRACE2, &format!("session {name}, route {route}: {then}"));
}

fn name_of<'s>(sticky: &'s Sticky, session: &Session) -> &'s str {
    match session.source {
        Source::Param => sticky.param.as_deref().unwrap_or(&sticky.cookie),
        Source::Cookie => &sticky.cookie,
    }
}

/// The member that was picked for the session has no place left.
pub fn member_is_full(journey: &mut Journey) {
    if let Some(stick) = journey.stick.as_mut().filter(|stick| stick.picked) {
        stick.lent = true;
    }
}

/// The request has waited for a place: its own member may have one now.
pub fn looks_again(journey: &mut Journey) {
    if let Some(stick) = &mut journey.stick {
        stick.lent = false;
    }
}

/// The route of the request's session, as far as it was looked for.
pub fn route_of(journey: &Journey) -> Option<&[u8]> {
    journey.stick.as_ref()?.session.as_ref().map(|session| &*session.route)
}

/// An attempt at a member of a sticky pool begins: tells the environment what mod_proxy_balancer
/// tells. Returns the cookie that binds the client to this member, where one is wanted.
pub fn begin(
    turn: Turn<'_>,
    journey: &mut Journey,
    chooser: &dyn Chooser,
    (pool, member): (&Now, &Member),
) -> Option<Box<Offer>> {
    let sticky = pool.settings().sticky.as_ref()?;
    let request = turn.request;
    if journey.stick.is_none() || !chooser.looks_for_session() {
        // A script chose the member, so that nobody has looked yet, or only for another pool.
        let session = look(turn, (journey.pool?, None), &[], sticky);
        journey.stick = Some(Box::new(Stick { session, ..Stick::default() }));
    }
    let stick = journey.stick.as_ref()?;
    let put = |key, value: &[u8]| {
        let [value] = request.pool().texts([&[value]]);
        request.env().point(false, key, value);
    };
    let stays = stick.session.as_ref().is_some_and(|session| session.is_of(&member.spec.route));
    if let Some(session) = &stick.session {
        put(c"BALANCER_SESSION_STICKY", name_of(sticky, session).as_bytes());
        put(c"BALANCER_SESSION_ROUTE", &session.route);
        // mod_proxy_ajp sends it along as the attribute `jvm_route`.
        let [route] = request.pool().texts([&[&session.route]]);
        request.notes().point(false, c"session-route", route);
    }
    if stays {
        return None;
    }
    put(c"BALANCER_ROUTE_CHANGED", b"1");
    // An application's own cookie holds the identifier of its session, which would be lost.
    let foreign = stick.session.as_ref().is_some_and(Session::is_foreign);
    if stick.lent || foreign {
        return None;
    }
    let value = set_cookie(sticky, &member.spec.route, request.scheme() == b"https");
    CString::new(value).ok().map(|value| Box::new(Offer { name: sticky.cookie.clone(), value }))
}

/// An attempt is over. The cookie of an answer that httpd's own error page stands in for goes with
/// that page.
pub fn end(request: Request<'_>, record: &Record, outcome: Outcome) {
    if let Outcome::Answered(_) = outcome {
        // An answer whose headers httpd has thrown away: its own page, or another, comes in place
        // of it.
        offer_cookie(request, record, request.err_headers_out());
    } else {
        record.answer.offer.set(None);
    }
}

/// Sets the cookie, unless the member or anyone else has set one of that name. Called when the
/// headers of an answer are known, before mod_headers and its like come to them.
pub fn offer_cookie(request: Request<'_>, record: &Record, to: AprTable<'_>) {
    let Some(offer) = record.answer.offer.take() else { return };
    let tables = [request.headers_out(), request.err_headers_out()];
    if !tables.into_iter().any(|table| sets_cookie(table, &offer.name)) {
        to.add(c"Set-Cookie", &offer.value);
    }
}

fn sets_cookie(table: AprTable<'_>, name: &str) -> bool {
    if table.get(c"Set-Cookie").is_none() {
        return false;
    }
    let mut found = false;
    table.each(&mut |key, value| {
        found = key.eq_ignore_ascii_case(b"Set-Cookie") && is_about(value, name);
        !found
    });
    found
}
