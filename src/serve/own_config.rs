// SPDX-License-Identifier: Apache-2.0
//! This module's configuration as httpd keeps it, by place.

use std::sync::Arc;

use config::Config;

/// The configuration of a section.
pub type Section = config::Section<'static>;

/// The configuration of a server (virtual host).
#[derive(Clone, Copy, Default)]
pub struct ServerConfig {
    /// Its number in the configuration being read, once a directive stands in it.
    pub number: Option<usize>,
    /// The directives outside of its sections.
    pub section: Section,
}

/// The configuration as a whole, and the main server's directives outside of its sections.
pub struct Main {
    /// All values that numbers in sections stand for.
    pub config: Arc<Config>,
    /// The directives of the main server.
    pub section: Section,
}
