//! The loop over attempts: pick, count, run the real scheme handler, judge, uncount, next. The one place that picks, the
//! one that counts, the one that knows outcomes.

use std::ffi::CStr;
use std::os::raw::c_char;
use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId};
use balance::engine::Now;
use balance::live::Live;
use balance::member::Member;
use balance::settings::{FailureKinds, PoolSettings};
use balance::status::Status;
use balance::url::MemberUrl;
use once_cell::sync::Lazy;

use super::child::{self, Child, Thread};
use super::goals::Goal;
use super::outcome::{self, Evidence, Manner, Outcome};
use super::queue::InVain;
use super::record::{Decision, Record};
use super::workers::NoWorker;
use super::{finishing, goals, queue, reverse, selecting, sessions, tls};
use crate::faults;
use crate::ffi;
use crate::httpd::connection;
use crate::httpd::log;
use crate::httpd::memory;
use crate::httpd::request::Request;
use crate::httpd::worker::Worker;

const FAILED: i32 = ffi::HTTP_INTERNAL_SERVER_ERROR as i32;
const UNAVAILABLE: i32 = ffi::HTTP_SERVICE_UNAVAILABLE as i32;
/// How often a request races for the last place of a member before it takes the member for full.
const MOST_RACES: u32 = 8;
/// A client that has let a member wait this long for a request's body may have made it hang up.
const PATIENCE_US: u64 = 1_000_000;
/// The variable that asks mod_proxy_http for a fresh connection to the backend.
const NOT_POOLED: &CStr = c"proxy-initial-not-pooled";

/// What a script that uses `ngx.balancer` may ask for further tries after: nginx's `proxy_next_upstream error timeout`.
static PEER_FAILURES: FailureKinds =
    FailureKinds { connect: true, reset: true, timeout: true, any_5xx: false, codes: Vec::new() };

/// What mod_proxy gives a scheme handler beyond the request.
pub struct Proxy {
    /// mod_proxy's configuration.
    pub conf: *mut ffi::proxy_server_conf,
    /// ProxyRemote's host, or NULL.
    pub name: *const c_char,
    /// ProxyRemote's port.
    pub port: ffi::apr_port_t,
}

/// The worker that `lb://` requests get until an attempt picks the real one. Makes sure that there is a decision.
pub fn stand_in(request: Request<'_>) -> Result<Worker, i32> {
    let child = child::get().ok_or(UNAVAILABLE)?;
    let is_ready = Record::of(request).is_some_and(|record| record.is_of(request));
    if !is_ready && !selecting::take_over(request) {
        return Err(FAILED);
    }
    child.stand_in.ok_or(FAILED)
}

/// Runs a request to its end. Returns what mod_proxy expects of a scheme handler.
pub fn run(request: Request<'_>, proxy: &Proxy) -> i32 {
    let (Some(child), Some(record)) = (child::get(), Record::of(request)) else { return UNAVAILABLE };
    let rc = child::with_thread(child, |thread| run_in(request, proxy, child, thread, record));
    queue::leave(child, record, false);
    rc.unwrap_or(FAILED)
}

