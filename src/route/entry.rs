// SPDX-License-Identifier: Apache-2.0
//! The hooks of a request's phases: the rooms that look at it, in their order.

use balance::relay::HookStatus;
use balance::settings::Method;
use config::Resolved;
use script::{Answer, Phase};

use super::rewrite::{self, Rules};
use super::visit::{FieldsBefore, Visit};
use super::{answer, canon, fail, mod_lua, shadow};
use crate::httpd::log;
use crate::httpd::order;
use crate::httpd::request::{PROXYREQ_NONE, Request};
use crate::httpd::worker::Worker;
use crate::relay::journey::Serving;
use crate::relay::record::Record;
use crate::serve::anywhere;
use crate::serve::child::{self, Child};
use crate::serve::generation::generation;
use crate::serve::scope::Scope;

/// A child that could not be made ready.
const UNAVAILABLE: HookStatus = HookStatus::Http(503);
const FAILED: HookStatus = HookStatus::Http(500);

fn translate_hooks<'r>(scope: &Scope<'r>) -> &'r [Resolved] {
    scope.hooks(|section| section.translate)
}

fn select_hooks<'r>(scope: &Scope<'r>) -> &'r [Resolved] {
    scope.hooks(|section| section.select)
}

/// Refuses what a hook would decide over, in a child that could not be made ready: its log says so.
fn without_child<'r>(request: Request<'r>, hooks_of: impl Fn(&Scope<'r>) -> &'r [Resolved]) -> HookStatus {
    let main = generation().map(|generation| &generation.main_config);
    match main.and_then(|main| Scope::below(request, main)) {
        Some(scope) if !hooks_of(&scope).is_empty() => UNAVAILABLE,
        _ => HookStatus::Declined,
    }
}

/// translate_name: the selection hook.
pub fn translate(request: Request<'_>) -> HookStatus {
    if order::rewrites() {
        Record::mark_untouched(request);
    }
    if !anywhere::TRANSLATE.is_there() || request.proxyreq() != PROXYREQ_NONE {
        return HookStatus::Declined;
    }
    let Some(child) = child::get() else { return without_child(request, translate_hooks) };
    let Some(scope) = Scope::of(request, child) else { return HookStatus::Declined };
    let hooks = translate_hooks(&scope);
    let status = run_hooks((request, child), scope, hooks, Phase::Translate);
    if anywhere::SHADOW.is_there() && !matches!(status, HookStatus::Ok | HookStatus::Declined) {
        shadow::compare(request, status);
    }
    status
}

/// fixups, before mod_rewrite's rules of sections: takes the targets of its rules of the server.
pub fn fixups(request: Request<'_>) -> HookStatus {
    request.carry_body();
    if order::rewrites()
        && let Err(status) = rewrite::adopt(request, Rules::OfServer)
    {
        return status;
    }
    // A target that httpd has taken from a sub-request (mod_negotiation) was decided there.
    if Record::has_lent()
        && Record::of(request).is_none()
        && request.proxied_url().is_some_and(|url| url.starts_with(b"lb://"))
    {
        Record::borrow(request);
    }
    HookStatus::Declined
}

/// fixups, between mod_rewrite's rules of sections and mod_proxy's canonical form, where httpd has
/// them in that order.
pub fn rewritten_fixups(request: Request<'_>) -> HookStatus {
    if !order::rewrites() || Record::is_foreign(request) {
        return HookStatus::Declined;
    }
    rewrite::adopt(request, Rules::OfSection).err().unwrap_or(HookStatus::Declined)
}

/// fixups, after those of other modules: a rule of a section that has rewritten the request when
/// mod_proxy's own fixup was over (before httpd 2.4.63), and the selection hook after
/// authentication.
pub fn late_fixups(request: Request<'_>) -> HookStatus {
    if order::rewrites() && !order::rewrites_before_proxy() && !Record::is_foreign(request) {
        match rewrite::adopt(request, Rules::OfSection) {
            Ok(true) => match canonicalise_late(request) {
                HookStatus::Ok => {}
                status => return status,
            },
            Ok(false) => {}
            Err(status) => return status,
        }
    }
    let status = select(request);
    if anywhere::SHADOW.is_there() {
        shadow::compare(request, status);
    }
    status
}

