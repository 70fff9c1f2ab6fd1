// SPDX-License-Identifier: Apache-2.0
//! Changes of members: looked at, then made with `If-Match`, so that nobody's change in between is
//! overwritten. All servers are looked at before any is changed.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::args::{DisableArgs, DrainArgs, EnableArgs, Note, OrderHow, ResetArgs, WeightArgs, Which};
use super::client::{Call, Link, advised, piece};
use super::model::SeenMember;
use super::names::Selection;
use super::servers::{self, Said, Servers};
use super::wait;
use crate::clean;
use crate::out::{Exit, Failure, Out, VerbResult, note};

/// Runs `lbctl drain`.
pub fn drain(out: &Out, args: &DrainArgs) -> VerbResult {
    let wait = args.wait.as_deref().map(|text| wait::duration("--wait", text)).transpose()?;
    let OrderHow { local, how } = &args.how;
    let servers = Servers::of(&how.login)?;
    let patch = ordered("drain", &args.note);
    let selections = Selection::all(&args.which)?;
    let wish = Wish { selections: &selections, patch, local: *local, dry_run: how.dry_run };
    let exit = patch_all(out, &servers, &wish)?;
    match wait.filter(|_| !how.dry_run && exit == Exit::Done) {
        Some(time) => wait::until_idle(&servers, &selections, time).map(|()| exit),
        None => Ok(exit),
    }
}

/// Runs `lbctl disable`.
pub fn disable(out: &Out, args: &DisableArgs) -> VerbResult {
    simple(out, &args.which, &args.how, ordered("disabled", &args.note))
}

/// Runs `lbctl enable`.
pub fn enable(out: &Out, args: &EnableArgs) -> VerbResult {
    simple(out, &args.which, &args.how, json!({ "admin": "ready" }))
}

/// Runs `lbctl reset`.
pub fn reset(out: &Out, args: &ResetArgs) -> VerbResult {
    // Nobody shares it.
    let how = OrderHow { local: false, how: args.how.clone() };
    simple(out, &args.which, &how, json!({ "reset": true }))
}

/// Runs `lbctl weight`.
pub fn weight(out: &Out, args: &WeightArgs) -> VerbResult {
    let Some((last, members)) = args.words.split_last() else { return Ok(Exit::Usage) };
    let weight = match last.as_str() {
        "configured" => Value::Null,
        text => number(text).ok_or_else(|| {
            Failure::usage(format!("'{text}': expected POOL/MEMBER and last a weight, or configured"))
        })?,
    };
    if members.is_empty() == args.address.is_none() {
        return Err(Failure::usage("whose weight? Expected POOL/MEMBER or --address, and then the weight"));
    }
    let which = Which { members: members.to_vec(), address: args.address.clone() };
    simple(out, &which, &args.how, json!({ "weight": weight }))
}

/// A number as people write it: 2, not 2.0.
fn number(text: &str) -> Option<Value> {
    let whole = text.parse::<u64>().ok().map(Value::from);
    whole.or_else(|| text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from))
}

fn simple(out: &Out, which: &Which, OrderHow { local, how }: &OrderHow, patch: Value) -> VerbResult {
    let selections = Selection::all(which)?;
    let wish = Wish { selections: &selections, patch, local: *local, dry_run: how.dry_run };
    patch_all(out, &Servers::of(&how.login)?, &wish)
}

fn ordered(admin: &str, note: &Note) -> Value {
    let mut patch = Map::new();
    patch.insert("admin".into(), admin.into());
    let keys = [("until", &note.until), ("then", &note.then), ("note", &note.note)];
    for (key, value) in keys {
        if let Some(value) = value {
            patch.insert(key.into(), value.as_str().into());
        }
    }
    patch.into()
}

/// The change that members shall get.
pub struct Wish<'w> {
    /// The members.
    pub selections: &'w [Selection],
    /// A merge patch.
    pub patch: Value,
    /// The order holds at the server alone, whether others share it or not.
    pub local: bool,
    /// Only look.
    pub dry_run: bool,
}

/// A member before a change.
struct Before {
    member: SeenMember,
    document: Value,
    etag: Option<String>,
}

