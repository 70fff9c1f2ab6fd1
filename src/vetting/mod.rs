//! Scripts are vetted in processes of their own: read, compiled, and their top levels run, before they are taken. No Lua
//! runs in httpd's parent or in the background threads of children.
//!
//! The parent forks a *vetting server* ([`server`]) while it has one thread: for `configtest` and the start's check one
//! that ends with it, and in post_config one that lives as long as the configuration does. That process has given up root's
//! rights and every descriptor but one; it never runs Lua itself. It forks a *worker* ([`worker`]) for each script that
//! somebody asks about, and kills it when its time is over. Who asks, parent or child, is a [`client`]: it sends a script's
//! number and one end of a socket pair, and reads the answer from the other, which it does not trust.

pub mod client;
mod keeper;
mod server;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use script::Library;
use table::Table;

use crate::httpd::confine::Account;
use crate::keep::dicts::Dicts;

pub use client::{Client, vet_all};
pub use keeper::Keeper;

/// How long a top level may take.
const TIME: Duration = Duration::from_secs(5);
/// When a worker writes down where its script is.
const ALARM: Duration = Duration::from_millis(4800);
/// How long all scripts of a configuration together may take at a start or restart.
const TIME_OF_ALL: Duration = Duration::from_secs(10);
/// How many workers run at once.
pub const WORKERS: usize = 8;

/// What scripts are vetted with.
#[derive(Clone)]
pub struct Scope {
    /// The scripts.
    pub library: Arc<Library>,
    /// Dictionaries: read, never written.
    pub dicts: Arc<Dicts>,
    /// Pools: read, never changed.
    pub table: Table,
    /// Who scripts are run as.
    pub account: Account,
}
