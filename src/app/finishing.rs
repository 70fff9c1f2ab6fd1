//! After the attempts: the environment for logs, and `LuaHookFinish`.

use balance::api::Balancer;
use script::FinishResult;

use super::child::{self, Thread};
use super::record::{Decision, Record};
use super::selecting::Scope;
use crate::httpd::log as httpd_log;
use crate::httpd::request::Request;

/// Sets the environment variables of the last attempt. Called once a request, so that the keys are new.
pub fn note(request: Request<'_>, thread: &Thread, record: &Record) {
    let (env, pool) = (request.env(), request.pool());
    if let Some(id) = record.pool
        && let Some(membership) = thread.balancer.membership(id)
    {
        env.add_in(pool, c"LB_POOL", membership.name.as_bytes());
        if let Some(settings) = thread.balancer.settings(id) {
            let method = match &record.decision {
                Decision::Pool { method: Some(method), .. } => method.name(),
                _ => settings.method.name(),
            };
            env.add_in(pool, c"LB_METHOD", method.as_bytes());
        }
    }
    if let Some(member) = &record.member {
        env.add_in(pool, c"LB_MEMBER", member.spec.name.as_bytes());
    } else if let Decision::Target(url) = &record.decision {
        env.add_in(pool, c"LB_MEMBER", url.as_bytes());
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
    let Some(child) = child::get() else { return };
    let Some(scope) = Scope::of(request, child) else { return };
    let hooks = scope.finish_hooks();
    if hooks.is_empty() {
        return;
    }
    let mut last = request;
    while let Some(next) = last.next() {
        last = next;
    }
    let record = Record::of(last).or_else(|| Record::of(request));
    let result = match &record {
        Some(record) => FinishResult {
            member: record.member.clone(),
            status: last.status().clamp(0, 999) as u16,
            attempts: record.attempts,
            seconds: record.seconds,
            bytes: last.bytes_sent().max(0) as u64,
            error: (!matches!(record.reason, "" | "ok")).then(|| record.reason.to_owned()),
        },
        None => return,
    };
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
