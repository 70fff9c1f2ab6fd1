// SPDX-License-Identifier: Apache-2.0
//! A request from its beginning to its end, at members that all answer at once.

use balance::api::{Balancer, PoolId};
use balance::lifecycle::{self, Attempt};
use balance::member::Member;
use balance::relay::Outcome;
use explain::ended::settle;
use explain::{Candidates, Settled, Visited};
use script::FinishResult;

use super::World;
use super::ask::Ask;

impl World {
    /// A whole request: the hooks, a member that answers in `took` seconds, the finish hooks.
    pub fn go(&self, ask: &Ask, took: impl Fn(&Member) -> f64) -> (Visited, Settled, Candidates) {
        let visited = self.visit(ask);
        let (ended, candidates) = settle(self, &visited);
        let seconds = ended.member.as_ref().map_or(0.0, |member| took(member));
        if let Some(member) = &ended.member {
            self.answered(ended.pool, member, seconds);
        }
        let result = FinishResult {
            member: ended.member.clone(),
            status: ended.status,
            attempts: u32::from(ended.member.is_some() || ended.target.is_some()),
            seconds,
            bytes: 0,
            error: (!matches!(ended.reason, "" | "ok")).then(|| ended.reason.to_owned()),
        };
        for error in self.finish(ask, &result) {
            self.fail(format!("LuaHookFinish: {error}"));
        }
        (visited, ended, candidates)
    }

    fn answered(&self, pool: Option<PoolId>, member: &Member, seconds: f64) {
        let Some(now) = pool.and_then(|pool| self.handle().now(pool)) else { return };
        let attempt = Attempt {
            member,
            outlier: &now.settings().outlier,
            outcome: Outcome::Answered(200),
            excused: false,
            counted: None,
            took_ms: (seconds * 1e3) as f32,
            ended_ms: self.now_ms() as u32,
        };
        let members = || Some((self.handle().membership(pool?)?, self.now_ms()));
        lifecycle::attempt_ended(self.pools.store(), &attempt, members);
    }
}
