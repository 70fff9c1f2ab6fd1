//! Choosing by script, in translate_name or fixups: the script's answer becomes a decision.

use std::borrow::Cow;
use std::ffi::CStr;
use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId, View, ViewStep};
use balance::live::Slot;
use balance::member::Member;
use balance::settings::PoolSettings;
use script::{Answer, Attempt, Peer, Phase, ScriptError};

use super::child::{self, Child, Thread};
use super::config::{DirConfig, Hook, OnError, Resolved, ServerConfig};
use super::record::{Decision, Record};
use super::seats::with_lua;
use crate::ffi;
use crate::httpd::log;
use crate::httpd::pool::Text;
use crate::httpd::request::{PROXYREQ_NONE, PROXYREQ_REVERSE, Request};

const OK: i32 = ffi::OK as i32;
const DECLINED: i32 = ffi::DECLINED;
const UNAVAILABLE: i32 = ffi::HTTP_SERVICE_UNAVAILABLE as i32;
const FORBIDDEN: i32 = ffi::HTTP_FORBIDDEN as i32;
const BAD_REQUEST: i32 = ffi::HTTP_BAD_REQUEST as i32;
/// The note of a request whose script named a handler, so that the path is a file's.
const FILE_PATH: &CStr = c"lb-file-path";
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
    Record::mark_untouched(request);
    if request.proxyreq() != PROXYREQ_NONE {
        return DECLINED;
    }
    let Some(child) = child::get() else { return without_child(request, translate_hooks) };
    let Some(scope) = Scope::of(request, child) else { return DECLINED };
    let hooks = translate_hooks(&scope);
    run_hooks(request, child, scope, hooks, Phase::Translate)
}

/// fixups, before mod_proxy's own: a target of mod_rewrite's server-wide rules becomes a pool's.
pub fn fixups(request: Request<'_>) -> i32 {
    adopt_rewritten(request, Record::is_untouched(request)).err().unwrap_or(DECLINED)
}

/// fixups, after those of other modules: first a section's rewritten target, then the selection hook.
pub fn late_fixups(request: Request<'_>) -> i32 {
    match adopt_in_section(request) {
        DECLINED => select(request),
        status => status,
    }
}

/// The selection hook after authentication. mod_proxy's own fixup is over, so that what the script chose gets its canonical form here.
fn select(request: Request<'_>) -> i32 {
    let Some(child) = child::get() else { return without_child(request, select_hooks) };
    let Some(scope) = Scope::of(request, child) else { return DECLINED };
    let hooks = select_hooks(&scope);
    if hooks.is_empty() || request.is_subrequest() {
        return DECLINED;
    }
    let before = Before::of(request);
    let answer = run_hooks(request, child, scope, hooks, Phase::Select);
    let chosen = matches!(answer, OK | DECLINED) && request.proxyreq() != PROXYREQ_NONE;
    if chosen && before.new_filename(request).and_then(backend_of).is_some() {
        return child.api.canonicalise(request).err().unwrap_or(answer);
    }
    answer
}

/// A rule of a section has rewritten the request only now, when mod_proxy's own fixup is over.
fn adopt_in_section(request: Request<'_>) -> i32 {
    if Record::is_foreign(request) {
        return DECLINED;
    }
    match adopt_rewritten(request, false) {
        Ok(true) => {}
        Ok(false) => return DECLINED,
        Err(status) => return status,
    }
    let url = proxied_url(request).unwrap_or_default();
    // Here mod_rewrite has put the query behind the path already.
    let query = request.args().map(|args| [b"?", args].concat()).unwrap_or_default();
    let [url] = request.pool().texts([&[url.strip_suffix(query.as_slice()).unwrap_or(url)]]);
    match canonicalise(request, url) {
        OK => DECLINED,
        status => status,
    }
}

