// SPDX-License-Identifier: Apache-2.0
//! `lbctl wait`, and waiting within other verbs.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::args::WaitArgs;
use super::client::Link;
use super::condition::{Conditions, Waited};
use super::model::SeenPool;
use super::names::Selection;
use super::servers::{self, Servers};
use crate::out::{Exit, Failure, Out, VerbResult};

/// How often somebody is asked.
const PAUSE: Duration = Duration::from_millis(200);

/// A time such as 5m, 90s or 1500ms.
pub fn duration(of: &str, text: &str) -> Result<Duration, Failure> {
    let read = balance::units::duration_ms(text);
    read.map(Duration::from_millis).map_err(|error| Failure::usage(format!("{of} {text}: {error}")))
}

/// Runs the verb.
pub fn run(out: &Out, args: &WaitArgs) -> VerbResult {
    let time = duration("--timeout", &args.timeout)?;
    let conditions = Conditions::parse(&args.condition)?;
    let selection = Selection::pool_or_member(&args.of)?;
    let of_members = matches!(&selection, Selection::Named { member: Some(_), .. });
    conditions.vet(of_members)?;
    let servers = Servers::of(&args.login)?;
    let start = Instant::now();
    let missing = |link: &Link| {
        let (_, pools) = servers::pools(link)?;
        selection.vet(&pools, &link.name)?;
        Ok(missing(&selection, &conditions, &pools))
    };
    let end = until(&servers, start + time, missing);
    if let Err(failure) = &end
        && failure.exit != Exit::TimedOut
    {
        return end.map(|()| Exit::Done);
    }
    let (holds, seconds) = (end.is_ok(), start.elapsed().as_secs_f64());
    if out.is_json() {
        let (of, condition) = (&args.of, &args.condition);
        out.json(&json!({ "of": of, "for": condition, "holds": holds, "seconds": seconds }))?;
    } else if holds {
        out.line(&format!("{} has {conditions} after {seconds:.1} s", args.of))?;
    }
    end.map(|()| Exit::Done)
}

fn missing(selection: &Selection, conditions: &Conditions, pools: &[SeenPool]) -> Option<String> {
    let known = pools.iter().filter(|pool| selection.has_pool(pool));
    match selection {
        Selection::Named { member: None, .. } => {
            let mut known = known;
            known.find_map(|now| conditions.missing(Waited::Pool { now, before: None }))
        }
        _ => {
            let mut meant =
                known.flat_map(|pool| &pool.members).filter(|member| selection.has_member(member));
            meant.find_map(|member| conditions.missing(Waited::Member(member)))
        }
    }
}

/// Waits until no request is left at members; those that are gone have none.
pub fn until_idle(servers: &Servers, selections: &[Selection], time: Duration) -> Result<(), Failure> {
    until(servers, Instant::now() + time, |link| {
        let (_, pools) = servers::pools(link)?;
        let is_busy = |pool: &SeenPool| {
            let mut members = pool.members.iter();
            members
                .find(|member| {
                    member.inflight > 0
                        && selections.iter().any(|one| one.has_pool(pool) && one.has_member(member))
                })
                .cloned()
        };
        let busy = pools.iter().find_map(is_busy);
        Ok(busy.map(|member| format!("{} has {} requests in flight", member.full(), member.inflight)))
    })
}

/// Waits until nothing is missing at any server. One that cannot be reached for a while, as in a
/// restart, is asked again; one that could not be reached at first is a failure.
pub fn until(
    servers: &Servers,
    end: Instant,
    missing: impl Fn(&Link) -> Result<Option<String>, Failure> + Sync,
) -> Result<(), Failure> {
    let mut is_first = true;
    loop {
        let everyone = servers.ask(&missing);
        let failed =
            everyone.failed.into_iter().find(|failure| is_first || failure.exit != Exit::Unreachable);
        if let Some(failure) = failed {
            return Err(failure);
        }
        let answered = everyone.said.len() == servers.all.len();
        let open = everyone.said.into_iter().find_map(|one| Some(format!("{}: {}", one.server, one.what?)));
        if answered && open.is_none() {
            return Ok(());
        }
        if Instant::now() >= end {
            let open = open.unwrap_or_else(|| "a server does not answer any more".into());
            return Err(Failure { exit: Exit::TimedOut, text: format!("time is up: {open}") });
        }
        is_first = false;
        thread::sleep(PAUSE.min(end.saturating_duration_since(Instant::now())));
    }
}
