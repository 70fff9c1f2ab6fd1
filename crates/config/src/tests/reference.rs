// SPDX-License-Identifier: Apache-2.0
//! docs/directives.md and the directives as data say the same.

use std::collections::BTreeSet;

use balance::settings::PoolSettings;

use crate::{Contexts, DEFAULT_LIMIT, DIRECTIVES, Directive, Metrics, Sampling, Standing, Statement};

const REFERENCE: &str = include_str!("../../../../docs/directives.md");

/// The part about one directive: its heading, and what follows to the next heading.
fn part(directive: &Directive) -> (&'static str, &'static str) {
    let begin = format!("### `{}", directive.c_name().to_string_lossy());
    let is_own = |part: &&str| {
        let rest = part.strip_prefix(begin.trim_start_matches("### ")).unwrap_or("x");
        part.starts_with(begin.trim_start_matches("### ")) && rest.starts_with([' ', '`'])
    };
    let found = REFERENCE.split("\n### ").find(is_own);
    let found = found.unwrap_or_else(|| panic!("no part about {}", directive.name()));
    let part = found.split("\n## ").next().unwrap_or_default();
    part.split_once('\n').unwrap_or((part, ""))
}

#[test]
fn every_directive_has_a_part_with_its_contexts() {
    for directive in DIRECTIVES {
        let (heading, _) = part(directive);
        let contexts = match directive.contexts {
            Contexts::Server => "(S)",
            Contexts::Servers => "(S V)",
            Contexts::Sections => "(S V L)",
            Contexts::Pool => "(P)",
            Contexts::ServerAndPools => "(S P)",
        };
        assert!(heading.ends_with(contexts), "{}: {heading}", directive.name());
    }
}

/// A cell of the table that a directive's part begins with.
fn cell(directive: &Directive, row: &str) -> &'static str {
    let (_, text) = part(directive);
    let begin = format!("| {row} | ");
    let mut rows = text.trim_start().lines().take_while(|line| line.starts_with('|'));
    let found = rows.find_map(|line| line.strip_prefix(begin.as_str())?.strip_suffix(" |"));
    found.unwrap_or_else(|| panic!("{}: no {row}", directive.name()))
}

#[test]
fn every_part_begins_with_a_table_whose_contexts_are_those_of_the_code() {
    for directive in DIRECTIVES {
        for row in ["Description", "Syntax", "Default", "Status", "Compatibility"] {
            assert!(!cell(directive, row).is_empty(), "{}: {row}", directive.name());
        }
        let contexts = match directive.contexts {
            Contexts::Server => "server config",
            Contexts::Servers => "server config, virtual host",
            Contexts::Sections => "server config, virtual host, directory",
            Contexts::Pool => "`<LuaBalancerPool>`",
            Contexts::ServerAndPools => "server config, `<LuaBalancerPool>`",
        };
        let said = cell(directive, "Context").split(" (").next();
        assert_eq!(said, Some(contexts), "{}", directive.name());
    }
}

#[test]
fn a_line_of_defaults_says_what_holds_without_it() {
    for directive in DIRECTIVES {
        let said = cell(directive, "Default").strip_prefix('`').and_then(|rest| rest.split('`').next());
        let Some(args) = said.map(|line| line.strip_prefix(directive.name()).unwrap_or("no line")) else {
            continue;
        };
        let read = directive.read(Standing::default(), args.trim());
        match read.unwrap_or_else(|error| panic!("{args}: {error}")) {
            Statement::Setting(words) => {
                let mut settings = PoolSettings::default();
                settings.set_directive(directive.name(), &words).unwrap();
                assert_eq!(settings, PoolSettings::default(), "{}{args}", directive.name());
            }
            Statement::Metrics(metrics) => assert_eq!(metrics, Metrics::default()),
            Statement::Decisions(sampling) => assert_eq!(sampling, Sampling::default()),
            Statement::ScriptLimit { time_ms, memory } => {
                assert_eq!(time_ms.zip(memory), Some((DEFAULT_LIMIT.time_ms, DEFAULT_LIMIT.memory)));
            }
            _ => {}
        }
    }
}

#[test]
fn every_part_about_a_directive_is_about_one_that_exists() {
    let known: BTreeSet<&str> = DIRECTIVES.iter().map(Directive::name).collect();
    let headings = REFERENCE.lines().filter_map(|line| line.strip_prefix("### `"));
    let named = headings.filter_map(|rest| rest.trim_start_matches('<').split([' ', '`', '>']).next());
    let named: BTreeSet<&str> = named.filter(|name| name.starts_with("Lua")).collect();
    assert_eq!(named, known);
}

#[test]
fn every_key_is_in_the_part_of_its_directive() {
    for directive in DIRECTIVES {
        let (heading, text) = part(directive);
        let words: BTreeSet<&str> = heading.split(NOT_OF_A_KEY).chain(text.split(NOT_OF_A_KEY)).collect();
        for key in directive.key_names() {
            assert!(words.contains(key), "{}: {key}= is not in the reference", directive.name());
        }
    }
}

/// Characters that end a key's name.
const NOT_OF_A_KEY: fn(char) -> bool = |c| !(c.is_ascii_alphanumeric() || c == '_' || c == '.');

/// Keys in the first column of a directive's tables.
fn listed(text: &'static str) -> impl Iterator<Item = &'static str> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split(['`', ',', ' '])).filter(|word| !word.is_empty())
}

#[test]
fn every_key_of_a_table_is_one() {
    for directive in DIRECTIVES.iter().filter(|one| one.contexts == Contexts::Pool) {
        let known: BTreeSet<&str> = directive.key_names().collect();
        let (_, text) = part(directive);
        for key in listed(text) {
            assert!(known.contains(key), "{}: the reference has {key}, which is not a key", directive.name());
        }
    }
}

#[test]
fn defaults_are_those_of_the_heading() {
    for directive in DIRECTIVES {
        let (heading, _) = part(directive);
        for key in directive.own_keys.iter().filter(|key| !key.default.is_empty()) {
            let said = format!("{}={}", key.name, key.default);
            assert!(heading.contains(&said), "{heading}: {said}");
        }
        assert!(directive.arguments.split(' ').all(|word| heading.contains(word)), "{heading}");
    }
}
