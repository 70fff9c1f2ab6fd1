// SPDX-License-Identifier: Apache-2.0
//! One source of members, as the leader has it: its guard, its last list, and what it tells.

use std::collections::HashSet;
use std::sync::Arc;

use balance::api::{Membership, PoolId};
use balance::event::{By, Event};
use balance::guard::{Absences, Guard, HOLD_MS, HOLD_SEEN, ListRuling, Sight, SourceAsk, SourceStage};
use balance::journal::{EventEntry, EventKind};
use balance::reconcile::{ListDifference, Listing};
use balance::settings::Discovery;
use balance::snapshot::SourceNote;
use balance::steering::Steering;
use balance::store::Store;
use discover::{Listed, Sighting};
use table::{SourceUpdate, Table};

use crate::httpd::{log, memory};
use crate::keep::events;

/// See the module.
pub struct LedSource {
    pub pool: PoolId,
    pool_name: Arc<str>,
    pub settings: Discovery,
    /// Names of all sources of the pool.
    known: Vec<String>,
    /// Its row in the table. None: the table has no room for it.
    row: Option<u32>,
    guard: Guard,
    absences: Absences,
    absent: HashSet<String>,
    list: Option<Arc<Listed>>,
    error: String,
    /// Why its list could not be put in service.
    refused: Option<String>,
    held: String,
    noted: SourceNote,
    /// The pool's version when the list was compared with it last.
    compared: u64,
    /// A wish to have it asked that was passed on.
    asked: Option<u64>,
    /// When the list may be put in service.
    due_ms: Option<u64>,
}

/// When a list is to be put in service.
pub enum Taking {
    Now,
    /// Then, by the table's clock.
    At(u64),
    Never,
}

impl LedSource {
    /// Goes on from where the source stands.
    pub fn new(table: &Table, pool: &Membership, settings: &Discovery, known: Vec<String>) -> Self {
        let row = table.source_row(&pool.name, &settings.name);
        if row.is_none() {
            let (pool, name) = (&pool.name, &settings.name);
            let text = format!("pool {pool}: source {name}: no room to show how it does, there are too many");
            log::server(log::WARNING, &text);
        }
        let noted = row.and_then(|row| table.source_note(row)).unwrap_or_default();
        LedSource {
            pool: pool.pool,
            pool_name: pool.name.clone(),
            settings: settings.clone(),
            known,
            row,
            guard: Guard::resume(settings, noted.standing),
            absences: Absences::default(),
            absent: HashSet::new(),
            list: None,
            error: noted.error.clone(),
            refused: None,
            held: noted.held.clone(),
            noted,
            compared: 0,
            asked: None,
            due_ms: None,
        }
    }

    /// Whether it is this one.
    pub fn is_of(&self, pool: &Membership, settings: &Discovery) -> bool {
        self.pool == pool.pool && self.pool_name == pool.name && self.settings == *settings
    }

    /// Whether its list was seen since this child leads, and is in service.
    pub fn is_in_service(&self) -> bool {
        self.list.is_some() && self.due_ms.is_none() && self.guard.standing().stage == SourceStage::Ok
    }

    /// A line of the log, and an event unless only those see it who debug.
    fn say(&self, table: &Table, level: log::Level, what: &str) {
        let (pool, name) = (&self.pool_name, &self.settings.name);
        let text = format!("pool {pool}: source {name}: {what}");
        log::server(level, &text);
        if level < log::DEBUG {
            let entry = EventEntry::new(EventKind::Discovery, memory::epoch_s(), text);
            let entry = EventEntry { pool: Some(pool.to_string()), ..entry };
            events::append(table, &entry.by(&By::Source(name.clone())));
        }
    }

    fn count(&self, table: &Table, update: SourceUpdate) {
        if let Some(row) = self.row {
            table.count_source(row, update);
        }
    }

