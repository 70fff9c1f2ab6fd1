// SPDX-License-Identifier: Apache-2.0
//! Sticky sessions of a request: what the environment tells of them, and the cookie that binds a
//! client without one.

use std::ffi::CString;

use balance::choosing;
use balance::engine::Now;
use balance::member::Member;
use balance::relay::Outcome;
use balance::sticky::{is_about, set_cookie};

use super::circumstances::RouteChooser;
use super::journey::{Journey, Serving};
use super::record::{Offer, Record};
use crate::httpd::request::Request;
use crate::httpd::table::AprTable;

/// An attempt at a member of a sticky pool begins: tells the environment what mod_proxy_balancer
/// tells. Returns the cookie that binds the client to this member, where one is wanted.
pub fn begin(
    serving: Serving<'_>,
    journey: &mut Journey,
    chooser: &RouteChooser<'_>,
    (pool, member): (&Now, &Member),
) -> Option<Box<Offer>> {
    let sticky = pool.settings().sticky.as_ref()?;
    let request = serving.request;
    if journey.course.stick.is_none() || !chooser.looks_for_session() {
        choosing::look_again(&serving, &mut journey.course, sticky)?;
    }
    let stick = journey.course.stick.as_ref()?;
    let put = |key, value: &[u8]| {
        let [value] = request.pool().texts([&[value]]);
        request.env().point(false, key, value);
    };
    if let Some(session) = &stick.session {
        put(c"BALANCER_SESSION_STICKY", session.name(sticky).as_bytes());
        put(c"BALANCER_SESSION_ROUTE", &session.route);
        // mod_proxy_ajp sends it along as the attribute `jvm_route`.
        let [route] = request.pool().texts([&[&session.route]]);
        request.notes().point(false, c"session-route", route);
    }
    if stick.stays_at(member) {
        return None;
    }
    put(c"BALANCER_ROUTE_CHANGED", b"1");
    if !stick.binds_to(member) {
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
