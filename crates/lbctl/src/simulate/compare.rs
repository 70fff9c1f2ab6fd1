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
    /// The request's path.
    pub path: String,
    /// The member that is asked now.
    pub now: Option<String>,
    /// The member that was asked, or would have been.
    pub before: Option<String>,
}

/// The member that serves a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// This member, or nobody.
    Now(Option<String>),
    /// It waits in a queue, under this number.
    Later(u64),
}

/// A request that has waited, and the member that has served it.
pub type Late = (u64, Option<String>);

/// Requests, compared when both sides know who serves them.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The differences found.
    pub differences: Differences,
    /// The requests that wait on a side.
    open: Vec<(Ask, Served, Served)>,
}

impl Comparison {
    /// Takes in one request.
    pub fn put(&mut self, ask: &Ask, now: Served, before: Served) {
        match (now, before) {
            (Served::Now(now), Served::Now(before)) => self.differences.compare(ask, now, before),
            (now, before) => self.open.push((ask.clone(), now, before)),
        }
    }

    /// Takes in those that have waited, on either side.
    pub fn settle(&mut self, now: Vec<Late>, before: Option<Vec<Late>>) {
        let is = |served: &Served, number: u64| *served == Served::Later(number);
        for (number, name) in now {
            if let Some(open) = self.open.iter_mut().find(|open| is(&open.1, number)) {
                open.1 = Served::Now(name);
            }
        }
        for (number, name) in before.into_iter().flatten() {
            if let Some(open) = self.open.iter_mut().find(|open| is(&open.2, number)) {
                open.2 = Served::Now(name);
            }
        }
        let (mut at, open) = (0, &mut self.open);
        while at < open.len() {
            if matches!(open[at], (_, Served::Now(_), Served::Now(_))) {
                let (ask, now, before) = open.remove(at);
                if let (Served::Now(now), Served::Now(before)) = (now, before) {
                    self.differences.compare(&ask, now, before);
                }
            } else {
                at += 1;
            }
        }
    }
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
