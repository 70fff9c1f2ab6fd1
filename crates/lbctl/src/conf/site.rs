// SPDX-License-Identifier: Apache-2.0
//! The settings by place: virtual hosts, sections of paths, and mod_proxy's mappings to pools.

use config::{Config, OnError, Resolved, Section};
use regex::Regex;

/// Everything that a configuration says about requests.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// The main server.
    pub main: Host,
    /// Virtual hosts in order.
    pub hosts: Vec<Host>,
}

/// A server.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// The addresses of `<VirtualHost>`.
    pub addresses: Vec<String>,
    /// ServerName and ServerAlias, in lower case.
    pub names: Vec<String>,
    /// Hooks outside of its sections.
    pub section: Section<'static>,
    /// Sections of paths in order.
    pub spots: Vec<Spot>,
    /// ProxyPass and its kin in order.
    pub passes: Vec<Pass>,
}

/// A section of paths.
#[derive(Debug, Clone)]
pub struct Spot {
    /// How it is written, for people.
    pub written: String,
    /// Paths that it is about.
    pub paths: Paths,
    /// Its hooks.
    pub section: Section<'static>,
    /// `SetHandler "proxy:…"`, and ProxyPass without a path.
    pub target: Option<String>,
}

/// Paths of a section or a rule.
#[derive(Debug, Clone)]
pub enum Paths {
    /// This one and those below.
    Below(String),
    /// The paths that begin so.
    Start(String),
    /// The paths that match.
    Match(Regex),
    /// Only httpd knows.
    Unknown,
}

impl Paths {
    /// Whether a path is one of them.
    pub fn hold(&self, path: &str) -> bool {
        match self {
            Paths::Below(own) => {
                let rest = path.strip_prefix(own.as_str());
                rest.is_some_and(|rest| rest.is_empty() || own.ends_with('/') || rest.starts_with('/'))
            }
            Paths::Start(own) => path.starts_with(own),
            Paths::Match(pattern) => pattern.is_match(path),
            Paths::Unknown => false,
        }
    }
}

/// A `ProxyPass` or `ProxyPassMatch`.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Its paths.
    pub paths: Paths,
    /// The target; `!` for "not".
    pub target: String,
    /// How it is written.
    pub written: String,
}

/// Finds the hooks of one kind.
pub type HooksOf = fn(&Section<'static>) -> Option<config::Hooks>;

/// The settings that hold for one request.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s> {
    /// Its server.
    host: Option<&'s Host>,
    site: &'s Site,
    section: Section<'static>,
    /// The last section that it is in.
    pub spot: Option<&'s Spot>,
}

impl Site {
    /// Whether mod_proxy maps any path.
    pub fn passes_any(&self) -> bool {
        let any =
            |host: &Host| !host.passes.is_empty() || host.spots.iter().any(|spot| spot.target.is_some());
        any(&self.main) || self.hosts.iter().any(any)
    }

    /// The settings that hold for a request to this server and path.
    pub fn scope(&self, name: &str, port: u16, path: &str) -> Scope<'_> {
        let host = self.host(name, port);
        let own = host.into_iter().flat_map(|host| &host.spots);
        let all = self.main.spots.iter().chain(own).filter(|spot| spot.paths.hold(path));
        let mut scope = Scope { host, site: self, section: Section::default(), spot: None };
        for spot in all {
            scope.section = Section::merged(&scope.section, &spot.section, |_| None);
            scope.spot = Some(spot);
        }
        scope
    }

    fn host(&self, name: &str, port: u16) -> Option<&Host> {
        let name = name.to_ascii_lowercase();
        let takes = |host: &&Host| {
            host.addresses.iter().any(|address| match address.rsplit_once(':') {
                Some((_, own)) => own == "*" || own == port.to_string(),
                None => true,
            })
        };
        let named = |host: &&Host| host.names.iter().any(|known| is_named(known, &name));
        let mut able = self.hosts.iter().filter(takes);
        able.clone().find(named).or_else(|| able.next())
    }
}

/// A name, or one with wildcards.
fn is_named(known: &str, name: &str) -> bool {
    if !super::patterns::has_wildcards(known) {
        return known == name;
    }
    super::patterns::wildcard(known).is_some_and(|pattern| pattern.is_match(name))
}

impl<'s> Scope<'s> {
    /// Hooks of one kind, of the most specific place that has any.
    pub fn hooks<'c>(&self, config: &'c Config, of: HooksOf) -> &'c [Resolved] {
        let server = self.host.and_then(|host| of(&host.section));
        let hooks = of(&self.section).or(server).or_else(|| of(&self.site.main.section));
        hooks.map_or(&[], |hooks| config.hooks(hooks))
    }

    /// The consequence of a script's failure.
    pub fn on_error<'c>(&self, config: &'c Config) -> &'c OnError {
        let server = self.host.and_then(|host| host.section.on_error);
        let rule = self.section.on_error.or(server).or(self.site.main.section.on_error);
        rule.map_or(&OnError::Error, |rule| config.on_error(rule))
    }

    /// Where mod_proxy sends this path, and the line that says so.
    pub fn pass(&self, path: &str) -> Option<(String, String)> {
        if let Some(spot) = self.spot
            && let Some(target) = &spot.target
        {
            return Some((target.clone(), spot.written.clone()));
        }
        let own = self.host.into_iter().flat_map(|host| &host.passes);
        let pass = own.chain(&self.site.main.passes).find(|pass| pass.paths.hold(path))?;
        (pass.target != "!").then(|| (pass.target.clone(), pass.written.clone()))
    }
}
