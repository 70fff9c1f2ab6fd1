//! Choosing by script, in translate_name or fixups: the script's answer becomes a decision.

use std::borrow::Cow;
use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId, View, ViewStep};
use balance::live::Slot;
use balance::member::{Member, MemberSpec};
use balance::settings::{Method, PoolSettings};
use balance::target::{self, path_start};
use script::{Answer, Attempt, ErrorKind, Peer, Phase, Question, ScriptError};

use super::child::{self, Child, Thread};
use super::config::{DirConfig, Hook, OnError, Resolved, Rewrites, ServerConfig};
use super::paths::{self, Path};
use super::record::{Choice, Decision, Record};
use super::rewritten::{self, Rules};
use super::seats::with_lua;
use crate::ffi;
use crate::httpd::log;
use crate::httpd::order;
use crate::httpd::request::{PROXYREQ_NONE, PROXYREQ_REVERSE, Request};

const OK: i32 = ffi::OK as i32;
const DECLINED: i32 = ffi::DECLINED;
const DONE: i32 = ffi::DONE;
const UNAVAILABLE: i32 = ffi::HTTP_SERVICE_UNAVAILABLE as i32;
const BAD_REQUEST: i32 = ffi::HTTP_BAD_REQUEST as i32;
const FAILED: i32 = ffi::HTTP_INTERNAL_SERVER_ERROR as i32;

/// This module's configuration for a request.
#[derive(Clone, Copy)]
pub struct Scope<'r> {
    section: &'r DirConfig,
    server: &'r ServerConfig,
    main: &'r ServerConfig,
}

type HooksOf = fn(&ServerConfig) -> &Vec<&'static Hook>;

impl<'r> Scope<'r> {
    /// Looks it up.
    pub fn of(request: Request<'r>, child: &'r Child) -> Option<Self> {
        Scope::below(request, child.main_config)
    }

    fn below(request: Request<'r>, main: &'r ServerConfig) -> Option<Self> {
        // SAFETY: httpd hands back what `directives` made; both live as long as the configuration, longer than requests.
        #[allow(unsafe_code)]
        unsafe {
            let section = request.own_dir_config().cast::<DirConfig>().as_ref()?;
            let server = request.own_server_config().cast::<ServerConfig>().as_ref()?;
            Some(Scope { section, server, main })
        }
    }

    /// Hooks of one kind, the most specific place that has any.
    pub fn hooks(&self, section: Option<&'static [&'static Hook]>, of: HooksOf) -> &'r [&'static Hook] {
        if let Some(hooks) = section {
            return hooks;
        }
        let own = of(self.server);
        if own.is_empty() { of(self.main) } else { own }
    }

    /// The section's own hooks for after the response.
    pub fn finish_hooks(&self) -> &'r [&'static Hook] {
        self.hooks(self.section.finish, |s| &s.finish)
    }

    /// Targets of mod_rewrite's rules, of the section and of the server.
    pub fn rewrites(&self) -> [Option<&'static Rewrites>; 3] {
        [self.section.rewrites, self.server.rewrites, self.main.rewrites]
    }

    fn on_error(&self) -> &'r OnError {
        self.section.on_error.or(self.server.on_error).or(self.main.on_error).unwrap_or(&OnError::Error)
    }
}

fn translate_hooks<'r>(scope: &Scope<'r>) -> &'r [&'static Hook] {
    scope.hooks(scope.section.translate, |s| &s.translate)
}

fn select_hooks<'r>(scope: &Scope<'r>) -> &'r [&'static Hook] {
    scope.hooks(scope.section.select, |s| &s.select)
}

