// SPDX-License-Identifier: Apache-2.0
//! A decision as a document: what `POST /api/v1/explain` answers.

use balance::api::{View, ViewStep};
use balance::explanation::{Considered, LeftOut};
use balance::live::Live;
use serde::Serialize;

use crate::world::World;
use crate::world::course::{Course, Goal};
use crate::world::decision::{Asked, Decision, Verdict};
use crate::world::ended::Told;

/// See the module.
#[derive(Debug, Serialize)]
pub struct Document {
    /// The hook that decided; null where none did.
    pub hook: Option<Hook>,
    /// What was decided.
    pub decision: Decided,
    /// Who could be picked.
    pub candidates: Vec<Candidate>,
    /// The route of the client's session.
    pub session: Option<String>,
    /// Who would be asked next, one after the other.
    pub then: Vec<String>,
    /// What cannot be known without the server.
    pub unknown: Vec<String>,
}

/// A hook.
#[derive(Debug, Serialize)]
pub struct Hook {
    /// The directive.
    pub directive: &'static str,
    /// The script.
    pub script: String,
    /// The function.
    pub function: String,
    /// Where it begins.
    pub line: Option<usize>,
    /// The version that was asked.
    pub version: u64,
    /// How long it took; null where nobody measures.
    pub seconds: Option<f64>,
    /// What it returned.
    pub returned: String,
}

/// A decision.
#[derive(Debug, Serialize)]
pub struct Decided {
    /// The pool.
    pub pool: Option<String>,
    /// How it is narrowed.
    pub view: Option<String>,
    /// How the member was picked.
    pub method: Option<String>,
    /// The member, or the URL of a backend that is in no pool.
    pub member: Option<String>,
    /// The status, where nobody is asked.
    pub status: Option<u16>,
    /// In words.
    pub because: String,
}

/// A member.
#[derive(Debug, Serialize)]
pub struct Candidate {
    /// Its name.
    pub member: String,
    /// Whether it could be picked.
    pub considered: bool,
    /// Why not; or that it was chosen.
    pub why: String,
    /// What it counts for.
    pub weight: f64,
    /// Requests there.
    pub inflight: u32,
    /// What its method compares; null where it compares nothing.
    pub score: Option<f64>,
}

/// The document about a request. It asks the pool for those that would be tried next: the request
/// is the last one of the world, or of its case.
pub fn of(world: &World, told: &Told) -> Document {
    let method = told.candidates.is_some().then_some(told.ended.method);
    let pool = told.ended.pool.and_then(|pool| world.handle().now(pool));
    let ended = &told.ended;
    let decision = match &told.visited.verdict {
        Verdict::Send(decision) => Some(decision),
        _ => None,
    };
    let view = decision.and_then(|decision| Course::new(decision).view().map(|view| in_words(view)));
    let named = ended.member.as_ref().map(|member| member.spec.name.clone());
    Document {
        hook: told.visited.hooks.last().filter(|_| told.visited.by_line.is_none()).map(|asked| {
            let (script, version, line, returned) = world.tell(asked);
            let Asked { directive, function, .. } = asked.clone();
            Hook { directive, script, function, line, version, seconds: None, returned }
        }),
        decision: Decided {
            pool: pool.map(|pool| pool.membership().name.to_string()),
            view,
            method: method.map(str::to_owned),
            member: named.clone().or_else(|| ended.target.clone()),
            status: (named.is_none() && ended.target.is_none() && !ended.declined).then_some(ended.status),
            because: because(told, decision),
        },
        candidates: candidates(world, told, named.as_deref()),
        session: ended.session.clone(),
        then: decision.map(|decision| then(world, decision)).unwrap_or_default(),
        unknown: world.setup().unknown.clone(),
    }
}

/// A view as a script would write it.
fn in_words(view: &View) -> String {
    let step = |step: &ViewStep| match step {
        ViewStep::Where(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("where {}", pairs.join(" "))
        }
        ViewStep::Except(names) => format!("except {}", names.join(" ")),
        ViewStep::Only(names) => format!("only {}", names.join(" ")),
    };
    view.steps.iter().map(step).collect::<Vec<_>>().join(", ")
}

