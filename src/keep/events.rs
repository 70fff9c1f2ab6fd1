// SPDX-License-Identifier: Apache-2.0
//! What happens to pools, members and scripts: a line of the log for each, and an entry of the
//! journal, which is a ring of the table.

use balance::engine::Notice;
use balance::event::{Event, Level, MemberEvent};
use balance::journal::{EventEntry, EventKind, JournalPart, MOST_BYTES};
use table::Table;
use table::ring::RingRead;

use crate::httpd::{log, memory};

/// A line for an event, of a process whose changes stay with it.
pub fn say(event: &Event) {
    let level = match event.level() {
        Level::Warning => log::WARNING,
        Level::Notice => log::NOTICE,
        Level::Debug => log::DEBUG,
    };
    if level < log::DEBUG || log::logs_server(level) {
        log::server(level, &event.to_string());
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
pub fn note(table: &Table, kind: EventKind, level: log::Level, text: &str) {
    log::server(level, text);
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
