// SPDX-License-Identifier: Apache-2.0
//! Pools and members by their names.

use balance::snapshot::{MemberState, PoolState, Snapshot};

use crate::problem::{Problem, shown};

/// A pool by its name, in any case, as everywhere.
pub(crate) fn pool<'s>(all: &'s Snapshot, name: &str) -> Result<&'s PoolState, Problem> {
    pool_place(all, name).map(|at| &all.pools[at])
}

/// The same as its place.
pub(crate) fn pool_place(all: &Snapshot, name: &str) -> Result<usize, Problem> {
    let found = all.pools.iter().position(|pool| pool.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| no_pool(name))
}

pub(crate) fn no_pool(name: &str) -> Problem {
    Problem::new(404, format!("there is no pool {}", shown(name)))
}

/// A member by its name.
pub(crate) fn member<'s>(
    all: &'s Snapshot,
    pool_name: &str,
    name: &str,
) -> Result<(&'s PoolState, &'s MemberState), Problem> {
    let pool = pool(all, pool_name)?;
    let found = pool.members.iter().find(|member| member.spec.name == name);
    Ok((pool, found.ok_or_else(|| no_member(pool, name))?))
}

pub(crate) fn no_member(pool: &PoolState, name: &str) -> Problem {
    Problem::new(404, format!("pool {} has no member named {}", pool.name, shown(name)))
}
