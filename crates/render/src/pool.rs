// SPDX-License-Identifier: Apache-2.0
//! The document of a pool.

use balance::counts::PoolCounts;
use balance::snapshot::PoolState;
use balance::store::Origin;
use serde::Serialize;

use crate::Shown;
use crate::member::{LatencyDoc, MemberDoc};
use crate::settings::SettingsDoc;
use crate::value::Figure;

/// A pool.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Pool"))]
pub struct PoolDoc<'a> {
    /// Its name.
    pub name: &'a str,
    /// The origin of its definition: config or script.
    pub origin: &'static str,
    /// How it picks.
    pub method: &'static str,
    /// The settings that its directives make.
    pub settings: SettingsDoc<'a>,
    /// Members that a new request may go to.
    pub usable: usize,
    /// All members.
    pub total: usize,
    /// Requests at its members.
    pub inflight: u32,
    /// Requests that wait for a place.
    pub queued: u32,
    /// So few members are usable that health is ignored.
    pub panic: bool,
    /// How requests ended.
    pub requests: RequestsDoc,
    /// How often another member was asked.
    pub retries: u64,
    /// How long requests took, in seconds.
    pub latency: PartsDoc,
    /// In configured order; those that were added while the server ran come last.
    pub members: Vec<MemberDoc<'a>>,
}

/// How requests ended. Each has one of these.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Requests"))]
pub struct RequestsDoc {
    /// Answered below 500.
    pub ok: u64,
    /// Answered with 500 and more.
    pub status: u64,
    /// No connection, at last.
    pub connect: u64,
    /// The connection ended, at last.
    pub reset: u64,
    /// No answer in time, at last.
    pub timeout: u64,
    /// The client went away.
    pub aborted: u64,
    /// There was no member.
    pub no_member: u64,
    /// It waited for a place as long as it may.
    pub queue_timeout: u64,
    /// Too many waited already.
    pub queue_full: u64,
    /// The script failed.
    pub script: u64,
}

/// How long requests of the last ten minutes took, in seconds.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Parts"))]
pub struct PartsDoc {
    /// Half of them took no longer.
    pub p50: Option<Figure>,
    /// 95 % took no longer.
    pub p95: Option<Figure>,
    /// 99 % took no longer.
    pub p99: Option<Figure>,
}

/// All pools.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Pools"))]
pub struct PoolsDoc<'a> {
    /// In the order in which they were defined first.
    pub pools: Vec<PoolDoc<'a>>,
}

impl Shown<'_> {
    /// A pool's document.
    pub fn pool<'a>(&self, pool: &'a PoolState) -> PoolDoc<'a> {
        let LatencyDoc { p50, p95, p99, .. } = LatencyDoc::of(None, &pool.recent);
        PoolDoc {
            name: &pool.name,
            origin: match pool.origin {
                Origin::Configuration => "config",
                Origin::Script => "script",
            },
            method: pool.settings.method.name(),
            settings: SettingsDoc::of(&pool.settings),
            usable: pool.usable,
            total: pool.members.len(),
            inflight: pool.inflight,
            queued: pool.queued,
            panic: pool.panic,
            requests: RequestsDoc::of(&pool.counts),
            retries: pool.counts.retries.iter().fold(0, |sum, count| sum.saturating_add(*count)),
            latency: PartsDoc { p50, p95, p99 },
            members: self.members(pool),
        }
    }

    /// The documents of a pool's members.
    pub fn members<'a>(&self, pool: &'a PoolState) -> Vec<MemberDoc<'a>> {
        pool.members.iter().map(|member| self.member(pool, member)).collect()
    }
}

impl<'a> Shown<'a> {
    /// All pools.
    pub fn pools(&self) -> PoolsDoc<'a> {
        PoolsDoc { pools: self.all.pools.iter().map(|pool| self.pool(pool)).collect() }
    }
}

impl RequestsDoc {
    fn of(counts: &PoolCounts) -> Self {
        let PoolCounts { ok, status, connect, reset, timeout, .. } = *counts;
        let PoolCounts { aborted, no_member, queue_timeout, queue_full, script, .. } = *counts;
        RequestsDoc {
            ok,
            status,
            connect,
            reset,
            timeout,
            aborted,
            no_member,
            queue_timeout,
            queue_full,
            script,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use balance::counts::MemberCounts;

    use super::*;
    use crate::member::{AttemptsDoc, ResponsesDoc};

    /// The keys and numbers of a document.
    fn numbers(document: &impl Serialize) -> BTreeMap<String, u64> {
        let object = serde_json::to_value(document).expect("a document");
        object
            .as_object()
            .expect("an object")
            .iter()
            .map(|(key, it)| (key.clone(), it.as_u64().unwrap()))
            .collect()
    }

    fn listed(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
    }

    #[test]
    fn a_pool_s_document_has_every_result_that_is_counted() {
        let counts = PoolCounts {
            ok: 1,
            status: 2,
            connect: 3,
            reset: 4,
            timeout: 5,
            aborted: 6,
            no_member: 7,
            queue_timeout: 8,
            queue_full: 9,
            script: 10,
            ..PoolCounts::default()
        };
        assert_eq!(numbers(&RequestsDoc::of(&counts)), listed(&counts.requests()));
    }

    #[test]
    fn a_member_s_document_has_every_outcome_and_class_that_is_counted() {
        let (responses, counts) = ([7, 8, 9, 10, 11], MemberCounts::default());
        let counts = MemberCounts { ok: 1, connect: 2, reset: 3, timeout: 4, status: 5, ..counts };
        let counts = MemberCounts { aborted: 6, responses, ..counts };
        assert_eq!(numbers(&AttemptsDoc::of(&counts)), listed(&counts.attempts()));
        assert_eq!(numbers(&ResponsesDoc::of(&counts)), listed(&counts.classes()));
    }
}
