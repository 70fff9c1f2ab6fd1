// SPDX-License-Identifier: Apache-2.0
//! What is legal, and probably wrong.

use std::collections::BTreeMap;
use std::fs;

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
    /// What was found, and what to do.
    pub text: String,
}

impl Remark {
    /// Something that is wrong.
    pub fn error(place: String, text: String) -> Self {
        Remark { is_error: true, place, text }
    }

    /// Something that may be.
    pub fn warning(place: &config::Position, text: String) -> Self {
        Remark { is_error: false, place: format!("{}:{}", place.file, place.line), text }
    }
}

/// Everything, in order of the file.
pub fn of(read: &Read, text: &Text) -> Vec<Remark> {
    let mut found = Vec::new();
    let config = &read.config;
    unknown_pools(config, &text.nodes, &mut found);
    for (place, name) in config.fallbacks().map(|(name, place)| (place, name)) {
        if !has_pool(config, name) {
            found.push(no_pool(place, name, config));
        }
    }
    for pool in &config.pools {
        of_pool(pool, workers(&text.nodes), &mut found);
    }
    cookies(config, &mut found);
    scripts(config, &mut found);
    found
}

fn has_pool(config: &Config, name: &str) -> bool {
    config.pools.iter().any(|pool| pool.name.eq_ignore_ascii_case(name))
}

fn no_pool(place: &config::Position, name: &str, config: &Config) -> Remark {
    let names = config.pool_names().join(", ");
    let text = format!("there is no pool {name}, unless a script defines it: the configuration has {names}");
    Remark::warning(place, text)
}

/// `lb://name` in any line.
fn unknown_pools(config: &Config, nodes: &[Node], found: &mut Vec<Remark>) {
    for node in nodes {
        let named = node.args.split("lb://").skip(1).map(|rest| {
            rest.split(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '_' | '-' | '.'))
                .next()
                .unwrap_or_default()
        });
        for name in named.filter(|name| !name.is_empty() && !has_pool(config, name)) {
            found.push(no_pool(&node.place, name, config));
        }
        unknown_pools(config, node.inside.as_deref().unwrap_or_default(), found);
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
    if pool.members.is_empty() {
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

/// A script that names neither a pool nor a backend sends nothing anywhere.
fn scripts(config: &Config, found: &mut Vec<Remark>) {
    const WORDS: [&str; 7] =
        ["lb.pool", "lb.define_pool", "lb.pools", "ngx.balancer", "proxy:", "http", "require"];
    for planned in &config.scripts {
        let Script::File(path) = &planned.script else { continue };
        let is_hook = planned.needs.iter().any(|need| !matches!(need.as_str(), "finish" | "timer" | "check"));
        let Some(text) = fs::read_to_string(path).ok().filter(|_| is_hook) else { continue };
        if !WORDS.iter().any(|word| text.contains(word)) {
            let text = format!("{path} names neither a pool nor a backend: it never returns a member");
            found.push(Remark::warning(&planned.place, text));
        }
    }
}
