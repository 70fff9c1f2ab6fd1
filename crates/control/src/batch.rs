// SPDX-License-Identifier: Apache-2.0
//! `POST /api/v1/batch`: several requests, all or none of them.

use std::collections::HashMap;

use balance::snapshot::Extent;
use balance::snapshot::{MemberState, PoolState, Snapshot};
use balance::steps::MemberStep;
use render::mark::Mark;
use serde_json::{Value, json};

use crate::apply::{self, Intent};
use crate::asked::{Asked, epoch_s, person};
use crate::change::{self, Deletion};
use crate::draft::Draft;
use crate::patch::{self, Now};
use crate::problem::Problem;
use crate::query::{Query, encoded};
use crate::routes::{self, Endpoint, Verb};
use crate::types::{Request, Response};
use crate::{body, condition, put, read};

/// Most requests of one batch.
const MAX_ITEMS: usize = 10_000;
/// Most members in the documents of one answer: a short request may ask for long ones.
const MAX_SHOWN: usize = 100_000;

/// Checks all, applies them, and answers a list of `{status, body}`. When one is refused, that one
/// says why, and of the others nothing is done.
pub(crate) fn run(asked: &Asked<'_>) -> Result<Response, Problem> {
    let body = body::json(asked.request)?;
    let Value::Array(list) = &body else {
        return Err(Problem::json("body", &body, "a list of {method, path, body}"));
    };
    if list.len() > MAX_ITEMS {
        return Err(Problem::new(422, format!("more than {MAX_ITEMS} requests")));
    }
    let items: Vec<Item<'_>> = list
        .iter()
        .enumerate()
        .map(|(at, value)| Item::of(value).map_err(|problem| problem.of_element(at)))
        .collect::<Result<_, _>>()?;
    let mut planned = Vec::with_capacity(items.len());
    let instead = apply::make(asked, Extent::All, &mut |draft| {
        planned.clear();
        let mut shown = 0;
        let mark = Mark::of_pools(&draft.all.pools);
        if !condition::may_change(asked.request, mark) {
            let current =
                read::with_view(asked.house, &draft.all, |view| read::changed(412, mark, &view.pools()));
            return current.map(Intent::Answer);
        }
        for (at, item) in items.iter().enumerate() {
            let done = plan(asked, item, draft).and_then(|done| {
                shown += done.shows(draft);
                if shown > MAX_SHOWN {
                    let detail = format!("the answer would have more than {MAX_SHOWN} members");
                    return Err(Problem::new(422, detail));
                }
                Ok(done)
            });
            match done {
                Ok(done) => planned.push(done),
                Err(problem) => return Ok(Intent::Answer(refused(items.len(), at, problem))),
            }
        }
        Ok(Intent::Change(None))
    });
    match instead {
        Ok(None) => {}
        Ok(Some(response)) => return Ok(response),
        Err(problem) => return Ok(refused(items.len(), items.len(), problem)),
    }
    let all = asked.house.snapshot(Extent::All);
    let mut members = HashMap::new();
    if planned.iter().any(|done| done.target == Endpoint::Member) {
        for pool in &all.pools {
            let named = pool.members.iter().map(|member| (&*member.spec.name, member));
            members.extend(named.map(|(name, member)| ((&*pool.name, name), (pool, member))));
        }
    }
    let all = After { all: &all, members };
    let answers = planned.iter().map(|done| done.answer(asked, &all));
    let answers = answers.collect::<Result<Vec<Value>, Problem>>()?;
    read::changed(200, Mark::of_pools(&all.all.pools), &answers)
}

/// The snapshot when all is done.
struct After<'s> {
    all: &'s Snapshot,
    /// By the names of pool and member, where members are asked for.
    members: HashMap<(&'s str, &'s str), (&'s PoolState, &'s MemberState)>,
}

/// One request of a batch.
struct Item<'j> {
    method: &'j str,
    path: &'j str,
    body: &'j Value,
}

const NOTHING: &Value = &Value::Null;

impl<'j> Item<'j> {
    fn of(value: &'j Value) -> Result<Self, Problem> {
        let Value::Object(keys) = value else {
            return Err(Problem::json("body", value, "an object of method, path and body"));
        };
        let known = ["method", "path", "body"];
        if let Some(key) = keys.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(Problem::value(key, "a key that is not known here", "one of method, path, body"));
        }
        let text = |key: &str, expected: &str| {
            let value = keys.get(key).unwrap_or(NOTHING);
            value.as_str().ok_or_else(|| Problem::json(key, value, expected))
        };
        Ok(Item {
            method: text("method", "GET, POST, PUT, PATCH or DELETE")?,
            path: text("path", "a path from /api/v1/ on")?,
            body: keys.get("body").unwrap_or(NOTHING),
        })
    }
}

/// The answer that is given when all is done.
struct Planned {
    status: u16,
    target: Endpoint,
    pool: String,
    member: String,
}

