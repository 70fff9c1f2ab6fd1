// SPDX-License-Identifier: Apache-2.0
//! The document of events.

use balance::journal::{EventEntry, JournalPart};
use serde::Serialize;

use crate::member::state_word;
use crate::time::Time;

/// Events, oldest first.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Events"))]
pub struct EventsDoc<'a> {
    /// The events.
    pub events: Vec<EventDoc<'a>>,
    /// The value of `since` next time.
    pub next: u64,
    /// Events from `since` on that are no longer known.
    pub lost: u64,
}

/// Something that has happened.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Event"))]
pub struct EventDoc<'a> {
    /// Its number; the next event has the next one.
    pub seq: u64,
    /// When.
    pub at: Time,
    /// state, order, member, script, discovery or lead.
    pub kind: &'static str,
    /// The pool.
    pub pool: Option<&'a str>,
    /// The member.
    pub member: Option<&'a str>,
    /// The member's state before, where it has changed.
    pub old: Option<&'static str>,
    /// The member's state now, where it has changed.
    pub new: Option<&'static str>,
    /// For what reason.
    pub why: Option<&'a str>,
    /// The author: a user, a script, or one of checks, agent, requests, time, configuration.
    pub by: Option<&'a str>,
    /// From which address.
    pub from: Option<&'a str>,
    /// The author's words about it.
    pub note: Option<&'a str>,
    /// All of it in one line, as in the log.
    pub message: &'a str,
}

impl<'a> EventsDoc<'a> {
    /// Of a part of the journal.
    pub fn of(part: &'a JournalPart) -> Self {
        let events = part.entries.iter().map(|(seq, entry)| EventDoc::of(*seq, entry)).collect();
        EventsDoc { events, next: part.next, lost: part.lost }
    }
}

impl<'a> EventDoc<'a> {
    fn of(seq: u64, entry: &'a EventEntry) -> Self {
        EventDoc {
            seq,
            at: Time(entry.at_s),
            kind: entry.kind.word(),
            pool: entry.pool.as_deref(),
            member: entry.member.as_deref(),
            old: entry.old.map(state_word),
            new: entry.new.map(state_word),
            why: entry.why.as_deref(),
            by: entry.by.as_deref(),
            from: entry.from.as_deref(),
            note: entry.note.as_deref(),
            message: &entry.message,
        }
    }
}
