// SPDX-License-Identifier: Apache-2.0
//! The views of a server beside its members: decisions, scripts, discovery, the state file.

use std::time::Duration;

use serde_json::{Value, json};

use super::args::{DecisionsArgs, DiscoveryArgs, ScriptsArgs, StateVerb, StatusArgs};
use super::client::{Call, piece};
use super::servers::{self, Said, Servers};
use crate::clean;
use crate::out::{Exit, Failure, Form, Out, Tone, VerbResult};

/// Runs `lbctl decisions`.
pub fn decisions(out: &Out, args: &DecisionsArgs) -> VerbResult {
    let filters = [("pool", &args.pool), ("member", &args.member), ("reason", &args.reason)];
    let path = format!("/api/v1/decisions{}", query(&filters));
    const COLUMNS: [&str; 9] =
        ["at", "pool", "member", "method", "reason", "attempts", "seconds", "status", "path"];
    let servers = Servers::of(&args.login)?;
    servers::show(out, &servers, &path, |_, document| rows(out, document, "decisions", &COLUMNS))
}

/// Runs `lbctl scripts`.
pub fn scripts(out: &Out, args: &ScriptsArgs) -> VerbResult {
    let servers = Servers::of(&args.login)?;
    servers::show(out, &servers, "/api/v1/scripts", |_, document| {
        let mut document = document.clone();
        let list = document.get_mut("scripts").and_then(Value::as_array_mut);
        for script in list.into_iter().flatten() {
            script["shadow"] = agreement(&script["shadow"]);
            script["rollout"] = trial(&script["rollout"]);
        }
        const COLUMNS: [&str; 8] =
            ["name", "verdict", "version", "rollout", "shadow", "seconds", "last_error_at", "last_error"];
        rows(out, &document, "scripts", &COLUMNS)
    })
}

/// How often a shadow agrees and differs, as `90/2`, and how often it has failed.
fn agreement(shadow: &Value) -> Value {
    let count = |key: &str| shadow[key].as_u64();
    let (Some(agree), Some(differ)) = (count("agree"), count("differ")) else { return Value::Null };
    let failed = count("failed").filter(|failed| *failed > 0);
    let failed = failed.map(|failed| format!(", {failed} failed")).unwrap_or_default();
    format!("{agree}/{differ}{failed}").into()
}

/// A version that serves a part of the requests.
fn trial(rollout: &Value) -> Value {
    let Some(state) = rollout["state"].as_str() else { return Value::Null };
    let percent = rollout["percent"].as_f64().map(|percent| format!(" {percent} %"));
    format!("{state}{}", percent.unwrap_or_default()).into()
}

/// Runs `lbctl discovery`.
pub fn discovery(out: &Out, args: &DiscoveryArgs) -> VerbResult {
    let servers = Servers::of(&args.login)?;
    for (verb, source) in [("refresh", &args.refresh), ("accept", &args.accept)] {
        if let Some(source) = source {
            return order(out, &servers, verb, source);
        }
    }
    servers::show(out, &servers, "/api/v1/discovery", |_, document| sources(out, document))
}

/// The sources, and below them what is held.
fn sources(out: &Out, document: &Value) -> VerbResult {
    let mut document = clean::value(document);
    let list = document.get_mut("discovery").and_then(Value::as_array_mut);
    let mut held = Vec::new();
    for source in list.into_iter().flatten() {
        let list = std::mem::take(&mut source["held"]);
        if let Some(why) = list["why"].as_str() {
            let more = list["more"].as_u64().filter(|more| *more > 0);
            let more = more.map_or_else(String::new, |more| format!(" and {more} more"));
            let gone = cell(&list["gone"]) + &more;
            let name = format!("{}/{}", cell(&source["pool"]), cell(&source["source"]));
            held.push(format!(
                "{name}: its list is held ({why}) since {}, seen {}×; without {gone}\n  \
                 lbctl discovery --accept {name} takes it",
                cell(&list["since"]),
                cell(&list["seen"]),
            ));
            let is_plain = out.form == Form::Plain;
            source["held"] = if is_plain { format!("{why}: {gone}") } else { why.to_owned() }.into();
        }
        source["where"] = format!("{}:{}", cell(&source["kind"]), cell(&source["where"])).into();
    }
    const COLUMNS: [&str; 10] = [
        "pool",
        "source",
        "state",
        "members",
        "listed",
        "held",
        "last_success",
        "failing_since",
        "where",
        "last_error",
    ];
    let exit = rows(out, &document, "discovery", &COLUMNS)?;
    if out.form == Form::Table && !held.is_empty() {
        out.line(&format!("\n{}", held.join("\n")))?;
    }
    Ok(exit)
}