    /// Takes in what a look has found.
    pub fn see(&mut self, table: &Table, pool: &Membership, sighting: Sighting) {
        match sighting.found {
            Ok(list) => {
                if sighting.is_new && !list.skipped.is_empty() {
                    let (count, first) = (list.skipped.len(), &list.skipped[0]);
                    self.say(
                        table,
                        log::WARNING,
                        &format!("{count} entries are left out, the first: {first}"),
                    );
                }
                self.error = list.skipped.first().cloned().unwrap_or_default();
                let listed: HashSet<&str> = list.members.iter().map(|spec| spec.name.as_str()).collect();
                let own = pool.members.iter().filter(|member| member.is_found_by(&self.settings.name));
                let own = own.map(|member| member.spec.name.as_str());
                let absent = self.absences.see(own, &listed, self.settings.absent);
                self.absent = absent.into_iter().map(str::to_owned).collect();
                self.list = Some(list);
                self.judge(table, pool);
            }
            Err(why) => self.failed(table, why),
        }
        if let (Some(row), Some(number)) = (self.row, self.asked.take()) {
            table.answer_source(row, SourceAsk::Refresh, number);
        }
    }

    fn failed(&mut self, table: &Table, why: String) {
        self.count(table, SourceUpdate::Failed);
        let ruling = self.guard.see(Sight::Failed, memory::monotonic_ms());
        (self.due_ms, self.held) = (None, String::new());
        match ruling {
            ListRuling::Stale { is_new: true } => {
                self.say(table, log::WARNING, &format!("{why}; its last list stays"));
            }
            ListRuling::Expire => {
                let text = format!("{why}; it has failed for longer than stale= allows, its members go");
                self.say(table, log::WARNING, &text);
                self.list = Some(Arc::default());
                self.due_ms = Some(0);
            }
            _ if why != self.error => self.say(table, log::DEBUG, &why),
            _ => {}
        }
        self.error = why;
    }

    /// Between the pool as it is now, and the list.
    fn difference(&self, table: &Table, pool: &Membership) -> ListDifference {
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        let absent: HashSet<&str> = self.absent.iter().map(String::as_str).collect();
        let listing = Listing {
            source: &self.settings.name,
            known: &known,
            members: self.list.as_ref().map_or(&[], |list| &list.members),
            absent: &absent,
            drain_ms: self.settings.drain_ms,
        };
        ListDifference::of(table, pool, listing, memory::epoch_s())
    }

    fn judge(&mut self, table: &Table, pool: &Membership) {
        let was = self.guard.standing();
        let found = self.difference(table, pool);
        self.compared = pool.version;
        let sight = Sight::Listed {
            listed: self.list.as_ref().map_or(0, |list| list.members.len()),
            serving: found.serving,
            gone: found.gone.len(),
            differs: !found.steps.is_empty(),
        };
        let ruling = self.guard.see(sight, memory::monotonic_ms());
        if was.failing_ms > 0 {
            self.say(table, log::NOTICE, "it is read again");
        }
        (self.due_ms, self.held) = (None, String::new());
        match ruling {
            ListRuling::TakeAt(at_ms) => self.due_ms = Some(at_ms),
            ListRuling::Hold { is_new } => {
                self.count(table, SourceUpdate::Held);
                self.held = found.gone.join(" ");
                if is_new {
                    self.say_held(table, &found);
                }
            }
            _ => self.count(table, SourceUpdate::Unchanged),
        }
    }

    fn say_held(&self, table: &Table, found: &ListDifference) {
        let (gone, serving) = (found.gone.len(), found.serving);
        let is_kept = self.guard.standing().stage == SourceStage::HeldEmpty
            && self.settings.empty == balance::settings::EmptyList::Keep;
        let until = match is_kept {
            true => "for as long as it is empty (empty=keep)".to_owned(),
            false => format!("until it was seen {HOLD_SEEN} times in a row and for {} s", HOLD_MS / 1000),
        };
        let text = format!(
            "its list lacks {gone} of {serving} members: it is held {until}, or taken by \
             lbctl discovery --accept {}/{}",
            self.pool_name, self.settings.name
        );
        self.say(table, log::WARNING, &text);
    }

    /// Somebody else has changed the pool: whether the list is still in service.
    pub fn look_again(&mut self, table: &Table, pool: &Membership) {
        let is_settled = self.guard.standing().stage == SourceStage::Ok && self.due_ms.is_none();
        if self.list.is_none() || !is_settled || self.compared == pool.version {
            return;
        }
        self.compared = pool.version;
        if !self.difference(table, pool).steps.is_empty() {
            self.judge(table, pool);
        }
    }

