// SPDX-License-Identifier: Apache-2.0
//! Changes of single members.

use std::cell::RefCell;

use balance::event::Person;
use balance::order::{AdminState, Order, Then};
use balance::snapshot::{Extent, MemberState, PoolState};
use balance::steps::{Doing, MemberStep};
use render::mark::Mark;
use serde_json::Value;

use crate::apply::{self, Intent};
use crate::asked::{Asked, epoch_s, person};
use crate::draft::{Draft, flags};
use crate::element::Element;
use crate::patch::{self, Now};
use crate::problem::Problem;
use crate::query::encoded;
use crate::types::{House, Response};
use crate::{body, condition, find, read};

/// `POST …/members`.
pub(crate) fn add(asked: &Asked<'_>) -> Result<Response, Problem> {
    let body = body::json(asked.request)?;
    let mut names = (String::new(), String::new());
    let instead = apply::make(asked, asked.pool(), &mut |draft| {
        let pool = draft.pool(asked.name(0))?;
        if !condition::may_change(asked.request, Mark::of_pool(pool)) {
            return stale_pool(asked, draft).map(Intent::Answer);
        }
        let pool = pool.name.clone();
        let step = adding(draft, &pool, &body)?;
        names = (step.pool.clone(), step.member.clone());
        draft.take(vec![step])?;
        Ok(Intent::Change(None))
    })?;
    if let Some(response) = instead {
        return Ok(response);
    }
    let (pool, name) = names;
    let mut response = member_answer(asked.house, 201, (&pool, &name))?;
    let base = asked.request.base;
    let place = format!("{base}/api/v1/pools/{}/members/{}", encoded(&pool), encoded(&name));
    response.headers.push(("Location", place));
    Ok(response)
}

/// The step that adds a member.
pub(crate) fn adding(draft: &mut Draft, pool: &str, body: &Value) -> Result<MemberStep, Problem> {
    let element = Element::of(body)?;
    let name = draft.pool(pool)?.name.clone();
    let draft = RefCell::new(draft);
    let taken = |member: &str| draft.borrow_mut().has(pool, member).unwrap_or_default();
    let spec = element.spec(taken)?;
    if taken(&spec.name) {
        return Err(duplicate(draft.borrow().pool(pool)?, &spec.name));
    }
    let (pool, member) = (name.to_string(), spec.name.clone());
    Ok(MemberStep { pool, member, what: Doing::Add(Box::new(spec)) })
}

pub(crate) fn duplicate(pool: &PoolState, name: &str) -> Problem {
    Problem::new(409, format!("pool {} already has a member named {name}", pool.name))
}

/// `PATCH …/members/{member}`.
pub(crate) fn patch(asked: &Asked<'_>) -> Result<Response, Problem> {
    let body = body::json(asked.request)?;
    let instead = apply::make(asked, asked.member(), &mut |draft| {
        let (pool, member) = draft.member(asked.name(0), asked.name(1))?;
        if !condition::may_change(asked.request, Mark::of_member(member)) {
            return stale_member(asked, draft).map(Intent::Answer);
        }
        let now = Now { epoch_s: epoch_s(asked.house), by: person(asked.request, None) };
        let patched = patch::steps(pool, member, &body, &now)?;
        draft.take(patched.steps)?;
        Ok(Intent::Change(patched.note))
    })?;
    instead.map_or_else(|| member_answer(asked.house, 200, (asked.name(0), asked.name(1))), Ok)
}

/// `DELETE …/members/{member}`.
pub(crate) fn delete(asked: &Asked<'_>) -> Result<Response, Problem> {
    if !asked.request.body.is_empty() {
        body::json(asked.request)?;
    }
    let force = asked.query.switch("force")?;
    let drain_s = asked.query.get("drain")?.map(|text| patch::seconds("drain", text)).transpose()?;
    let instead = apply::make(asked, asked.member(), &mut |draft| {
        let (pool, member) = draft.member(asked.name(0), asked.name(1))?;
        if !condition::may_change(asked.request, Mark::of_member(member)) {
            return stale_member(asked, draft).map(Intent::Answer);
        }
        let by = person(asked.request, None);
        let deletion = Deletion { force, drain_s, now_s: epoch_s(asked.house), by };
        let steps = deletion.steps(asked.house, pool, member)?;
        draft.take(steps)?;
        Ok(Intent::Change(None))
    })?;
    if let Some(response) = instead {
        return Ok(response);
    }
    if drain_s.is_some() {
        return member_answer(asked.house, 202, (asked.name(0), asked.name(1)));
    }
    let all = asked.house.snapshot(asked.pool());
    let mark = Mark::of_pool(find::pool(&all, asked.name(0))?);
    Ok(Response { status: 204, headers: vec![("ETag", mark.to_string())], body: Vec::new() })
}

