// SPDX-License-Identifier: Apache-2.0
//! This module's configuration as httpd keeps it, by place.

use std::sync::Arc;

use config::Config;

/// Of a section.
pub type Section = config::Section<'static>;

/// Of a server (virtual host).
#[derive(Clone, Copy, Default)]
pub struct ServerConfig {
    /// Its number in the configuration being read, once a directive stands in it.
    pub number: Option<usize>,
    /// What holds outside of its sections.
    pub section: Section,
}

/// The configuration as a whole, and what the main server has outside of its sections.
pub struct Main {
    /// Everything that numbers in sections stand for.
    pub config: Arc<Config>,
    /// The main server's.
    pub section: Section,
}
