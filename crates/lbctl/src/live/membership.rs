// SPDX-License-Identifier: Apache-2.0
//! `lbctl add` and `lbctl remove`.

use std::time::Duration;

use balance::member::MemberSpec;
use serde_json::{Map, Value, json};

use super::args::{AddArgs, RemoveArgs};
use super::change::{Changed, Telling, batch, path, tell};
use super::client::{Call, Link, piece};
use super::model::SeenMember;
use super::names::Selection;
use super::servers::{self, Said, Servers};
use super::wait;
use crate::out::{Exit, Failure, Out, VerbResult};

/// Keys whose values are texts, whatever they look like.
const TEXTS: [&str; 7] = ["name", "zone", "route", "redirect", "status", "secret", "upgrade"];

/// Runs `lbctl add`.
pub fn add(out: &Out, args: &AddArgs) -> VerbResult {
    let (pool, name) =
        args.pool.split_once('/').map_or((args.pool.as_str(), None), |(pool, name)| (pool, Some(name)));
    let element = element(args, name)?;
    let servers = Servers::of(&args.how.login)?;
    servers.ask(|link| link.get(format!("/api/v1/pools/{}?fields=name", piece(pool)))).all()?;
    let mut rows = Vec::new();
    let mut worst = Exit::Done;
    for link in &servers.all {
        let made = if args.how.dry_run { rehearse(link, pool, args) } else { post(link, pool, &element) };
        match made {
            Ok(made) => {
                let name = made["name"].as_str().unwrap_or("a member");
                let url = made["url"].clone();
                rows.push(Changed::whole(&link.name, format!("{pool}/{name}"), Value::Null, url));
            }
            Err(failure) => {
                out.fail(&failure);
                worst = failure.exit;
            }
        }
    }
    tell(out, &rows, &Telling { many: servers.are_many(), dry_run: args.how.dry_run })?;
    Ok(worst)
}

/// Whether the server would take it, as far as its words and the other members say.
fn rehearse(link: &Link, pool: &str, args: &AddArgs) -> Result<Value, Failure> {
    let (_, pools) = servers::pools(link)?;
    let known = pools.into_iter().find(|known| known.name.eq_ignore_ascii_case(pool)).unwrap_or_default();
    let taken = |name: &str| known.members.iter().any(|member| member.name == name);
    let name = args.pool.split_once('/').map(|(_, name)| format!("name={name}"));
    let keys: Vec<String> = args.keys.iter().cloned().chain(name).collect();
    let refused = |text: String| Failure {
        exit: Exit::Refused,
        text: format!("{}: would be refused: {text}", link.name),
    };
    let spec = MemberSpec::parse_beside(&args.member, &keys, taken);
    let spec = spec.map_err(|error| refused(error.to_string()))?;
    if taken(&spec.name) {
        return Err(refused(format!("pool {pool} already has a member named {}", spec.name)));
    }
    Ok(json!({ "name": spec.name, "url": spec.url.to_string() }))
}

fn post(link: &Link, pool: &str, element: &Value) -> Result<Value, Failure> {
    let path = format!("/api/v1/pools/{}/members", piece(pool));
    let call = Call { method: "POST", path, etag: None, body: Some(element), wait: Duration::ZERO };
    Ok(link.send(&call)?.body)
}

/// The member as the server takes it.
fn element(args: &AddArgs, name: Option<&str>) -> Result<Value, Failure> {
    let (mut keys, mut meta) = (Map::new(), Map::new());
    keys.insert("url".into(), args.member.as_str().into());
    if let Some(name) = name {
        keys.insert("name".into(), name.into());
    }
    for text in &args.keys {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("'{text}': expected KEY=VALUE, for example weight=2")))?;
        match key.strip_prefix("meta.") {
            Some(key) => drop(meta.insert(key.into(), value.into())),
            None => drop(keys.insert(key.to_lowercase(), typed(key, value))),
        }
    }
    if !meta.is_empty() {
        keys.insert("meta".into(), meta.into());
    }
    Ok(keys.into())
}

fn typed(key: &str, value: &str) -> Value {
    if TEXTS.contains(&key.to_lowercase().as_str()) {
        return value.into();
    }
    match (value.parse::<u64>(), value.parse::<f64>(), value.to_lowercase().as_str()) {
        (Ok(whole), ..) => whole.into(),
        (_, Ok(number), _) if number.is_finite() => number.into(),
        (_, _, "on" | "true") if key != "flushpackets" => true.into(),
        (_, _, "off" | "false") if key != "flushpackets" => false.into(),
        _ => value.into(),
    }
}

/// Runs `lbctl remove`.
pub fn remove(out: &Out, args: &RemoveArgs) -> VerbResult {
    args.drain.as_deref().map(|text| wait::duration("--drain", text)).transpose()?;
    let selections = Selection::all(&args.which)?;
    let servers = Servers::of(&args.how.login)?;
    let found = servers.ask(|link| meant(link, &selections)).all()?;
    let mut rows = Vec::new();
    let mut worst = Exit::Done;
    for Said { server, what } in found {
        let Some(link) = servers.all.iter().find(|link| link.name == server) else { continue };
        let done = if args.how.dry_run { Ok(()) } else { delete(link, &what, args) };
        match done {
            Ok(()) => rows.extend(what.iter().map(|(member, _)| gone(&server, member, args))),
            Err(failure) => {
                // The server names its API.
                let text = failure.text.replace("(PATCH {\"admin\":\"disabled\"})", "(lbctl disable)");
                worst = failure.exit;
                out.fail(&Failure { exit: worst, text: text.replace("with ?force=1", "with --force") });
            }
        }
    }
    tell(out, &rows, &Telling { many: servers.are_many(), dry_run: args.how.dry_run })?;
    Ok(worst)
}

fn gone(server: &str, member: &SeenMember, args: &RemoveArgs) -> Changed {
    let how = args.drain.as_ref().map_or("removed".to_owned(), |time| format!("drains {time}, then removed"));
    Changed::whole(server, member.full(), member.url.as_str().into(), how.into())
}

fn meant(link: &Link, selections: &[Selection]) -> Result<Vec<(SeenMember, Option<String>)>, Failure> {
    let (_, pools) = servers::pools(link)?;
    let meant = Selection::members(selections, &pools, &link.name)?;
    match meant.as_slice() {
        [one] => {
            let reply = link.get(path(one))?;
            Ok(vec![(link.read(&reply.body)?, reply.etag)])
        }
        all => Ok(all.iter().map(|member| ((*member).clone(), None)).collect()),
    }
}

fn delete(link: &Link, all: &[(SeenMember, Option<String>)], args: &RemoveArgs) -> Result<(), Failure> {
    let mut query = Vec::new();
    query.extend(args.drain.as_ref().map(|time| format!("drain={}", piece(time))));
    query.extend(args.force.then(|| "force=1".to_owned()));
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let path = |member: &SeenMember| format!("{}{query}", path(member));
    if let [(member, etag)] = all {
        let call = Call {
            method: "DELETE",
            path: path(member),
            etag: etag.as_deref(),
            body: None,
            wait: Duration::ZERO,
        };
        return link.send(&call).map(drop);
    }
    let items = all.iter().map(|(member, _)| json!({ "method": "DELETE", "path": path(member) }));
    batch(link, (items.collect(), ""), None).map(drop)
}