fn plan(asked: &Asked<'_>, item: &Item<'_>, draft: &mut Draft) -> Result<Planned, Problem> {
    let (path, query) =
        item.path.split_once('?').map_or((item.path, None), |(path, query)| (path, Some(query)));
    let (route, names) = routes::find(path)?;
    let method = Verb::from_name(item.method).filter(|method| route.has(*method));
    let method =
        method.ok_or_else(|| Problem::new(405, format!("{} takes {}", route.path, route.allow())))?;
    let name = |at: usize| names.get(at).map(String::as_str).unwrap_or_default();
    let query = Query::parse(query)?;
    let (pool_name, member_name) = (name(0), name(1));
    let by = person(asked.request, None);
    let (status, steps, member): (u16, Vec<MemberStep>, String) = match (route.target, method) {
        (target, method) if read::is_document(target, method) => (200, Vec::new(), member_name.to_owned()),
        (Endpoint::Members, Verb::Post) => {
            let step = change::adding(draft, pool_name, item.body)?;
            let name = step.member.clone();
            (201, vec![step], name)
        }
        (Endpoint::Members, Verb::Put) => {
            let (steps, difference) =
                put::plan(asked, draft.pool(pool_name)?, item.body, query.switch("force")?)?;
            if let Some(refused) = difference.refused.first() {
                return Err(Problem::new(409, refused.detail.clone()));
            }
            (200, steps, String::new())
        }
        (Endpoint::Member, Verb::Patch) => {
            let (pool, member) = draft.member(pool_name, member_name)?;
            let now = Now { epoch_s: epoch_s(asked.house), by };
            (200, patch::steps(pool, member, item.body, &now)?.steps, member_name.to_owned())
        }
        (Endpoint::Member, Verb::Delete) => {
            let (pool, member) = draft.member(pool_name, member_name)?;
            let drain_s = query.get("drain")?.map(|text| patch::seconds("drain", text)).transpose()?;
            let force = query.switch("force")?;
            let deletion = Deletion { force, drain_s, now_s: epoch_s(asked.house), by };
            let status = if drain_s.is_some() { 202 } else { 204 };
            (status, deletion.steps(asked.house, pool, member)?, member_name.to_owned())
        }
        _ => return Err(Problem::new(404, format!("{}: not in a batch", route.path))),
    };
    draft.take(steps)?;
    let target = if status == 201 { Endpoint::Member } else { route.target };
    // In any case as it was asked for, and as it is called.
    let pool = draft.pool(pool_name).map_or_else(|_| pool_name.to_owned(), |pool| pool.name.to_string());
    Ok(Planned { status, target, pool, member })
}

impl Planned {
    /// How many members its document has.
    fn shows(&self, draft: &Draft) -> usize {
        match self.target {
            Endpoint::Pools => draft.all.pools.iter().map(|pool| pool.members.len()).sum(),
            Endpoint::Pool | Endpoint::Members => draft.pool(&self.pool).map_or(0, |pool| pool.members.len()),
            _ => 1,
        }
    }

    /// Its document, as it is when all is done. A member that a later request has removed has none.
    fn answer(&self, asked: &Asked<'_>, after: &After<'_>) -> Result<Value, Problem> {
        let mut inner = Value::Null;
        if self.target == Endpoint::Member && self.status != 204 {
            if let Some((pool, member)) = after.members.get(&(&*self.pool, &*self.member)) {
                let document = read::with_view(asked.house, after.all, |view| {
                    serde_json::to_value(view.member(pool, member))
                });
                inner = document.unwrap_or_default();
            }
        } else if self.status != 204 {
            let path = match self.target {
                Endpoint::Pools => "/api/v1/pools".to_owned(),
                Endpoint::Pool => format!("/api/v1/pools/{}", encoded(&self.pool)),
                _ => format!("/api/v1/pools/{}/members", encoded(&self.pool)),
            };
            let request = Request {
                method: "GET",
                path: &path,
                query: None,
                headers: &[],
                body: &[],
                ..asked.request.clone()
            };
            let names = [self.pool.clone(), self.member.clone()];
            let inside =
                Asked { request: &request, house: asked.house, names: &names, query: &Query::parse(None)? };
            if let Ok(response) = read::document_of(&inside, self.target, after.all) {
                inner = serde_json::from_slice(&response.body).unwrap_or_default();
            }
        }
        Ok(json!({ "status": self.status, "body": inner }))
    }
}

/// One is refused: nothing is done.
fn refused(count: usize, at: usize, problem: Problem) -> Response {
    let other = Problem::new(424, format!("not done, since request {at} of the batch is refused"));
    let list = (0..count).map(|place| {
        let said = if place == at || at == count { &problem } else { &other };
        json!({ "status": said.status, "body": said })
    });
    let list: Vec<Value> = list.collect();
    read::answer("application/json", serde_json::to_vec(&list).unwrap_or_default())
}