fn run_in(
    request: Request<'_>,
    proxy: &Proxy,
    child: &'static Child,
    thread: &Thread,
    record: &mut Record,
) -> i32 {
    let mut last: Option<(Outcome, i32)> = None;
    let status = request.status();
    loop {
        let (goal, mut pool) = match (goal_in_turn(request, child, thread, record, last), last) {
            (Ok(found), _) => found,
            (Err(_), _) if record.wait.in_vain.is_some_and(InVain::is_nobody) => {
                return give_up(request, thread, record);
            }
            (Err(NoMember::ScriptFailed), None)
                if selecting::after_failed_method(request, child, thread, record) =>
            {
                continue;
            }
            (Err(nobody), None) => return no_member(request, thread, record, &nobody),
            (Err(_), Some((_, rc))) => {
                finishing::note(request, record, pool_of(thread, record).as_ref());
                return rc;
            }
        };
        if let Goal::Member(id, _) = &goal
            && record.pool != Some(*id)
        {
            record.pool = Some(*id);
            pool = pool_of(thread, record);
        }
        let settings = settings_of(pool.as_ref());
        record.reverse = pool.is_some() && settings.set.reverse;
        let (outcome, rc) = match (&goal, &pool) {
            (Goal::Member(id, member), Some(pool)) => {
                let attempt = Attempt { request, proxy, child, thread, pool };
                let Some((outcome, rc)) = attempt_member(attempt, record, *id, member) else { continue };
                child.observe(thread, *id, member, settings, outcome, record);
                (outcome, rc)
            }
            // The pool went away between pick and now.
            (Goal::Member(_, member), None) => {
                record.tried.push(member.slot);
                continue;
            }
            (Goal::Target(url), _) => attempt_target(request, proxy, child, record, url),
        };
        let allowed = match &record.decision {
            Decision::Target(_) => 0,
            Decision::Script { more, .. } => *more,
            _ => settings.set.retries,
        };
        let kinds = match &record.decision {
            Decision::Script { .. } => &PEER_FAILURES,
            _ => &settings.set.retry_on,
        };
        let repeats = outcome.may_repeat(request, kinds);
        let more = repeats && (record.attempts - record.earlier <= allowed || goals::go_on(record));
        if !matches!(outcome, Outcome::Answered(_)) && log::logs_request(request, log::DEBUG) {
            log_failure(request, record, pool.as_ref(), outcome, more);
        }
        if !more {
            finishing::note(request, record, pool.as_ref());
            return rc;
        }
        forget_attempt(request, status);
        last = Some((outcome, rc));
    }
}

fn log_failure(request: Request<'_>, record: &Record, pool: Option<&Now>, outcome: Outcome, more: bool) {
    let name = record.member.as_ref().map_or("the target", |m| &m.spec.name);
    let place = pool.map(|pool| format!("pool {}: ", pool.membership().name)).unwrap_or_default();
    let then = if more { "trying another member" } else { "giving up" };
    log::request(
        request,
        log::DEBUG,
        &format!(
            "{place}attempt {} at {name} failed: {}, {then}",
            record.attempts,
            outcome.word().to_string_lossy()
        ),
    );
}

/// The pool that the request is at, as it is now.
fn pool_of(thread: &Thread, record: &Record) -> Option<Now> {
    record.pool.and_then(|pool| thread.balancer.now(pool))
}

/// Settings of the pool that the request is at; defaults for ad-hoc targets.
fn settings_of(pool: Option<&Now>) -> &PoolSettings {
    static DEFAULTS: Lazy<PoolSettings> = Lazy::new(PoolSettings::default);
    pool.map_or_else(|| &*DEFAULTS, Now::settings)
}

/// Where the next attempt goes. In a pool with a queue the request waits for its turn, looks again, and keeps its place in the queue
/// until it has one at a member. With it comes the request's pool, as it was when that was found.
fn goal_in_turn(
    request: Request<'_>,
    child: &Child,
    thread: &Thread,
    record: &mut Record,
    last: Option<(Outcome, i32)>,
) -> Result<(Goal, Option<Now>), NoMember> {
    loop {
        let looked = look(request, thread, record, last);
        let now = pool_of(thread, record);
        let Some(pool) = now.as_ref().filter(|pool| pool.settings().set.queue_ms > 0) else {
            return looked.map(|goal| (goal, now));
        };
        let nobody = match looked {
            Ok(Goal::Member(id, member)) => {
                // A session's member that takes no new requests is nobody's in the queue.
                let is_contested = thread.balancer.status(&member).is_some_and(Status::usable);
                if !is_contested || queue::may_go(child, record, pool) {
                    return Ok((Goal::Member(id, member), now));
                }
                queue::nobody_is_free(pool)
            }
            Ok(target) => return Ok((target, now)),
            Err(nobody) if queue::would_help(record, &nobody) => nobody,
            Err(nobody) => {
                queue::leave(child, record, false);
                return Err(nobody);
            }
        };
        if !queue::wait_for_turn(request, child, record, pool) {
            return Err(nobody);
        }
    }
}

