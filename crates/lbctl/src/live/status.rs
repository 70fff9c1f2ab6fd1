// SPDX-License-Identifier: Apache-2.0
//! `lbctl status` and `lbctl members`: how everything is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args::{MembersArgs, StatusArgs};
use super::client::Link;
use super::model::{SeenEvent, SeenEvents, SeenMember, SeenPool, SeenServer, SeenWhy};
use super::names::Selection;
use super::servers::{self, Said, Servers};
use crate::clean;
use crate::out::{Exit, Failure, Out, Tone, VerbResult, fitted};

/// Runs `lbctl status`.
pub fn run(out: &Out, args: &StatusArgs) -> VerbResult {
    let servers = Servers::of(&args.login)?;
    let is_json = out.is_json();
    let (said, exit) = servers.ask(|link| Ok(named(link, whole(link)?, is_json))).some(out)?;
    let differences = differences(&said);
    if out.is_json() {
        documents(out, said, &differences)?;
        return Ok(exit);
    }
    for one in &said {
        out.line(&out.tone(Tone::Strong, &of_server(&one.server, &one.what.server)))?;
        for warning in &one.what.server.warnings {
            out.line(&format!("{} {}", out.tone(Tone::Bad, "warning:"), warning.message))?;
        }
        for pool in &one.what.pools {
            out.line(&of_pool(out, pool))?;
            out.line(&table(out, &pool.members, false))?;
        }
    }
    differ(out, &differences)?;
    Ok(exit)
}

/// Runs `lbctl members`.
pub fn members(out: &Out, args: &MembersArgs) -> VerbResult {
    let servers = Servers::of(&args.login)?;
    let selection = Selection::pool_or_member(&args.pool)?;
    let is_json = out.is_json();
    let seen = |link: &Link| some(link, &selection, args.state.as_deref());
    let (said, exit) = servers.ask(|link| Ok(named(link, seen(link)?, is_json))).some(out)?;
    let differences = differences(&said);
    if out.is_json() {
        documents(out, said, &differences)?;
        return Ok(exit);
    }
    for one in &said {
        if servers.are_many() {
            out.line(&out.tone(Tone::Strong, &format!("{}:", one.server)))?;
        }
        let all: Vec<SeenMember> = one.what.pools.iter().flat_map(|pool| pool.members.clone()).collect();
        out.line(&table(out, &all, one.what.pools.len() > 1))?;
    }
    differ(out, &differences)?;
    Ok(exit)
}

/// The same as documents.
fn documents(out: &Out, said: Vec<Said<Seen>>, differences: &[Difference]) -> Result<(), Failure> {
    let raw = said.into_iter().map(|one| Said { server: one.server, what: one.what.raw });
    let raw: Vec<Said<Value>> = raw.collect();
    servers::documents(out, &raw, differences.iter().map(Difference::document).collect())
}

/// A server's state as it tells it.
pub struct Seen {
    /// The server; without most of it where only members were asked for.
    pub server: SeenServer,
    /// Its pools.
    pub pools: Vec<SeenPool>,
    /// All of it.
    pub raw: Value,
}

/// The server and its pools.
pub fn whole(link: &Link) -> Result<Seen, Failure> {
    let status = link.get("/api/v1/status")?.body;
    let server = link.read(&status)?;
    let (reply, pools) = servers::pools(link)?;
    let list = reply.body.get("pools").cloned().unwrap_or_default();
    Ok(Seen { server, pools, raw: json!({ "status": status, "pools": list }) })
}

/// The members of a selection.
fn some(link: &Link, selection: &Selection, state: Option<&str>) -> Result<Seen, Failure> {
    let (reply, mut pools) = servers::pools(link)?;
    selection.vet(&pools, &link.name)?;
    let mut raw = Vec::new();
    let documents = reply.body.get("pools").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_meant = |pool: bool, member: &SeenMember| {
        pool && selection.has_member(member) && state.is_none_or(|state| state == member.state)
    };
    for (pool, document) in pools.iter().zip(&documents) {
        let known = document.get("members").and_then(Value::as_array);
        let both = pool.members.iter().zip(known.into_iter().flatten());
        let fits = selection.has_pool(pool);
        raw.extend(both.filter(|(member, _)| is_meant(fits, member)).map(|(_, raw)| raw.clone()));
    }
    pools.retain(|pool| selection.has_pool(pool));
    for pool in &mut pools {
        pool.members.retain(|member| is_meant(true, member));
    }
    Ok(Seen { server: SeenServer::default(), pools, raw: raw.into() })
}

