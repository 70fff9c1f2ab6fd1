// SPDX-License-Identifier: Apache-2.0
//! `lbctl explain` of running servers: what each would do with a request, and where they differ.

use std::time::Duration;

use explain::document::ANSWERS;
use render::explained::ExplainedDoc;
use serde_json::{Map, Value, json};

use super::args::Reach;
use super::client::{Call, Link};
use super::place;
use super::servers::{self, Said, Servers};
use super::status::{Difference, differ};
use crate::explain::words;
use crate::out::{Exit, Failure, Out, Tone, VerbResult};
use crate::world::ask::Ask;

struct Explained {
    document: ExplainedDoc,
    raw: Value,
}

/// Runs the verb at the servers of the command line. It ends as the worst of them does.
pub fn run(out: &Out, ask: &Ask, reach: &Reach) -> VerbResult {
    let servers = Servers::at(&place::doors(reach, None)?, reach.ca.as_deref())?;
    let described = described(ask);
    let (said, failed) = servers.ask(|link| explained(link, &described)).some(out)?;
    let differences = differences(&said);
    let exits = said.iter().map(|one| if is_served(&one.what.document) { Exit::Done } else { Exit::No });
    let exit = exits.chain([failed]).max_by_key(|exit| *exit as u8).unwrap_or(failed);
    if out.is_json() {
        let raw: Vec<Said<Value>> =
            said.into_iter().map(|one| Said { server: one.server, what: one.what.raw }).collect();
        servers::documents(out, &raw, differences.iter().map(Difference::document).collect())?;
        return Ok(exit);
    }
    for (number, one) in said.iter().enumerate() {
        if servers.are_many() {
            let gap = if number > 0 { "\n" } else { "" };
            out.line(&out.tone(Tone::Strong, &format!("{gap}{}:", one.server)))?;
        }
        out.line(&words::text(&one.what.document, out.form, "to the server"))?;
    }
    differ(out, &differences)?;
    Ok(exit)
}

fn explained(link: &Link, described: &Value) -> Result<Explained, Failure> {
    let call = Call {
        method: "POST",
        path: "/api/v1/explain".into(),
        etag: None,
        body: Some(described),
        wait: Duration::ZERO,
    };
    let raw = link.send(&call)?.body;
    Ok(Explained { document: link.read(&raw)?, raw })
}

/// The request, as the server wants it described.
fn described(ask: &Ask) -> Value {
    let scheme = if ask.https { "https" } else { "http" };
    let uri = match &ask.host {
        Some(host) => format!("{scheme}://{host}{}", ask.target),
        None => ask.target.clone(),
    };
    let mut headers: Map<String, Value> = Map::new();
    for (name, value) in &ask.headers {
        let values = headers.entry(name.clone()).or_insert_with(|| json!([]));
        values.as_array_mut().into_iter().for_each(|list| list.push(json!(value)));
    }
    let mut all = json!({ "uri": uri, "headers": headers });
    let rest = [
        ("method", Some(&ask.method).filter(|method| !method.is_empty())),
        ("client", ask.client.as_ref()),
        ("user", ask.user.as_ref()),
    ];
    for (key, value) in rest {
        if let Some(value) = value {
            all[key] = json!(value);
        }
    }
    all
}

/// Somebody serves it: a member, a target, httpd itself, or the script with an answer of its own.
fn is_served(document: &ExplainedDoc) -> bool {
    let decision = &document.decision;
    decision.member.is_some() || decision.status.is_none() || decision.because.starts_with(ANSWERS)
}

type Look = fn(&ExplainedDoc) -> String;

/// The decisions that differ, or their candidates. Loads and scores differ anywhere.
fn differences(said: &[Said<Explained>]) -> Vec<Difference> {
    const LOOKS: [(&str, Look); 7] = [
        ("hook", |document| {
            let hook = document.hook.as_ref();
            hook.map_or("none".into(), |hook| format!("{} {} {}", hook.directive, hook.script, hook.function))
        }),
        ("pool", |document| or_none(document.decision.pool.as_ref())),
        ("view", |document| or_none(document.decision.view.as_ref())),
        ("method", |document| or_none(document.decision.method.as_ref())),
        ("member", |document| or_none(document.decision.member.as_ref())),
        ("status", |document| or_none(document.decision.status.map(|status| status.to_string()).as_ref())),
        ("session", |document| or_none(document.session.as_ref())),
    ];
    let values = |look: &dyn Fn(&ExplainedDoc) -> String| {
        said.iter().map(|one| (one.server.clone(), look(&one.what.document))).collect()
    };
    let decided = LOOKS.iter().filter_map(|(key, look)| Difference::between("decision", key, values(look)));
    let mut names: Vec<&str> = Vec::new();
    for one in said.iter().flat_map(|one| &one.what.document.candidates) {
        if !names.contains(&one.member.as_str()) {
            names.push(&one.member);
        }
    }
    let candidates = names.iter().filter_map(|name| {
        Difference::between(&format!("candidate {name}"), "is", values(&|document| candidate(document, name)))
    });
    decided.chain(candidates).collect()
}

fn or_none(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "none".into())
}

/// How a member stands as a candidate.
fn candidate(document: &ExplainedDoc, name: &str) -> String {
    match document.candidates.iter().find(|one| one.member == name) {
        None => "not there".into(),
        Some(one) if one.considered => "considered".into(),
        Some(one) => format!("left out: {}", one.why),
    }
}
