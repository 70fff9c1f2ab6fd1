// SPDX-License-Identifier: Apache-2.0
//! The examples of docs/lua-api.md run as they are printed.
#![allow(missing_docs)]

mod common;

use balance::api::Balancer;
use common::World;
use script::{FinishResult, Phase};

/// The blocks marked `lua`, each with the number of its first line.
fn examples(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut block: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut block, line) {
            (None, "```lua") => block = Some((number + 2, String::new())),
            (Some(_), "```") => found.extend(block.take()),
            (Some((_, text)), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    found
}

fn run(line: usize, text: &str) {
    let world = World::with(text, &[], |builder| builder);
    world.take().unwrap_or_else(|error| panic!("docs/lua-api.md:{line}: {error}"));
    let state = world.state();
    let ends = |function: &str| {
        text.contains(&format!("\nfunction {function}("))
            || text.starts_with(&format!("function {function}("))
    };
    if text.contains("select(pool, r)") {
        let pool = world.balancer.find("app").expect("a pool");
        let name = world.balancer.membership(pool).expect("members").name.to_string();
        state
            .pick(world.id, "select", &name, None)
            .unwrap_or_else(|error| panic!("docs/lua-api.md:{line}: {error}"));
        return;
    }
    for function in ["select", "translate"] {
        if ends(function) {
            let answer = state.select(world.id, function, Phase::Translate);
            answer.unwrap_or_else(|error| panic!("docs/lua-api.md:{line}: {error}"));
        }
    }
    if ends("finish") {
        let result = FinishResult {
            status: 503,
            attempts: 2,
            error: Some("connect".into()),
            ..FinishResult::default()
        };
        let done = state.finish(world.id, "finish", &result);
        done.unwrap_or_else(|error| panic!("docs/lua-api.md:{line}: {error}"));
    }
}

#[test]
fn every_example_of_the_manual_runs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/lua-api.md");
    let text = std::fs::read_to_string(path).expect("the manual");
    let all = examples(&text);
    assert!(all.len() >= 12, "only {} examples found", all.len());
    for (line, text) in &all {
        run(*line, text);
    }
}
