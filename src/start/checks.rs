// SPDX-License-Identifier: Apache-2.0
//! The faults that `configtest` refuses beyond single directives: ways to pools that are not there,
//! members that nobody can talk to, checks that could only fail. A restart has to go on, and is
//! asked none of this.

use std::collections::HashSet;
use std::path::Path;

use ::config::{Config, Pool, Position};
use balance::fit;
use balance::stock::ways;

use crate::httpd::config::{self, DirectiveLine};
use crate::serve::reach;

/// Lines of other modules that open a way to a pool and say what would do nothing. Asked before
/// those modules read them, since their own words would not lead anywhere.
pub fn ways() -> Vec<String> {
    let lines = config::lines();
    let wrong = |line: &DirectiveLine| ways::problem(seen(line, &lines)).map(|text| at(line, &text));
    lines.iter().filter_map(wrong).collect()
}

/// Whether a client's words may become a target in `lb://` by some line.
pub fn has_open_targets() -> bool {
    let lines = config::lines();
    lines.iter().any(|line| ways::is_open(seen(line, &lines)))
}

/// All that can be told once everything has been read; `known` are the pools of configuration and
/// scripts.
pub fn all(wanted: &Config, known: &HashSet<String>) -> Vec<String> {
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    let lines = config::lines();
    let unknown =
        |line: &DirectiveLine| ways::unknown_pool(seen(line, &lines), &names).map(|text| at(line, &text));
    let mut wrong: Vec<String> = lines.iter().filter_map(unknown).collect();
    let has = |name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    let fallbacks = wanted.fallbacks().filter(|(name, _)| !has(name));
    wrong.extend(fallbacks.map(|(name, place)| {
        format!("{place}: LuaBalancerOnError pool:{name}: there is no pool of that name, expected <LuaBalancerPool {name}>")
    }));
    for pool in &wanted.pools {
        of_members(pool, &mut wrong);
    }
    wrong
}

/// Doubts about lines that are allowed and hardly meant. Members may still come from scripts, and
/// scripts may give keys.
pub fn doubts(wanted: &Config) -> Vec<String> {
    let lines = config::lines();
    let unproxied = |line: &DirectiveLine| ways::unproxied(seen(line, &lines)).map(|text| at(line, &text));
    let mut found: Vec<String> = lines.iter().filter_map(unproxied).collect();
    for pool in &wanted.pools {
        let (name, place, settings) = (&pool.name, &pool.place, &pool.settings);
        if pool.members.is_empty() && settings.discovery.is_empty() {
            let status = settings.set.on_empty;
            found.push(format!(
                "{place}: <LuaBalancerPool {name}> has neither LuaBalancerMember nor LuaBalancerDiscovery: until a script adds one, requests get {status}"
            ));
        }
        if settings.method.is_by_key() && settings.key.is_none() {
            let method = settings.method.name();
            found.push(format!(
                "{place}: <LuaBalancerPool {name}>: LuaBalancerMethod {method} without key= sends all requests to one member; for \
                 example key=\"%{{REMOTE_ADDR}}\""
            ));
        }
    }
    found
}

/// The hint that a message about a script adds when there is no such file: `path` is the file that
/// its name means under ServerRoot.
pub fn elsewhere(path: &str, installed: &Path) -> String {
    if Path::new(path).exists() {
        return String::new();
    }
    format!(" (a relative name is looked for in {} as well)", installed.display())
}

fn of_members(pool: &Pool, wrong: &mut Vec<String>) {
    for (member, place) in pool.members.iter().zip(&pool.member_places) {
        let misfit = fit::check_fits(&pool.settings, &member.url).err();
        for text in [misfit, reach::misfit(&member.url)].into_iter().flatten() {
            wrong.push(format!("{place}: LuaBalancerMember: {text}"));
        }
    }
}

fn seen<'l>(line: &'l DirectiveLine, lines: &'l [DirectiveLine]) -> ways::Line<'l> {
    let section = line.section.and_then(|section| lines.get(section));
    ways::Line {
        directive: &line.directive,
        args: &line.args,
        section: section.map(|section| (section.directive.as_str(), section.args.as_str())),
    }
}

fn at(line: &DirectiveLine, text: &str) -> String {
    let (file, number) = line.place.clone();
    format!("{}: {text}", Position { file, line: number })
}
