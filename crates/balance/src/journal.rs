// SPDX-License-Identifier: Apache-2.0
//! Entries of the journal: changes, as they are kept for later questions. Each line of the log
//! about members, pools, scripts and the lead has one.

use crate::event::{By, Event, Level, MemberEvent, What, Why};
use crate::packed::{Packer, Unpacker};
use crate::status::State;
use crate::trouble::shown;

#[cfg(test)]
mod tests;

/// Bytes that an entry takes at most.
pub const MOST_BYTES: usize = 1026;

/// Which kind of thing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Checks, requests or time have changed a member's state.
    State,
    /// Somebody wants something of a member.
    Order,
    /// Members of a pool have come, gone or moved.
    Member,
    /// A saved script was taken, or refused.
    Script,
    /// A source of members was asked.
    Discovery,
    /// Another child leads.
    Lead,
}

impl EventKind {
    /// All.
    pub const ALL: [EventKind; 6] = [
        EventKind::State,
        EventKind::Order,
        EventKind::Member,
        EventKind::Script,
        EventKind::Discovery,
        EventKind::Lead,
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            EventKind::State => "state",
            EventKind::Order => "order",
            EventKind::Member => "member",
            EventKind::Script => "script",
            EventKind::Discovery => "discovery",
            EventKind::Lead => "lead",
        }
    }
}

/// Something that has happened. Texts that are too long end early.
#[derive(Debug, Clone, PartialEq)]
pub struct EventEntry {
    /// Which kind of thing.
    pub kind: EventKind,
    /// When: epoch seconds.
    pub at_s: u64,
    /// The pool's name.
    pub pool: Option<String>,
    /// The member's name.
    pub member: Option<String>,
    /// The member's state before, where it has changed.
    pub old: Option<State>,
    /// The member's state now, where it has changed.
    pub new: Option<State>,
    /// For what reason; None for orders, whose reason is their note.
    pub why: Option<String>,
    /// The author.
    pub by: Option<String>,
    /// From which address.
    pub from: Option<String>,
    /// The author's words about it.
    pub note: Option<String>,
    /// All of it in one line, as in the log.
    pub message: String,
}

impl EventEntry {
    /// With nothing but a kind, a time and a line, which is kept without secrets.
    pub fn new(kind: EventKind, at_s: u64, message: impl AsRef<str>) -> Self {
        EventEntry {
            kind,
            at_s,
            pool: None,
            member: None,
            old: None,
            new: None,
            why: None,
            by: None,
            from: None,
            note: None,
            message: shown(message.as_ref()),
        }
    }

    /// Of something that happened to a pool or a member. None: it changes nothing that anybody
    /// follows, as the end of a slow start.
    pub fn of(event: &Event, now_s: u64) -> Option<Self> {
        let message = event.to_string();
        match event {
            Event::Member(event) => Self::of_member(event, now_s, message),
            Event::Defined { pool, .. } => {
                let by = Some("script".to_owned());
                let entry = EventEntry::new(EventKind::Member, now_s, message);
                Some(EventEntry { pool: Some(pool.to_string()), by, ..entry })
            }
        }
    }

    fn of_member(event: &MemberEvent, now_s: u64, message: String) -> Option<Self> {
        let (old, new) = match event.what {
            What::State { old, new } if old != new => (Some(old), Some(new)),
            _ => (None, None),
        };
        if event.level() == Level::Debug && old.is_none() {
            return None;
        }
        let at_s = if event.at == 0 { now_s } else { event.at };
        let mut entry = EventEntry::new(kind(event), at_s, message).by(&event.by);
        (entry.old, entry.new) = (old, new);
        entry.why = reason(&event.why).map(|why| shown(&why));
        Some(entry.of_pool(&event.pool, &event.member))
    }

    /// Of this member.
    #[must_use]
    pub fn of_pool(mut self, pool: &str, member: &str) -> Self {
        (self.pool, self.member) = (Some(pool.to_owned()), Some(member.to_owned()));
        self
    }