/// A child that could not be made ready, as its log says, serves nothing that a hook decides over.
fn without_child<'r>(request: Request<'r>, hooks_of: impl Fn(&Scope<'r>) -> &'r [&'static Hook]) -> i32 {
    let main = super::startup::generation().map(|generation| generation.main_config);
    match main.and_then(|main| Scope::below(request, main)) {
        Some(scope) if !hooks_of(&scope).is_empty() => UNAVAILABLE,
        _ => DECLINED,
    }
}

/// translate_name: the selection hook.
pub fn translate(request: Request<'_>) -> i32 {
    if order::rewrites() {
        Record::mark_untouched(request);
    }
    if request.proxyreq() != PROXYREQ_NONE {
        return DECLINED;
    }
    let Some(child) = child::get() else { return without_child(request, translate_hooks) };
    let Some(scope) = Scope::of(request, child) else { return DECLINED };
    let hooks = translate_hooks(&scope);
    run_hooks(request, child, scope, hooks, Phase::Translate)
}

/// fixups, before mod_rewrite's rules of sections: what its rules of the server have rewritten.
pub fn fixups(request: Request<'_>) -> i32 {
    request.carry_body();
    if order::rewrites()
        && let Err(status) = rewritten::adopt(request, Rules::OfServer)
    {
        return status;
    }
    // A target that httpd has taken from a sub-request (mod_negotiation) was decided there.
    if Record::has_lent()
        && Record::of(request).is_none()
        && proxied_url(request).is_some_and(|url| url.starts_with(b"lb://"))
    {
        Record::borrow(request);
    }
    DECLINED
}

/// fixups, between mod_rewrite's rules of sections and mod_proxy's canonical form, where httpd has them in that order.
pub fn rewritten_fixups(request: Request<'_>) -> i32 {
    if Record::is_foreign(request) {
        return DECLINED;
    }
    rewritten::adopt(request, Rules::OfSection).err().unwrap_or(DECLINED)
}

/// fixups, after those of other modules: a rule of a section that has rewritten the request when mod_proxy's own fixup was over
/// (before httpd 2.4.63), and the selection hook after authentication.
pub fn late_fixups(request: Request<'_>) -> i32 {
    if order::rewrites() && !order::rewrites_before_proxy() && !Record::is_foreign(request) {
        match rewritten::adopt(request, Rules::OfSection) {
            Ok(true) => match canonicalise_late(request) {
                OK => {}
                status => return status,
            },
            Ok(false) => {}
            Err(status) => return status,
        }
    }
    select(request)
}

/// The selection hook after authentication. mod_proxy's own fixup is over, so that what the script chose gets its canonical form
/// here.
fn select(request: Request<'_>) -> i32 {
    let Some(child) = child::get() else { return without_child(request, select_hooks) };
    let Some(scope) = Scope::of(request, child) else { return DECLINED };
    let hooks = select_hooks(&scope);
    // A target that httpd has taken from a sub-request (mod_negotiation) was decided there, by these very hooks.
    if hooks.is_empty() || Record::of(request).is_some_and(|record| record.borrowed && record.is_of(request))
    {
        return DECLINED;
    }
    let before = Before::of(request, Phase::Select);
    let answer = run_hooks(request, child, scope, hooks, Phase::Select);
    if answer == OK {
        request.forget_directory();
    }
    let chosen = matches!(answer, OK | DECLINED) && request.proxyreq() != PROXYREQ_NONE;
    if chosen && before.new_filename(request).and_then(backend_of).is_some() {
        return child.api.canonicalise(request).err().unwrap_or(DECLINED);
    }
    if answer == OK { DECLINED } else { answer }
}

/// What mod_proxy's own fixup, being over, does no more.
fn canonicalise_late(request: Request<'_>) -> i32 {
    let url = proxied_url(request).unwrap_or_default();
    // With `[NE]` mod_rewrite puts the query behind the path, and with it the path is sent as it stands. It may have done so
    // without, too: then it is taken away, as it comes with the encoded path again.
    let query = request.args().map(|args| [b"?", args].concat()).unwrap_or_default();
    let raw = request.notes().get(c"proxy-nocanon").is_some();
    let own = if raw { url } else { url.strip_suffix(query.as_slice()).unwrap_or(url) };
    let [url] = request.pool().texts([&[own]]);
    paths::canonicalise(request, url)
}

fn run_hooks(
    request: Request<'_>,
    child: &'static Child,
    scope: Scope<'_>,
    hooks: &[&'static Hook],
    phase: Phase,
) -> i32 {
    for hook in hooks {
        let Some(resolved) = hook.resolved.get() else { continue };
        let status =
            child::with_thread(child, |thread| run_hook(request, child, scope, thread, resolved, phase));
        match status.unwrap_or(FAILED) {
            DECLINED => {}
            status => return status,
        }
    }
    DECLINED
}

fn run_hook(
    request: Request<'_>,
    child: &Child,
    scope: Scope<'_>,
    thread: &Thread,
    hook: &Resolved,
    phase: Phase,
) -> i32 {
    let before = Before::of(request, phase);
    let answer = with_lua(child, request, |lua| {
        let answer = lua.select(child.script(hook.script), &hook.function, phase)?;
        let Answer::Member(member) = &answer else { return Ok((answer, None, None)) };
        let asked = lua.asked(member);
        let method = asked.as_ref().and_then(|asked| asked.method.as_ref()).map(Method::name);
        let by = if lua.is_of_session(member) { Some("sticky") } else { method };
        Ok((answer, asked, by))
    });
    let status = match answer {
        Ok((answer, asked, by)) => {
            if log::logs_request(request, log::TRACE2) {
                explain(request, child, thread, &answer, by);
            }
            let picked = match (&answer, asked) {
                (Answer::Member(member), Some(asked))
                    if child.table.pool_of(member.slot, member.incarnation) == Some(asked.pool) =>
                {
                    Ok(send_picked(request, thread, member, asked))
                }
                _ => Err(answer),
            };
            let status =
                picked.unwrap_or_else(|answer| take(request, child, scope, thread, hook, answer, before));
            if by.is_some()
                && let Some(record) = Record::of(request)
            {
                record.picked_by = by;
            }
            status
        }
        Err(error) => failed(request, scope, thread, before, &error),
    };
    settle(request, phase, before, status);
    if phase == Phase::Translate {
        status
    } else {
        settle_file(request, child, scope, thread, before, status)
    }
}

/// Leaves no request in a state that httpd's modules take for impossible. One that is translated has a file name, which they read
/// unasked. One that is for a proxy has the proxy's: mod_proxy takes every other one for its own all the same.
fn settle(request: Request<'_>, phase: Phase, before: Before<'_>, status: i32) {
    if phase == Phase::Translate && status == OK && request.filename().is_none() {
        request.set_filename(None);
    }
    if matches!(status, OK | DECLINED) && proxied_url(request).is_none() {
        request.set_proxyreq(before.proxyreq);
    }
}

/// In fixups httpd has looked at the file, and at who may have it. In the sandbox it stays the one; otherwise httpd is told
/// about the new one.
fn settle_file(
    request: Request<'_>,
    child: &Child,
    scope: Scope<'_>,
    thread: &Thread,
    before: Before<'_>,
    status: i32,
) -> i32 {
    let other = request.filename() != before.filename && proxied_url(request).is_none();
    if !other || !matches!(status, OK | DECLINED) {
        return status;
    }
    if !child.library.is_sandboxed() {
        request.look_at_file();
        return status;
    }
    let message = "no file can be chosen in LuaHookSelect, since access was granted to the one that httpd has: set r.filename in \
                   LuaHookTranslate";
    wrong_target(request, scope, thread, before, (request.filename().unwrap_or_default(), message))
}

/// A script that failed: one line, and what `LuaBalancerOnError` says.
fn failed(
    request: Request<'_>,
    scope: Scope<'_>,
    thread: &Thread,
    before: Before<'_>,
    error: &ScriptError,
) -> i32 {
    let choice = scope.on_error();
    let then = match choice {
        OnError::Error => "answering 500".to_owned(),
        OnError::Decline => "declining".to_owned(),
        OnError::Pool(name) => format!("using pool {name}"),
    };
    log::request(request, log::ERR, &format!("script failed, {then}: {error}"));
    if !error.traceback.is_empty() && log::logs_request(request, log::DEBUG) {
        log::request(request, log::DEBUG, &error.traceback.replace('\n', " | "));
    }
    match choice {
        OnError::Error => give_up(request),
        OnError::Decline => {
            before.restore(request);
            DECLINED
        }
        OnError::Pool(name) => match thread.balancer.find(name) {
            Some(pool) => {
                paths::send(request, Decision::Pool { pool, view: None, method: None, first: None }, thread)
            }
            None => {
                log::request(
                    request,
                    log::ERR,
                    &format!("LuaBalancerOnError names pool {name}, which does not exist"),
                );
                give_up(request)
            }
        },
    }
}

/// A 500 that logs and `LuaHookFinish` can tell from others.
fn give_up(request: Request<'_>) -> i32 {
    let message = "the script failed".to_owned();
    Record::attach(request, Decision::Nobody { pool: None, message }).reason = c"script";
    request.env().point(false, c"LB_REASON", c"script");
    FAILED
}

/// Whether `LuaBalancerOnError` says that a script's failure is a 500 here.
pub fn errors_are_answers(request: Request<'_>) -> bool {
    let scope = child::get().and_then(|child| Scope::of(request, child));
    !matches!(scope.map(|scope| scope.on_error()), Some(OnError::Decline))
}

/// `LuaBalancerMethod lua` has failed: the pool that `LuaBalancerOnError` names has the request from here on. False when there is none.
pub fn after_failed_method(
    request: Request<'_>,
    child: &Child,
    thread: &Thread,
    record: &mut Record,
) -> bool {
    let Some(OnError::Pool(name)) = Scope::of(request, child).map(|scope| scope.on_error()) else {
        return false;
    };
    let Some(pool) = thread.balancer.find(name).filter(|pool| record.pool != Some(*pool)) else {
        return false;
    };
    log::request(request, log::ERR, &format!("using pool {name}"));
    record.decision = Decision::Pool { pool, view: None, method: None, first: None };
    true
}

/// A request that a sub-request's target was given to (`DirectoryIndex`, `FallbackResource`): httpd leaves the decision with
/// the sub-request. False when there is none.
pub fn take_over(request: Request<'_>) -> bool {
    let Some(url) = proxied_url(request).filter(|url| url.starts_with(b"lb://")) else { return false };
    Record::borrow(request);
    let [url] = request.pool().texts([&[url]]);
    paths::canonicalise(request, url) == OK
}

fn take(
    request: Request<'_>,
    child: &Child,
    scope: Scope<'_>,
    thread: &Thread,
    hook: &Resolved,
    answer: Answer,
    before: Before<'_>,
) -> i32 {
    match answer {
        Answer::Decline => declined(request, thread, scope, before),
        Answer::Ok => accepted(request, thread, scope, before),
        Answer::Status(status) => {
            request.name_status(i32::from(status));
            i32::from(status)
        }
        Answer::Member(member) => match child.table.pool_of(member.slot, member.incarnation) {
            Some(pool) => paths::send(
                request,
                Decision::Pool { pool, view: None, method: None, first: Some(member) },
                thread,
            ),
            None => paths::send(
                request,
                Decision::Nobody { pool: None, message: format!("member {} was removed", member.spec.name) },
                thread,
            ),
        },
        Answer::Pool { pool, view, method } => {
            paths::send(request, Decision::Pool { pool, view, method, first: None }, thread)
        }
        Answer::List(members) => {
            let list = members
                .into_iter()
                .filter_map(|member| Some((child.table.pool_of(member.slot, member.incarnation)?, member)))
                .collect();
            paths::send(request, Decision::List(list), thread)
        }
        Answer::Each(list) => {
            let choice = |one| match one {
                Answer::Member(member) => {
                    Some(Choice::Member(child.table.pool_of(member.slot, member.incarnation)?, member))
                }
                Answer::Pool { pool, view, .. } => Some(Choice::Pool(pool, view)),
                _ => None,
            };
            let choices = list.into_iter().filter_map(choice).collect();
            paths::send(request, Decision::Each { choices, at: 0 }, thread)
        }
        Answer::NoMember { pool, message } => {
            paths::send(request, Decision::Nobody { pool, message }, thread)
        }
        Answer::Full { pool, view, message } => {
            let waits = thread.balancer.now(pool).is_some_and(|now| now.settings().set.queue_ms > 0);
            let decision = if waits {
                Decision::Pool { pool, view, method: None, first: None }
            } else {
                Decision::Nobody { pool: Some(pool), message }
            };
            paths::send(request, decision, thread)
        }
        Answer::Done => finished(request, scope, thread, before),
        Answer::Page { status, body } => {
            if let Some(status) = status {
                request.set_status(i32::from(status));
            }
            let answer = finished(request, scope, thread, before);
            if answer == DONE {
                request.write(&body);
            }
            answer
        }
        Answer::Target(url) => to_url(request, scope, thread, before, &url),
        Answer::Peer(peer) => {
            let decision = Decision::Script {
                script: hook.clone(),
                peer: peer_url(&peer),
                more: peer.more_tries.unwrap_or(0).min(script::MAX_MORE_TRIES),
            };
            paths::send(request, decision, thread)
        }
        other => failed_answer(request, &format!("{other:?}")),
    }
}

/// A script that has answered by itself. An interim status would leave the client waiting for another one.
fn finished(request: Request<'_>, scope: Scope<'_>, thread: &Thread, before: Before<'_>) -> i32 {
    let status = request.status();
    if !(200..=599).contains(&status) {
        let text = format!("it answered with r.status = {status}, expected one from 200 to 599");
        request.set_status(200);
        return failed(request, scope, thread, before, &ScriptError::new(ErrorKind::Answer, text));
    }
    request.name_status(status);
    DONE
}

fn peer_url(peer: &Peer) -> Arc<str> {
    let scheme = if peer.tls { "https" } else { "http" };
    if peer.host.starts_with("unix:") {
        return format!("{}|{scheme}://localhost{}", peer.host, waits(peer)).into();
    }
    let bare = peer.host.contains(':') && !peer.host.starts_with('[');
    let host = if bare { format!("[{}]", peer.host) } else { peer.host.clone() };
    let port = if peer.port == 0 { String::new() } else { format!(":{}", peer.port) };
    format!("{scheme}://{host}{port}{}", waits(peer)).into()
}

/// What `set_timeouts` asked for, as keys behind the URL. A worker of mod_proxy has one time for sending and receiving.
fn waits(peer: &Peer) -> String {
    let [connect, send, read] = peer.timeouts;
    let keys = [("connectiontimeout", connect), ("timeout", read.or(send))];
    keys.iter()
        .filter_map(|(key, seconds)| seconds.map(|seconds| format!(" {key}={}", rounded_ms(seconds))))
        .collect()
}

/// Milliseconds, up to the next number of two digits and zeros, so that times that are computed do not make a worker each.
fn rounded_ms(seconds: f64) -> u64 {
    // What is no number becomes the shortest time.
    let ms = ((seconds * 1000.0).min(1e9) as u64).max(1);
    let step = 10_u64.pow(ms.ilog10().saturating_sub(1));
    ms.div_ceil(step) * step
}

/// A script that uses `ngx.balancer` runs again for the next attempt.
pub fn next_peer(request: Request<'_>, record: &mut Record, script: &Resolved) -> Result<Arc<str>, NoMember> {
    let child = child::get().ok_or(NoMember::UnknownPool)?;
    // A failure as nginx names it: 504 for one that took too long, 502 for one that gave no answer.
    let status = match record.reason.to_bytes() {
        b"timeout" => 504,
        b"connect" | b"reset" => 502,
        _ => record.last_status,
    };
    let attempt = Attempt { before: record.attempts, last_failure: Some((record.reason == c"ok", status)) };
    let answer = with_lua(child, request, |lua| {
        lua.set_attempt(attempt);
        let answer = lua.select(child.script(script.script), &script.function, Phase::Pick);
        lua.set_attempt(Attempt::default());
        answer
    });
    match answer {
        Ok(Answer::Peer(next)) => {
            let url = peer_url(&next);
            if let Decision::Script { peer, more, .. } = &mut record.decision {
                *peer = url.clone();
                *more = more.saturating_add(next.more_tries.unwrap_or(0)).min(script::MAX_MORE_TRIES);
            }
            Ok(url)
        }
        Ok(_) => Err(NoMember::UnknownPool),
        Err(error) => {
            log::request(
                request,
                log::ERR,
                &format!("script failed at attempt {}: {error}", record.attempts + 1),
            );
            Err(NoMember::UnknownPool)
        }
    }
}

fn failed_answer(request: Request<'_>, what: &str) -> i32 {
    log::request(request, log::ERR, &format!("internal error: unknown answer {what}"));
    FAILED
}

/// What of a request a script sets in mod_lua's manner, as it was before the script.
#[derive(Clone, Copy)]
struct Before<'r> {
    filename: Option<&'r [u8]>,
    handler: Option<&'r [u8]>,
    proxyreq: i32,
    phase: Phase,
}

impl<'r> Before<'r> {
    fn of(request: Request<'r>, phase: Phase) -> Self {
        let (filename, handler) = (request.filename(), request.handler());
        Before { filename, handler, proxyreq: request.proxyreq(), phase }
    }

    /// The file name, when it was set since.
    fn new_filename(self, request: Request<'r>) -> Option<&'r [u8]> {
        let now = request.filename().filter(|now| !now.is_empty());
        now.filter(|now| self.filename.map(<[u8]>::as_ptr) != Some(now.as_ptr()))
    }

    /// The handler, when it was set since.
    fn new_handler(self, request: Request<'r>) -> Option<&'r [u8]> {
        request.handler().filter(|now| self.handler.map(<[u8]>::as_ptr) != Some(now.as_ptr()))
    }

    /// Takes back what a script set that failed afterwards, so that httpd goes on without it.
    fn restore(self, request: Request<'r>) {
        match self.filename {
            Some(_) => request.set_filename(self.filename),
            None => request.point_filename(std::ptr::null_mut()),
        }
        request.set_handler(self.handler);
        request.set_proxyreq(self.proxyreq);
    }
}

/// Declined. A mod_lua script may say so with `r.proxyreq` and `r.filename = "proxy:…"` set, which httpd itself would
/// answer with 403; mod_lua's documentation shows it, so that it means what it was meant to.
fn declined(request: Request<'_>, thread: &Thread, scope: Scope<'_>, before: Before<'_>) -> i32 {
    if request.proxyreq() == PROXYREQ_REVERSE
        && let Some(url) = before.new_filename(request).and_then(backend_of)
    {
        return to_filename(request, scope, thread, before, url);
    }
    by_handler(request, thread, scope, before).unwrap_or(DECLINED)
}

/// `apache2.OK`: with `r.filename = "proxy:…"` the request goes there over pooled connections.
fn accepted(request: Request<'_>, thread: &Thread, scope: Scope<'_>, before: Before<'_>) -> i32 {
    if let Some(url) = before.new_filename(request).and_then(backend_of) {
        return to_filename(request, scope, thread, before, url);
    }
    by_handler(request, thread, scope, before).unwrap_or(OK)
}

/// What mod_proxy is asked for, behind `proxy:`.
pub fn proxied_url<'r>(request: Request<'r>) -> Option<&'r [u8]> {
    backend_of(request.filename()?)
}

fn backend_of(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"proxy:")
}

