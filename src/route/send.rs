// SPDX-License-Identifier: Apache-2.0
//! Hands a request to mod_proxy, with the decision and the path that the backend is asked for.

use balance::relay::HookStatus;
use balance::target::{self, Target};

use crate::httpd::request::Request;
use crate::relay::journey::Serving;
use crate::relay::record::Record;
use crate::relay::route::{Chosen, OF_FILE};
use balance::choosing::Decision;
use config::Resolved;

/// The part of a path that is encoded text already, and the rest, which is decoded.
#[derive(Debug, Clone, Copy, Default)]
pub struct BackendPath<'p> {
    /// Used as it stands.
    pub encoded: &'p [u8],
    /// As in `r.uri`.
    pub decoded: &'p [u8],
}

impl BackendPath<'_> {
    /// Whether the encoded part may stand in a URL as it is.
    fn is_url_text(&self) -> bool {
        self.encoded.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
    }
}

/// Takes apart what a script wrote as a URL. Err: it holds what has no place in one.
pub fn split<'u>(request: Request<'_>, url: &'u [u8]) -> Result<Target<'u>, String> {
    let target = target::split(url, request.uri().unwrap_or_default());
    let query = BackendPath { encoded: target.query.unwrap_or_default(), decoded: b"" };
    if !(BackendPath { encoded: target.encoded, decoded: b"" }).is_url_text() || !query.is_url_text() {
        return Err("expected no blanks and no control characters but in the text of r.uri".into());
    }
    Ok(target)
}

/// Sends the request to a URL that a script wrote, its query in place of the request's.
pub fn send_to(serving: Serving<'_>, decision: Decision<Resolved>, target: &Target<'_>) -> HookStatus {
    if let Some(query) = target.query {
        serving.request.set_args(Some(query));
    }
    if target.is_bare() {
        return send(serving, decision);
    }
    send_path(serving, decision, BackendPath { encoded: target.encoded, decoded: target.decoded })
}

/// Hands the request to mod_proxy, to come back in `relay::run`.
pub fn send(serving: Serving<'_>, decision: Decision<Resolved>) -> HookStatus {
    let uri = serving.request.uri().unwrap_or(b"/");
    send_path(serving, decision, BackendPath { encoded: b"", decoded: uri })
}

/// Hands the request to mod_proxy with another path. `r.uri` stays, since httpd chooses the
/// sections that protect a request by it.
pub fn send_path(serving: Serving<'_>, decision: Decision<Resolved>, path: BackendPath<'_>) -> HookStatus {
    let request = serving.request;
    if request.uri() == Some(b"*") {
        // `OPTIONS *` asks about this server, and nothing of mod_proxy's can ask a backend so.
        return HookStatus::Declined;
    }
    let pool = match &decision {
        Decision::Pool { pool, .. } => serving.thread.balancer.now(*pool),
        _ => None,
    };
    let record = Record::decide(request, decision);
    // Marks that a ProxyPass before this made for its own path, and a script for a file's.
    if !request.notes().is_empty() {
        request.notes().unset(OF_FILE);
        request.notes().unset(c"proxy-nocanon");
        request.notes().unset(c"proxy-noencode");
    }
    let name = pool.as_ref().map_or("script", |pool| &*pool.membership().name);
    let begins = path.encoded.first().or(path.decoded.first()) == Some(&b'/');
    let [filename] = request.pool().texts([&[
        b"proxy:lb://",
        name.as_bytes(),
        if begins { b"" } else { b"/" },
        path.encoded,
        path.decoded,
    ]]);
    let encoded = path.encoded.strip_prefix(b"/").unwrap_or(path.encoded).len();
    record.write_route().chosen = Some(Chosen { url: filename.skip("proxy:".len()).into(), encoded });
    request.send_to_proxy(filename.as_ptr().cast_mut());
    HookStatus::Ok
}
