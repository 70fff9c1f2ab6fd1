// SPDX-License-Identifier: Apache-2.0
//! The peer that `ngx.balancer` was told, as the URL of an ad-hoc target.

use std::sync::Arc;

use balance::target;

use super::answer::Peer;

impl Peer {
    /// The URL, and behind it the name for TLS and the keys of its connections, as
    /// [`target::spelled`] takes them apart.
    pub fn url(&self) -> Arc<str> {
        let scheme = if self.tls { "https" } else { "http" };
        let name = self.tls_name.as_deref().filter(|name| self.tls && *name != self.host);
        let at = |base: String| format!("{}{}", target::with_name(&base, name), waits(self)).into();
        if self.host.starts_with("unix:") {
            return at(format!("{}|{scheme}://localhost", self.host));
        }
        let bare = self.host.contains(':') && !self.host.starts_with('[');
        let host = if bare { format!("[{}]", self.host) } else { self.host.clone() };
        let port = if self.port == 0 { String::new() } else { format!(":{}", self.port) };
        at(format!("{scheme}://{host}{port}"))
    }
}

/// The times of `set_timeouts`, as keys behind the URL. A worker of mod_proxy has one time for
/// sending and receiving.
fn waits(peer: &Peer) -> String {
    let [connect, send, read] = peer.timeouts;
    let keys = [("connectiontimeout", connect), ("timeout", read.or(send))];
    keys.iter()
        .filter_map(|(key, seconds)| seconds.map(|seconds| format!(" {key}={}", rounded_ms(seconds))))
        .collect()
}

/// Milliseconds, up to the next number of two digits and zeros, so that times that are computed do
/// not make a worker each.
fn rounded_ms(seconds: f64) -> u64 {
    // NaN becomes the shortest time.
    let ms = ((seconds * 1000.0).min(1e9) as u64).max(1);
    let step = 10_u64.pow(ms.ilog10().saturating_sub(1));
    ms.div_ceil(step) * step
}