/// `r.handler = "proxy:URL"`: the URL, and behind it the path that the script put into `r.filename`. None when the script did not
/// set it.
fn by_handler(request: Request<'_>, thread: &Thread, scope: Scope<'_>, before: Before<'_>) -> Option<i32> {
    let url = backend_of(before.new_handler(request)?)?;
    // A file's path is what FastCGI and its like want; an HTTP backend is asked for what the client asked for.
    let own = if speaks_http(url) { request.uri() } else { request.filename() };
    let path = before.new_filename(request).or(own).unwrap_or_default();
    // Split before the path is put behind it, so that no path becomes part of a host.
    let (base, own) = url.split_at(path_start(url, b"/"));
    let own = own.strip_suffix(b"/").unwrap_or(own);
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let answer = to_backend(request, scope, thread, before, (base, &[own, b"/", path].concat()));
    if !speaks_http(url) {
        request.notes().set(paths::OF_FILE, c"1");
    }
    Some(answer)
}

fn speaks_http(url: &[u8]) -> bool {
    let scheme = url.rsplit(|byte| *byte == b'|').next().unwrap_or_default();
    [b"http".as_slice(), b"h2", b"ws"].iter().any(|start| starts_with(scheme, start))
}

/// Whether `text` starts with this, without case.
fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// `r.filename = "proxy:URL"`. mod_lua's scripts write it for both phases: in translate_name httpd takes it for decoded text and
/// encodes it, in fixups it goes to the backend as it stands. What the client wrote itself stands in either.
fn to_filename(
    request: Request<'_>,
    scope: Scope<'_>,
    thread: &Thread,
    before: Before<'_>,
    url: &[u8],
) -> i32 {
    let written = request.unparsed_uri().is_some_and(|own| own.starts_with(b"/") && url.ends_with(own));
    let decoded = !target::split(url, request.uri().unwrap_or_default()).decoded.is_empty();
    // Behind a prefix that is no text of URLs the client's own text stays, and the prefix gets encoded.
    let stands = if written { paths::split(request, url).is_ok() } else { before.phase == Phase::Select };
    if stands && !decoded && !names_other_proxy(url) {
        return to_url(request, scope, thread, before, url);
    }
    let (base, path) = url.split_at(path_start(url, b"/"));
    to_backend(request, scope, thread, before, (base, path))
}

