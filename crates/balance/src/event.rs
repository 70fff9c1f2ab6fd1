// SPDX-License-Identifier: Apache-2.0
//! Events of members and pools, as values: the one source of the log's lines about them.

use std::fmt;
use std::sync::Arc;

use crate::line::status_letters;
use crate::member::MemberSpec;
use crate::relay::Outcome;
use crate::status::{State, Status};

#[cfg(test)]
mod tests;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A member is lost.
    Warning,
    /// A change that an administrator wants to see.
    Notice,
    /// A change that follows from earlier ones.
    Debug,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// To a member.
    Member(MemberEvent),
    /// A script has defined a pool, or defined it anew.
    Defined {
        /// The pool's name.
        pool: Arc<str>,
        /// How many members the definition has.
        members: usize,
    },
}

/// Something that happened to one member.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberEvent {
    /// The pool's name.
    pub pool: Arc<str>,
    /// The member's name.
    pub member: String,
    /// Epoch seconds; 0 where the store has no clock.
    pub at: u64,
    /// The change.
    pub what: What,
    /// For what reason.
    pub why: Why,
    /// On whose account.
    pub by: By,
}

/// A change.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// The member is new in its pool.
    Added {
        /// Its URL.
        url: String,
        /// Hundredths.
        weight: u32,
    },
    /// The member is no longer in its pool.
    Removed,
    /// Keys of its line, but for the weight and its state.
    Line,
    /// Another address has the name.
    Url {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// The weight, in hundredths.
    Weight {
        /// Before.
        old: u32,
        /// Now.
        new: u32,
    },
    /// The state. A member that is switched off may go down as well: then both are `disabled`.
    State {
        /// Before.
        old: State,
        /// Now.
        new: State,
    },
    /// Flags of [`Status::ADMIN`] that change nothing of the state.
    Orders {
        /// Before.
        old: u64,
        /// Now.
        new: u64,
    },
    /// The state, the part of the weight, or the most requests that an agent wants.
    Advice,
    /// Slow start is over: the member has its whole weight.
    WholeWeight,
}

/// For what reason.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// Somebody wants it so.
    Order,
    /// So many checks failed, one after the other.
    ChecksFailed {
        /// How many.
        count: u32,
        /// The finding of the last one.
        last: String,
    },
    /// So many checks passed, one after the other.
    ChecksPassed {
        /// How many.
        count: u32,
    },
    /// So many of the servers that share their checks say that it is down.
    Fronts {
        /// How many.
        down: usize,
        /// Of how many.
        alive: usize,
    },
    /// The checks that said so are no longer made, or say nothing before the first one.
    Unchecked,
    /// The agent said something else than before.
    Agent(String),
    /// So many attempts failed, one after the other.
    AttemptsFailed {
        /// How many.
        count: u32,
        /// How the last one ended.
        last: Outcome,
        /// Milliseconds that the member is out for.
        for_ms: u64,
    },
    /// The time of an ejection is over.
    EjectionOver,
    /// The time of the slow start is over.
    SlowStartOver,
    /// The time of an order is over, whose author the event names.
    OrderOver,
}

/// On whose account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Active checks.
    Checks,
    /// The member's agent.
    Agent,
    /// Requests that failed.
    Requests,
    /// The time that has passed.
    Time,
    /// The configuration.
    Configuration,
    /// The script that defines the pool.
    Definition,
    /// A source of members, by its name.
    Source(String),
    /// A script, by its label; None: one that nobody knows the name of.
    Script(Option<String>),
    /// Somebody whose name or address is known.
    Person(Person),
    /// Somebody while the server ran. The table does not keep whom.
    Somebody,
}

/// Somebody who gives an order, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Person {
    /// The user's name.
    pub name: Option<String>,
    /// The address.
    pub from: Option<String>,
    /// The reason, in words.
    pub note: Option<String>,
}

/// One line, whatever is in it.
impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = |text: &str| text.replace(char::is_control, "?");
        f.write_str(&self.name.as_deref().map_or_else(|| "somebody".to_owned(), clean))?;
        if let Some(from) = &self.from {
            write!(f, " from {}", clean(from))?;
        }
        match &self.note {
            Some(note) => write!(f, ": {}", clean(note)),
            None => Ok(()),
        }
    }
}

impl By {
    /// In one word, or a name. None: nobody knows.
    pub fn word(&self) -> Option<&str> {
        Some(match self {
            By::Checks => "checks",
            By::Agent => "agent",
            By::Requests => "requests",
            By::Time => "time",
            By::Configuration => "configuration",
            By::Definition => "script",
            By::Source(name) => name,
            By::Script(label) => label.as_deref().unwrap_or("script"),
            By::Person(person) => return person.name.as_deref(),
            By::Somebody => return None,
        })
    }
}

