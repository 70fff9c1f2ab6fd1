//! `reverse=on`: Location, Content-Location and cookie domains that name a member come back as the front's.

use std::ffi::CString;

use balance::api::Balancer;
use balance::reverse::{Names, map_cookie, map_location};

use super::child;
use super::record::Record;
use crate::httpd::request::Request;
use crate::httpd::table::Table;

/// Rewrites the answer's headers; called once, when they are known and not yet sent.
pub fn map_back(request: Request<'_>, record: &Record) {
    let headers = request.headers_out();
    let locations = [c"Location", c"Content-Location"].map(|key| (key, headers.get(key)));
    let cookies = headers.get(c"Set-Cookie");
    if locations.iter().all(|(_, value)| value.is_none()) && cookies.is_none() {
        return;
    }
    let Some(child) = child::get() else { return };
    let membership =
        child::with_thread(child, |thread| record.pool.and_then(|pool| thread.balancer.membership(pool)));
    let Some(membership) = membership.flatten() else { return };
    // SAFETY: made in the request's pool by `paths::canonicalise`, or NULL.
    #[allow(unsafe_code)]
    let tail = unsafe { crate::httpd::bytes(record.tail) }.unwrap_or(b"/");
    // Encoded like the path that went to the member.
    let front = child.api.encode_path(request, request.uri_text());
    let names = Names::new(
        membership.members.iter().map(|member| &member.spec.url),
        front.or_else(|| request.uri()).unwrap_or(b"/"),
        tail.split(|b| *b == b'?').next().unwrap_or(b"/"),
    );
    for (key, value) in locations {
        if let Some(path) = value.and_then(|value| map_location(&names, value)) {
            let full = CString::new(path)
                .ok()
                .and_then(|path| request.construct_url(&path).and_then(|url| CString::new(url).ok()));
            if let Some(full) = full {
                headers.set(key, &full);
            }
        }
    }
    if cookies.is_some() {
        map_cookies(request, headers, &names);
    }
}

fn map_cookies(request: Request<'_>, headers: Table<'_>, names: &Names) {
    let front = request.hostname().unwrap_or_default();
    let mut all = Vec::new();
    let mut changed = false;
    headers.each(&mut |key, value| {
        if key.eq_ignore_ascii_case(b"Set-Cookie") {
            let mapped = map_cookie(names, value, front);
            changed |= mapped.is_some();
            all.push(mapped.unwrap_or_else(|| value.to_vec()));
        }
        true
    });
    if !changed {
        return;
    }
    headers.unset(c"Set-Cookie");
    for cookie in all {
        if let Ok(cookie) = CString::new(cookie) {
            headers.add(c"Set-Cookie", &cookie);
        }
    }
}