/// `lb://` and `balancer://`: nothing that this module opens connections for by itself.
fn names_other_proxy(url: &[u8]) -> bool {
    starts_with(url, b"lb://") || starts_with(url, b"balancer://")
}

/// What a script of mod_lua set: the worker's URL, and the path behind it, decoded as `r.uri` is. The query stays the request's.
fn to_backend(
    request: Request<'_>,
    scope: Scope<'_>,
    thread: &Thread,
    before: Before<'_>,
    (base, path): (&[u8], &[u8]),
) -> i32 {
    if starts_with(base, b"balancer://") {
        return OK;
    }
    let encoded = match as_the_client_wrote(request, path) {
        Ok(encoded) => encoded,
        Err(status) => return status,
    };
    let path = encoded.as_deref().unwrap_or(path);
    let answer = if starts_with(base, b"lb://") {
        request.send_to_proxy(request.pool().concat(&[b"proxy:", base, path]));
        OK
    } else {
        match worker_url(base) {
            Ok(base) => {
                let path = Path { encoded: b"", decoded: path };
                paths::send_path(request, Decision::Target(base.into()), thread, path)
            }
            Err(message) => return wrong_target(request, scope, thread, before, (base, &message)),
        }
    };
    if encoded.is_some() {
        request.notes().set(c"proxy-nocanon", c"1");
    }
    answer
}

