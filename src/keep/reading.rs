// SPDX-License-Identifier: Apache-2.0
//! The configuration while httpd reads it.

use std::cell::RefCell;
use std::sync::Arc;

use config::{Config, Draft};

use crate::httpd::config::Expression;
use crate::httpd::cycle::PerReading;
use crate::httpd::pool::MemoryPool;

/// A script's good version, or what is wrong with it.
pub type Vetted = Result<script::GoodVersion, script::ScriptError>;

/// The state of one reading so far.
#[derive(Default)]
pub struct Reading {
    /// The directives; check_config makes the configuration of them.
    pub draft: Draft,
    /// The configuration that they make together.
    pub config: Option<Arc<Config>>,
    /// Parsed `key=` expressions by text.
    pub expressions: RefCell<Vec<(String, Expression)>>,
    /// The databases of `LuaBalancerGeoIP`.
    pub geo: Option<Arc<geo::Databases>>,
    /// Scripts as check_config found them, where post_config follows at once.
    pub vetted: Option<Vec<Vetted>>,
}

static READING: PerReading<Reading> = PerReading::new();

/// pre_config: another configuration is about to be read into this pool.
pub fn begin(pool: MemoryPool<'static>) {
    READING.put(pool, Reading::default());
}

/// Runs `body` with what was read. None: nothing is being read, or a use of it is not over.
pub fn with<T>(body: impl FnOnce(&mut Reading) -> T) -> Option<T> {
    READING.with(body)
}
