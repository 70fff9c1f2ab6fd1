// SPDX-License-Identifier: Apache-2.0
//! A request from its beginning to its end, at members that all answer at once.

use std::sync::Arc;

use balance::api::{Balancer, NoMember, PoolId};
use balance::explanation::Explanation;
use balance::lifecycle::{self, Attempt};
use balance::member::Member;
use balance::relay::{Outcome, retry_after_s};
use balance::settings::PoolSettings;
use script::FinishResult;

use super::World;
use super::ask::Ask;
use super::course::{Course, Goal};
use super::decision::{Decision, Verdict, Visited};

/// What became of a request.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    /// Its pool.
    pub pool: Option<PoolId>,
    /// The member that serves it.
    pub member: Option<Arc<Member>>,
    /// The backend that serves it and is in no pool.
    pub target: Option<String>,
    /// The status that the client sees.
    pub status: u16,
    /// Nobody of ours wanted it.
    pub declined: bool,
    /// `LB_METHOD`.
    pub method: &'static str,
    /// `LB_REASON`.
    pub reason: &'static str,
    /// Why there is nobody.
    pub message: Option<String>,
    /// The page that the script has written.
    pub body: Option<Vec<u8>>,
    /// The cookie that binds the client, and Retry-After where nobody serves it.
    pub headers: Vec<(&'static str, String)>,
    /// The route of the client's session, where it has one.
    pub session: Option<String>,
}

/// What was to be chosen from, as it was before the choice.
pub type Candidates = Option<Explanation>;

/// A request with all that there is to tell about it.
#[derive(Debug, Clone)]
pub struct Told {
    /// Who was asked.
    pub visited: Visited,
    /// What came of it.
    pub ended: Ended,
    /// What there was to choose from.
    pub candidates: Candidates,
}

impl World {
    /// Who serves a request, and what it is answered otherwise. Nothing counts as asked.
    pub fn settle(&self, visited: &Visited) -> (Ended, Candidates) {
        let decision = match &visited.verdict {
            Verdict::Declined => {
                return (Ended { status: 200, declined: true, ..Ended::default() }, None);
            }
            Verdict::Answer { status, body, failed } => {
                let reason = if *failed { "script" } else { "" };
                return (Ended { status: *status, body: body.clone(), reason, ..Ended::default() }, None);
            }
            Verdict::Send(decision) => decision,
        };
        let before = self.candidates(decision);
        let mut course = Course::new(decision);
        let found = course.next(self);
        let now = course.pool.and_then(|pool| self.handle().now(pool));
        let fallback = PoolSettings::default();
        let settings = now.as_ref().map_or(&fallback, |now| now.settings());
        let mut ended = Ended { pool: course.pool, method: course.method(settings), ..Ended::default() };
        match found {
            Ok(Goal::Member(pool, member)) => {
                (ended.pool, ended.status, ended.reason) = (Some(pool), 200, "ok");
                let cookie = course.cookie(self, &member);
                ended.headers.extend(cookie.map(|cookie| ("Set-Cookie", cookie)));
                ended.member = Some(member);
            }
            Ok(Goal::Target(url)) => {
                (ended.target, ended.status, ended.reason) = (Some(url), 200, "ok");
            }
            Err(nobody) => self.nobody(&mut ended, decision, &nobody, settings),
        }
        let session = course.stick.and_then(|stick| stick.session);
        ended.session = session.map(|session| String::from_utf8_lossy(&session.route).into_owned());
        (ended, before)
    }

    fn nobody(&self, ended: &mut Ended, decision: &Decision, nobody: &NoMember, settings: &PoolSettings) {
        ended.status = match nobody {
            NoMember::SessionLost(_) => 503,
            NoMember::ScriptFailed => 500,
            _ => settings.set.on_empty,
        };
        ended.reason = if matches!(nobody, NoMember::ScriptFailed) { "script" } else { "no member" };
        ended.message = Some(match decision {
            Decision::Nobody { message, .. } => message.clone(),
            Decision::List(_) | Decision::Each(_) => {
                "none of the members that the script listed is usable".to_owned()
            }
            _ => nobody.to_string(),
        });
        ended.headers.push(("Retry-After", retry_after_s(settings).to_string()));
    }

    /// What the first pick of a decision has to choose from.
    pub fn candidates(&self, decision: &Decision) -> Candidates {
        let course = Course::new(decision);
        let pool = match decision {
            Decision::Pool { pool, .. } => Some(*pool),
            Decision::List(members) => members.first().map(|(pool, _)| *pool),
            Decision::Each(choices) => choices.first().map(|choice| match choice {
                super::decision::Choice::Member(pool, _) | super::decision::Choice::Pool(pool, _) => *pool,
            }),
            Decision::Nobody { pool, .. } => *pool,
            Decision::Target(_) => None,
        };
        Some(self.handle().explain(pool?, course.view().map(|view| &**view)))
    }

    /// A whole request: the hooks, a member that answers in `took` seconds, the finish hooks.
    pub fn go(&self, ask: &Ask, took: impl Fn(&Member) -> f64) -> (Visited, Ended, Candidates) {
        let visited = self.visit(ask);
        let (ended, candidates) = self.settle(&visited);
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
            took_ms: (seconds * 1e3) as f32,
            ended_ms: self.now_ms() as u32,
        };
        let members = || Some((self.handle().membership(pool?)?, self.now_ms()));
        lifecycle::attempt_ended(self.pools.store(), &attempt, members);
    }
}