/// A path that a script has made of `r.unparsed_uri` holds the client's own text, encoded and with the query: it stays, and what
/// stands before it gets encoded. None: the path is decoded text, as mod_lua's are.
fn as_the_client_wrote(request: Request<'_>, path: &[u8]) -> Result<Option<Vec<u8>>, i32> {
    let own = request.unparsed_uri().filter(|own| own.starts_with(b"/") && request.uri() != Some(*own));
    let Some((own, before)) = own.and_then(|own| Some((own, path.strip_suffix(own)?))) else {
        return Ok(None);
    };
    let child = child::get().ok_or(UNAVAILABLE)?;
    let [text] = request.pool().texts([&[before.strip_prefix(b"/").unwrap_or(before)]]);
    let encoded = child.api.encode_path(request, text).ok_or(BAD_REQUEST)?;
    let slash: &[u8] = if encoded.is_empty() { b"" } else { b"/" };
    // The script may have given the request other arguments than the client.
    let args = request.args().filter(|_| !own.contains(&b'?'));
    let query = args.map(|args| [b"?", args].concat()).unwrap_or_default();
    Ok(Some([slash, encoded, own, &query].concat()))
}

/// A URL that a script returned: scheme, host and port make the worker; a path in it replaces the request's, and a query its
/// query.
fn to_url(request: Request<'_>, scope: Scope<'_>, thread: &Thread, before: Before<'_>, url: &[u8]) -> i32 {
    let target = paths::split(request, url);
    match target.and_then(|target| Ok((worker_url(target.base)?, target))) {
        Ok((base, target)) => paths::send_to(request, Decision::Target(base.into()), thread, &target),
        Err(message) => wrong_target(request, scope, thread, before, (url, &message)),
    }
}

