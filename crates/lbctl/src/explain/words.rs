// SPDX-License-Identifier: Apache-2.0
//! A decision in words.

use explain::{Told, document};
use render::explained::ExplainedDoc;

use crate::clean;
use crate::out::{Form, Out};
use crate::world::World;

/// About a request.
pub fn of(world: &World, told: &Told) -> String {
    text(&document::of(world, told, world.setup().unknown.clone()), Form::Table, "without the server")
}

/// A document for people. `where_unknown` follows the word "unknown".
pub fn text(document: &ExplainedDoc, form: Form, where_unknown: &str) -> String {
    let mut lines = Vec::new();
    if let Some(hook) = &document.hook {
        let line = hook.line.map(|line| format!(":{line}")).unwrap_or_default();
        let place = format!("{}{line}", hook.script);
        lines.push(format!("{} {place} {}: {}", hook.directive, hook.function, hook.returned));
    }
    let decision = &document.decision;
    let mut head = match (&decision.member, decision.status) {
        (Some(member), _) => format!("goes to {member}"),
        (None, Some(status)) => format!("answered with {status}"),
        (None, None) => "not ours".to_owned(),
    };
    if let Some(pool) = &decision.pool {
        head += &format!(" of pool {pool}");
    }
    if let Some(view) = &decision.view {
        head += &format!(", narrowed ({view})");
    }
    lines.push(format!("{head}: {}", decision.because));
    if let Some(session) = &document.session {
        lines.push(format!("session: route {session}"));
    }
    lines.iter_mut().for_each(|line| *line = clean::text(line));
    if !document.candidates.is_empty() {
        lines.push(String::new());
        lines.push(table(document, form));
    }
    if !document.then.is_empty() {
        lines.push(clean::text(&format!("then: {}", document.then.join(", "))));
    }
    let unknown = document.unknown.iter().map(|one| format!("unknown {where_unknown}: {one}"));
    lines.extend(unknown.map(|line| clean::text(&line)));
    lines.join("\n")
}

fn table(document: &ExplainedDoc, form: Form) -> String {
    let method = document.decision.method.as_deref().unwrap_or("score");
    let rows = document.candidates.iter().map(|member| {
        let score = member.score.map(|score| score.to_string()).unwrap_or_else(|| "-".into());
        let why = match (member.considered, member.why.as_str()) {
            (_, "chosen") => "chosen".to_owned(),
            (true, _) => String::new(),
            (false, why) => format!("left out: {why}"),
        };
        vec![member.member.clone(), member.weight.to_string(), member.inflight.to_string(), score, why]
    });
    Out::plain(form).rows(&["member", "weight", "in flight", method, "why"], rows.collect())
}
