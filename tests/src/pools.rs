// SPDX-License-Identifier: Apache-2.0
//! Configuration of pools, and what the module shows of them.

use std::collections::BTreeMap;

use crate::backend::Backend;
use crate::httpd::{Builder, DOOR, DOOR_FILE, Httpd};

/// A `<LuaBalancerPool>` of backends, each with further keys; a member's name is its backend's.
/// `lines` are further directives of the pool.
pub fn pool(name: &str, members: &[(&Backend, &str)], lines: &str) -> String {
    let members = members.iter().map(|(backend, keys)| {
        format!("  LuaBalancerMember {} name={} {keys}\n", backend.url(), backend.name())
    });
    format!("<LuaBalancerPool {name}>\n{}{lines}\n</LuaBalancerPool>\n", members.collect::<String>())
}

/// A member as the snapshot shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `up`, `down`, `ejected`, `draining`, `disabled`.
    pub state: String,
    /// The reason that keeps it from serving like any other, and on whose account:
    /// `draining:somebody`; `-` for none.
    pub why: String,
    /// The weight as ordered last.
    pub weight: u32,
    /// Requests in flight, over all children.
    pub inflight: u32,
    /// Attempts that failed and count against it.
    pub failures: u32,
    /// When it changed last, epoch seconds.
    pub since: u64,
}

impl Builder {
    /// Opens the door to the snapshot: makes [`Httpd::snapshot`], [`Httpd::members`] and their kin
    /// work.
    pub fn with_member_states(self) -> Self {
        self.file(DOOR_FILE, "")
    }
}

impl Httpd {
    /// Everything that the module shows, as text (`balance::snapshot`): one line for each thing.
    /// Needs [`Builder::with_member_states`].
    pub fn snapshot(&self) -> String {
        let response = self.client().get(DOOR);
        assert_eq!(response.status, 200, "no door to the snapshot: {}", response.text());
        response.text()
    }

    /// Every member of a pool as it is now.
    pub fn members(&self, pool: &str) -> BTreeMap<String, Seen> {
        let text = self.snapshot();
        assert!(
            text.lines().any(|line| line.starts_with(&format!("pool {pool} "))),
            "no pool {pool}:\n{text}"
        );
        let prefix = format!("member {pool}/");
        text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(parse_member).collect()
    }

    /// Whether there is such a pool.
    pub fn has_pool(&self, pool: &str) -> bool {
        self.snapshot().lines().any(|line| line.starts_with(&format!("pool {pool} ")))
    }

    /// One member of a pool.
    pub fn member(&self, pool: &str, name: &str) -> Seen {
        self.members(pool).remove(name).unwrap_or_else(|| panic!("no member {name} in pool {pool}"))
    }

    /// The sum of a pool's requests in flight.
    pub fn inflight(&self, pool: &str) -> u32 {
        self.members(pool).values().map(|member| member.inflight).sum()
    }
}

/// Reads `NAME key=value key=value …`.
fn parse_member(line: &str) -> (String, Seen) {
    let name = line.split(' ').next().unwrap_or_default();
    let word = |key: &str| {
        let values = line.split(' ').filter_map(|word| word.split_once('='));
        let found = values.into_iter().find(|(known, _)| *known == key);
        found.unwrap_or_else(|| panic!("no {key}= in {line:?}")).1.to_owned()
    };
    let number =
        |key: &str| word(key).parse().unwrap_or_else(|_| panic!("{key}= is not a count in {line:?}"));
    let seen = Seen {
        state: word("state"),
        why: word("why"),
        weight: number("weight"),
        inflight: number("inflight"),
        failures: number("failures"),
        since: word("since").parse().unwrap_or_else(|_| panic!("since= is not a time in {line:?}")),
    };
    (name.to_owned(), seen)
}