/// mod_rewrite does not know the scheme `lb`: it takes the target of `RewriteRule … lb://pool/path [P]` for a path and puts this
/// server's own name (the client's Host, with `UseCanonicalName Off`) before it. That is taken away again, unless the target is
/// `foreign`: not mod_rewrite's work, but a client's path behind a host that the client's Host names too. True when it was.
///
/// A client with that very pool among its own words is refused (403), as they may be what stands there: behind a rule for another
/// backend, which the client's Host names.
fn adopt_rewritten(request: Request<'_>, foreign: bool) -> Result<bool, i32> {
    if request.proxyreq() != PROXYREQ_REVERSE {
        return Ok(false);
    }
    let Some(at) = request.own_scheme_in_filename() else { return Ok(false) };
    let Some((url, at)) = proxied_url(request).and_then(|url| Some((url, at.checked_sub(b"proxy:".len())?)))
    else {
        return Ok(false);
    };
    if foreign {
        Record::mark_foreign(request);
        return Ok(false);
    }
    let own = [request.scheme(), b"://", &request.own_authority()].concat();
    // A rule of a section has the section's path between them.
    let between = url[..at].strip_prefix(own.as_slice());
    let ours = between.is_some_and(|path| path.is_empty() || path.starts_with(b"/"));
    if ours && names_pool(request, &url[at + 1..]) {
        log::request(request, log::ERR, "a client's lb:// in the target of a rewritten request is refused");
        return Err(FORBIDDEN);
    }
    if ours {
        request.point_filename(request.pool().concat(&[b"proxy:", &url[at + 1..]]));
    }
    Ok(ours)
}

/// Whether the client's own words hold the `lb://pool` that a target begins with, in whatever encoding.
fn names_pool(request: Request<'_>, target: &[u8]) -> bool {
    let scheme = b"lb://".len();
    let name = target.iter().skip(scheme).take_while(|byte| !matches!(byte, b'/' | b'?')).count();
    let pool = &target[..target.len().min(scheme + name)];
    let holds = |words: &[u8]| words.windows(pool.len()).any(|part| part.eq_ignore_ascii_case(pool));
    let unescaped = |text: &[u8]| script::unescape_with(text, false);
    let once = unescaped(request.unparsed_uri().unwrap_or_default());
    holds(&once) || holds(&unescaped(&once))
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
    let before = Before::of(request);
    let answer = with_lua(child, request, |lua| lua.select(child.script(hook.script), &hook.function, phase));
    match answer {
        Ok(answer) => {
            if log::logs_request(request, log::TRACE2) {
                explain(request, thread, &answer);
            }
            take(request, child, scope, thread, hook, answer, before)
        }
        Err(error) => failed(request, scope, thread, before, &error),
    }
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
                send(request, Decision::Pool { pool, view: None, method: None, first: None }, thread)
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
/// the sub-request, so that it is made anew, by the pool's name. False when there is none.
pub fn take_over(request: Request<'_>) -> bool {
    let Some(url) = proxied_url(request).filter(|url| url.starts_with(b"lb://")) else { return false };
    let [url] = request.pool().texts([&[url]]);
    canonicalise(request, url) == OK
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
            Some(pool) => {
                send(request, Decision::Pool { pool, view: None, method: None, first: Some(member) }, thread)
            }
            None => send(
                request,
                Decision::Nobody { pool: None, message: format!("member {} was removed", member.spec.name) },
                thread,
            ),
        },
        Answer::Pool { pool, view, method } => {
            send(request, Decision::Pool { pool, view, method, first: None }, thread)
        }
        Answer::List(members) => {
            let list = members
                .into_iter()
                .filter_map(|member| Some((child.table.pool_of(member.slot, member.incarnation)?, member)))
                .collect();
            send(request, Decision::List(list), thread)
        }
        Answer::NoMember { pool, message } => send(request, Decision::Nobody { pool, message }, thread),
        Answer::Full { pool, view, message } => {
            let waits = thread.balancer.now(pool).is_some_and(|now| now.settings().set.queue_ms > 0);
            let decision = if waits {
                Decision::Pool { pool, view, method: None, first: None }
            } else {
                Decision::Nobody { pool: Some(pool), message }
            };
            send(request, decision, thread)
        }
        Answer::Done => finished(request, scope, before),
        Answer::Page { status, body } => {
            if let Some(status) = status {
                request.set_status(i32::from(status));
            }
            let answer = finished(request, scope, before);
            if answer == ffi::DONE {
                request.write(&body);
            }
            answer
        }
        Answer::Target(url) => to_target(request, scope, thread, before, &url),
        Answer::Peer(peer) => {
            let decision = Decision::Script {
                script: hook.clone(),
                peer: peer_url(&peer),
                more: peer.more_tries.unwrap_or(0).min(script::MAX_MORE_TRIES),
            };
            send(request, decision, thread)
        }
        other => failed_answer(request, &format!("{other:?}")),
    }
}

/// A script that has answered by itself. An interim status would leave the client waiting for another one.
fn finished(request: Request<'_>, scope: Scope<'_>, before: Before<'_>) -> i32 {
    let status = request.status();
    if !(200..=599).contains(&status) {
        let text =
            format!("script failed: it answered with r.status = {status}, expected one from 200 to 599");
        log::request(request, log::ERR, &text);
        request.set_status(200);
        return match scope.on_error() {
            OnError::Decline => {
                before.restore(request);
                DECLINED
            }
            _ => give_up(request),
        };
    }
    request.name_status(status);
    ffi::DONE
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
}