/// Somebody who may be asked now, as far as this request knows.
fn look(
    request: Request<'_>,
    thread: &Thread,
    record: &mut Record,
    last: Option<(Outcome, i32)>,
) -> Result<Goal, NoMember> {
    let looked = goals::next(request, thread, record);
    let (Err(nobody), Some((outcome, _))) = (&looked, last) else { return looked };
    let other = goals::same_again(thread, record, outcome);
    other.or_else(|| goals::last_resort(thread, record, nobody)).map_or(looked, Ok)
}

/// What an attempt at a member needs, beyond the record and the member.
struct Attempt<'r, 'a> {
    request: Request<'r>,
    proxy: &'a Proxy,
    child: &'static Child,
    thread: &'a Thread,
    pool: &'a Now,
}

/// One attempt at a member. None: the member went away between pick and count, or is full; pick again.
fn attempt_member(
    attempt: Attempt<'_, '_>,
    record: &mut Record,
    pool: PoolId,
    member: &Arc<Member>,
) -> Option<(Outcome, i32)> {
    let Attempt { request, proxy, child, thread, pool: now } = attempt;
    let queue = (now.settings().set.queue_ms > 0).then_some(pool);
    if !take_place(child, record, member, queue) {
        return None;
    }
    queue::leave(child, record, true);
    // Only the last one is asked twice: see `same_again`.
    record.fresh = record.tried.contains(&member.slot);
    record.tried.push(member.slot);
    record.member = Some(member.clone());
    let secure = is_http_over_tls(&member.spec.url.scheme);
    let tls = tls::is_spoken(&member.spec.url.scheme).then(|| {
        let pool = now.membership().name.as_bytes();
        tls::settings(request, child, proxy, record, (Some(pool), &member.spec.url))
    });
    let worker = match &tls {
        None => child.workers.of_member(member),
        Some(settings) => child.workers.of_secure_member(member, settings),
    };
    let end = match worker {
        Ok(worker) => {
            finishing::announce(request, record, now, member, worker);
            if let Some(sticky) = &now.settings().sticky {
                sessions::meet(request, thread, record, pool, member, sticky);
            }
            let worn = tls.and_then(|settings| child.sections.wear(request, &settings));
            let end = handle(request, proxy, child, record, worker, &member.spec.url.scheme, secure);
            drop(worn);
            sessions::settle(request, record, end.0);
            end
        }
        Err(NoWorker::TooMany) => {
            record.reason = Outcome::NoWorker.word();
            (Outcome::NoWorker, UNAVAILABLE)
        }
        Err(NoWorker::Refused(message)) => {
            let (pool, name) = (&now.membership().name, &member.spec.name);
            log::request(request, log::ERR, &format!("pool {pool}: member {name}: {message}"));
            (Outcome::NotTheMember(FAILED), FAILED)
        }
    };
    give_back(child, record, queue);
    Some(end)
}

/// Counts a request in at a member. False: the member has no place left, or went away. `queue`: the pool, if it has one.
fn take_place(child: &Child, record: &mut Record, member: &Member, queue: Option<PoolId>) -> bool {
    let limit = child.table.advice(member.slot).limit(&member.spec);
    let inflight = || child.table.inflight(member.slot);
    if limit > 0 && inflight() >= limit {
        record.full.push(member.slot);
        sessions::member_is_full(record);
        return false;
    }
    if !child.table.begin(&child.lane, member.slot, member.incarnation) {
        record.tried.push(member.slot);
        return false;
    }
    record.counted = Some(member.slot);
    if limit == 0 || inflight() <= limit {
        return true;
    }
    // Others were faster to the last place, or as fast: then nobody has it, and it is worth asking again.
    record.races += 1;
    let give_up = record.races >= MOST_RACES;
    give_back(child, record, queue.filter(|_| give_up));
    if give_up {
        record.full.push(member.slot);
        sessions::member_is_full(record);
    } else {
        std::thread::yield_now();
    }
    false
}