/// With the script that has drained or disabled a member, where the server's last event about an
/// order of the member names it. Documents stay as they are.
fn named(link: &Link, mut seen: Seen, is_json: bool) -> Seen {
    let is_open = |why: &SeenWhy| why.by.is_none() && ["draining", "disabled"].contains(&why.flag.as_str());
    let mut members = seen.pools.iter().flat_map(|pool| &pool.members);
    if is_json || !members.any(|member| member.why.iter().any(is_open)) {
        return seen;
    }
    // An older server may have no events: the table does without.
    let events = link.get("/api/v1/events").and_then(|reply| link.read::<SeenEvents>(&reply.body));
    let events = events.map(|events| events.events).unwrap_or_default();
    for member in seen.pools.iter_mut().flat_map(|pool| &mut pool.members) {
        let is_of = |event: &&SeenEvent| {
            let (pool, name) = (event.pool.as_deref(), event.member.as_deref());
            event.kind == "order" && pool == Some(&member.pool) && name == Some(&member.name)
        };
        let Some(last) = events.iter().rev().find(is_of) else { continue };
        for why in member.why.iter_mut().filter(|why| is_open(why)) {
            why.by = last.by.clone().filter(|_| last.new.as_ref() == Some(&why.flag));
        }
    }
    seen
}

fn of_server(name: &str, server: &SeenServer) -> String {
    let leader =
        server.leader.as_ref().map_or("nobody leads".to_owned(), |leader| format!("leader {}", leader.pid));
    let count = server.children.len();
    let children = if count == 1 { "1 child".to_owned() } else { format!("{count} children") };
    let started = server.started.as_ref().map(|at| format!(", since {at}")).unwrap_or_default();
    format!(
        "{name}: mod_lua_balancer {} in {}, generation {}, {children}, {leader}{started}",
        server.version, server.httpd, server.generation
    )
}

fn of_pool(out: &Out, pool: &SeenPool) -> String {
    let usable = format!("{} of {} usable", pool.usable, pool.total);
    let usable = if pool.usable == 0 || pool.panic { out.tone(Tone::Bad, &usable) } else { usable };
    let panic = if pool.panic { ", health is ignored" } else { "" };
    let p95 = pool.latency.p95.map(|p95| format!(", p95 {}", seconds(p95))).unwrap_or_default();
    format!(
        "\npool {}: {}, {usable}{panic}, {} in flight, {} queued, {} requests, {} failed{p95}",
        out.tone(Tone::Strong, &pool.name),
        pool.method,
        pool.inflight,
        pool.queued,
        pool.asked(),
        pool.failed()
    )
}

/// Members, one a line; the one long column is the last. Where the terminal is too narrow for the
/// reasons, each is a line of its own.
pub fn table(out: &Out, members: &[SeenMember], with_pool: bool) -> String {
    if members.is_empty() {
        return "no member".into();
    }
    let reasons: Vec<String> = members.iter().map(|member| clean::text(&member.because())).collect();
    let row = |member: &SeenMember, place: String| {
        vec![
            if with_pool { member.full() } else { member.name.clone() },
            member.state.clone(),
            member.weight.to_string(),
            member.inflight.to_string(),
            member.asked().to_string(),
            member.failed().to_string(),
            member.latency.p95.map_or("-".into(), seconds),
            place,
        ]
    };
    let head = ["member", "state", "weight", "in flight", "requests", "failed", "p95", "where, and why"];
    let beside = members
        .iter()
        .zip(&reasons)
        .map(|(member, reason)| row(member, format!("{}  {reason}", member.url).trim_end().to_owned()));
    let text = out.rows(&head, beside.collect());
    if text.lines().skip(1).zip(&reasons).all(|(line, reason)| line.ends_with(reason.trim_end())) {
        return painted(out, &text, members).join("\n");
    }
    let text = out.rows(&head, members.iter().map(|member| row(member, member.url.clone())).collect());
    let mut lines = painted(out, &text, members).into_iter();
    let mut all: Vec<String> = lines.next().into_iter().collect();
    for (line, reason) in lines.zip(&reasons) {
        all.push(line);
        all.extend((!reason.is_empty()).then(|| fitted(&format!("   {reason}"))));
    }
    all.join("\n")
}

