// SPDX-License-Identifier: Apache-2.0
//! `PUT …/members`: the whole list of a pool's members.

use std::collections::{HashMap, HashSet};

use balance::member::MemberSpec;
use balance::order::Order;
use balance::snapshot::{MemberState, PoolState};
use balance::steps::{Doing, MemberStep};
use render::mark::Mark;
use serde::Serialize;
use serde_json::Value;

use crate::apply::{self, Intent};
use crate::asked::{Asked, epoch_s, person};
use crate::change::{self, defined, duplicate, found};
use crate::element::Element;
use crate::problem::Problem;
use crate::types::Response;
use crate::{body, condition, find, patch, read};

/// The changes that a list would make.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Difference {
    /// Members that are new.
    pub add: Vec<Named>,
    /// Members that change, with the keys that do.
    pub change: Vec<Changed>,
    /// Members that go.
    pub remove: Vec<Named>,
    /// The members that are refused, and why: then nothing is done.
    pub refused: Vec<Refused>,
}

/// A member.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Named {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub url: String,
}

/// A member that changes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Changed {
    /// Its name.
    pub name: String,
    /// The keys that change.
    pub keys: Vec<&'static str>,
}

/// A member that is refused.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Refused {
    /// The member's name.
    pub name: String,
    /// Why not.
    pub detail: String,
}

/// Applies a list, or says what it would change.
pub(crate) fn replace(asked: &Asked<'_>) -> Result<Response, Problem> {
    let body = body::json(asked.request)?;
    let (dry, force) = (asked.query.switch("dry_run")?, asked.query.switch("force")?);
    let instead = apply::make(asked, asked.pool(), &mut |draft| {
        let pool = draft.pool(asked.name(0))?;
        let mark = Mark::of_pool(pool);
        if !condition::may_change(asked.request, mark) {
            return change::stale_pool(asked, draft).map(Intent::Answer);
        }
        let (steps, difference) = plan(asked, pool, &body, force)?;
        draft.take(steps)?;
        if dry {
            return read::changed(200, mark, &difference).map(Intent::Answer);
        }
        match difference.refused.first() {
            Some(refused) => Err(Problem::new(409, refused.detail.clone())),
            None => Ok(Intent::Change(None)),
        }
    })?;
    if let Some(response) = instead {
        return Ok(response);
    }
    let all = asked.house.snapshot(asked.pool());
    let pool = find::pool(&all, asked.name(0))?;
    let mark = Mark::of_pool(pool);
    read::with_view(asked.house, &all, |view| read::changed(200, mark, &view.members(pool)))
}

/// The steps that make the pool be like the list, and what they come to.
pub(crate) fn plan(
    asked: &Asked<'_>,
    pool: &PoolState,
    body: &Value,
    force: bool,
) -> Result<(Vec<MemberStep>, Difference), Problem> {
    let Value::Array(list) = body else {
        return Err(Problem::json("body", body, "a list of members"));
    };
    let known = pool.members.iter().map(|member| (&*member.spec.name, member)).collect();
    let (steps, added) = (Vec::new(), Vec::new());
    let mut plan = Plan { asked, pool, known, steps, added, difference: Difference::default() };
    let mut named = HashSet::new();
    for (at, value) in list.iter().enumerate() {
        let name = plan.element(value, &named).map_err(|problem| problem.of_element(at))?;
        if !named.insert(name.clone()) {
            return Err(Problem { detail: format!("the list names {name} twice"), ..duplicate(pool, &name) });
        }
    }
    for member in pool.members.iter().filter(|member| !named.contains(&member.spec.name)) {
        plan.leave_out(member, force);
    }
    // Members that go make room for those that come.
    let mut steps = plan.steps;
    steps.extend(plan.added);
    Ok((steps, plan.difference))
}

struct Plan<'a> {
    asked: &'a Asked<'a>,
    pool: &'a PoolState,
    /// Its members by name.
    known: HashMap<&'a str, &'a MemberState>,
    /// The steps of members that are there.
    steps: Vec<MemberStep>,
    added: Vec<MemberStep>,
    difference: Difference,
}