fn give_back(child: &Child, record: &mut Record, queue: Option<PoolId>) {
    if let Some(slot) = record.counted.take() {
        child.table.end(&child.lane, slot);
        if let Some(pool) = queue {
            queue::place_is_free(child, pool.0);
        }
    }
}

fn attempt_target(
    request: Request<'_>,
    proxy: &Proxy,
    child: &'static Child,
    record: &mut Record,
    url: &str,
) -> (Outcome, i32) {
    // `unix:/path.sock|http://localhost`: the scheme is the one behind the socket.
    let scheme = url.rsplit('|').next().and_then(|url| url.split(':').next()).unwrap_or("http");
    let tls = tls::is_spoken(scheme)
        .then(|| MemberUrl::parse(url).ok())
        .flatten()
        .map(|url| tls::settings(request, child, proxy, record, (None, &url)));
    match child.workers.of_target(url, tls) {
        Ok(worker) => {
            let secure = is_http_over_tls(scheme);
            let _worn = tls.and_then(|settings| child.sections.wear(request, &settings));
            handle(request, proxy, child, record, worker, scheme, secure)
        }
        Err(message) => {
            log::request(request, log::ERR, &format!("target {url}: {message}"));
            record.attempts += 1;
            (Outcome::NotTheMember(FAILED), FAILED)
        }
    }
}

/// Schemes that mod_proxy_http speaks TLS for.
fn is_http_over_tls(scheme: &str) -> bool {
    matches!(scheme, "https" | "wss")
}

/// Runs the real scheme handlers on one worker.
fn handle(
    request: Request<'_>,
    proxy: &Proxy,
    child: &'static Child,
    record: &mut Record,
    worker: Worker,
    scheme: &str,
    secure: bool,
) -> (Outcome, i32) {
    record.attempts += 1;
    if !record.filtered
        && (record.reverse || sessions::has_offer(record) || reverse::is_configured(request, child))
    {
        record.filtered = true;
        request.add_filter(&crate::hooks::REVERSE);
    }
    if !record.watches_body && request.method_number() != ffi::M_GET && request.has_body() {
        record.watches_body = true;
        request.add_input_filter(&crate::hooks::BODY);
    }
    let url = match backend_url(request, child, record, worker, scheme) {
        Ok(url) => url,
        Err(status) => return (Outcome::NotTheMember(status), status),
    };
    let kept = KeepAlives::hide(request);
    let unpooled = record.fresh.then(|| Unpooled::ask(request));
    record.began_us = memory::monotonic_us();
    let status_before = request.status();
    let sent_before = worker.sent();
    let (mut rc, connected) = connection::watch(|| run_handlers(request, proxy, child, worker, url));
    faults::point("attempt");
    record.ended_us = memory::monotonic_us();
    drop(unpooled);
    drop(kept);
    let manner = Manner::of(scheme);
    // mod_proxy_http makes a connection of httpd's of each new one to a backend.
    let reused = !connected && manner == Manner::Http;
    let sent = worker.sent() != sent_before;
    let exhausted = rc == UNAVAILABLE && !connected && worker.is_exhausted();
    let evidence = Evidence { manner, sent, rc, secure, reused, status_before, exhausted };
    let outcome = outcome::judge(request, &evidence);
    let prompt = record.body_read && record.body_wait_us < PATIENCE_US;
    record.excused = outcome.is_the_clients(request, prompt);
    record.reason = outcome.word();
    record.last_status = match outcome {
        Outcome::Answered(status) => status,
        Outcome::Broken => request.status().clamp(0, 999) as u16,
        _ => rc.clamp(0, 999) as u16,
    };
    if rc == ffi::DECLINED {
        log::request(
            request,
            log::ERR,
            &format!(
                "no module speaks {scheme}:// to backends: load {}",
                balance::url::modules_of(scheme).join(" or ")
            ),
        );
        rc = FAILED;
    }
    (outcome, rc)
}