impl MemberEvent {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self.why {
            Why::ChecksFailed { .. } | Why::AttemptsFailed { .. } => Level::Warning,
            Why::Fronts { .. } => Level::Warning,
            Why::SlowStartOver | Why::Unchecked => Level::Debug,
            _ => Level::Notice,
        }
    }
}

impl Event {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Event::Member(event) => event.level(),
            Event::Defined { .. } => Level::Notice,
        }
    }
}

impl From<MemberEvent> for Event {
    fn from(event: MemberEvent) -> Self {
        Event::Member(event)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Member(event) => event.fmt(f),
            Event::Defined { pool, members } => write!(f, "pool {pool}: defined with {members} members"),
        }
    }
}

impl fmt::Display for MemberEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemberEvent { pool, member, what, why, by, at: _ } = self;
        write!(f, "pool {pool}: member {member}")?;
        match why {
            Why::Order => order(f, what, by),
            Why::ChecksFailed { count, last } => {
                write!(f, " is down: {count} checks failed, the last one: {last}")
            }
            Why::ChecksPassed { count } => write!(f, " is up: {count} checks passed"),
            Why::Fronts { down, alive } => {
                write!(f, ": {what} ({down} of {alive} servers call it down)")
            }
            Why::Unchecked => write!(f, ": {what} (what earlier checks said does not count)"),
            Why::Agent(words) => write!(f, ": {words}"),
            Why::AttemptsFailed { count, last, for_ms } => write!(
                f,
                " ejected for {}s after {count} consecutive failures, the last one: {}",
                *for_ms as f64 / 1000.0,
                last.word().to_string_lossy()
            ),
            Why::EjectionOver => write!(f, " takes requests again after its ejection"),
            Why::SlowStartOver => write!(f, ": {what}"),
            Why::OrderOver => write!(f, ": {what} (the time is over of an order by {by})"),
        }
    }
}

/// A definition's lines have a colon behind the member; those of scripts name what was done to it.
fn order(f: &mut fmt::Formatter<'_>, what: &What, by: &By) -> fmt::Result {
    let defines = matches!(by, By::Configuration | By::Definition);
    match what {
        What::Added { url, weight } if !defines => {
            write!(f, " ({url}) added, weight {}", weight_text(*weight))?
        }
        What::Removed if !defines => write!(f, " removed")?,
        what => write!(f, ": {what}")?,
    }
    write!(f, " (by {by})")
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Added { url, weight } => write!(f, "{url} added, weight {}", weight_text(*weight)),
            What::Removed => f.write_str("removed"),
            What::Line => f.write_str("its keys have changed"),
            What::Url { old, new } => write!(f, "{old} -> {new}"),
            What::Weight { old, new } => write!(f, "weight {} -> {}", weight_text(*old), weight_text(*new)),
            What::State { old, new } => write!(f, "{old} -> {new}"),
            What::Orders { old, new } => write!(f, "status {} -> {}", letters(*old), letters(*new)),
            What::Advice => f.write_str("its agent wants something else"),
            What::WholeWeight => f.write_str("slow start is over"),
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            By::Checks => "checks",
            By::Agent => "its agent",
            By::Requests => "failed requests",
            By::Time => "time",
            By::Configuration => "the configuration",
            By::Definition => "the script that defines it",
            By::Source(name) => return write!(f, "source {name}"),
            By::Script(Some(label)) => return write!(f, "script {label}"),
            By::Script(None) => "a script",
            By::Person(person) => return person.fmt(f),
            By::Somebody => "somebody",
        })
    }
}

impl By {
    /// The source that has found a member.
    pub fn of_source(spec: &MemberSpec) -> Self {
        spec.discovered.clone().map_or(By::Somebody, By::Source)
    }
}

fn letters(flags: u64) -> String {
    let letters = status_letters(flags & Status::ADMIN);
    if letters.is_empty() { "none".to_owned() } else { letters }
}

/// A weight for people: hundredths without needless zeros.
pub fn weight_text(hundredths: u32) -> String {
    if hundredths.is_multiple_of(100) {
        (hundredths / 100).to_string()
    } else {
        format!("{}", f64::from(hundredths) / 100.0)
    }
}

/// The changes of weight, state and an administrator's flags that an order or a definition has
/// made.
pub fn differences(before: Status, now: Status) -> Vec<What> {
    let mut found = Vec::new();
    if before.weight() != now.weight() {
        found.push(What::Weight { old: before.weight(), new: now.weight() });
    }
    let [old, new] = [before, now].map(|status| status.0 & Status::ADMIN);
    if before.state() != now.state() {
        found.push(What::State { old: before.state(), new: now.state() });
    } else if old != new {
        found.push(What::Orders { old, new });
    }
    found
}