impl Plan<'_> {
    /// Takes an element in; returns its name.
    fn element(&mut self, value: &Value, named: &HashSet<String>) -> Result<String, Problem> {
        let element = Element::of(value)?;
        let spec = element.spec(|name| named.contains(name))?;
        match self.known.get(&*spec.name).copied() {
            Some(member) => self.known(&element, member)?,
            None => self.add(spec.clone()),
        }
        Ok(spec.name)
    }

    fn step(&self, name: &str, what: Doing) -> MemberStep {
        MemberStep { pool: self.pool.name.to_string(), member: name.to_owned(), what }
    }

    fn add(&mut self, spec: MemberSpec) {
        let (name, url) = (spec.name.clone(), spec.url.to_string());
        let step = self.step(&name, Doing::Add(Box::new(spec)));
        self.added.push(step);
        self.difference.add.push(Named { name, url });
    }

    fn leave_out(&mut self, member: &MemberState, force: bool) {
        let (name, url) = (member.spec.name.clone(), member.spec.url.to_string());
        if let Some(detail) = found(self.pool, member) {
            self.difference.refused.push(Refused { name, detail });
            return;
        }
        if !member.added && !force {
            let detail = defined(self.asked.house, self.pool, &name);
            self.difference.refused.push(Refused { name, detail });
            return;
        }
        let step = self.step(&name, Doing::Remove);
        self.steps.push(step);
        self.difference.remove.push(Named { name, url });
    }

    /// A member that is there: what an order can change is ordered; the rest of its line changes
    /// only where nobody else defines it.
    fn known(&mut self, element: &Element<'_>, member: &MemberState) -> Result<(), Problem> {
        let mut wanted = element.over(&member.spec)?;
        let mut keys = Vec::new();
        let weight = element.get("weight").map(patch::weight).transpose()?;
        let weight = weight.filter(|weight| *weight != member.weights.ordered);
        let most = element.get("max_inflight").and_then(Value::as_u64).map(|most| most as u32);
        // Shown is what an agent allows, perhaps.
        let most = most.filter(|most| ![member.max_inflight, member.spec.max_inflight].contains(most));
        let meta =
            (element.get("meta").is_some() && wanted.meta != member.spec.meta).then(|| wanted.meta.clone());
        wanted.weight = member.spec.weight;
        wanted.max_inflight = member.spec.max_inflight;
        wanted.meta.clone_from(&member.spec.meta);
        if wanted != *member.spec {
            self.line(member, wanted, (weight, most, meta));
            return Ok(());
        }
        let order = self.order(member, (weight, most, meta), &mut keys);
        if let Some(weight) = weight {
            self.steps.push(self.step(&member.spec.name, Doing::Weigh(weight)));
        }
        if let Some(order) = order {
            self.steps.push(self.step(&member.spec.name, Doing::Order(Some(order))));
        }
        if !keys.is_empty() {
            self.difference.change.push(Changed { name: member.spec.name.clone(), keys });
        }
        Ok(())
    }

    fn order(&self, member: &MemberState, parts: Parts, keys: &mut Vec<&'static str>) -> Option<Order> {
        let (weight, most, meta) = parts;
        let set = [("weight", weight.is_some()), ("max_inflight", most.is_some()), ("meta", meta.is_some())];
        keys.extend(set.iter().filter(|(_, is)| *is).map(|(key, _)| *key));
        if keys.is_empty() {
            return None;
        }
        let by = person(self.asked.request, None);
        let before = member.order.clone().unwrap_or_default();
        Some(Order {
            by: by.name,
            from: by.from,
            at: epoch_s(self.asked.house),
            weight: weight.or(before.weight),
            max_inflight: most.or(before.max_inflight),
            meta: meta.or(before.meta),
            ..before
        })
    }

    /// Another line: the member is replaced, or that is refused.
    fn line(&mut self, member: &MemberState, mut wanted: MemberSpec, (weight, most, meta): Parts) {
        let name = member.spec.name.clone();
        let found = found(self.pool, member);
        if !member.added || found.is_some() {
            let place = found.unwrap_or_else(|| defined(self.asked.house, self.pool, &name));
            let place = place.split(": disable").next().unwrap_or_default();
            let place = place.split(": take it out").next().unwrap_or_default();
            let detail = format!("{place}: only weight, max_inflight and meta can be changed here");
            self.difference.refused.push(Refused { name, detail });
            return;
        }
        wanted.weight = weight.unwrap_or(member.weights.ordered);
        wanted.max_inflight = most.unwrap_or(wanted.max_inflight);
        wanted.meta = meta.unwrap_or(wanted.meta);
        let steps = [Doing::Remove, Doing::Add(Box::new(wanted))].map(|what| self.step(&name, what));
        self.steps.extend(steps);
        self.difference.change.push(Changed { name, keys: vec!["url"] });
    }
}

/// Weight, most requests and meta keys, where they change.
type Parts = (Option<u32>, Option<u32>, Option<Vec<(String, String)>>);
