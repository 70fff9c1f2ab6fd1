// SPDX-License-Identifier: Apache-2.0
//! Findings: lines that are legal, and probably wrong.

use std::collections::BTreeMap;
use std::path::Path;

use config::{Config, Pool, Script};
use serde::Serialize;

use crate::conf::read::Read;
use crate::conf::text::{Node, Text};

/// Something that is wrong, or may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// The server would not start, or not use it.
    pub is_error: bool,
    /// File and line.
    pub place: String,
    /// The finding, and the remedy.
    pub text: String,
}

impl Remark {
    /// Something that is wrong.
    pub fn error(place: String, text: String) -> Self {
        Remark { is_error: true, place, text }
    }

    /// Something that may be.
    pub fn warning(place: &config::Position, text: String) -> Self {
        Remark { is_error: false, place: spot(place), text }
    }

    /// An error in words, which may begin with its line as `line 5 of FILE: `.
    pub fn told(file: &Path, words: &str) -> Self {
        let placed = words.strip_prefix("line ").and_then(|rest| {
            let (line, rest) = rest.split_once(" of ")?;
            let (file, text) = rest.split_once(": ")?;
            line.parse::<u32>().ok().map(|line| (format!("{file}:{line}"), text.to_owned()))
        });
        let (place, text) = placed.unwrap_or_else(|| {
            let file = file.display().to_string();
            let text = words.strip_prefix(&format!("{file}: ")).unwrap_or(words).to_owned();
            (file, text)
        });
        Remark::error(place, text)
    }
}

fn spot(place: &config::Position) -> String {
    format!("{}:{}", place.file, place.line)
}

/// Everything but what scripts do. `names`: the pools that there are when all scripts are loaded.
pub fn of(read: &Read, text: &Text, names: &[String]) -> Vec<Remark> {
    let mut found = Vec::new();
    let config = &read.config;
    let known = Known { config, names };
    known.unknown_pools(&text.nodes, &mut found);
    for (name, place) in config.fallbacks() {
        found.extend(known.missing(place, name));
    }
    for pool in &config.pools {
        of_pool(pool, workers(&text.nodes), &mut found);
    }
    cookies(config, &mut found);
    found
}

/// The pools that there are.
struct Known<'c> {
    config: &'c Config,
    /// With those that scripts define; empty where that is not known.
    names: &'c [String],
}

impl Known<'_> {
    fn missing(&self, place: &config::Position, name: &str) -> Option<Remark> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        if self.names.iter().any(|known| is(known)) || self.config.pools.iter().any(|pool| is(&pool.name)) {
            return None;
        }
        let names = self.config.pool_names().join(", ");
        let names = if names.is_empty() { "none" } else { &names };
        let text =
            format!("there is no pool {name}, unless a script defines it: the configuration has {names}");
        Some(Remark::warning(place, text))
    }

    /// `lb://name` in any line.
    fn unknown_pools(&self, nodes: &[Node], found: &mut Vec<Remark>) {
        for node in nodes {
            let named = node.args.split("lb://").skip(1).map(|rest| {
                let is_name =
                    |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
                rest.split(|letter: char| !is_name(letter)).next().unwrap_or_default()
            });
            let named = named.filter(|name| !name.is_empty());
            found.extend(named.filter_map(|name| self.missing(&node.place, name)));
            self.unknown_pools(node.inside.as_deref().unwrap_or_default(), found);
        }
    }
}

/// How many requests the server serves at once.
fn workers(nodes: &[Node]) -> u32 {
    const USUAL: u32 = 150;
    let mut all = USUAL;
    for node in nodes {
        if node.is("MaxRequestWorkers") || node.is("MaxClients") {
            all = node.args.trim().parse().unwrap_or(all);
        }
        if let Some(inside) = &node.inside {
            all = match workers(inside) {
                USUAL => all,
                own => own,
            };
        }
    }
    all
}

fn of_pool(pool: &Pool, workers: u32, found: &mut Vec<Remark>) {
    let name = &pool.name;
    let mut warn = |place: &config::Position, text: String| found.push(Remark::warning(place, text));
    if pool.members.is_empty() && pool.settings.discovery.is_empty() {
        warn(&pool.place, format!("pool {name} has no members: it answers {}", pool.settings.set.on_empty));
    }
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (member, place) in pool.members.iter().zip(&pool.member_places) {
        let url = member.url.to_string();
        if let Some(first) = seen.insert(url.clone(), &member.name) {
            warn(
                place,
                format!(
                    "pool {name}: {} has the address of {first}, {url}: it gets both shares",
                    member.name
                ),
            );
        }
    }
    if !pool.members.is_empty() && pool.members.iter().all(|member| member.weight == 0) {
        warn(&pool.place, format!("pool {name}: all weights are 0, so that nobody gets new requests"));
    }
    if let Some(zone) = &pool.settings.set.zone
        && !pool.members.iter().any(|member| member.zone.as_ref() == Some(zone))
    {
        warn(&pool.place, format!("pool {name}: no member has zone={zone}, which LuaBalancerSet prefers"));
    }
    let all: u32 = pool.members.iter().map(|member| member.max_inflight).sum();
    let limited = pool.members.iter().all(|member| member.max_inflight > 0);
    if limited && all > 0 && all < workers && pool.settings.set.queue_ms == 0 {
        let text = format!(
            "pool {name}: its members take {all} requests at once, the server {workers}: the others get {} at once; \
             LuaBalancerSet queue=5s lets them wait",
            pool.settings.set.on_empty
        );
        warn(&pool.place, text);
    }
    if let Some(check) = &pool.settings.health
        && check.interval_ms < check.timeout_ms
    {
        let text = format!(
            "pool {name}: a check may take {} ms and comes every {} ms: expected timeout= below interval=",
            check.timeout_ms, check.interval_ms
        );
        warn(&pool.place, text);
    }
    if pool.settings.method.is_by_key() && pool.settings.key.is_none() {
        let method = pool.settings.method.name();
        warn(&pool.place, format!("pool {name}: {method} without key= sends everybody to one member"));
    }
    let all_out = !pool.members.is_empty()
        && pool.members.iter().all(|member| {
            member.flags & (balance::status::Status::DISABLED | balance::status::Status::STOPPED) != 0
        });
    if all_out {
        warn(&pool.place, format!("pool {name}: every member is switched off by status="));
    }
}

/// One cookie on two pools: each takes the other's sessions for its own.
fn cookies(config: &Config, found: &mut Vec<Remark>) {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for pool in &config.pools {
        let Some(sticky) = &pool.settings.sticky else { continue };
        if let Some(other) = seen.insert((&sticky.cookie, &sticky.path), &pool.name) {
            let text = format!(
                "pool {} has the cookie {} of pool {other} on the same path: each overwrites the other's",
                pool.name, sticky.cookie
            );
            found.push(Remark::warning(&pool.place, text));
        }
    }
}

/// Why a world cannot be made: at the line that names the script, where it is a script's.
pub fn of_script(config: &Config, file: &Path, error: String) -> Remark {
    let named = config.scripts.iter().find(|planned| match &planned.script {
        Script::File(path) => error.starts_with(path.as_str()),
        Script::Inline { .. } => false,
    });
    match named {
        Some(planned) => Remark::error(spot(&planned.place), error),
        None => Remark::told(file, &error),
    }
}
