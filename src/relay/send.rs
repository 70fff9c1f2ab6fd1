// SPDX-License-Identifier: Apache-2.0
//! One attempt: at a member, or at an ad-hoc target.

use std::os::raw::c_char;
use std::sync::Arc;

use balance::engine::Now;
use balance::member::Member;
use balance::relay::{self, HookStatus, Outcome, SchemeModule};
use balance::target::{self, Spelled};
use balance::url::MemberUrl;

use super::circumstances::RouteChooser;
use super::journey::{Ended, Journey, Run, Spent};
use super::place::{NoPlace, Place};
use super::record::Record;
use super::route::{OF_FILE, Path};
use super::{environment, reverse, session};
use crate::faults;
use crate::httpd::connection;
use crate::httpd::exchange::{self, Dispatch, Timed};
use crate::httpd::filter;
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::httpd::tls::Settings;
use crate::httpd::worker::Worker;
use crate::relay::tls;
use crate::serve::workers::NoWorker;

/// A client that has let a member wait this long for a request's body may have made it hang up.
const PATIENCE_US: u64 = 1_000_000;

/// Something of httpd's own went wrong, or of the configuration.
const FAILED: Ended =
    Ended { outcome: Outcome::NotTheMember, answer: HookStatus::Http(500), status: 500, excused: false };

/// One attempt at a member. None: the member went away between pick and count, or is full; pick
/// again.
pub fn to_member(
    run: &Run<'_>,
    journey: &mut Journey,
    chooser: &RouteChooser<'_>,
    (pool, member): (&Now, &Arc<Member>),
) -> Option<Ended> {
    let child = run.serving.child;
    let queue = journey.course.pool.filter(|_| pool.settings().set.queue_ms > 0);
    let place = match Place::take(child, member, queue, journey) {
        Ok(place) => place,
        Err(NoPlace::Raced) => return None,
        Err(NoPlace::Full) => {
            journey.course.is_full(member);
            return None;
        }
        Err(NoPlace::Gone) => {
            journey.course.tried.push(member.slot);
            return None;
        }
    };
    journey.wait.is_served();
    journey.course.goes_to(member);
    journey.spent = Spent::default();
    let ended = at_member(run, journey, chooser, (pool, member));
    drop(place);
    Some(ended)
}

fn at_member(
    run: &Run<'_>,
    journey: &mut Journey,
    chooser: &RouteChooser<'_>,
    (pool, member): (&Now, &Arc<Member>),
) -> Ended {
    let Run { serving, record, .. } = *run;
    let scheme = &member.spec.url.scheme;
    let tls = tls::is_spoken(scheme)
        .then(|| tls_settings(run, (Some(pool.membership().name.as_bytes()), &member.spec.url)));
    let worker = match &tls {
        None => serving.child.workers.of_member(member),
        Some(settings) => serving.child.workers.of_secure_member(member, settings),
    };
    match worker {
        Ok(worker) => {
            environment::announce(serving.request, journey, chooser, (pool, member, worker));
            if pool.settings().sticky.is_some() {
                record.answer.offer.set(session::begin(serving, journey, chooser, (pool, member)));
            }
            let ended = exchange(run, journey, worker, (scheme, tls));
            session::end(serving.request, record, ended.outcome);
            ended
        }
        Err(NoWorker::TooMany) => {
            Ended { outcome: Outcome::NoWorker, answer: HookStatus::Http(503), status: 503, excused: false }
        }
        Err(NoWorker::Refused(message)) => {
            let (pool, name) = (&pool.membership().name, &member.spec.name);
            let text = format!("pool {pool}: member {name}: {message}");
            log::request(serving.request, messages::requests::MEMBER_REFUSED, &text);
            FAILED
        }
    }
}

/// One attempt at an ad-hoc target.
pub fn to_target(run: &Run<'_>, journey: &mut Journey, kept: &str) -> Ended {
    journey.spent = Spent::default();
    let Spelled { url, name, .. } = target::spelled(kept);
    // `unix:/path.sock|http://localhost`: the scheme is the one behind the socket.
    let scheme = url.rsplit('|').next().and_then(|url| url.split(':').next()).unwrap_or("http");
    let tls = tls::is_spoken(scheme)
        .then(|| MemberUrl::parse(url).ok())
        .flatten()
        .map(|url| tls_settings(run, (None, &url)));
    let _named = name.map(|name| {
        let [name] = run.serving.request.pool().texts([&[name.as_bytes()]]);
        connection::TlsName::new(name.c_str())
    });
    match run.serving.child.workers.of_target(kept, tls) {
        Ok(worker) => exchange(run, journey, worker, (scheme, tls)),
        Err(message) => {
            let text = format!("target {url}: {message}");
            log::request(run.serving.request, messages::requests::TARGET_REFUSED, &text);
            journey.course.attempts += 1;
            FAILED
        }
    }
}

