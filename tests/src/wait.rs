// SPDX-License-Identifier: Apache-2.0
//! Waiting for a condition instead of sleeping for a guess.

use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(10);

/// How many times slower than usual everything is: LUA_BALANCER_SLOWER, for runs under a checker.
/// Above 1, figures of memory and processor time are the checker's.
pub fn slower() -> u32 {
    static SLOWER: OnceLock<u32> = OnceLock::new();
    *SLOWER
        .get_or_init(|| std::env::var("LUA_BALANCER_SLOWER").ok().and_then(|n| n.parse().ok()).unwrap_or(1))
}

/// How long something that takes at most `usual` may take here. [`wait_until`], [`eventually`] and
/// clients reckon with it by themselves.
pub fn patience(usual: Duration) -> Duration {
    usual * slower()
}

/// Polls `condition` until it holds; panics with `what` when it does not within `timeout`. Returns
/// the time it took.
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    eventually(what, timeout, || condition().then_some(()));
    start.elapsed()
}

/// Polls `probe` until it gives a value; panics with `what` when it gives none within `timeout`.
pub fn eventually<T>(what: &str, timeout: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let (start, timeout) = (Instant::now(), patience(timeout));
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < timeout, "waited {timeout:?} in vain: {what}");
        sleep(POLL);
    }
}
