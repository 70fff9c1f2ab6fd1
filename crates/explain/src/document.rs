// SPDX-License-Identifier: Apache-2.0
//! A decision as a document: what `POST /api/v1/explain` answers.

use balance::choosing::{Decision, Goal};
use balance::explanation::{Considered, Explanation};
use balance::live::Live;
use balance::relay::Outcome;
use render::explained::{CandidateDoc, DecisionDoc, ExplainedDoc, HookDoc};

use crate::ended::Told;
use crate::ground::Ground;
use crate::ruling::{HookCall, Plan, Ruling};
use crate::way::Way;
use crate::words;

/// Most that are named as the next ones.
const MOST_NEXT: usize = 8;
/// Seconds for finding them, where somebody measures.
const PATIENCE: f64 = 0.5;

/// How the reason begins where the script itself answers, as it means to.
pub const ANSWERS: &str = "the script answers";

/// The document about a request. It asks the pool for those that would be tried next.
pub fn of<G: Ground>(ground: &G, told: &Told, unknown: Vec<String>) -> ExplainedDoc {
    let ended = &told.ended;
    let method = told.candidates.is_some().then_some(ended.method);
    let pool = ended.pool.and_then(|pool| ground.handle().now(pool));
    let plan = match &told.visited.verdict {
        Ruling::Send(plan) => Some(plan),
        _ => None,
    };
    let named = ended.member.as_ref().map(|member| member.spec.name.clone());
    let nobody = named.is_none() && ended.target.is_none() && !ended.declined;
    let view = plan.and_then(|plan| plan.chooser().view().map(|view| words::of_view(view)));
    ExplainedDoc {
        hook: told
            .visited
            .hooks
            .last()
            .filter(|_| told.visited.by_line.is_none())
            .map(|asked| hook(ground, asked)),
        decision: DecisionDoc {
            pool: pool.map(|pool| pool.membership().name.to_string()),
            view: view.as_deref().map(words::bounded),
            method: method.map(str::to_owned),
            member: named.clone().or_else(|| ended.target.as_deref().map(words::bounded)),
            status: nobody.then_some(ended.status),
            because: words::bounded(&because(told, plan)),
        },
        candidates: candidates(ground, told, named.as_deref()),
        session: ended.session.as_deref().map(words::bounded),
        then: plan.map(|plan| then(ground, plan, told)).unwrap_or_default(),
        unknown,
    }
}

fn hook<G: Ground>(ground: &G, asked: &HookCall) -> HookDoc {
    let (id, function) = (asked.hook.id, &asked.hook.function);
    let returned = match &asked.said {
        Ok(answer) => words::of_answer(ground, answer),
        Err(error) => format!("error: {error}"),
    };
    HookDoc {
        directive: asked.directive.into(),
        script: ground.library().label(id),
        function: function.clone(),
        line: ground.state().line_of(id, function).ok().flatten(),
        version: ground.library().version(id),
        seconds: asked.seconds.map(|seconds| (seconds * 1e6).round() / 1e6),
        returned: words::bounded(&returned),
    }
}

fn because(told: &Told, plan: Option<&Plan>) -> String {
    let ended = &told.ended;
    if ended.declined {
        return "no hook and no ProxyPass of ours wants it: httpd goes on".into();
    }
    if let Some(message) = &ended.message {
        return message.clone();
    }
    let Some(plan) = plan else {
        let failed = ended.reason == "script";
        return if failed { "the script failed".into() } else { format!("{ANSWERS} {}", ended.status) };
    };
    let by = told.visited.by_line.as_ref().map(|line| format!("{line}: ")).unwrap_or_default();
    let what = match (&plan.decision, ended.method) {
        (_, "sticky") => "the session of the client belongs to it".into(),
        (Decision::Target(_) | Decision::Script { .. }, _) => {
            "the script named a backend that is in no pool".into()
        }
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

fn candidates<G: Ground>(ground: &G, told: &Told, chosen: Option<&str>) -> Vec<CandidateDoc> {
    let Some(explanation) = &told.candidates else { return Vec::new() };
    let latencies = latencies(ground, told, explanation);
    let considered = explanation.members.iter().filter(|member| member.left_out.is_none());
    let total: f64 = considered.map(|member| f64::from(member.weight)).sum();
    let score = |at: usize, member: &Considered| {
        let weight = f64::from(member.weight) / 100.0;
        match told.ended.method {
            "least_connections" | "power_of_two" => Some(f64::from(member.inflight) / weight),
            "least_latency" => Some(latencies.get(at)? * f64::from(member.inflight + 1) / weight),
            "round_robin" | "random" => Some(f64::from(member.weight) / total),
            _ => None,
        }
    };
    let one = |(at, member): (usize, &Considered)| {
        let is_chosen = chosen == Some(member.name.as_str());
        CandidateDoc {
            member: member.name.clone(),
            considered: member.left_out.is_none(),
            why: if is_chosen { "chosen".into() } else { words::of_considered(member) },
            weight: f64::from(member.weight) / 100.0,
            inflight: member.inflight,
            score: score(at, member)
                .filter(|score| member.left_out.is_none() && score.is_finite())
                .map(rounded),
        }
    };
    explanation.members.iter().enumerate().map(one).collect()
}

/// Milliseconds of each member, for the method that compares them.
fn latencies<G: Ground>(ground: &G, told: &Told, explanation: &Explanation) -> Vec<f64> {
    let now = told.ended.pool.and_then(|pool| ground.handle().now(pool));
    let Some(now) = now.filter(|_| told.ended.method == "least_latency") else { return Vec::new() };
    let (members, store) = (&now.membership().members, ground.handle().store());
    let of = |member: &Considered| {
        let found = members.iter().find(|known| known.spec.name == member.name);
        found.map_or(0.0, |member| f64::from(store.latency(member.slot).ewma_ms))
    };
    explanation.members.iter().map(of).collect()
}

/// As many digits as somebody reads.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

/// The members that further attempts would go to, were nobody to answer.
fn then<G: Ground>(ground: &G, plan: &Plan, told: &Told) -> Vec<String> {
    let mut found = Vec::new();
    let (mut at, Some(first)) = (told.ended.pool, &told.ended.member) else { return found };
    let mut way = Way::new(plan);
    way.course.pool = at;
    way.has_been_at(first);
    let began = ground.seconds();
    let is_late = || ground.seconds().zip(began).is_some_and(|(now, began)| now - began > PATIENCE);
    while found.len() < MOST_NEXT && !is_late() {
        let Some(now) = at.and_then(|pool| ground.handle().now(pool)) else { break };
        if !way.goes_on(Outcome::Connect, true, now.settings()) {
            break;
        }
        let Ok(Goal::Member(pool, member)) = way.next(ground) else { break };
        found.push(member.spec.name.clone());
        at = Some(pool);
    }
    found
}
