// SPDX-License-Identifier: Apache-2.0
//! `lbctl events`: what has happened, and what happens.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use super::args::EventsArgs;
use super::client::{Call, Link};
use super::model::{SeenEvent, SeenEvents};
use super::servers::Servers;
use super::views::query;
use crate::out::{Exit, Failure, Out, VerbResult, note};

/// How long a server may wait for something to happen, and how often one is asked that may not.
const WAIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(1);

/// Runs the verb.
pub fn run(out: &Out, args: &EventsArgs) -> VerbResult {
    out.streams();
    let servers = Servers::of(&args.login)?;
    if !args.follow {
        let (said, exit) = servers.ask(|link| ask(link, args, args.since, None)).some(out)?;
        for one in said {
            let server = servers.are_many().then_some(one.server.as_str());
            tell(out, server, &one.what.0, &one.what.1)?;
        }
        return Ok(exit);
    }
    follow_all(out, servers, args)
}

/// Follows each server in a thread of its own, until all have refused or nobody reads any more.
fn follow_all(out: &Out, servers: Servers, args: &EventsArgs) -> VerbResult {
    let (many, args, (ended, ends)) = (servers.are_many(), Arc::new(args.clone()), mpsc::channel());
    let watch = ended.clone();
    thread::spawn(move || {
        Out::wait_for_its_reader_to_go();
        watch.send(None)
    });
    let count = servers.all.len();
    for link in servers.all {
        let (out, args, ended) = (out.clone(), args.clone(), ended.clone());
        thread::spawn(move || ended.send(Some(follow(&out, &link, many, &args))));
    }
    let mut all = Vec::new();
    while all.len() < count {
        match ends.recv() {
            Ok(Some(end)) => all.push(end),
            Ok(None) | Err(_) => return Ok(Exit::Done),
        }
    }
    let mut worst = Exit::Done;
    for failure in all.into_iter().filter_map(Result::err) {
        worst = failure.exit;
        out.fail(&failure);
    }
    Ok(worst)
}

type Answer = (serde_json::Value, SeenEvents);

fn ask(
    link: &Link,
    args: &EventsArgs,
    since: Option<u64>,
    wait: Option<Duration>,
) -> Result<Answer, Failure> {
    let filters = [
        ("since", &since.map(|number| number.to_string())),
        ("pool", &args.pool),
        ("limit", &args.limit.map(|number| number.to_string())),
        ("wait", &wait.map(|time| format!("{}s", time.as_secs()))),
    ];
    let path = format!("/api/v1/events{}", query(&filters));
    let call = Call { method: "GET", path, etag: None, body: None, wait: wait.unwrap_or_default() };
    let reply = link.send(&call)?;
    let seen = link.read(&reply.body)?;
    Ok((reply.body, seen))
}

/// Until the server has refused. One that goes away is waited for.
fn follow(out: &Out, link: &Link, many: bool, args: &EventsArgs) -> VerbResult {
    let (mut since, mut is_first, mut is_away) = (args.since, true, false);
    loop {
        let wait = (link.is_socket && !is_first).then_some(WAIT);
        match ask(link, args, since, wait) {
            Ok((raw, seen)) => {
                if is_away {
                    note(&format!("{}: there again", link.name));
                }
                if seen.lost > 0 && !is_first {
                    note(&format!("{}: {} events are lost", link.name, seen.lost));
                }
                tell(out, many.then_some(link.name.as_str()), &raw, &seen)?;
                // A server that was started anew counts from the beginning.
                since = Some(seen.next);
                (is_first, is_away) = (false, false);
            }
            Err(failure) if is_first || failure.exit != Exit::Unreachable => return Err(failure),
            Err(failure) => {
                if !is_away {
                    note(&failure.text);
                }
                is_away = true;
                thread::sleep(PAUSE);
            }
        }
        if !link.is_socket {
            thread::sleep(PAUSE);
        }
    }
}

fn tell(out: &Out, server: Option<&str>, raw: &serde_json::Value, seen: &SeenEvents) -> Result<(), Failure> {
    if out.is_json() {
        // One document a line: something that can be read while it goes on.
        for event in raw["events"].as_array().into_iter().flatten() {
            let mut event = event.clone();
            if let Some(server) = server {
                event["server"] = server.into();
            }
            out.json_line(&event)?;
        }
        return Ok(());
    }
    let server = server.map(|server| format!("{server} ")).unwrap_or_default();
    for event in &seen.events {
        out.line(&format!("{server}{}", line(event)))?;
    }
    Ok(())
}

/// An event in one line.
pub fn line(event: &SeenEvent) -> String {
    let of = match (&event.pool, &event.member) {
        (Some(pool), Some(member)) => format!(" {pool}/{member}"),
        (Some(pool), None) => format!(" {pool}"),
        _ => String::new(),
    };
    let change = match (&event.old, &event.new) {
        (Some(old), Some(new)) => format!(" {old} → {new}"),
        (None, Some(new)) => format!(" {new}"),
        (Some(old), None) => format!(" {old} → gone"),
        (None, None) => String::new(),
    };
    let by = event.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    let from = event.from.as_ref().map(|from| format!(" from {from}")).unwrap_or_default();
    // Of a member's change, the message says all of it once more.
    let is_told = event.member.is_some() && (event.new.is_some() || event.why.is_some());
    let message = if is_told { &None } else { &event.message };
    let texts = [&event.why, message, &event.note];
    let mut texts: Vec<&str> = texts.into_iter().flatten().map(String::as_str).collect();
    texts.dedup();
    let texts = if texts.is_empty() { String::new() } else { format!(": {}", texts.join("; ")) };
    format!("{} {}{of}{change}{by}{from}{texts}", event.at, event.kind)
}
