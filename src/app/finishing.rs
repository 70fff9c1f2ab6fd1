//! After the attempts: the environment for logs, and `LuaHookFinish`.

use std::ffi::CStr;

use balance::engine::Now;
use balance::member::Member;
use balance::settings::PoolSettings;
use script::FinishResult;

use super::child;
use super::config;
use super::record::{Choice, Decision, Record};
use super::seats::with_lua;
use super::selecting::Scope;
use crate::httpd::log as httpd_log;
use crate::httpd::request::Request;
use crate::httpd::worker::Worker;

/// `LB_METHOD` of a member that a script named.
const NAMED: &str = "script";
/// The client has gone before it had the whole answer.
const ABORTED: &CStr = c"aborted";

/// Sets the environment variables that name where an attempt goes, before it begins: what adds headers to the answer
/// sees them.
pub fn announce(request: Request<'_>, record: &mut Record, pool: &Now, member: &Member, worker: Worker) {
    let env = request.env();
    // With the first attempt these keys are new.
    let first = !std::mem::replace(&mut record.announced, true);
    const SCHEME: &[u8] = b"lb://";
    let [name, method, member, route] = request.pool().texts([
        &[SCHEME, pool.membership().name.as_bytes()],
        &[method_name(record, pool.settings()).as_bytes()],
        &[member.spec.name.as_bytes()],
        &[member.spec.route.as_bytes()],
    ]);
    env.point(first, c"LB_POOL", name.skip(SCHEME.len()));
    env.point(first, c"LB_MEMBER", member);
    env.point(first, c"LB_METHOD", method);
    env.point(first, c"BALANCER_NAME", name);
    env.point(first, c"BALANCER_WORKER_NAME", worker.url());
    env.point(first, c"BALANCER_WORKER_ROUTE", route);
}

/// How the member was picked.
fn method_name(record: &Record, settings: &PoolSettings) -> &'static str {
    match &record.decision {
        // The plain case.
        Decision::Pool { method: None, first: None, .. } if record.stick.is_none() => settings.method.name(),
        _ if record.stick.as_ref().is_some_and(|stick| stick.picked) => "sticky",
        Decision::Pool { first: Some(first), .. }
            if record.attempts == 0
                && record.member.as_ref().is_some_and(|member| member.slot == first.slot) =>
        {
            record.picked_by.unwrap_or(NAMED)
        }
        Decision::List(_) => NAMED,
        Decision::Each { choices, at } if matches!(choices.get(*at), Some(Choice::Member(..))) => NAMED,
        Decision::Pool { method: Some(method), .. } => method.name(),
        _ => settings.method.name(),
    }
}

/// Sets the environment variables of the last attempt. Called once a request, so that the keys are new.
pub fn note(request: Request<'_>, record: &mut Record, pool: Option<&Now>) {
    let (env, memory) = (request.env(), request.pool());
    if record.announced {
    } else if let Decision::Target(url) | Decision::Script { peer: url, .. } = &record.decision {
        // Without the keys that may stand behind it.
        let [url] = memory.texts([&[url.split(' ').next().unwrap_or_default().as_bytes()]]);
        env.point(true, c"LB_MEMBER", url);
    } else if let Some(pool) = pool {
        let method = method_name(record, pool.settings());
        let [name, method] = memory.texts([&[pool.membership().name.as_bytes()], &[method.as_bytes()]]);
        env.point(true, c"LB_POOL", name);
        env.point(true, c"LB_METHOD", method);
    }
    if request.aborted() {
        record.reason = ABORTED;
    }
    let [attempts, seconds] = memory.texts([
        &[Decimal::new(u64::from(record.attempts), 0).as_bytes()],
        &[Decimal::new(record.took_us(), 6).as_bytes()],
    ]);
    env.point(true, c"LB_ATTEMPTS", attempts);
    env.point(true, c"LB_REASON", record.reason);
    env.point(true, c"LB_SECONDS", seconds);
}

/// A number's digits, without an allocation.
struct Decimal {
    digits: [u8; 24],
    start: usize,
}

impl Decimal {
    /// `number` with its last `places` digits behind a point.
    fn new(mut number: u64, places: usize) -> Self {
        let mut digits = [0; 24];
        let mut start = digits.len();
        let mut free = digits.iter_mut().rev();
        let mut put = |byte| {
            if let Some(place) = free.next() {
                *place = byte;
                start -= 1;
            }
        };
        for _ in 0..places {
            put(b'0' + (number % 10) as u8);
            number /= 10;
        }
        if places > 0 {
            put(b'.');
        }
        loop {
            put(b'0' + (number % 10) as u8);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        Decimal { digits, start }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// log_transaction: the finish hooks.
pub fn log(request: Request<'_>) {
    let last = request.chain().last().unwrap_or(request);
    // A request that was never balanced costs no more than this.
    let Some((balanced, record)) = request.chain().filter_map(|part| Some((part, Record::of(part)?))).last()
    else {
        return;
    };
    if !std::ptr::eq(balanced.as_ptr(), last.as_ptr()) {
        carry_environment(balanced, last);
    }
    if !config::FINISH.is_there() {
        return;
    }
    let Some(child) = child::get() else { return };
    let Some(scope) = Scope::of(request, child) else { return };
    let hooks = scope.finish_hooks();
    if hooks.is_empty() {
        return;
    }
    let result = result_of(last, record);
    for hook in hooks {
        let Some(resolved) = hook.resolved.get() else { continue };
        let outcome = with_lua(child, last, |lua| {
            lua.finish(child.script(resolved.script), &resolved.function, &result)
        });
        if let Err(error) = outcome {
            httpd_log::request(last, httpd_log::ERR, &format!("LuaHookFinish failed: {error}"));
        }
    }
}

fn result_of(last: Request<'_>, record: &Record) -> FinishResult {
    let error = match record.reason.to_bytes() {
        // The rest of the answer may be sent, or not, after the attempt is over.
        b"" | b"ok" if last.aborted() => Some(ABORTED),
        b"" | b"ok" => None,
        _ => Some(record.reason),
    };
    FinishResult {
        member: record.member.clone(),
        status: last.status().clamp(0, 999) as u16,
        attempts: record.attempts,
        seconds: record.took_us() as f64 / 1e6,
        bytes: last.bytes_sent().max(0) as u64,
        error: error.map(|word| word.to_string_lossy().into_owned()),
    }
}

/// An error document that is a path of this server is another request, and that one is logged: httpd gives it the
/// environment under other names (`REDIRECT_…`).
#[cold]
fn carry_environment(from: Request<'_>, to: Request<'_>) {
    from.env().each(&mut |key, value| {
        let ours = key.starts_with(b"LB_") || key.starts_with(b"BALANCER_");
        if ours && to.env().get_bytes(key).is_none() {
            to.env().set_bytes(key, value);
        }
        true
    });
}