    /// Whether somebody wants it asked, and that is to be passed on.
    pub fn is_to_be_asked(&mut self, table: &Table) -> bool {
        let wish = self.row.and_then(|row| table.source_wish(row, SourceAsk::Refresh));
        let is_new = wish.is_some() && wish != self.asked;
        self.asked = wish;
        is_new
    }

    /// Takes what is held, if somebody wants that.
    pub fn accept(&mut self, table: &Table, pool: &Membership) {
        let wish = self.row.and_then(|row| Some((row, table.source_wish(row, SourceAsk::Accept)?)));
        let Some((row, number)) = wish else { return };
        if self.list.is_some() {
            if self.guard.accept() {
                self.judge(table, pool);
                self.due_ms = self.due_ms.map(|_| 0);
            }
            if self.due_ms.is_none() {
                table.answer_source(row, SourceAsk::Accept, number);
            }
        }
    }

    /// When its list is to be put in service.
    pub fn is_due(&self, now_ms: u64) -> Taking {
        match self.due_ms {
            Some(at_ms) if at_ms <= now_ms => Taking::Now,
            Some(at_ms) => Taking::At(at_ms),
            None => Taking::Never,
        }
    }

    /// Puts its list in service.
    pub fn take(&mut self, table: &Table, steering: &dyn Steering) {
        let by = By::Source(self.settings.name.clone());
        let mut done = None;
        steering.with_pen(&mut || {
            let Some(image) = table.read_pool(self.pool) else { return };
            let found = self.difference(table, &image.membership);
            done = Some((steering.carry_out(&found.steps, &by), found));
        });
        // Another change is being made: at the next turn.
        let Some((done, found)) = done else { return };
        let now_ms = memory::monotonic_ms();
        self.due_ms = None;
        match done {
            Ok(events) => {
                let is_first = self.guard.standing().taken_ms == 0;
                if self.guard.standing().stage == SourceStage::Ok {
                    self.guard.has_taken(now_ms);
                }
                self.refused = None;
                self.count(table, SourceUpdate::Applied);
                steering.tell_all(&events);
                self.say_taken(table, (&events, &found), is_first);
            }
            Err(error) => {
                self.guard.could_not_take(now_ms);
                self.count(table, SourceUpdate::Failed);
                let why = format!("its list cannot be put in service: {error}");
                if self.refused.as_ref() != Some(&why) {
                    self.say(table, log::ERR, &why);
                }
                // Not compared: the next look tries again.
                (self.refused, self.compared) = (Some(why), 0);
            }
        }
        self.answer_accept(table);
    }

    fn answer_accept(&self, table: &Table) {
        let wish = self.row.and_then(|row| Some((row, table.source_wish(row, SourceAsk::Accept)?)));
        if let Some((row, number)) = wish {
            table.answer_source(row, SourceAsk::Accept, number);
        }
    }

    fn say_taken(&self, table: &Table, (events, found): (&[Event], &ListDifference), is_first: bool) {
        let listed = self.list.as_ref().map_or(0, |list| list.members.len());
        let what = if is_first { "its first list is in service" } else { "its list is in service" };
        let (changes, gone) = (events.len(), found.gone.len());
        if !events.is_empty() || is_first {
            self.say(
                table,
                log::NOTICE,
                &format!("{what}: {listed} members, {changes} changes, {gone} gone"),
            );
        }
        if !found.shadowed.is_empty() {
            let names = found.shadowed.join(" ");
            self.say(table, log::DEBUG, &format!("others have the names {names}, before whom it steps back"));
        }
    }

    /// Keeps for all children how it does.
    pub fn note(&mut self, table: &Table) {
        let standing = self.guard.standing();
        let (error, held) = (self.refused.as_ref().unwrap_or(&self.error), &self.held);
        if self.noted.standing == standing && self.noted.error == *error && self.noted.held == *held {
            return;
        }
        self.noted = SourceNote { standing, error: error.clone(), held: held.clone() };
        if let Some(row) = self.row {
            table.note_source(row, &self.noted);
        }
    }
}
