// SPDX-License-Identifier: Apache-2.0
//! What happens to pools, members and scripts: a line of the log for each, and an entry of the
//! journal, which is a ring of the table.

use balance::engine::Notice;
use balance::event::{Event, MemberEvent, What, Why};
use balance::journal::{EventEntry, EventKind, JournalPart, MOST_BYTES};
use messages::Message;
use table::Table;
use table::ring::RingRead;

use crate::httpd::{log, memory};

/// A line for an event, of a process whose changes stay with it.
pub fn say(event: &Event) {
    let message = message(event);
    if message.level() < log::DEBUG || log::logs_server(message.level()) {
        log::server(message, &event.to_string());
    }
}

/// The message of an event. Its level is the event's.
fn message(event: &Event) -> &'static Message {
    let Event::Member(event) = event else { return messages::members::DEFINED };
    match event.why {
        Why::Order => ordered(&event.what),
        Why::ChecksFailed { .. } => messages::members::DOWN,
        Why::ChecksPassed { .. } => messages::members::UP,
        Why::Fronts { .. } => messages::members::SERVERS,
        Why::Unchecked => messages::members::UNCHECKED,
        Why::Agent(_) => messages::members::AGENT,
        Why::AttemptsFailed { .. } => messages::members::EJECTED,
        Why::EjectionOver => messages::members::EJECTION_OVER,
        Why::SlowStartOver => messages::members::SLOW_START_OVER,
        Why::OrderOver => messages::members::ORDER_OVER,
    }
}

fn ordered(what: &What) -> &'static Message {
    match what {
        What::Added { .. } => messages::members::ADDED,
        What::Removed => messages::members::REMOVED,
        What::Line => messages::members::KEYS_CHANGED,
        What::Url { .. } => messages::members::MOVED,
        What::Weight { .. } => messages::members::WEIGHT_CHANGED,
        What::State { .. } => messages::members::STATE_ORDERED,
        What::Orders { .. } => messages::members::FLAGS_ORDERED,
        What::Advice | What::WholeWeight => messages::members::CHANGED,
    }
}

/// A line and an entry for an event.
pub fn tell(table: &Table, event: &Event) {
    say(event);
    if let Some(entry) = EventEntry::of(event, memory::epoch_s()) {
        append(table, &entry);
    }
}

/// The same for each event of members.
pub fn tell_all(table: &Table, events: impl IntoIterator<Item = MemberEvent>) {
    events.into_iter().for_each(|event| tell(table, &event.into()));
}

/// A line and an entry of this kind that is of no pool.
pub fn note(table: &Table, kind: EventKind, message: &Message, text: &str) {
    log::server(message, text);
    append(table, &EventEntry::new(kind, memory::epoch_s(), text));
}

/// The notice of an engine over this table.
pub fn notice(table: &Table) -> Notice {
    let table = table.clone();
    Box::new(move |event| tell(&table, event))
}

/// An entry without a line.
pub fn append(table: &Table, entry: &EventEntry) {
    table.events().append(entry.pack(&mut [0; MOST_BYTES]), memory::monotonic_ms());
}

/// The number of the next entry. The first one has 1.
pub fn next(table: &Table) -> u64 {
    table.events().next() + 1
}

/// Entries from this number on, or all. A number that is not reached yet was given by a server that
/// has stopped since then: it stands for all.
pub fn since(table: &Table, seq: Option<u64>) -> JournalPart {
    let (ring, now_ms) = (table.events(), memory::monotonic_ms());
    let (oldest, next) = (ring.oldest(), ring.next());
    let from = seq.map(|seq| seq.saturating_sub(1)).filter(|from| *from <= next);
    let mut part =
        JournalPart { lost: oldest.saturating_sub(from.unwrap_or(oldest)), ..JournalPart::default() };
    let mut number = from.unwrap_or(oldest).max(oldest);
    while number < next {
        match ring.read(number, now_ms) {
            RingRead::Entry(bytes) => match EventEntry::unpack(&bytes) {
                Some(entry) => part.entries.push((number + 1, entry)),
                None => part.lost += 1,
            },
            RingRead::Lost => part.lost += 1,
            RingRead::Pending | RingRead::Ahead => break,
        }
        number += 1;
    }
    part.next = number + 1;
    part.lost = if from.is_some() { part.lost } else { 0 };
    part
}