fn run_handlers(request: Request<'_>, proxy: &Proxy, child: &Child, worker: Worker, url: *mut c_char) -> i32 {
    for handler in &child.scheme_handlers {
        // SAFETY: mod_proxy's own handlers, with what mod_proxy itself would pass.
        #[allow(unsafe_code)]
        let rc =
            unsafe { handler(request.as_ptr(), worker.as_ptr(), proxy.conf, url, proxy.name, proxy.port) };
        if rc != ffi::DECLINED {
            return rc;
        }
    }
    ffi::DECLINED
}

/// The URL for the real handler. http-like schemes share one encoding of the path; the others' modules make their own.
fn backend_url(
    request: Request<'_>,
    child: &Child,
    record: &Record,
    worker: Worker,
    scheme: &str,
) -> Result<*mut c_char, i32> {
    let pool = request.pool();
    // SAFETY: both were made in the request's pool by `paths::canonicalise`, or are NULL.
    #[allow(unsafe_code)]
    let (tail, raw) = unsafe {
        (crate::httpd::bytes(record.tail).unwrap_or(b"/"), || {
            crate::httpd::bytes(record.raw_path).unwrap_or_default()
        })
    };
    if matches!(scheme, "http" | "https" | "h2" | "h2c" | "ws" | "wss") {
        return Ok(pool.concat(&[worker.url().to_bytes(), tail]));
    }
    if request.notes().get(super::paths::OF_FILE).is_some() {
        // mod_proxy's own mark, which it takes away from requests that are proxied already.
        request.notes().set(c"proxy-sethandler", c"1");
    }
    request.point_filename(pool.concat(&[b"proxy:", worker.url().to_bytes(), b"/", raw()]));
    child.api.canonicalise(request)?;
    let filename = request.filename().unwrap_or_default();
    Ok(pool.copy(filename.strip_prefix(b"proxy:").unwrap_or(filename)))
}

/// mod_proxy drops a kept-alive client without an answer when a backend fails before answering; it looks at the
/// connection's number of requests. That number is put aside around the handler, and added back.
struct KeepAlives<'r> {
    request: Request<'r>,
    saved: i32,
    not_pooled: Option<&'r [u8]>,
}

impl<'r> KeepAlives<'r> {
    fn hide(request: Request<'r>) -> Option<Self> {
        let saved = request.keepalives();
        if saved == 0 {
            return None;
        }
        let max = request.keepalive_max();
        if max != 0 && saved >= max {
            // httpd would go by the number to end the connection after this request.
            request.end_connection_after();
        }
        // Asks for a fresh connection to the backend only with a client's first request, for what it looks like now.
        let not_pooled = request.env().get(NOT_POOLED);
        if not_pooled.is_some() {
            request.env().unset(NOT_POOLED);
        }
        request.set_keepalives(0);
        Some(KeepAlives { request, saved, not_pooled })
    }
}

impl Drop for KeepAlives<'_> {
    fn drop(&mut self) {
        self.request.set_keepalives(self.request.keepalives() + self.saved);
        if let Some(value) = self.not_pooled {
            self.request.env().set_bytes(NOT_POOLED.to_bytes(), value);
        }
    }
}

/// Asks mod_proxy_http for a fresh connection to the backend, for one attempt. Only heard while [`KeepAlives`] hides the
/// client's earlier requests.
struct Unpooled<'r> {
    request: Request<'r>,
    before: Option<&'r [u8]>,
}

impl<'r> Unpooled<'r> {
    fn ask(request: Request<'r>) -> Self {
        let before = request.env().get(NOT_POOLED);
        request.env().set(NOT_POOLED, c"1");
        Unpooled { request, before }
    }
}

