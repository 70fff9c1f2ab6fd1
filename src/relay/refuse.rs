// SPDX-License-Identifier: Apache-2.0
//! Requests that no member could be asked for.

use balance::api::NoMember;
use balance::counting::Ending;
use balance::relay::{HookStatus, retry_after_s};

use super::circumstances::RouteChooser;
use super::journey::{Journey, Run, settings_of};
use super::ticket::InVain;
use super::{environment, observe, sample};
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::serve::scope;

/// No member could be asked at all.
pub fn no_member(
    run: &Run<'_>,
    journey: &mut Journey,
    chooser: &RouteChooser<'_>,
    nobody: &NoMember,
) -> HookStatus {
    let request = run.serving.request;
    let in_vain = journey.wait.in_vain;
    let message = match (in_vain, chooser.explain()) {
        (Some(why), _) => why.explain().to_owned(),
        (None, Some(why)) => why.to_owned(),
        (None, None) => nobody.to_string(),
    };
    let pool = journey.now(run.serving.thread);
    let settings = settings_of(pool.as_ref());
    let status = match nobody {
        NoMember::SessionLost(_) => 503,
        NoMember::ScriptFailed if scope::errors_are_answers(request, run.serving.child) => 500,
        _ => settings.set.on_empty,
    };
    let text = format!("no member for {}: {message}", request_line(request));
    log::request(request, messages::requests::NO_MEMBER, &text);
    let seconds = retry_after_s(settings).to_string();
    request.err_headers_out().set_bytes(b"Retry-After", seconds.as_bytes());
    let (word, ending) = match nobody {
        NoMember::ScriptFailed => (c"script", Ending::Script),
        _ => (c"no member", Ending::NoMember),
    };
    let ending = in_vain.map_or(ending, InVain::ending);
    observe::request_refused(run.serving, journey, ending);
    environment::report(run, journey, chooser, in_vain.map_or(word, InVain::word));
    sample::request_ended(run, journey, chooser, (ending, status));
    HookStatus::Http(status)
}

/// The client has gone, so that no answer is sent: not even an error document, which may come from
/// another backend.
pub fn give_up(run: &Run<'_>, journey: &mut Journey, chooser: &RouteChooser<'_>) -> HookStatus {
    let request = run.serving.request;
    let in_vain = journey.wait.in_vain;
    if log::logs_request(request, log::DEBUG) {
        let why = in_vain.map_or("", InVain::explain);
        let text = format!("{} waits no more: {why}", request_line(request));
        log::request(request, messages::requests::WAITS_NO_MORE, &text);
    }
    let pool = journey.now(run.serving.thread);
    let status = settings_of(pool.as_ref()).set.on_empty;
    request.abort();
    request.set_status(i32::from(status));
    observe::request_refused(run.serving, journey, Ending::Aborted);
    environment::report(run, journey, chooser, in_vain.map_or(environment::ABORTED, InVain::word));
    sample::request_ended(run, journey, chooser, (Ending::Aborted, status));
    HookStatus::Done
}

fn request_line(request: Request<'_>) -> String {
    String::from_utf8_lossy(request.unparsed_uri().unwrap_or_default()).chars().take(200).collect()
}
