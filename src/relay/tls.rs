// SPDX-License-Identifier: Apache-2.0
//! TLS with backends: the settings that hold for one. They are those of the virtual host, of
//! `<Proxy "lb://pool">`, and of `<Proxy "https://host:port">`, the last one first; however the
//! request came to the backend.

use balance::url::{MemberUrl, default_port};

use crate::httpd::exchange::Proxy;
use crate::httpd::request::Request;
use crate::httpd::tls::Settings;
use crate::relay::route::Path;
use crate::serve::child::Child;

/// Whether the scheme's module speaks TLS.
pub fn is_spoken(scheme: &str) -> bool {
    matches!(scheme, "https" | "wss" | "h2")
}

/// The settings for a member of a pool, or for an ad-hoc target.
pub fn settings(
    request: Request<'_>,
    child: &Child,
    proxy: &Proxy,
    path: Path,
    (pool, url): (Option<&[u8]>, &MemberUrl),
) -> Settings {
    let memory = request.pool();
    let (raw, tail) =
        (path.raw.bytes(request.pool()).unwrap_or_default(), path.tail.bytes(request.pool()).unwrap_or(b"/"));
    let text = |pieces: &[&[u8]]| {
        let [text] = memory.texts([pieces]);
        text.c_str()
    };
    let mut urls = Vec::with_capacity(3);
    urls.extend(pool.map(|pool| text(&[b"lb://", pool, b"/", raw])));
    urls.extend(spellings(url).iter().map(|base| text(&[base.as_bytes(), tail])));
    child.sections.settings_by(request, proxy, &urls)
}

/// A URL as a section may be written for it: with the scheme's own port and without.
fn spellings(url: &MemberUrl) -> Vec<String> {
    let socket = url.socket.as_ref().map(|socket| format!("unix:{socket}|")).unwrap_or_default();
    let mut all = vec![url.to_string()];
    if default_port(&url.scheme) == Some(url.port) {
        all.push(format!("{socket}{}://{}{}", url.scheme, url.authority(), url.path));
    }
    all
}