/// The worker's URL, checked as a member's is.
fn worker_url(base: &[u8]) -> Result<String, String> {
    let base = String::from_utf8_lossy(base);
    balance::url::MemberUrl::parse(&base).map(|url| url.to_string()).map_err(|error| error.to_string())
}

/// A target that is none: one line, and what `LuaBalancerOnError` says.
fn wrong_target(
    request: Request<'_>,
    scope: Scope<'_>,
    thread: &Thread,
    before: Before<'_>,
    (url, message): (&[u8], &str),
) -> i32 {
    let url = String::from_utf8_lossy(url);
    let error = ScriptError::new(ErrorKind::Answer, format!("chose \"{}\": {message}", url.escape_debug()));
    failed(request, scope, thread, before, &error)
}

/// A member that a method of a pool or view has picked, and the question for further attempts.
fn send_picked(request: Request<'_>, thread: &Thread, member: &Arc<Member>, asked: Question) -> i32 {
    let Question { pool, view, method, key } = asked;
    let decision = Decision::Pool { pool, view, method, first: Some(member.clone()) };
    let status = paths::send(request, decision, thread);
    if status == OK
        && let Some(record) = Record::of(request)
    {
        record.key = key;
    }
    status
}

/// The key of the hash methods for this request; empty when there is none.
pub fn key_of<'r>(request: Request<'r>, settings: &PoolSettings) -> Cow<'r, [u8]> {
    let Some(key) = &settings.key else { return Cow::Borrowed(b"") };
    key_text(request, key).unwrap_or_else(|error| {
        log::request(request, log::ERR, &format!("key=\"{key}\": {error}"));
        Cow::Borrowed(b"")
    })
}