/// The selection hook after authentication. mod_proxy's own fixup is over, so that what the script
/// chose gets its canonical form here.
fn select(request: Request<'_>) -> HookStatus {
    if !anywhere::SELECT.is_there() {
        return HookStatus::Declined;
    }
    let Some(child) = child::get() else { return without_child(request, select_hooks) };
    let Some(scope) = Scope::of(request, child) else { return HookStatus::Declined };
    let hooks = select_hooks(&scope);
    // A target that httpd has taken from a sub-request (mod_negotiation) was decided there, by
    // these very hooks.
    if hooks.is_empty()
        || Record::of(request).is_some_and(|record| record.route().borrowed && record.is_of(request))
    {
        return HookStatus::Declined;
    }
    let before = FieldsBefore::of(request, Phase::Select);
    let answer = run_hooks((request, child), scope, hooks, Phase::Select);
    if answer == HookStatus::Ok {
        request.forget_directory();
    }
    let chosen =
        matches!(answer, HookStatus::Ok | HookStatus::Declined) && request.proxyreq() != PROXYREQ_NONE;
    if chosen && before.new_filename(request).and_then(mod_lua::backend_of).is_some() {
        return child.api.canonicalise(request).err().map_or(HookStatus::Declined, HookStatus::from_code);
    }
    if answer == HookStatus::Ok { HookStatus::Declined } else { answer }
}

/// Does the work of mod_proxy's own fixup, which is over.
fn canonicalise_late(request: Request<'_>) -> HookStatus {
    let url = request.proxied_url().unwrap_or_default();
    // With `[NE]` mod_rewrite puts the query behind the path, and the path is sent as it stands.
    // Without `[NE]` the query may stand there as well: then it is taken away here, since it comes
    // with the encoded path again.
    let query = request.args().map(|args| [b"?", args].concat()).unwrap_or_default();
    let raw = request.notes().get(c"proxy-nocanon").is_some();
    let own = if raw { url } else { url.strip_suffix(query.as_slice()).unwrap_or(url) };
    let [url] = request.pool().texts([&[own]]);
    canon::canonicalise(request, url)
}

fn run_hooks(
    serving: (Request<'_>, &'static Child),
    scope: Scope<'_>,
    hooks: &[Resolved],
    phase: Phase,
) -> HookStatus {
    let (request, child) = serving;
    if anywhere::SHADOW.is_there() && !hooks.is_empty() {
        shadow::keep_asked(request);
    }
    for hook in hooks {
        let status = child::with_thread(child, |thread| {
            let serving = Serving { request, child, thread };
            run_hook(&Visit { serving, scope, before: FieldsBefore::of(request, phase) }, hook)
        });
        match status.unwrap_or(FAILED) {
            HookStatus::Declined => {}
            status => return status,
        }
    }
    HookStatus::Declined
}

fn run_hook(visit: &Visit<'_>, hook: &Resolved) -> HookStatus {
    let Serving { request, child, .. } = visit.serving;
    let phase = visit.before.phase;
    let (mut asked, mut by) = (None, None);
    let script = child.script(hook.script);
    let said = child.call(request, script, |lua| {
        let said = lua.select(script, &hook.function, phase)?;
        if let Answer::Member(member) = &said {
            asked = lua.asked(member);
            let method = asked.as_ref().and_then(|asked| asked.method.as_ref()).map(Method::name);
            by = if lua.is_of_session(member) { Some("sticky") } else { method };
        }
        Ok(said)
    });
    let status = match said {
        Ok(said) => {
            if log::logs_request(request, log::TRACE2) {
                answer::explain(visit.serving, &said, by);
            }
            let status = match (said, asked) {
                (Answer::Member(member), Some(asked))
                    if child.table.pool_of(member.slot, member.incarnation) == Some(asked.pool) =>
                {
                    answer::send_picked(visit, member, asked)
                }
                (said, _) => answer::take(visit, hook, said),
            };
            if by.is_some()
                && let Some(record) = Record::of(request)
            {
                record.write_route().picked_by = by;
            }
            status
        }
        Err(error) => fail::failed(visit, &error),
    };
    mod_lua::settle(visit, status)
}

/// The worker that `lb://` requests get until an attempt picks the real one. Makes sure that there
/// is a decision.
pub fn stand_in(request: Request<'_>) -> Result<Worker, HookStatus> {
    let child = child::get().ok_or(UNAVAILABLE)?;
    let is_ready = Record::of(request).is_some_and(|record| record.is_of(request));
    if !is_ready && !take_over(request) {
        return Err(FAILED);
    }
    child.stand_in.ok_or(FAILED)
}

/// Takes the decision of a sub-request whose target this request was given (`DirectoryIndex`,
/// `FallbackResource`): httpd leaves it with the sub-request. False when there is none.
fn take_over(request: Request<'_>) -> bool {
    let Some(url) = request.proxied_url().filter(|url| url.starts_with(b"lb://")) else { return false };
    Record::borrow(request);
    let [url] = request.pool().texts([&[url]]);
    canon::canonicalise(request, url) == HookStatus::Ok
}