/// Changes members of all servers, and tells what has changed.
pub fn patch_all(out: &Out, servers: &Servers, wish: &Wish<'_>) -> VerbResult {
    let found = servers.ask(|link| before(link, wish.selections)).all()?;
    let mut rows = Vec::new();
    let mut worst = Exit::Done;
    for Said { server, what } in found {
        let Some(link) = servers.all.iter().find(|link| link.name == server) else { continue };
        let after = if wish.dry_run {
            Ok(what.iter().map(|old| merged(&old.document, &wish.patch)).collect())
        } else {
            patch(link, &what, (&wish.patch, wish.local))
        };
        match after {
            Ok(after) => {
                let both = what.iter().zip(after);
                rows.extend(both.map(|(old, new)| Changed::new(&server, old, new, &wish.patch)));
            }
            Err(failure) => {
                out.fail(&failure);
                worst = failure.exit;
            }
        }
    }
    tell(out, &rows, &Telling { many: servers.are_many(), dry_run: wish.dry_run })?;
    Ok(worst)
}

/// The members that are meant, and their documents.
fn before(link: &Link, selections: &[Selection]) -> Result<Vec<Before>, Failure> {
    let (_, pools) = servers::pools(link)?;
    let meant = Selection::members(selections, &pools, &link.name)?;
    if let [one] = meant.as_slice() {
        return Ok(vec![one_before(link, one)?]);
    }
    // Several go by one request, which the server checks as a whole.
    let reply = link.get("/api/v1/pools")?;
    let documents = reply.body.get("pools").and_then(Value::as_array).into_iter().flatten();
    let members: Vec<&Value> =
        documents.filter_map(|pool| pool.get("members")?.as_array()).flatten().collect();
    let is = |document: &Value, member: &SeenMember| {
        document["pool"].as_str() == Some(&member.pool) && document["name"].as_str() == Some(&member.name)
    };
    let found = meant.into_iter().filter_map(|member| {
        let document = (*members.iter().find(|document| is(document, member))?).clone();
        Some(Before { member: member.clone(), document, etag: reply.etag.clone() })
    });
    Ok(found.collect())
}

fn one_before(link: &Link, member: &SeenMember) -> Result<Before, Failure> {
    let reply = link.get(path(member))?;
    Ok(Before { member: link.read(&reply.body)?, document: reply.body, etag: reply.etag })
}

/// Where a member is in the API.
pub fn path(member: &SeenMember) -> String {
    format!("/api/v1/pools/{}/members/{}", piece(&member.pool), piece(&member.name))
}

/// The documents afterwards.
fn patch(link: &Link, all: &[Before], (patch, local): (&Value, bool)) -> Result<Vec<Value>, Failure> {
    let query = if local { "?local=1" } else { "" };
    if let [one] = all {
        let call = Call {
            method: "PATCH",
            path: path(&one.member) + query,
            etag: one.etag.as_deref(),
            body: Some(patch),
            wait: Duration::ZERO,
        };
        return Ok(vec![link.send(&call)?.body]);
    }
    let items = all.iter().map(|one| json!({ "method": "PATCH", "path": path(&one.member), "body": patch }));
    batch(link, (items.collect(), query), all.first().and_then(|one| one.etag.as_deref()))
}

/// Several changes, or none of them, with a query for all; the documents afterwards.
pub fn batch(
    link: &Link,
    (items, query): (Vec<Value>, &str),
    etag: Option<&str>,
) -> Result<Vec<Value>, Failure> {
    let body = Value::Array(items);
    let path = format!("/api/v1/batch{query}");
    let call = Call { method: "POST", path, etag, body: Some(&body), wait: Duration::ZERO };
    let reply = link.send(&call)?;
    let answers = reply.body.as_array().cloned().unwrap_or_default();
    let asked = body.as_array().map_or(0, Vec::len);
    if answers.len() != asked {
        let found = answers.len();
        let text =
            format!("{}: found {found} answers to {asked} changes: what is done is not known", link.name);
        return Err(Failure { exit: Exit::Unreachable, text });
    }
    let status = |answer: &Value| answer["status"].as_u64().unwrap_or(0);
    let refused = answers.iter().find(|answer| !matches!(status(answer), 200..=299 | 424));
    if let Some(problem) = refused {
        let why = problem["body"]["detail"].as_str().unwrap_or("for no reason that it tells");
        let text = format!("{}: refused, and nothing is done: {}", link.name, advised(&clean::text(why)));
        return Err(Failure { exit: Exit::Refused, text });
    }
    Ok(answers.into_iter().map(|answer| answer["body"].clone()).collect())
}