    /// On this account.
    #[must_use]
    pub fn by(mut self, by: &By) -> Self {
        self.by = by.word().map(str::to_owned);
        if let By::Person(person) = by {
            (self.from, self.note) = (person.from.clone(), person.note.clone());
        }
        self
    }

    /// As bytes, in a buffer of [`MOST_BYTES`].
    pub fn pack<'b>(&self, room: &'b mut [u8; MOST_BYTES]) -> &'b [u8] {
        let mut packer = Packer::new(room);
        packer.byte(self.kind as u8);
        packer.byte(state_byte(self.old));
        packer.byte(state_byte(self.new));
        packer.number(self.at_s);
        let texts = [
            (&self.pool, 63),
            (&self.member, 63),
            (&self.why, 160),
            (&self.by, 128),
            (&self.from, 46),
            (&self.note, crate::order::MAX_NOTE),
        ];
        for (text, most) in texts {
            packer.text(text.as_deref().unwrap_or_default(), most);
        }
        packer.text(&self.message, MOST_BYTES);
        packer.packed()
    }

    /// The other way round. None: another version of the module has written it.
    pub fn unpack(bytes: &[u8]) -> Option<Self> {
        let mut packed = Unpacker(bytes);
        let kind = EventKind::ALL.get(usize::from(packed.byte()?)).copied()?;
        let (old, new) = (state_of(packed.byte()?)?, state_of(packed.byte()?)?);
        let at_s = packed.number()?;
        let mut text = || Some(packed.text()?.to_owned());
        let mut some = || text().map(|text| Some(text).filter(|text| !text.is_empty()));
        let (pool, member, why, by, from, note) = (some()?, some()?, some()?, some()?, some()?, some()?);
        Some(EventEntry { kind, at_s, pool, member, old, new, why, by, from, note, message: text()? })
    }
}

/// A part of the journal, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JournalPart {
    /// Entries with their numbers, which begin with 1.
    pub entries: Vec<(u64, EventEntry)>,
    /// The number to ask from next time.
    pub next: u64,
    /// Entries that were asked for and are gone.
    pub lost: u64,
}

const STATES: [State; 5] = [State::Up, State::Down, State::Ejected, State::Draining, State::Disabled];

fn state_byte(state: Option<State>) -> u8 {
    let at = state.and_then(|state| STATES.iter().position(|known| *known == state));
    at.map_or(0, |at| at as u8 + 1)
}

/// None inside: no state; None: no byte of these.
#[allow(clippy::option_option, reason = "nothing and wrong are two things")]
fn state_of(byte: u8) -> Option<Option<State>> {
    match byte.checked_sub(1) {
        None => Some(None),
        Some(at) => STATES.get(usize::from(at)).copied().map(Some),
    }
}

fn kind(event: &MemberEvent) -> EventKind {
    match (&event.what, &event.why) {
        (What::Added { .. } | What::Removed | What::Url { .. } | What::Line, _) => EventKind::Member,
        (_, Why::Order) if matches!(event.by, By::Source(_)) => EventKind::Member,
        (_, Why::Order | Why::OrderOver) => EventKind::Order,
        _ => EventKind::State,
    }
}

fn reason(why: &Why) -> Option<String> {
    Some(match why {
        Why::Order => return None,
        Why::ChecksFailed { count, last } => format!("{count} checks failed, the last one: {last}"),
        Why::ChecksPassed { count } => format!("{count} checks passed"),
        Why::Fronts { down, alive } => format!("{down} of {alive} servers call it down"),
        Why::Unchecked => "what earlier checks said does not count".to_owned(),
        Why::Agent(words) => words.clone(),
        Why::AttemptsFailed { count, last, .. } => {
            format!("{count} consecutive failures, the last one: {}", last.word().to_string_lossy())
        }
        Why::EjectionOver => "the time of the ejection is over".to_owned(),
        Why::SlowStartOver => "slow start is over".to_owned(),
        Why::OrderOver => "the time of the order is over".to_owned(),
    })
}
