// SPDX-License-Identifier: Apache-2.0
//! After the request: `LuaHookFinish`.

use script::FinishResult;

use crate::httpd::log as httpd_log;
use crate::httpd::request::Request;
use crate::relay::environment::ABORTED;
use crate::relay::record::{Record, Report};
use crate::serve::anywhere;
use crate::serve::child;
use crate::serve::scope::Scope;

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
    if !anywhere::FINISH.is_there() {
        return;
    }
    let Some(child) = child::get() else { return };
    let Some(scope) = Scope::of(request, child) else { return };
    let hooks = scope.finish_hooks();
    if hooks.is_empty() {
        return;
    }
    let result = result_of(last, record.report.get().cloned().unwrap_or_default());
    for hook in hooks {
        let script = child.script(hook.script);
        let outcome = child.call(last, script, |lua| lua.finish(script, &hook.function, &result));
        if let Err(error) = outcome {
            let text = format!("LuaHookFinish failed: {error}");
            httpd_log::request(last, messages::scripts::FINISH_FAILED, &text);
        }
    }
}

fn result_of(last: Request<'_>, report: Report) -> FinishResult {
    let error = match report.reason.to_bytes() {
        // The rest of the answer may be sent, or not, after the attempt is over.
        b"" | b"ok" if last.aborted() => Some(ABORTED),
        b"" | b"ok" => None,
        _ => Some(report.reason),
    };
    FinishResult {
        member: report.member,
        status: last.status().clamp(0, 999) as u16,
        attempts: report.attempts,
        seconds: report.took_us as f64 / 1e6,
        bytes: last.bytes_sent().max(0) as u64,
        error: error.map(|word| word.to_string_lossy().into_owned()),
    }
}

/// An error document that is a path of this server is another request, and that one is logged:
/// httpd gives it the environment under other names (`REDIRECT_…`).
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
