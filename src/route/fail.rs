// SPDX-License-Identifier: Apache-2.0
//! A script's failure: one line in the log, and the answer that `LuaBalancerOnError` chooses.

use balance::api::Balancer;
use balance::relay::HookStatus;
use config::OnError;
use script::{ErrorKind, ScriptError};

use super::send;
use super::visit::Visit;
use crate::httpd::log;
use crate::relay::journey::Serving;
use crate::relay::record::{Record, Report};
use crate::relay::sample;
use balance::choosing::Decision;

/// The status of a request whose script has failed.
const FAILED: u16 = 500;

/// A script has failed: one line, and the answer that `LuaBalancerOnError` chooses.
pub fn failed(visit: &Visit<'_>, error: &ScriptError) -> HookStatus {
    let request = visit.serving.request;
    let choice = visit.scope.on_error();
    let then = match choice {
        OnError::Error => "answering 500".to_owned(),
        OnError::Decline => "declining".to_owned(),
        OnError::Pool(name) => format!("using pool {name}"),
    };
    log::request(request, messages::scripts::FAILED, &format!("script failed, {then}: {error}"));
    if !error.traceback.is_empty() && log::logs_request(request, log::DEBUG) {
        log::request(request, messages::scripts::TRACEBACK, &error.traceback.replace('\n', " | "));
    }
    match choice {
        OnError::Error => give_up(visit.serving),
        OnError::Decline => {
            visit.before.restore(request);
            HookStatus::Declined
        }
        OnError::Pool(name) => match visit.serving.thread.balancer.find(name) {
            Some(pool) => send::send(visit.serving, Decision::pool(pool)),
            None => {
                log::request(
                    request,
                    messages::requests::NO_FALLBACK,
                    &format!("LuaBalancerOnError names pool {name}, which does not exist"),
                );
                give_up(visit.serving)
            }
        },
    }
}

/// A 500 that can be told from others in logs, in `LuaHookFinish` and among decisions.
fn give_up(serving: Serving<'_>) -> HookStatus {
    let request = serving.request;
    let message = "the script failed".to_owned();
    let record = Record::decide(request, Decision::Nobody { pool: None, message });
    let _ = record.report.set(Report { reason: c"script", ..Report::default() });
    request.env().point(false, c"LB_REASON", c"script");
    sample::hook_failed(serving, ("script", FAILED));
    HookStatus::Http(FAILED)
}

/// A script gave a target that cannot be one: one line, and the answer that `LuaBalancerOnError`
/// chooses.
pub fn wrong_target(visit: &Visit<'_>, url: &[u8], message: &str) -> HookStatus {
    let url = String::from_utf8_lossy(url);
    let error = ScriptError::new(ErrorKind::Answer, format!("chose \"{}\": {message}", url.escape_debug()));
    failed(visit, &error)
}
