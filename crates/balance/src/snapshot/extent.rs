// SPDX-License-Identifier: Apache-2.0
//! How much of a balancer is shown.

/// The part of a balancer that a snapshot has. The rest is left out, and costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent<'a> {
    /// Everything.
    All,
    /// All pools, without the figures of requests: counts, times and latencies are empty. Of the
    /// server there is nothing.
    Standing,
    /// One pool, by its name in any case.
    Pool(&'a str),
    /// One member of a pool, by the names of both. Of the pool itself there are settings, `usable`
    /// and `panic`, and no figures.
    Member(&'a str, &'a str),
}

impl Extent<'_> {
    /// Whether it has figures: of members, and of pools.
    pub(super) fn has_figures(self) -> (bool, bool) {
        (self != Extent::Standing, matches!(self, Extent::All | Extent::Pool(_)))
    }

    pub(super) fn has_pool(self, name: &str) -> bool {
        match self {
            Extent::All | Extent::Standing => true,
            Extent::Pool(pool) | Extent::Member(pool, _) => name.eq_ignore_ascii_case(pool),
        }
    }

    pub(super) fn has_member(self, name: &str) -> bool {
        !matches!(self, Extent::Member(_, member) if member != name)
    }
}
