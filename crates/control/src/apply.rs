// SPDX-License-Identifier: Apache-2.0
//! Changes made: nobody else of the control plane makes one meanwhile, so that what a request was
//! checked against is what it is carried out on.

use std::collections::HashSet;

use balance::api::ChangeError;
use balance::event::{By, Event};
use balance::journal::{EventEntry, EventKind};
use balance::order::Order;
use balance::snapshot::Extent;
use balance::steps::{Doing, MemberStep};

use crate::asked::{Asked, epoch_s, person};
use crate::draft::Draft;
use crate::problem::Problem;
use crate::shared::{self, SharedSteps};
use crate::types::Response;

/// The intent of a request.
pub(crate) enum Intent {
    /// To this answer alone: nothing is done.
    Answer(Response),
    /// To the draft's steps, with this note for the log.
    Change(Option<String>),
}

/// The result of an intent.
enum Made {
    Answer(Response),
    /// Nothing is done yet: these orders have to be in the store first.
    Shared(SharedSteps),
    /// It is made, and the log is to be told.
    Change {
        events: Vec<Event>,
        told: Vec<EventEntry>,
    },
}

/// Reads `extent`, plans a change and makes it, all of it or nothing. None: it is made.
pub(crate) fn make(
    asked: &Asked<'_>,
    extent: Extent<'_>,
    plan: &mut dyn FnMut(&mut Draft) -> Result<Intent, Problem>,
) -> Result<Option<Response>, Problem> {
    let steering = asked.house.steering();
    let mut outcome = None;
    steering.with_pen(&mut || outcome = Some(attempt(asked, extent, plan)));
    if let Some(Ok(Made::Shared(shared))) = &outcome {
        // A store may be silent for seconds: nobody has the pen meanwhile.
        let revision = shared::put(asked, shared)?;
        let mut done = None;
        steering.with_pen(&mut || done = Some(after_store(asked, extent, shared, revision)));
        outcome = done;
    }
    let busy = || match asked.house.is_superseded() {
        true => superseded(),
        false => Problem::new(503, "another change is being made, and does not end").with("Retry-After", "1"),
    };
    match outcome.ok_or_else(busy)?? {
        Made::Answer(response) => Ok(Some(response)),
        Made::Shared(_) => Err(busy()),
        // The log may be slow: others have the pen meanwhile.
        Made::Change { events, told } => {
            asked.house.log(&events, &told);
            Ok(None)
        }
    }
}

/// The answer of a child whose table has been replaced: it knows nothing new, and changes nothing.
pub(crate) fn superseded() -> Problem {
    let detail = "a restart has put a larger table in this one's place, which other children have: \
                  the next connection leads to them";
    Problem::new(503, detail).with("Retry-After", "1")
}

fn attempt(
    asked: &Asked<'_>,
    extent: Extent<'_>,
    plan: &mut dyn FnMut(&mut Draft) -> Result<Intent, Problem>,
) -> Result<Made, Problem> {
    let mut draft = Draft::of(asked.house.snapshot(extent));
    let note = match plan(&mut draft)? {
        Intent::Answer(response) => return Ok(Made::Answer(response)),
        Intent::Change(note) => note,
    };
    if let Some(orders) = shared::orders(asked, &mut draft)? {
        return Ok(Made::Shared(SharedSteps { orders, steps: draft.steps, note }));
    }
    carry_out(asked, &draft, note)
}

/// The second part of a change, whose orders are in the store.
fn after_store(
    asked: &Asked<'_>,
    extent: Extent<'_>,
    shared: &SharedSteps,
    revision: u64,
) -> Result<Made, Problem> {
    let mut draft = Draft::of(asked.house.snapshot(extent));
    let steps = shared::steps_after(asked, &mut draft, shared, revision);
    draft.take(steps)?;
    carry_out(asked, &draft, shared.note.clone())
}

fn carry_out(asked: &Asked<'_>, draft: &Draft, note: Option<String>) -> Result<Made, Problem> {
    let by = By::Person(person(asked.request, note));
    let mut events =
        asked.house.steering().carry_out(&draft.steps, &by).map_err(|error| refused(asked, error))?;
    events.iter_mut().for_each(|event| add_note(event, draft));
    let now_s = epoch_s(asked.house);
    let told = told(draft, &by, now_s);
    let entries: Vec<EventEntry> = events.iter().filter_map(|event| EventEntry::of(event, now_s)).collect();
    // With the pen: a change and its events go into a larger table together, or neither of them.
    asked.house.note(&entries);
    asked.house.note(&told);
    Ok(Made::Change { events, told })
}