fn because(told: &Told, decision: Option<&Decision>) -> String {
    let ended = &told.ended;
    if ended.declined {
        return "no hook and no ProxyPass of ours wants it: httpd goes on".into();
    }
    if let Some(message) = &ended.message {
        return message.clone();
    }
    let asked = told.visited.hooks.last();
    let Some(decision) = decision else {
        let failed = ended.reason == "script";
        return if failed {
            "the script failed".into()
        } else {
            format!("the script answers {}", ended.status)
        };
    };
    let by = match (&told.visited.by_line, asked) {
        (Some(line), _) => format!("{line}: "),
        _ => String::new(),
    };
    let what = match (decision, ended.method) {
        (_, "sticky") => "the session of the client belongs to it".into(),
        (Decision::Target(_), _) => "the script named a backend that is in no pool".into(),
        (Decision::List(_), _) => "the first of the script's list that may be asked".into(),
        (_, "script") => "the script named that member".into(),
        (Decision::Pool { first: Some(first), .. }, method)
            if ended.member.as_ref().is_some_and(|member| member.slot == first.slot) =>
        {
            format!("the script asked {method}, which picked it")
        }
        (_, method) => format!("{method} of the pool picked it"),
    };
    by + &what
}

fn candidates(world: &World, told: &Told, chosen: Option<&str>) -> Vec<Candidate> {
    let Some(explanation) = &told.candidates else { return Vec::new() };
    let total: f64 = considered(&explanation.members).map(|member| f64::from(member.weight)).sum();
    let score = |member: &Considered| match told.ended.method {
        "least_connections" | "power_of_two" => {
            Some(f64::from(member.inflight) / (f64::from(member.weight) / 100.0))
        }
        "least_latency" => {
            let found = world.members(&format!("{}/{}", explanation.pool.as_deref()?, member.name)).ok()?;
            let latency = world.pools.store().latency(found.first()?.1.slot).ewma_ms;
            Some(f64::from(latency) * f64::from(member.inflight + 1) / (f64::from(member.weight) / 100.0))
        }
        "round_robin" | "random" => Some(f64::from(member.weight) / total),
        _ => None,
    };
    let one = |member: &Considered| {
        let is_chosen = chosen == Some(member.name.as_str());
        Candidate {
            member: member.name.clone(),
            considered: member.left_out.is_none(),
            why: if is_chosen { "chosen".into() } else { why(member) },
            weight: f64::from(member.weight) / 100.0,
            inflight: member.inflight,
            score: score(member).filter(|_| member.left_out.is_none()).map(rounded),
        }
    };
    explanation.members.iter().map(one).collect()
}

fn considered(members: &[Considered]) -> impl Iterator<Item = &Considered> {
    members.iter().filter(|member| member.left_out.is_none())
}

/// As many digits as somebody reads.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

fn why(member: &Considered) -> String {
    match member.left_out {
        None => String::new(),
        Some(LeftOut::State) => member.state.to_string(),
        Some(LeftOut::NoWeight) => "weight 0".into(),
        Some(LeftOut::OthersFirst) => "others go first: by zone, lbset, or as spare or standby".into(),
    }
}

/// Those that further attempts would go to.
fn then(world: &World, decision: &Decision) -> Vec<String> {
    let mut course = Course::new(decision);
    let mut found = Vec::new();
    let Ok(mut last) = course.next(world) else { return found };
    for _ in 0..MOST_NEXT {
        let Goal::Member(pool, _) = &last else { break };
        let Some(now) = world.handle().now(*pool) else { break };
        let refused = balance::relay::Outcome::Connect;
        if !course.goes_on(refused, true, now.settings()) {
            break;
        }
        match course.next(world) {
            Ok(Goal::Member(pool, member)) => {
                found.push(member.spec.name.clone());
                last = Goal::Member(pool, member);
            }
            _ => break,
        }
    }
    found
}

/// Most that are named.
const MOST_NEXT: usize = 8;
