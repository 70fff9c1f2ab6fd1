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

/// The member that a request was sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answerer {
    /// `POOL/MEMBER`, of a log perhaps the member's name alone, or a URL; None: nobody.
    pub name: Option<String>,
    /// Draws had a part in it.
    pub is_drawn: bool,
}

/// The member that serves a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// This member, or nobody.
    Now(Answerer),
    /// It waits in a queue, under this number.
    Later(u64),
}

/// A request that has waited, and the member that has served it.
pub type Late = (u64, Answerer);

/// Requests, compared when both sides know who serves them.
#[derive(Debug, Default)]
pub struct Comparison {
    /// The differences found.
    pub differences: Differences,
    /// The requests that wait on a side.
    open: Vec<(Ask, Served, Served)>,
    /// The other side is a log: nobody knows what was drawn for it.
    is_with_log: bool,
}

impl Comparison {
    /// With the members that a log names.
    pub fn with_log() -> Self {
        Comparison { is_with_log: true, ..Comparison::default() }
    }

    /// Takes in one request.
    pub fn put(&mut self, ask: &Ask, now: Served, before: Served) {
        match (now, before) {
            (Served::Now(now), Served::Now(before)) => self.compare(ask, now, before),
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
        let mut at = 0;
        while at < self.open.len() {
            if matches!(self.open[at], (_, Served::Now(_), Served::Now(_))) {
                let (ask, now, before) = self.open.remove(at);
                if let (Served::Now(now), Served::Now(before)) = (now, before) {
                    self.compare(&ask, now, before);
                }
            } else {
                at += 1;
            }
        }
    }

    fn compare(&mut self, ask: &Ask, now: Answerer, before: Answerer) {
        if self.is_with_log && now.is_drawn {
            self.differences.drawn.add(now.name, before.name);
        } else {
            self.differences.compare(ask, now.name, before.name);
        }
    }
}

/// A name as pool and member. URLs, and some names of logs, have no pool.
fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/').filter(|_| !name.contains("://")) {
        Some((pool, member)) => (Some(pool), member),
        None => (None, name),
    }
}

/// The member without its pool.
fn short(name: &Option<String>) -> Option<String> {
    name.as_deref().map(|name| split(name).1.to_owned())
}

/// Whether two names mean the same member, as far as both tell.
fn is_same(one: &Option<String>, other: &Option<String>) -> bool {
    match (one.as_deref().map(split), other.as_deref().map(split)) {
        (Some((Some(pool), name)), Some((Some(other_pool), other_name))) => {
            name == other_name && pool.eq_ignore_ascii_case(other_pool)
        }
        (Some((_, name)), Some((_, other_name))) => name == other_name,
        (one, other) => one.is_none() && other.is_none(),
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
    /// The requests that are not compared one by one.
    pub drawn: Drawn,
}

/// Requests whose members were drawn: a log does not tell the draws, so that only their shares can
/// be compared.
#[derive(Debug, Clone, Default)]
pub struct Drawn {
    /// Requests.
    pub all: u64,
    /// By member, those of the simulation and those of the log; an empty name for nobody.
    pub by_member: BTreeMap<String, (u64, u64)>,
    /// The log names pools, too.
    has_pools: bool,
}

impl Drawn {
    fn add(&mut self, now: Option<String>, before: Option<String>) {
        self.all += 1;
        self.has_pools |= before.as_deref().is_some_and(|name| split(name).0.is_some());
        let now = if self.has_pools { now } else { short(&now) };
        let (now, before) = (now.unwrap_or_default(), before.unwrap_or_default());
        self.counts(now).0 += 1;
        self.counts(before).1 += 1;
    }

    fn counts(&mut self, name: String) -> &mut (u64, u64) {
        let is_full = self.by_member.len() >= MOST_PATHS && !self.by_member.contains_key(&name);
        self.by_member.entry(if is_full { "(others)".into() } else { name }).or_default()
    }

    /// Members with the percentages of the simulation and of the log.
    pub fn shares(&self) -> impl Iterator<Item = (&str, f64, f64)> {
        let percent = |count: u64| count as f64 * 100.0 / self.all.max(1) as f64;
        self.by_member
            .iter()
            .map(move |(name, (now, before))| (name.as_str(), percent(*now), percent(*before)))
    }
}

impl Differences {
    /// Takes in one request.
    pub fn compare(&mut self, ask: &Ask, now: Option<String>, before: Option<String>) {
        let differs = !is_same(&now, &before);
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
            // Pools are named where they make the difference.
            let (short_now, short_before) = (short(&now), short(&before));
            let is_short = short_now != short_before;
            let (now, before) = if is_short { (short_now, short_before) } else { (now, before) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_the_same_with_and_without_its_pool() {
        let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        for (one, other, same) in [
            ("app/c", "c", true),
            ("app/c", "app/c", true),
            ("app/c", "APP/c", true),
            ("app/c", "two/c", false),
            ("app/c", "d", false),
            ("app/c", "", false),
            ("", "", true),
            ("http://a/c", "http://b/c", false),
            ("http://a/c", "http://a/c", true),
            ("http://a/c", "c", false),
        ] {
            assert_eq!(is_same(&name(one), &name(other)), same, "{one} {other}");
        }
        let mut all = Differences::default();
        all.compare(&Ask::default(), name("app/c"), name("two/c"));
        all.compare(&Ask::default(), name("app/c"), name("app/d"));
        let told = |at: usize| (all.examples[at].now.clone(), all.examples[at].before.clone());
        assert_eq!(told(0), (name("app/c"), name("two/c")));
        assert_eq!(told(1), (name("c"), name("d")));
    }
}