fn order(out: &Out, servers: &Servers, verb: &str, source: &str) -> VerbResult {
    let wrong = || Failure::usage(format!("--{verb} {source}: expected POOL/SOURCE, for example app/file-1"));
    let (pool, name) = source.split_once('/').ok_or_else(wrong)?;
    let path = format!("/api/v1/discovery/{}/{}/{verb}", piece(pool), piece(name));
    let nothing = Value::Object(serde_json::Map::new());
    let call = Call { method: "POST", path, etag: None, body: Some(&nothing), wait: Duration::ZERO };
    let (said, exit) = servers.ask(|link| link.send(&call)).some(out)?;
    if out.is_json() {
        let said: Vec<_> =
            said.into_iter().map(|one| Said { server: one.server, what: one.what.body }).collect();
        servers::documents(out, &said, Vec::new())?;
        return Ok(exit);
    }
    for one in &said {
        if servers.are_many() {
            out.line(&format!("{}:", one.server))?;
        }
        sources(out, &json!({ "discovery": [one.what.body] }))?;
    }
    Ok(exit)
}

/// Runs `lbctl state`.
pub fn state(out: &Out, verb: &StateVerb) -> VerbResult {
    match verb {
        StateVerb::Show(args) => state_file(out, args),
        StateVerb::Diff(args) => diff(out, args),
        StateVerb::Prune(args) => prune(out, args),
    }
}

fn state_file(out: &Out, args: &StatusArgs) -> VerbResult {
    let servers = Servers::of(&args.login)?;
    servers::show(out, &servers, "/api/v1/state", |_, document| {
        out.json(document)?;
        Ok(Exit::Done)
    })
}

fn diff(out: &Out, args: &StatusArgs) -> VerbResult {
    let servers = Servers::of(&args.login)?;
    servers::show(out, &servers, "/api/v1/state", |_, document| plan(out, document))
}

/// The parts of a state file that a start would take, and those that it would drop.
fn plan(out: &Out, document: &Value) -> VerbResult {
    let text = |key: &str| document[key].as_str().map(clean::text);
    let Some(path) = text("path") else {
        out.line("there is no state file (LuaBalancerStateFile)")?;
        return Ok(Exit::Done);
    };
    let written = text("written").map_or("not written yet".to_owned(), |at| format!("written {at}"));
    out.line(&format!("{path}: {written}"))?;
    if let Some(error) = text("error") {
        out.line(&format!("{} {error}", out.tone(Tone::Bad, "error:")))?;
    }
    let rows = |key: &'static str, word: &'static str| {
        document[key].as_array().into_iter().flatten().map(move |part| {
            let why = part["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
            let name = |key: &str| part[key].as_str().unwrap_or_default().to_owned();
            vec![format!("{}/{}", name("pool"), name("member")), cell(&part["keys"]), format!("{word}{why}")]
        })
    };
    let all: Vec<_> = rows("apply", "takes it").chain(rows("drop", "drops it")).collect();
    if !all.is_empty() {
        out.line(&out.rows(&["member", "kept", "a start"], all))?;
    }
    Ok(Exit::Done)
}

fn prune(out: &Out, args: &StatusArgs) -> VerbResult {
    let servers = Servers::of(&args.login)?;
    let nothing = Value::Object(serde_json::Map::new());
    let call = Call {
        method: "POST",
        path: "/api/v1/state/prune".into(),
        etag: None,
        body: Some(&nothing),
        wait: Duration::ZERO,
    };
    let (said, exit) = servers.ask(|link| link.send(&call)).some(out)?;
    if out.is_json() {
        let said: Vec<_> =
            said.into_iter().map(|one| Said { server: one.server, what: one.what.body }).collect();
        servers::documents(out, &said, Vec::new())?;
        return Ok(exit);
    }
    for one in &said {
        if servers.are_many() {
            out.line(&format!("{}:", one.server))?;
        }
        plan(out, &one.what.body)?;
    }
    Ok(exit)
}

/// A query of what is given.
pub fn query(pairs: &[(&str, &Option<String>)]) -> String {
    let given = pairs.iter().filter_map(|(key, value)| Some(format!("{key}={}", piece(value.as_ref()?))));
    let given: Vec<String> = given.collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}

/// The rows of a list.
fn rows(out: &Out, document: &Value, key: &str, columns: &[&str]) -> VerbResult {
    let list = document.get(key).and_then(Value::as_array);
    let rows: Vec<Vec<String>> = list
        .into_iter()
        .flatten()
        .map(clean::value)
        .map(|row| columns.iter().map(|key| cell(&row[*key])).collect())
        .collect();
    if rows.is_empty() {
        out.line("none")?;
        return Ok(Exit::Done);
    }
    out.line(&out.rows(columns, rows))?;
    Ok(Exit::Done)
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(attempt).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// An attempt, as `a:connect`; other things as they are.
fn attempt(value: &Value) -> String {
    match (value.get("member").and_then(Value::as_str), value.get("outcome").and_then(Value::as_str)) {
        (Some(member), Some(outcome)) => format!("{member}:{outcome}"),
        _ => cell(value),
    }
}