/// In a batch each member may have a note of its own.
fn add_note(event: &mut Event, draft: &Draft) {
    let Event::Member(event) = event else { return };
    let By::Person(person) = &mut event.by else { return };
    if person.note.is_none() {
        person.note = new_note(draft, &event.pool, &event.member);
    }
}

/// The note of a member's order, where it is another one than before.
fn new_note(draft: &Draft, pool: &str, member: &str) -> Option<String> {
    let (before, now) = draft.orders(pool, member);
    let note = now?.note.as_ref();
    note.filter(|_| before.and_then(|before| before.note.as_ref()) != note).cloned()
}

/// A script may have changed the pool since the draft was made.
fn refused(asked: &Asked<'_>, error: ChangeError) -> Problem {
    let is_gone =
        matches!(error, ChangeError::UnknownMember { .. } | ChangeError::Removed | ChangeError::UnknownPool);
    // The URL's member is gone, or else a part of the body's.
    match is_gone && asked.names.len() < 2 {
        true => Problem::new(409, format!("{error} any more: it was changed just now")),
        false => error.into(),
    }
}

/// The lines and entries about steps that the balancer does not tell itself: limits and meta keys,
/// and end and reason where neither state nor weight changes.
fn told(draft: &Draft, by: &By, now_s: u64) -> Vec<EventEntry> {
    let mut seen = HashSet::new();
    let mut steps: Vec<&MemberStep> = draft.steps.iter().collect();
    steps.retain(|step| seen.insert((&*step.pool, &*step.member, std::mem::discriminant(&step.what))));
    let changed: HashSet<(&str, &str)> = steps
        .iter()
        .filter(|step| !matches!(step.what, Doing::Order(_)))
        .map(|step| (&*step.pool, &*step.member))
        .collect();
    let mut entries = Vec::new();
    for step in steps {
        let (pool, member) = (&step.pool, &step.member);
        let what = match &step.what {
            Doing::Recount => "failures and checks count from 0".to_owned(),
            Doing::Order(_) => {
                let (before, now) = draft.orders(pool, member);
                order_changes(before, now, !changed.contains(&(pool, member))).join(", ")
            }
            _ => continue,
        };
        if !what.is_empty() {
            let line = format!("pool {pool}: member {member}: {what} (by {by})");
            let entry = EventEntry::new(EventKind::Order, now_s, line).by(by);
            let note = entry.note.clone().or_else(|| new_note(draft, pool, member));
            entries.push(EventEntry { note, ..entry }.of_pool(pool, member));
        }
    }
    entries
}

/// The changes of an order besides state and weight, as `key old -> new`; with `all` also its end
/// and its reason.
fn order_changes(before: Option<&Order>, now: Option<&Order>, all: bool) -> Vec<String> {
    let none = Order::default();
    let (before, now) = (before.unwrap_or(&none), now.unwrap_or(&none));
    let number = |number: Option<u32>| number.map_or_else(|| "configured".to_owned(), |n| n.to_string());
    let meta = |meta: &Option<Vec<(String, String)>>| match meta {
        None => "configured".to_owned(),
        Some(pairs) if pairs.is_empty() => "none".to_owned(),
        Some(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
            pairs.join(" ")
        }
    };
    let until = |until: Option<u64>| {
        until.map_or_else(|| "none".to_owned(), |until| render::time::Time(until).to_string())
    };
    let then = |order: &Order| order.then.map_or("ready", |then| then.word());
    let note =
        |note: &Option<String>| note.as_ref().map_or_else(|| "none".to_owned(), |note| format!("{note:?}"));
    let mut pairs = vec![
        ("max_inflight", number(before.max_inflight), number(now.max_inflight)),
        ("meta", meta(&before.meta), meta(&now.meta)),
    ];
    if all {
        pairs.push(("until", until(before.until), until(now.until)));
        pairs.push(("then", then(before).to_owned(), then(now).to_owned()));
        pairs.push(("note", note(&before.note), note(&now.note)));
    }
    let changed = pairs.into_iter().filter(|(_, old, new)| old != new);
    changed.map(|(key, old, new)| format!("{key} {old} -> {new}")).collect()
}