impl<'r> Before<'r> {
    fn of(request: Request<'r>) -> Self {
        let (filename, handler) = (request.filename(), request.handler());
        Before { filename, handler, proxyreq: request.proxyreq() }
    }

    /// The file name, when it was set since.
    fn new_filename(self, request: Request<'r>) -> Option<&'r [u8]> {
        request.filename().filter(|now| self.filename.map(<[u8]>::as_ptr) != Some(now.as_ptr()))
    }

    /// The handler, when it was set since.
    fn new_handler(self, request: Request<'r>) -> Option<&'r [u8]> {
        request.handler().filter(|now| self.handler.map(<[u8]>::as_ptr) != Some(now.as_ptr()))
    }

    /// Takes back what a script set that failed afterwards, so that httpd goes on without it.
    fn restore(self, request: Request<'r>) {
        request.set_filename(self.filename);
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
        let (base, path) = url.split_at(path_start(url, b"/"));
        return to_backend(request, scope, thread, before, (base, path));
    }
    by_handler(request, thread, scope, before).unwrap_or(DECLINED)
}

/// `apache2.OK`: with `r.filename = "proxy:…"` the request goes there over pooled connections.
fn accepted(request: Request<'_>, thread: &Thread, scope: Scope<'_>, before: Before<'_>) -> i32 {
    if let Some(url) = before.new_filename(request).and_then(backend_of) {
        let (base, path) = url.split_at(path_start(url, b"/"));
        return to_backend(request, scope, thread, before, (base, path));
    }
    by_handler(request, thread, scope, before).unwrap_or(OK)
}

fn proxied_url<'r>(request: Request<'r>) -> Option<&'r [u8]> {
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
        request.notes().set(FILE_PATH, c"1");
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
        match worker_url(&String::from_utf8_lossy(base)) {
            Ok(base) => send_path(request, Decision::Target(base.into()), thread, path),
            Err(message) => return wrong_target(request, scope, before, base, &message),
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

/// Where the path begins (or, with `?` among the marks, the query).
fn path_start(url: &[u8], marks: &[u8]) -> usize {
    let find = |text: &[u8], part: &[u8]| text.windows(part.len()).position(|window| window == part);
    let socket = if url.starts_with(b"unix:") { find(url, b"|").unwrap_or(0) } else { 0 };
    let host = find(&url[socket..], b"://").map_or(socket, |at| socket + at + 3);
    url[host..].iter().position(|byte| marks.contains(byte)).map_or(url.len(), |at| host + at)
}

/// The worker's URL, checked as a member's is.
fn worker_url(base: &str) -> Result<String, String> {
    balance::url::MemberUrl::parse(base).map(|url| url.to_string()).map_err(|error| error.to_string())
}

/// A target that is none: one line, and what `LuaBalancerOnError` says.
fn wrong_target(
    request: Request<'_>,
    scope: Scope<'_>,
    before: Before<'_>,
    url: &[u8],
    message: &str,
) -> i32 {
    let url = String::from_utf8_lossy(url);
    log::request(request, log::ERR, &format!("script failed: chose \"{}\": {message}", url.escape_debug()));
    match scope.on_error() {
        OnError::Decline => {
            before.restore(request);
            DECLINED
        }
        _ => give_up(request),
    }
}

/// An ad-hoc target: scheme, host and port make the worker; a path replaces the request's.
fn to_target(request: Request<'_>, scope: Scope<'_>, thread: &Thread, before: Before<'_>, url: &str) -> i32 {
    let (base, rest) = url.split_at(path_start(url.as_bytes(), b"/?"));
    let base = match worker_url(base) {
        Ok(base) => base,
        Err(message) => return wrong_target(request, scope, before, url.as_bytes(), &message),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, args) = rest.split_once('?').map_or((rest, None), |(path, args)| (path, Some(args)));
    if let Some(args) = args {
        request.set_args(Some(args.as_bytes()));
    }
    let decision = Decision::Target(base.into());
    if rest.is_empty() {
        return send(request, decision, thread);
    }
    send_path(request, decision, thread, path.as_bytes())
}

/// Hands the request to mod_proxy, to come back in `attempts`.
fn send(request: Request<'_>, decision: Decision, thread: &Thread) -> i32 {
    send_path(request, decision, thread, request.uri().unwrap_or(b"/"))
}

/// The same with another path. `r.uri` stays, since httpd chooses the sections that protect a request by it.
fn send_path(request: Request<'_>, decision: Decision, thread: &Thread, path: &[u8]) -> i32 {
    let pool = match &decision {
        Decision::Pool { pool, .. } => thread.balancer.now(*pool),
        _ => None,
    };
    let record = Record::attach(request, decision);
    record.by_script = true;
    // What a ProxyPass before this asked for its own path, and a script for a file's.
    request.notes().unset(FILE_PATH);
    request.notes().unset(c"proxy-nocanon");
    request.notes().unset(c"proxy-noencode");
    let name = pool.as_ref().map_or("script", |pool| &*pool.membership().name);
    request.send_to_proxy(request.pool().concat(&[
        b"proxy:lb://",
        name.as_bytes(),
        if path.starts_with(b"/") { b"" } else { b"/" },
        path,
    ]));
    OK
}

/// Whether the path is a file's, which FastCGI gets as it is, as with `SetHandler "proxy:fcgi://…"`.
pub fn is_file_path(request: Request<'_>) -> bool {
    request.notes().get(FILE_PATH).is_some()
}

/// mod_proxy's canon hook for `lb://pool/path`: looks the pool up, encodes the path once for all attempts.
pub fn canonicalise<'r>(request: Request<'r>, url: Text<'r>) -> i32 {
    let rest = url.skip("lb://".len());
    let length = rest.bytes().iter().position(|b| *b == b'/').unwrap_or(rest.bytes().len());
    let path = rest.skip(length + 1);
    let Some(child) = child::get() else { return FAILED };
    if Record::of(request).is_none_or(|record| !record.by_script) {
        let name = String::from_utf8_lossy(&rest.bytes()[..length]);
        let found = child::with_thread(child, |thread| thread.balancer.find(&name)).flatten();
        let Some(pool) = found else {
            log::request(request, log::ERR, &format!("lb://{name}: there is no pool of that name"));
            return FAILED;
        };
        Record::attach(request, Decision::Pool { pool, view: None, method: None, first: None });
    }
    let Some(record) = Record::of(request) else { return FAILED };
    record.raw_path = path.as_ptr();
    // With SetHandler mod_proxy puts the file's path behind the pool, which is what FastCGI wants; an HTTP backend is asked
    // for what the client asked for.
    let by_handler =
        request.handler().is_some_and(|handler| handler.starts_with(b"proxy:")) && !record.by_script;
    let path = if by_handler { request.uri_text() } else { path };
    prepare_path(request, child, record, path.skip(usize::from(path.bytes().starts_with(b"/"))))
}

fn prepare_path<'r>(request: Request<'r>, child: &Child, record: &mut Record, text: Text<'r>) -> i32 {
    let (pool, notes, path) = (request.pool(), request.notes(), text.bytes());
    let raw = notes.get(c"proxy-nocanon").is_some();
    let (encoded, args): (Cow<'_, [u8]>, Option<&[u8]>) = if raw {
        (Cow::Borrowed(path), None)
    } else if notes.get(c"proxy-noencode").is_some() {
        (Cow::Borrowed(path), request.args())
    } else {
        match child.api.encode_path(request, text) {
            Some(encoded) => (Cow::Borrowed(encoded), request.args()),
            None => return BAD_REQUEST,
        }
    };
    let mark: &[u8] = if args.is_some() { b"?" } else { b"" };
    let tail = pool.concat(&[b"/", &encoded, mark, args.unwrap_or_default()]);
    // SAFETY: just made in the request's pool.
    #[allow(unsafe_code)]
    let text = unsafe { CStr::from_ptr(tail) };
    if Request::has_bad_character(text) {
        log::request(
            request,
            log::ERR,
            "the path or query to be forwarded holds control characters or blanks",
        );
        return 403;
    }
    record.tail = tail;
    // mod_proxy reads only scheme and pool from here on.
    OK
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

fn explain(request: Request<'_>, thread: &Thread, answer: &Answer) {
    let text = match answer {
        Answer::Member(member) => {
            format!("the script chose member {} ({})", member.spec.name, member.spec.url)
        }
        Answer::Pool { pool, view, .. } => {
            let name = thread.balancer.membership(*pool).map(|m| m.name.to_string()).unwrap_or_default();
            format!("the script chose pool {name}{}", if view.is_some() { ", narrowed" } else { "" })
        }
        other => format!("the script answered {other:?}"),
    };
    log::request(request, log::TRACE2, &text);
}