/// The value of a `key=` for this request.
pub fn key_text<'r>(request: Request<'r>, key: &str) -> Result<Cow<'r, [u8]>, String> {
    match child::get().and_then(|child| child.expression(key)) {
        Some(expression) => request.string_expression(expression).map(Cow::Borrowed),
        None => Ok(Cow::Owned(key.to_owned().into_bytes())),
    }
}

/// `LuaBalancerMethod lua`: the function gets `(pool, r)` and returns a member.
pub fn pick_by_script(
    request: Request<'_>,
    thread: &Thread,
    pool: PoolId,
    script: &str,
    function: &str,
    tried: &[Slot],
) -> Result<Arc<Member>, NoMember> {
    let child = child::get().ok_or(NoMember::UnknownPool)?;
    let Some(id) = child.method_script(script) else {
        log::request(request, log::ERR, &format!("LuaBalancerMethod lua {script}: the script is unknown"));
        return Err(NoMember::ScriptFailed);
    };
    let Some(membership) = thread.balancer.membership(pool) else { return Err(NoMember::UnknownPool) };
    let names: Vec<String> = membership
        .members
        .iter()
        .filter(|member| tried.contains(&member.slot))
        .map(|member| member.spec.name.clone())
        .collect();
    let left = membership.members.len() - names.len();
    let view = (!names.is_empty()).then(|| Arc::new(View { steps: vec![ViewStep::Except(names)] }));
    let answer = with_lua(child, request, |lua| lua.pick(id, function, &membership.name, view));
    match answer {
        // A script may also have kept one that is in no pool any more.
        Ok(Answer::Member(member))
            if !tried.contains(&member.slot) && thread.balancer.status(&member).is_some() =>
        {
            Ok(member)
        }
        Ok(Answer::Member(_)) => {
            Err(NoMember::NoneUsable(membership.name.clone(), 0, membership.members.len()))
        }
        Ok(Answer::Decline | Answer::NoMember { .. }) => {
            Err(NoMember::NoneUsable(membership.name.clone(), 0, membership.members.len()))
        }
        Ok(Answer::Full { .. }) => Err(NoMember::Full(membership.name.clone(), left)),
        Ok(_) => {
            log::request(
                request,
                log::ERR,
                &format!("LuaBalancerMethod lua: {function} did not return a member or nil"),
            );
            Err(NoMember::ScriptFailed)
        }
        Err(error) => {
            log::request(request, log::ERR, &format!("LuaBalancerMethod lua failed: {error}"));
            Err(NoMember::ScriptFailed)
        }
    }
}