impl Drop for Unpooled<'_> {
    fn drop(&mut self) {
        match self.before {
            Some(value) => self.request.env().set_bytes(NOT_POOLED.to_bytes(), value),
            None => self.request.env().unset(NOT_POOLED),
        }
    }
}

/// The headers of an answer are known and not yet sent; the loop is inside of the real handler.
pub fn headers_known(request: Request<'_>) {
    let Some(record) = Record::of(request) else { return };
    reverse::map_back(request, record);
    sessions::offer_cookie(request, record, request.headers_out());
}

/// Takes back what a failed attempt left on the request. `status`: what it had before the first one; that of an error document
/// is the error's, by which httpd knows not to look for another document.
fn forget_attempt(request: Request<'_>, status: i32) {
    for note in [c"uds_path", c"error-notes", c"verbose-error-to", c"proxy_timedout", c"proxy-error-override"]
    {
        request.notes().unset(note);
    }
    request.set_status(status);
}

/// Some of a request's body was read, perhaps its end; the client let that wait so long.
pub fn body_read(request: Request<'_>, waited_us: u64, ended: bool) {
    if let Some(record) = Record::of(request) {
        record.body_wait_us = record.body_wait_us.saturating_add(waited_us);
        record.body_read |= ended;
    }
}

/// No member could be asked at all.
fn no_member(request: Request<'_>, thread: &Thread, record: &mut Record, nobody: &NoMember) -> i32 {
    let message = match (&record.decision, record.wait.in_vain) {
        (Decision::Nobody { message, .. }, _) => message.clone(),
        (_, Some(why)) => why.explain().to_owned(),
        (Decision::List(_) | Decision::Each { .. }, _) => {
            "none of the members that the script listed is usable".to_owned()
        }
        _ => nobody.to_string(),
    };
    let pool = pool_of(thread, record);
    let settings = settings_of(pool.as_ref());
    let status = match nobody {
        NoMember::SessionLost(_) => ffi::HTTP_SERVICE_UNAVAILABLE as u16,
        NoMember::ScriptFailed if selecting::errors_are_answers(request) => {
            ffi::HTTP_INTERNAL_SERVER_ERROR as u16
        }
        _ => settings.set.on_empty,
    };
    log::request(request, log::ERR, &format!("no member for {}: {message}", request_line(request)));
    let seconds = retry_after_s(settings).to_string();
    request.err_headers_out().set_bytes(b"Retry-After", seconds.as_bytes());
    let word = if matches!(nobody, NoMember::ScriptFailed) { c"script" } else { c"no member" };
    record.reason = record.wait.in_vain.map_or(word, InVain::word);
    finishing::note(request, record, pool.as_ref());
    i32::from(status)
}

/// Nobody is there to be answered any more: not even by an error document, which may be another backend's.
fn give_up(request: Request<'_>, thread: &Thread, record: &mut Record) -> i32 {
    if log::logs_request(request, log::DEBUG) {
        let why = record.wait.in_vain.map_or("", InVain::explain);
        log::request(request, log::DEBUG, &format!("{} waits no more: {why}", request_line(request)));
    }
    let pool = pool_of(thread, record);
    request.abort();
    request.set_status(i32::from(settings_of(pool.as_ref()).set.on_empty));
    record.reason = record.wait.in_vain.map_or(c"aborted", InVain::word);
    finishing::note(request, record, pool.as_ref());
    ffi::DONE
}

fn request_line(request: Request<'_>) -> String {
    String::from_utf8_lossy(request.unparsed_uri().unwrap_or_default()).chars().take(200).collect()
}

/// When it is worth trying again: after the time in which a member can come back.
fn retry_after_s(settings: &PoolSettings) -> u64 {
    let by_checks =
        settings.health.as_ref().map(|check| check.interval_ms.saturating_mul(u64::from(check.rise)));
    let by_traffic = settings.outlier.on.then_some(settings.outlier.ejection_ms);
    by_checks.into_iter().chain(by_traffic).min().unwrap_or(1000).div_ceil(1000).max(1)
}
