// SPDX-License-Identifier: Apache-2.0
//! Servers that stand side by side and know of each other by an etcd (`LuaBalancerShare`).

use std::time::Duration;

use crate::etcd::Etcd;
use crate::httpd::Httpd;
use crate::wait::wait_until;

const SOON: Duration = Duration::from_secs(20);

/// A server that shares this at an etcd, with these lines besides. Returns once the store has
/// answered.
pub fn front(etcd: &Etcd, share: &str, lines: &str) -> Httpd {
    let endpoint = etcd.endpoint();
    let config = format!("LuaBalancerStore etcd:{endpoint}/lb/test\nLuaBalancerShare {share}\n{lines}");
    let httpd = Httpd::builder().threads(40).config(&config).start();
    httpd.wait_for_store();
    httpd
}

/// Waits until these servers know that they are as many as they are.
pub fn wait_for_each_other(fronts: &[Httpd]) {
    let count = u32::try_from(fronts.len()).expect("a few");
    fronts.iter().for_each(|front| {
        front.wait_for_fronts(count);
    });
}

impl Httpd {
    /// A metric without labels; None when there is none of this name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.socket().get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// Waits until the store has answered.
    pub fn wait_for_store(&self) {
        wait_until("the store to be there", SOON, || self.metric("luabalancer_store_up") == Some(1.0));
    }

    /// Waits until it knows of so many servers, itself counted. Returns how long that took.
    pub fn wait_for_fronts(&self, count: u32) -> Duration {
        let what = format!("{count} servers to be alive");
        wait_until(&what, SOON, || self.metric("luabalancer_fronts") == Some(f64::from(count)))
    }
}
