//! After the attempts: the environment for logs, and `LuaHookFinish`.

use balance::api::Balancer;
use balance::settings::PoolSettings;
use script::FinishResult;

use super::child::{self, Thread};
use super::record::{Decision, Record};
use super::selecting::Scope;
use crate::httpd::log as httpd_log;
use crate::httpd::request::Request;
use crate::httpd::worker::Worker;

/// The client has gone before it had the whole answer.
const ABORTED: &str = "aborted";

/// Sets the environment variables that name where an attempt goes, before it begins: what adds headers to the answer
/// sees them.
pub fn announce(
    request: Request<'_>,
    thread: &Thread,
    record: &mut Record,
    settings: &PoolSettings,
    worker: Worker,
) {
    let (env, memory) = (request.env(), request.pool());
    let (Some(id), Some(member)) = (record.pool, &record.member) else { return };
    let Some(membership) = thread.balancer.membership(id) else { return };
    // With the first attempt these keys are new.
    let first = !std::mem::replace(&mut record.announced, true);
    let put = |key, pieces: &[&[u8]]| env.put_in(memory, first, key, pieces);
    let name = membership.name.as_bytes();
    put(c"LB_POOL", &[name]);
    put(c"LB_MEMBER", &[member.spec.name.as_bytes()]);
    put(c"LB_METHOD", &[method_name(record, settings).as_bytes()]);
    put(c"BALANCER_NAME", &[b"lb://", name]);
    put(c"BALANCER_WORKER_NAME", &[worker.url()]);
    put(c"BALANCER_WORKER_ROUTE", &[member.spec.route.as_bytes()]);
}

/// How the member was picked.
fn method_name(record: &Record, settings: &PoolSettings) -> &'static str {
    match &record.decision {
        _ if record.stick.as_ref().is_some_and(|stick| stick.picked) => "sticky",
        Decision::Pool { method: Some(method), .. } => method.name(),
        _ => settings.method.name(),
    }
}

/// Sets the environment variables of the last attempt. Called once a request, so that the keys are new.
pub fn note(request: Request<'_>, thread: &Thread, record: &mut Record) {
    let (env, pool) = (request.env(), request.pool());
    if record.announced {
    } else if let Decision::Target(url) = &record.decision {
        env.add_in(pool, c"LB_MEMBER", url.as_bytes());
    } else if let Some(id) = record.pool
        && let Some(membership) = thread.balancer.membership(id)
        && let Some(settings) = thread.balancer.settings(id)
    {
        env.add_in(pool, c"LB_POOL", membership.name.as_bytes());
        env.add_in(pool, c"LB_METHOD", method_name(record, &settings).as_bytes());
    }
    if request.aborted() {
        record.reason = ABORTED;
    }
    env.add_in(pool, c"LB_ATTEMPTS", Decimal::new(u64::from(record.attempts), 0).as_bytes());
    env.add_in(pool, c"LB_REASON", record.reason.as_bytes());
    env.add_in(pool, c"LB_SECONDS", Decimal::new((record.seconds * 1e6) as u64, 6).as_bytes());
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
        let mut written = 0;
        while number > 0 || written <= places {
            if written == places && places > 0 {
                start -= 1;
                digits[start] = b'.';
            }
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            written += 1;
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
    let Some(child) = child::get() else { return };
    let Some(scope) = Scope::of(request, child) else { return };
    let hooks = scope.finish_hooks();
    if hooks.is_empty() {
        return;
    }
    let result = result_of(last, record);
    for hook in hooks {
        let Some(resolved) = hook.resolved.get() else { continue };
        let outcome = child::with_thread(child, |thread| {
            let _current = thread.request.enter(last);
            thread
                .lua(child)
                .and_then(|lua| lua.finish(child.script(resolved.script), &resolved.function, &result))
        });
        if let Some(Err(error)) = outcome {
            httpd_log::request(last, httpd_log::ERR, &format!("LuaHookFinish failed: {error}"));
        }
    }
}

fn result_of(last: Request<'_>, record: &Record) -> FinishResult {
    let error = match record.reason {
        // The rest of the answer may be sent, or not, after the attempt is over.
        "" | "ok" if last.aborted() => Some(ABORTED),
        "" | "ok" => None,
        reason => Some(reason),
    };
    FinishResult {
        member: record.member.clone(),
        status: last.status().clamp(0, 999) as u16,
        attempts: record.attempts,
        seconds: record.seconds,
        bytes: last.bytes_sent().max(0) as u64,
        error: error.map(str::to_owned),
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
