// SPDX-License-Identifier: Apache-2.0
//! Events: which of them are asked for, and whether to wait for one.

use std::time::Duration;

use balance::journal::{EventEntry, JournalPart};
use balance::units;
use render::events::EventsDoc;

use crate::asked::Asked;
use crate::problem::Problem;
use crate::query::Query;
use crate::read;
use crate::routes::{self, Endpoint};
use crate::types::{Door, House, Request, Response};

/// As many as are kept.
const MOST_EVENTS: usize = 1024;
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    since: Option<u64>,
    pool: Option<String>,
    limit: usize,
    wait: Duration,
}

impl Wanted {
    fn of(query: &Query, door: Door) -> Result<Self, Problem> {
        let since = query.get("since")?.map(|text| {
            number(text)
                .ok_or_else(|| Problem::value("since", text, "the number of an event, for example 42"))
        });
        let limit = query.get("limit")?.map(|text| {
            let found = number(text).and_then(|limit| usize::try_from(limit).ok());
            let found = found.filter(|limit| (1..=MOST_EVENTS).contains(limit));
            found.ok_or_else(|| Problem::value("limit", text, "a number from 1 to 1024"))
        });
        let wait = query.get("wait")?.map(|text| wait(text, door)).transpose()?;
        Ok(Wanted {
            since: since.transpose()?,
            pool: query.get("pool")?.map(str::to_owned),
            limit: limit.transpose()?.unwrap_or(MOST_EVENTS),
            wait: wait.unwrap_or_default(),
        })
    }

    fn is_of_pool(&self, entry: &EventEntry) -> bool {
        let is_of = |pool: &String| entry.pool.as_ref().is_some_and(|of| of.eq_ignore_ascii_case(pool));
        self.pool.as_ref().is_none_or(is_of)
    }

    /// From a number on the first ones, else the last ones.
    fn find(&self, house: &dyn House) -> JournalPart {
        let mut part = house.journal(self.since);
        part.entries.retain(|(_, entry)| self.is_of_pool(entry));
        let beyond = part.entries.len().saturating_sub(self.limit);
        if self.since.is_none() {
            part.entries.drain(..beyond);
        } else if beyond > 0 {
            part.entries.truncate(self.limit);
            part.next = part.entries.last().map_or(part.next, |(seq, _)| seq + 1);
        }
        part
    }
}

fn number(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

fn wait(text: &str, door: Door) -> Result<Duration, Problem> {
    let expected = "a duration from 0s to 5m, for example 30s";
    let found = units::duration_ms(text).ok().map(Duration::from_millis);
    let found = found.filter(|wait| *wait <= LONGEST_WAIT);
    let wait = found.ok_or_else(|| Problem::value("wait", text, expected))?;
    if door != Door::Socket && !wait.is_zero() {
        return Err(Problem::value(
            "wait",
            text,
            "no wait: only the Unix socket has one (LuaBalancerSocket)",
        ));
    }
    Ok(wait)
}

/// `GET …/events`: the events that are there now.
pub(crate) fn document(asked: &Asked<'_>) -> Result<Response, Problem> {
    let wanted = Wanted::of(asked.query, asked.request.caller.door)?;
    read::plain(&EventsDoc::of(&wanted.find(asked.house)))
}

/// A request whose answer may wait until something has happened.
#[derive(Debug)]
pub struct WaitingCall {
    wanted: Wanted,
    /// All events before this one were looked at in vain, and are not looked at again.
    seen: Option<u64>,
}

impl WaitingCall {
    /// None: it is to be answered now.
    pub fn of(request: &Request<'_>) -> Option<Self> {
        let (route, _) = routes::find(request.path).ok()?;
        if route.target != Endpoint::Events || !matches!(request.method, "GET" | "HEAD") {
            return None;
        }
        let wanted = Wanted::of(&Query::parse(request.query).ok()?, request.caller.door).ok()?;
        (!wanted.wait.is_zero()).then_some(WaitingCall { wanted, seen: None })
    }

    /// How long at most.
    pub fn longest(&self) -> Duration {
        self.wanted.wait
    }

    /// Whether [`crate::respond`] has something to say to the request now. Costs little while
    /// nothing has happened.
    pub fn is_over(&mut self, house: &dyn House) -> bool {
        if self.seen == Some(house.next_event()) {
            return false;
        }
        let part = house.journal(self.seen.or(self.wanted.since));
        self.seen = Some(part.next);
        let is_lost = self.wanted.since.is_some() && part.lost > 0;
        // A number that is not reached yet stands for all, until it is.
        let first = self.wanted.since.filter(|since| *since <= part.next).unwrap_or(0);
        let mut entries = part.entries.iter();
        is_lost || entries.any(|(number, entry)| *number >= first && self.wanted.is_of_pool(entry))
    }
}
