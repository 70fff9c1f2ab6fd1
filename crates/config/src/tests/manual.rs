// SPDX-License-Identifier: Apache-2.0
//! man/mod_lua_balancer.8 and the directives as data say the same.

use crate::{Contexts, DIRECTIVES, Directive};

const MANUAL: &str = include_str!("../../../../man/mod_lua_balancer.8");

/// The line that the page has of a directive.
fn line(directive: &Directive) -> String {
    let name = directive.c_name().to_string_lossy();
    let arguments = directive.arguments.replace('…', "...");
    let end = if name.starts_with('<') { ">" } else { "" };
    let contexts = match directive.contexts {
        Contexts::Server => "S",
        Contexts::Servers => "S V",
        Contexts::Sections => "S V L",
        Contexts::Pool => "P",
        Contexts::ServerAndPools => "S P",
    };
    format!(".It Ic {name} Ar {arguments}{end} Pq {contexts}")
}

#[test]
fn the_manual_page_has_every_directive_with_arguments_and_contexts_and_no_other() {
    let items = MANUAL.lines().filter(|line| line.starts_with(".It Ic "));
    let expected: Vec<String> = DIRECTIVES.iter().map(line).collect();
    assert_eq!(items.collect::<Vec<_>>(), expected);
}