/// What a script decided, beside all that it could choose from: `LogLevel trace2`.
#[cold]
fn explain(request: Request<'_>, child: &Child, thread: &Thread, answer: &Answer, by: Option<&'static str>) {
    let beside = |member: &Member| {
        let pool = child.table.pool_of(member.slot, member.incarnation);
        pool.map_or_else(
            || "no pool any more".to_owned(),
            |pool| thread.balancer.explain(pool, None).to_string(),
        )
    };
    let text = match answer {
        Answer::Member(member) => {
            let how = by.map_or_else(|| "it named that one".to_owned(), |method| format!("by {method}"));
            let MemberSpec { name, url, .. } = &member.spec;
            format!("{}: the script chose member {name} ({url}), {how}", beside(member))
        }
        Answer::Pool { pool, view, .. } => {
            let narrowed = if view.is_some() { ", narrowed" } else { "" };
            let state = thread.balancer.explain(*pool, view.as_deref());
            format!("{state}: the script chose the pool{narrowed}, whose method picks")
        }
        Answer::List(members) => {
            let names: Vec<&str> = members.iter().map(|member| member.spec.name.as_str()).collect();
            let state = members.first().map(|member| beside(member)).unwrap_or_default();
            format!("{state}: the script listed {}, in this order", names.join(", "))
        }
        Answer::NoMember { pool: Some(pool), message } => {
            format!("{}: the script found no member: {message}", thread.balancer.explain(*pool, None))
        }
        Answer::Target(url) => format!("the script chose \"{}\"", url.escape_ascii()),
        other => format!("the script answered {other:?}"),
    };
    log::request(request, log::TRACE2, &text);
}
