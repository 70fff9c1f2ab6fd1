// SPDX-License-Identifier: Apache-2.0
//! The member that serves a request, at members that all answer at once.

use std::sync::Arc;

use balance::api::{NoMember, PoolId};
use balance::choosing::{Choice, Decision, Goal, look_again};
use balance::explanation::Explanation;
use balance::member::Member;
use balance::relay::retry_after_s;
use balance::settings::PoolSettings;
use balance::sticky::set_cookie;
use script::host::Field;

use crate::ground::{Ground, GroundCircumstances, bytes};
use crate::ruling::{Plan, Ruling, Visited};
use crate::way::Way;

/// The end of a request.
#[derive(Debug, Clone, Default)]
pub struct Settled {
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

/// The members and views to choose from, as they were before the choice.
pub type Candidates = Option<Explanation>;

/// A request with all that there is to tell about it.
#[derive(Debug, Clone)]
pub struct Told {
    /// The member that was asked.
    pub visited: Visited,
    /// Its end.
    pub ended: Settled,
    /// The members and views to choose from.
    pub candidates: Candidates,
}

/// The member that serves a request, and what it is answered otherwise. Nothing counts as asked.
pub fn settle<G: Ground>(ground: &G, visited: &Visited) -> (Settled, Candidates) {
    let plan = match &visited.verdict {
        Ruling::Declined => return (Settled { status: 200, declined: true, ..Settled::default() }, None),
        Ruling::Answer { status, body, failed } => {
            let reason = if *failed { "script" } else { "" };
            return (Settled { status: *status, body: body.clone(), reason, ..Settled::default() }, None);
        }
        Ruling::Send(plan) => plan,
    };
    let before = candidates(ground, plan);
    let mut way = Way::new(plan);
    let found = way.next(ground);
    let mut ended = Settled { pool: way.course.pool, method: way.method, ..Settled::default() };
    match found {
        Ok(Goal::Member(pool, member)) => {
            (ended.pool, ended.status, ended.reason) = (Some(pool), 200, "ok");
            let cookie = cookie(ground, &mut way, &member);
            ended.headers.extend(cookie.map(|cookie| ("Set-Cookie", cookie)));
            ended.member = Some(member);
        }
        Ok(Goal::Target(url)) => {
            // Without the keys that may stand behind it.
            let url = url.split(' ').next().unwrap_or_default().to_owned();
            (ended.target, ended.status, ended.reason) = (Some(url), 200, "ok");
        }
        Err(nobody) => refuse(ground, &mut ended, &way, &nobody),
    }
    let session = way.course.route();
    ended.session = session.map(|route| String::from_utf8_lossy(route).into_owned());
    (ended, before)
}

fn refuse<G: Ground>(ground: &G, ended: &mut Settled, way: &Way<'_>, nobody: &NoMember) {
    let now = ended.pool.and_then(|pool| ground.handle().now(pool));
    let defaults = PoolSettings::default();
    let settings = now.as_ref().map_or(&defaults, |now| now.settings());
    ended.status = match nobody {
        NoMember::SessionLost(_) => 503,
        NoMember::ScriptFailed => 500,
        _ => settings.set.on_empty,
    };
    ended.reason = if matches!(nobody, NoMember::ScriptFailed) { "script" } else { "no member" };
    ended.message = Some(way.chooser().explain().map_or_else(|| nobody.to_string(), str::to_owned));
    ended.headers.push(("Retry-After", retry_after_s(settings).to_string()));
}

/// The cookie that binds the client to this member, where the module would set one.
fn cookie<G: Ground>(ground: &G, way: &mut Way<'_>, member: &Member) -> Option<String> {
    let now = ground.handle().now(way.course.pool?)?;
    let sticky = now.settings().sticky.as_ref()?;
    if way.course.stick.is_none() || !way.chooser().looks_for_session() {
        look_again(&GroundCircumstances(ground), &mut way.course, sticky)?;
    }
    let binds = way.course.stick.as_ref()?.binds_to(member);
    let https = || bytes(ground.request(), Field::Scheme).as_deref() == Some(b"https");
    binds.then(|| set_cookie(sticky, &member.spec.route, https()))
}

/// The members and views that the first pick of a decision chooses from.
pub fn candidates<G: Ground>(ground: &G, plan: &Plan) -> Candidates {
    let pool = match &plan.decision {
        Decision::Pool { pool, .. } => Some(*pool),
        Decision::List(members) => members.first().map(|(pool, _)| *pool),
        Decision::Each(choices) => choices.first().map(|choice| match choice {
            Choice::Member(pool, _) | Choice::Pool(pool, _) => *pool,
        }),
        Decision::Nobody { pool, .. } => *pool,
        Decision::Target(_) | Decision::Script { .. } => None,
    };
    Some(ground.handle().explain(pool?, plan.chooser().view().map(|view| &**view)))
}