/// The document that a patch would make, as far as one can tell without the server.
fn merged(document: &Value, patch: &Value) -> Value {
    let mut after = document.clone();
    for (key, value) in patch.as_object().into_iter().flatten() {
        after[key] = match (key.as_str(), value) {
            ("weight", Value::Null) => document["weights"]["configured"].clone(),
            _ => value.clone(),
        };
    }
    if patch.get("admin").is_some() {
        for key in ["until", "then", "note"] {
            if patch.get(key).is_none() {
                after[key] = Value::Null;
            }
        }
    }
    after
}

/// A change of a member, as it is told.
pub struct Changed {
    server: String,
    name: String,
    /// Key, old, new.
    keys: Vec<(String, Value, Value)>,
}

impl Changed {
    fn new(server: &str, old: &Before, new: Value, patch: &Value) -> Self {
        let asked = patch.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
        let mut shown: Vec<&str> = asked.collect();
        for key in ["until", "then", "note", "local"] {
            if !shown.contains(&key) && old.document[key] != new[key] {
                shown.push(key);
            }
        }
        let keys = shown.into_iter().map(|key| match key {
            "reset" => ("outlier".to_owned(), old.document["outlier"].clone(), new["outlier"].clone()),
            key => (key.to_owned(), old.document[key].clone(), new[key].clone()),
        });
        Changed { server: server.to_owned(), name: old.member.full(), keys: keys.collect() }
    }

    /// Something that comes or goes as a whole.
    pub fn whole(server: &str, name: String, old: Value, new: Value) -> Self {
        Changed { server: server.to_owned(), name, keys: vec![("member".to_owned(), old, new)] }
    }

    fn document(&self) -> Value {
        let side = |pick: fn(&(String, Value, Value)) -> (String, Value)| {
            Value::Object(self.keys.iter().map(pick).collect::<Map<String, Value>>())
        };
        json!({
            "server": self.server,
            "member": self.name,
            "old": side(|(key, old, _)| (key.clone(), old.clone())),
            "new": side(|(key, _, new)| (key.clone(), new.clone())),
        })
    }

    fn line(&self, many: bool) -> String {
        let server = if many { format!("{}: ", self.server) } else { String::new() };
        let keys = self.keys.iter().map(|(key, old, new)| match key.as_str() {
            "outlier" => "ejection ended, failures counted from 0".to_owned(),
            "member" => format!("{} → {}", word(old), word(new)),
            _ if old == new => format!("{key} {} already", word(old)),
            _ => format!("{key} {} → {}", word(old), word(new)),
        });
        format!("{server}{}: {}", self.name, keys.collect::<Vec<_>>().join(", "))
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => clean::text(text),
        other => clean::text(&other.to_string()),
    }
}

/// A change of one member at one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// Its number among the servers.
    pub server: usize,
    /// The pool.
    pub pool: String,
    /// The member.
    pub name: String,
    /// Its name for people.
    pub verb: String,
    /// A merge patch.
    pub patch: Value,
}

/// Changes one member, and tells what has changed.
pub fn one(link: &Link, order: &MemberChange) -> Result<String, Failure> {
    let member = SeenMember { pool: order.pool.clone(), name: order.name.clone(), ..SeenMember::default() };
    let all = [one_before(link, &member)?];
    let after = patch(link, &all, (&order.patch, false))?;
    let lines =
        all.iter().zip(after).map(|(old, new)| Changed::new(&link.name, old, new, &order.patch).line(false));
    Ok(lines.collect::<Vec<_>>().join(", "))
}

/// How changes are told.
pub struct Telling {
    /// There are several servers.
    pub many: bool,
    /// Nothing was done.
    pub dry_run: bool,
}

/// Tells what has changed.
pub fn tell(out: &Out, rows: &[Changed], told: &Telling) -> Result<(), Failure> {
    if out.is_json() {
        let changes: Vec<Value> = rows.iter().map(Changed::document).collect();
        return Ok(out.json(&json!({ "dry_run": told.dry_run, "changes": changes }))?);
    }
    for row in rows {
        out.line(&row.line(told.many))?;
    }
    if told.dry_run {
        note("nothing is changed (--dry-run)");
    }
    Ok(())
}
