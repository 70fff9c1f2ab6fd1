// SPDX-License-Identifier: Apache-2.0
//! How many requests would go to another member.

use std::collections::BTreeMap;

use crate::world::ask::Ask;

/// Paths that are counted apart.
const MOST_PATHS: usize = 1000;
/// Examples that are kept.
const EXAMPLES: usize = 10;

/// A request that would go elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// What was asked for.
    pub path: String,
    /// The member that is asked now.
    pub now: Option<String>,
    /// The member that was asked, or would have been.
    pub before: Option<String>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    /// Requests that were compared.
    pub all: u64,
    /// The decisions that differ.
    pub differ: u64,
    /// By the first part of the path: those that differ, and all.
    pub by_path: BTreeMap<String, (u64, u64)>,
    /// The first ones.
    pub examples: Vec<Example>,
}

impl Differences {
    /// Takes in one request.
    pub fn compare(&mut self, ask: &Ask, now: Option<String>, before: Option<String>) {
        let differs = now != before;
        self.all += 1;
        self.differ += u64::from(differs);
        let first = ask.path().trim_start_matches('/').split('/').next().unwrap_or_default();
        let mut path = format!("/{first}");
        if self.by_path.len() >= MOST_PATHS && !self.by_path.contains_key(&path) {
            path = "(others)".into();
        }
        let counts = self.by_path.entry(path).or_default();
        counts.0 += u64::from(differs);
        counts.1 += 1;
        if differs && self.examples.len() < EXAMPLES {
            self.examples.push(Example { path: ask.target.clone(), now, before });
        }
    }

    /// Paths with most differences first.
    pub fn worst(&self) -> Vec<(&str, u64, u64)> {
        let mut all: Vec<_> =
            self.by_path.iter().map(|(path, (differ, all))| (path.as_str(), *differ, *all)).collect();
        all.retain(|(_, differ, _)| *differ > 0);
        all.sort_by_key(|(_, differ, _)| std::cmp::Reverse(*differ));
        all.truncate(EXAMPLES);
        all
    }
}
