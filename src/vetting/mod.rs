// SPDX-License-Identifier: Apache-2.0
//! Scripts are vetted in processes of their own: read, compiled, and their top levels run, before
//! they are taken. No Lua runs in httpd's parent or in the background threads of children.
//!
//! The parent forks a *vetting server* ([`server`]) while it has one thread: for `configtest` and
//! the start's check one that ends with it, and in post_config one that lives as long as the
//! configuration does. That process has given up root's rights and every descriptor but one; it
//! never runs Lua itself. It forks a *worker* ([`worker`]) for each script that somebody asks
//! about, and kills it when its time is over. Parent or child asks as a [`client`]: it sends a
//! script's number and one end of a socket pair, and reads the answer from the other, which it does
//! not trust.

mod all;
pub mod client;
mod keeper;
mod server;
mod worker;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use script::Library;
use table::Table;

use crate::httpd::confine::Account;
use crate::keep::dicts::Dicts;

pub use all::vet_all;
pub use client::Asker;
pub use keeper::Keeper;

/// How long a top level may take.
fn time() -> Duration {
    Duration::from_secs(5) * slowdown()
}

/// When a worker writes down where its script is.
fn alarm() -> Duration {
    Duration::from_millis(4800) * slowdown()
}

/// How long all scripts of a configuration together may take at a start or restart.
fn time_of_all() -> Duration {
    Duration::from_secs(10) * slowdown()
}

/// How many times slower everything is than usual: 1, but in tests of a server that runs under a
/// checker.
fn slowdown() -> u32 {
    static TIMES: OnceLock<u32> = OnceLock::new();
    let read = || std::env::var("LUA_BALANCER_TEST_SLOWDOWN").ok()?.parse().ok();
    *TIMES.get_or_init(|| read().unwrap_or(1).clamp(1, 20))
}

/// How many workers run at once.
pub const WORKERS: usize = 8;

/// The parts with which scripts are vetted.
#[derive(Clone)]
pub struct VettingSetup {
    /// The scripts.
    pub library: Arc<Library>,
    /// Dictionaries: read, never written.
    pub dicts: Arc<Dicts>,
    /// Pools: read, never changed.
    pub table: Table,
    /// The account that scripts are run as.
    pub account: Account,
}