/// How a member is removed.
pub(crate) struct Deletion {
    /// Also when the configuration names it.
    pub force: bool,
    /// Drained so long before.
    pub drain_s: Option<u64>,
    pub now_s: u64,
    pub by: Person,
}

impl Deletion {
    pub(crate) fn steps(
        &self,
        house: &dyn House,
        pool: &PoolState,
        member: &MemberState,
    ) -> Result<Vec<MemberStep>, Problem> {
        let name = &member.spec.name;
        if let Some(why) = found(pool, member) {
            return Err(Problem::new(409, why));
        }
        if !member.added && !self.force {
            return Err(Problem::new(409, defined(house, pool, name)));
        }
        let step = |what| MemberStep { pool: pool.name.to_string(), member: name.clone(), what };
        let Some(drain_s) = self.drain_s else { return Ok(vec![step(Doing::Remove)]) };
        let order = Order {
            by: self.by.name.clone(),
            from: self.by.from.clone(),
            at: self.now_s,
            admin: Some(AdminState::Drain),
            until: Some(self.now_s.saturating_add(drain_s)),
            then: Some(Then::Removed),
            ..member.order.clone().unwrap_or_default()
        };
        let mut steps = Vec::new();
        // A member that is disabled already gets no sessions back for its last seconds.
        if AdminState::of(flags(member)) == AdminState::Ready {
            steps.push(step(Doing::Switch(AdminState::Drain.flags())));
        }
        steps.push(step(Doing::Order(Some(order))));
        Ok(steps)
    }
}

/// Why a member is not removed: what defines it, and what to do instead.
pub(crate) fn defined(house: &dyn House, pool: &PoolState, name: &str) -> String {
    let by = match (pool.origin, house.place(&pool.name, name)) {
        (balance::store::Origin::Script, _) => "by the script that defines the pool".to_owned(),
        (_, Some(place)) => format!("by the configuration, {place}"),
        (_, None) => "by the configuration".to_owned(),
    };
    format!(
        "member {name} of pool {} is defined {by}: disable it instead (PATCH {{\"admin\":\"disabled\"}}), \
         or remove it until the next graceful or start with ?force=1",
        pool.name
    )
}

/// Why a member that a source names is not removed: it would be back with the next list.
pub(crate) fn found(pool: &PoolState, member: &MemberState) -> Option<String> {
    let (name, source) = (&member.spec.name, member.spec.discovered.as_ref()?);
    let settings = pool.settings.discovery.iter().find(|one| one.name == *source);
    let place = settings.map(|one| format!(" ({}:{})", one.source.kind(), one.source.address()));
    Some(format!(
        "member {name} of pool {} is named by its source {source}{}: take it out there, or disable it \
         (PATCH {{\"admin\":\"disabled\"}})",
        pool.name,
        place.unwrap_or_default()
    ))
}

/// A member's new document.
fn member_answer(house: &dyn House, status: u16, (pool, name): (&str, &str)) -> Result<Response, Problem> {
    let all = house.snapshot(Extent::Member(pool, name));
    let (pool, member) = find::member(&all, pool, name)?;
    let mark = Mark::of_member(member);
    read::with_view(house, &all, |view| read::changed(status, mark, &view.member(pool, member)))
}

/// Somebody has changed the member since the asker saw it: what it is now.
fn stale_member(asked: &Asked<'_>, draft: &Draft) -> Result<Response, Problem> {
    let (pool, member) = find::member(&draft.all, asked.name(0), asked.name(1))?;
    let mark = Mark::of_member(member);
    read::with_view(asked.house, &draft.all, |view| read::changed(412, mark, &view.member(pool, member)))
}

/// The same of a pool's members.
pub(crate) fn stale_pool(asked: &Asked<'_>, draft: &Draft) -> Result<Response, Problem> {
    let pool = draft.pool(asked.name(0))?;
    let mark = Mark::of_pool(pool);
    read::with_view(asked.house, &draft.all, |view| read::changed(412, mark, &view.members(pool)))
}