fn tls_settings(run: &Run<'_>, of: (Option<&[u8]>, &MemberUrl)) -> Settings {
    let path = run.record.route().path;
    tls::settings(run.serving.request, run.serving.child, run.proxy, path, of)
}

/// Schemes that mod_proxy_http speaks TLS for.
fn is_http_over_tls(scheme: &str) -> bool {
    matches!(scheme, "https" | "wss")
}

/// The exchange with a backend, and what it means.
fn exchange(
    run: &Run<'_>,
    journey: &mut Journey,
    worker: Worker,
    (scheme, tls): (&str, Option<Settings>),
) -> Ended {
    let Run { serving, proxy, record } = *run;
    let request = serving.request;
    journey.course.attempts += 1;
    add_filters(run, journey);
    let _worn = tls.and_then(|settings| serving.child.sections.wear(request, &settings));
    let url = match backend_url(run, record.route().path, worker, scheme) {
        Ok(url) => url,
        Err(status) => {
            let answer = HookStatus::from_code(status);
            return Ended { answer, status: status.clamp(0, 999) as u16, ..FAILED };
        }
    };
    let call = Dispatch {
        handlers: &serving.child.scheme_handlers,
        proxy,
        worker,
        url,
        module: SchemeModule::of(scheme),
        secure: is_http_over_tls(scheme),
        fresh: journey.course.fresh,
    };
    let Timed { exchange, began_us, ended_us, moved } = exchange::run(request, &call);
    faults::point("attempt");
    journey.spent = Spent { began_us, ended_us, moved };
    journey.over_us = ended_us;
    if journey.first_us == 0 {
        journey.first_us = began_us;
    }
    let outcome = relay::judge(&exchange);
    let status = exchange.last_status(outcome);
    let answer = exchange.returned;
    if matches!(outcome, Outcome::Answered(_)) {
        return Ended { outcome, answer, status, excused: false };
    }
    if answer == HookStatus::Declined {
        say_nobody_speaks(request, scheme);
        return Ended { outcome, answer: FAILED.answer, status, excused: false };
    }
    Ended { outcome, answer, status, excused: is_excused(request, record, outcome) }
}

#[cold]
fn is_excused(request: Request<'_>, record: &Record, outcome: Outcome) -> bool {
    let prompt = record.body.ended.get() && record.body.waited_us.get() < PATIENCE_US;
    relay::is_the_clients(outcome, exchange::asked(request), prompt)
}

#[cold]
fn say_nobody_speaks(request: Request<'_>, scheme: &str) {
    let modules = balance::url::modules_of(scheme).join(" or ");
    let text = format!("no module speaks {scheme}:// to backends: load {modules}");
    log::request(request, messages::requests::NO_MODULE, &text);
}

/// The filters that see the answer's headers and the request's body, where there is anything for
/// them to do.
fn add_filters(run: &Run<'_>, journey: &mut Journey) {
    let Run { serving, record, .. } = *run;
    let request = serving.request;
    if !journey.filters_answer
        && (record.answer.reverse.get()
            || record.answer.has_offer()
            || reverse::is_configured(request, serving.child))
    {
        journey.filters_answer = true;
        request.add_filter(&filter::ANSWER);
    }
    if !journey.filters_body && request.may_have_body() && request.has_body() {
        journey.filters_body = true;
        request.add_input_filter(&filter::BODY);
    }
}

/// The URL for the real handler. http-like schemes share one encoding of the path; the others'
/// modules make their own.
fn backend_url(run: &Run<'_>, path: Path, worker: Worker, scheme: &str) -> Result<*mut c_char, i32> {
    let request = run.serving.request;
    let pool = request.pool();
    if matches!(scheme, "http" | "https" | "h2" | "h2c" | "ws" | "wss") {
        return Ok(pool.concat(&[worker.url(), path.tail.bytes(request.pool()).unwrap_or(b"/")]));
    }
    if request.notes().get(OF_FILE).is_some() {
        // mod_proxy's own mark, which it takes away from requests that are proxied already.
        request.notes().set(c"proxy-sethandler", c"1");
    }
    let raw = path.raw.bytes(request.pool()).unwrap_or_default();
    request.point_filename(pool.concat(&[b"proxy:", worker.url(), b"/", raw]));
    run.serving.child.api.canonicalise(request)?;
    let filename = request.filename().unwrap_or_default();
    Ok(pool.copy(filename.strip_prefix(b"proxy:").unwrap_or(filename)))
}
