// SPDX-License-Identifier: Apache-2.0
//! Requests that mod_rewrite has sent to a pool. It does not know the scheme `lb`: it takes the
//! target of `RewriteRule … lb://pool/path [P]` for a path and puts this server's own name (the
//! client's Host, with `UseCanonicalName Off`) before it. The name is taken away again where the
//! rules themselves wrote the target; a client's words never become a pool.

use balance::rewrite::{may_become, names_pool};

use balance::relay::HookStatus;

use crate::httpd::log;
use crate::httpd::request::{PROXYREQ_REVERSE, Request};
use crate::relay::record::Record;
use crate::serve::child;
use crate::serve::scope::Scope;

const FORBIDDEN: HookStatus = HookStatus::Http(403);

/// The rules that made a target.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Rules outside of sections, which run in translate_name.
    OfServer,
    /// Rules of sections and `.htaccess`, which run in fixups.
    OfSection,
}

/// Makes the target `lb://pool/path` again. True when the target was such a one. Err: the status of
/// a request whose target may have come from the client, by a rule that does not say `lb://` itself
/// or that could have written the same of another one's text.
pub fn adopt(request: Request<'_>, rules: Rules) -> Result<bool, HookStatus> {
    if request.proxyreq() != PROXYREQ_REVERSE {
        return Ok(false);
    }
    let Some(at) = request.own_scheme_in_filename() else { return Ok(false) };
    let Some((url, at)) = request.proxied_url().and_then(|url| Some((url, at.checked_sub(b"proxy:".len())?)))
    else {
        return Ok(false);
    };
    if rules == Rules::OfServer && !Record::is_rewritten(request) {
        if Record::of(request).is_none() {
            Record::mark_foreign(request);
        }
        return Ok(false);
    }
    let own = [request.scheme(), b"://", &request.own_authority()].concat();
    // A rule of a section has the section's path between them.
    let between = url[..at].strip_prefix(own.as_slice());
    if !between.is_some_and(|path| path.is_empty() || path.starts_with(b"/")) {
        return Ok(false);
    }
    let target = &url[at + 1..];
    let is_written = is_written(request, rules, target);
    if let Some(other) = other_source(request, target, url, &own) {
        return Err(refuse(request, &other, is_written));
    }
    if is_written {
        request.point_filename(request.pool().concat(&[b"proxy:", target]));
    }
    Ok(is_written)
}

/// Logs why no backend is asked: not even the host that such a target begins with, which the client
/// may have named.
fn refuse(request: Request<'_>, rule: &[u8], is_written: bool) -> HookStatus {
    let rule = String::from_utf8_lossy(rule).escape_debug().to_string();
    let (message, words) = if is_written {
        let words = format!(
            "refused: mod_rewrite's target may be that of a rule to lb://, or a client's lb:// in that of the rule to \"{rule}\""
        );
        (messages::requests::AMBIGUOUS_RULE, words)
    } else {
        let words = format!(
            "refused: lb:// came out of a variable, a map or the request in the rule to \"{rule}\": expected lb:// in the rule \
             itself, for example \"lb://%{{ENV:POOL}}/$1\" or \"lb://${{map:$1|app}}/$2\""
        );
        (messages::requests::RULE_FROM_REQUEST, words)
    };
    log::request(request, message, &words);
    FORBIDDEN
}

/// The pool's name in `lb://pool/path`.
fn pool_of(target: &[u8]) -> &[u8] {
    let rest = target.get(b"lb://".len()..).unwrap_or_default();
    &rest[..rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len())]
}

/// Whether a rule that may have been at work names the pool.
fn is_written(request: Request<'_>, rules: Rules, target: &[u8]) -> bool {
    let Some(scope) = child::get().and_then(|child| Scope::of(request, child)) else { return false };
    let [section, server, main] = scope.rewrites();
    let mut names = |rule: &[u8]| names_pool(rule, pool_of(target));
    match rules {
        Rules::OfServer => [server, main].into_iter().flatten().any(|all| all.any(&mut names)),
        Rules::OfSection => section.is_some_and(|all| all.any(&mut names)),
    }
}

/// Another rule of which a client may have got the same target.
fn other_source(request: Request<'_>, target: &[u8], url: &[u8], own: &[u8]) -> Option<Vec<u8>> {
    let scope = Scope::of(request, child::get()?)?;
    let mut found = None;
    let mut may = |rule: &[u8]| {
        let other = !names_pool(rule, pool_of(target)) && may_become(rule, url, own);
        if other {
            found = Some(rule.to_vec());
        }
        other
    };
    scope.rewrites().into_iter().flatten().any(|all| all.any(&mut may));
    found
}