/// The lines of a table with coloured states. Colours come last: widths are those of the letters.
fn painted(out: &Out, text: &str, members: &[SeenMember]) -> Vec<String> {
    let mut lines = text.lines();
    let first = lines.next().into_iter().map(str::to_owned);
    let painted = lines.zip(members).map(|(line, member)| {
        let tone = if member.state == "up" { Tone::Good } else { Tone::Bad };
        let word = format!(" {} ", member.state);
        line.replacen(&word, &format!(" {} ", out.tone(tone, &member.state)), 1)
    });
    first.chain(painted).collect()
}

/// A time, as short as it can be read.
pub fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0}ms", seconds * 1000.0) } else { format!("{seconds:.1}s") }
}

/// Something that is not the same at all servers.
pub struct Difference {
    of: String,
    key: &'static str,
    values: Vec<(String, String)>,
}

impl Difference {
    /// The difference between values by server; none where they are the same.
    pub fn between(of: &str, key: &'static str, values: Vec<(String, String)>) -> Option<Self> {
        let differs = values.windows(2).any(|pair| pair[0].1 != pair[1].1);
        differs.then(|| Difference { of: of.to_owned(), key, values })
    }

    /// As a document.
    pub fn document(&self) -> Value {
        let values: BTreeMap<&str, &str> =
            self.values.iter().map(|(server, value)| (server.as_str(), value.as_str())).collect();
        json!({ "of": self.of, "key": self.key, "values": values })
    }
}

type Look = fn(&SeenMember) -> String;

/// Where servers differ in what is configured and ordered, and in what they see.
pub fn differences(said: &[Said<Seen>]) -> Vec<Difference> {
    const LOOKS: [(&str, Look); 4] = [
        ("url", |member| member.url.clone()),
        ("state", |member| member.state.clone()),
        ("admin", |member| member.admin.clone()),
        ("weight", |member| member.weight.to_string()),
    ];
    if said.len() < 2 {
        return Vec::new();
    }
    let mut names: Vec<String> = Vec::new();
    for member in said.iter().flat_map(|one| &one.what.pools).flat_map(|pool| &pool.members) {
        if !names.contains(&member.full()) {
            names.push(member.full());
        }
    }
    let of = |name: &str, seen: &Seen, look: Look| {
        let mut members = seen.pools.iter().flat_map(|pool| &pool.members);
        members.find(|member| member.full() == name).map_or("not there".to_owned(), look)
    };
    let mut found = Vec::new();
    for name in names {
        for (key, look) in LOOKS {
            let values = said.iter().map(|one| (one.server.clone(), of(&name, &one.what, look)));
            let Some(mut difference) = Difference::between(&name, key, values.collect()) else { continue };
            let is_missing = difference.values.iter().any(|(_, value)| value == "not there");
            if is_missing {
                difference.key = "member";
            }
            found.push(difference);
            if is_missing {
                break;
            }
        }
    }
    found
}

/// Tells where servers differ.
pub fn differ(out: &Out, all: &[Difference]) -> Result<Exit, Failure> {
    if !all.is_empty() {
        out.line(&out.tone(Tone::Bad, "\nThe servers differ:"))?;
    }
    for one in all {
        let values: Vec<String> =
            one.values.iter().map(|(server, value)| format!("{server} {value}")).collect();
        out.line(&format!("  {} {}: {}", one.of, one.key, values.join(", ")))?;
    }
    Ok(Exit::Done)
}
