// SPDX-License-Identifier: Apache-2.0
//! Headers of every answer, and what an asker prefers.

use crate::guard;
use crate::types::{Request, Response};

/// The sources that a page of this server may load, and the sites that may show it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";

/// An answer with the headers that all have; without its body for HEAD.
pub(crate) fn finish(request: &Request<'_>, mut response: Response) -> Response {
    let headers = &mut response.headers;
    headers.push(("Content-Security-Policy", POLICY.to_owned()));
    headers.push(("X-Content-Type-Options", "nosniff".to_owned()));
    headers.push(("Referrer-Policy", "no-referrer".to_owned()));
    if !headers.iter().any(|(name, _)| *name == "Cache-Control") {
        headers.push(("Cache-Control", "no-store".to_owned()));
    }
    if let Some(origin) = request.admin.origin.as_ref() {
        headers.push(("Vary", "Origin".to_owned()));
        if guard::is_allowed_origin(request) {
            headers.push(("Access-Control-Allow-Origin", origin.clone()));
            headers.push(("Access-Control-Allow-Credentials", "true".to_owned()));
            headers.push(("Access-Control-Expose-Headers", "ETag, Location, Retry-After".to_owned()));
        }
    }
    if request.method == "HEAD" {
        headers.push(("Content-Length", response.body.len().to_string()));
        response.body.clear();
    }
    response
}

/// How much an asker wants a media type, from 0 to 1; the most special of its ranges counts. One
/// who says nothing takes everything.
pub(crate) fn wants(request: &Request<'_>, media: &str) -> f32 {
    let mut best: Option<(u8, f32)> = None;
    let mut said = false;
    for range in request.all("accept").flat_map(|value| value.split(',')) {
        said = true;
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let special = match name.split_once('/') {
            _ if name.eq_ignore_ascii_case(media) => 2,
            Some(("*", "*")) => 0,
            Some((kind, "*"))
                if media.split('/').next().is_some_and(|own| own.eq_ignore_ascii_case(kind)) =>
            {
                1
            }
            _ => continue,
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |q| q.trim().parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0));
        // Several ranges of the same kind (versions of one format): the one that is wanted most.
        if best.is_none_or(|(known, q)| special > known || (special == known && quality > q)) {
            best = Some((special, quality));
        }
    }
    match best {
        Some((_, quality)) => quality,
        None if said => 0.0,
        None => 1.0,
    }
}

/// Whether an asker names a media type.
pub(crate) fn names(request: &Request<'_>, media: &str) -> bool {
    let ranges = request.all("accept").flat_map(|value| value.split(','));
    ranges
        .into_iter()
        .any(|range| range.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(media)))
}
