// SPDX-License-Identifier: Apache-2.0
//! One source of members, as the leader has it: its guard, its last list, and what it tells.

use std::collections::HashSet;
use std::sync::Arc;

use balance::api::{ChangeError, Membership, PoolId};
use balance::event::By;
use balance::fitting::{self, Fitting};
use balance::guard::{Absences, Guard, HOLD_MS, HOLD_SEEN, ListRuling, Sight, SourceAsk, SourceStage};
use balance::journal::{EventEntry, EventKind};
use balance::reconcile::{ListDifference, Listing};
use balance::settings::Discovery;
use balance::snapshot::SourceNote;
use balance::steering::Steering;
use balance::store::Store;
use balance::trouble::shown;
use discover::{Listed, Sighting};
use messages::Message;
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
    /// Members that the held list does not have.
    held: Vec<String>,
    noted: SourceNote,
    /// The pool's version when the list was compared with it last.
    compared: u64,
    /// The difference that is to be put in service, and the pool's words when it was found.
    judged: Option<(PoolWords, ListDifference)>,
    /// A wish to have it asked that was passed on.
    asked: Option<u64>,
    /// When the list may be put in service.
    due_ms: Option<u64>,
}

/// Version and epoch of a pool, and the second: all that a difference depends on beside the list.
type PoolWords = (u64, u64, u64);

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
            log::server(messages::discovery::NO_ROOM_TO_SHOW, &text);
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
            held: noted.held.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            noted,
            compared: 0,
            judged: None,
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
    fn say(&self, table: &Table, message: &Message, what: &str) {
        let (pool, name) = (&self.pool_name, &self.settings.name);
        let text = format!("pool {pool}: source {name}: {what}");
        log::server(message, &text);
        if message.level() < log::DEBUG {
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
                self.error = shown(&list.first_skipped);
                if sighting.is_new && list.skipped > 0 {
                    let (count, first) = (list.skipped, &self.error);
                    let text = format!("{count} entries are left out, the first: {first}");
                    self.say(table, messages::discovery::ENTRIES_LEFT_OUT, &text);
                }
                self.absent = self.absences_of(pool, &list);
                self.list = Some(list);
                self.judge(table, pool);
            }
            Err(why) => self.failed(table, pool, &why),
        }
        if let (Some(row), Some(number)) = (self.row, self.asked.take()) {
            table.answer_source(row, SourceAsk::Refresh, number);
        }
    }

    /// Names of members that stay though the list does not have them.
    fn absences_of(&mut self, pool: &Membership, list: &Listed) -> HashSet<String> {
        if self.settings.absent <= 1 {
            return HashSet::new();
        }
        let listed: HashSet<&str> = list.members.iter().map(|spec| spec.name.as_str()).collect();
        let own = pool.members.iter().filter(|member| member.is_found_by(&self.settings.name));
        let own = own.map(|member| member.spec.name.as_str());
        let absent = self.absences.see(own, &listed, self.settings.absent);
        absent.into_iter().map(str::to_owned).collect()
    }

    fn failed(&mut self, table: &Table, pool: &Membership, why: &str) {
        // Pieces of the list may be in it.
        let why = shown(why);
        self.count(table, SourceUpdate::Failed);
        self.refused = None;
        let ruling = self.guard.see(Sight::Failed, memory::monotonic_ms());
        (self.due_ms, self.held, self.judged) = (None, Vec::new(), None);
        match ruling {
            ListRuling::Stale { is_new: true } => {
                let has_members = pool.members.iter().any(|member| member.is_found_by(&self.settings.name));
                let (message, outcome) = match has_members || self.guard.standing().taken_ms > 0 {
                    true => (messages::discovery::STALE, "its last list stays"),
                    false => (messages::discovery::FAILING, "it has given no list yet"),
                };
                self.say(table, message, &format!("{why}; {outcome}"));
            }
            ListRuling::Expire => {
                let text = format!("{why}; it has failed for longer than stale= allows, its members go");
                self.say(table, messages::discovery::EXPIRED, &text);
                self.list = Some(Arc::default());
                self.due_ms = Some(0);
            }
            _ if why != self.error => self.say(table, messages::discovery::OTHER_REASON, &why),
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
            prints: self.list.as_ref().map_or(&[], |list| &list.prints),
            absent: &absent,
            drain_ms: self.settings.drain_ms,
        };
        ListDifference::of(table, pool, listing, memory::epoch_s())
    }

    fn judge(&mut self, table: &Table, pool: &Membership) {
        let was = self.guard.standing();
        // The epoch first: what changes in between is seen later.
        let words = (pool.version, table.epoch(self.pool), memory::epoch_s());
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
            self.say(table, messages::discovery::READ_AGAIN, "it is read again");
        }
        (self.due_ms, self.held, self.judged) = (None, Vec::new(), None);
        match ruling {
            ListRuling::TakeAt(at_ms) => {
                self.due_ms = Some(at_ms);
                self.judged = Some((words, found));
            }
            ListRuling::Hold { is_new } => {
                self.refused = None;
                self.count(table, SourceUpdate::Held);
                if is_new {
                    self.say_held(table, &found);
                }
                self.held = found.gone;
            }
            _ => {
                self.refused = None;
                self.count(table, SourceUpdate::Unchanged);
            }
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
        self.say(table, messages::discovery::HELD, &text);
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

    /// Puts its list in service, as much of it as there is room for.
    pub fn take(&mut self, table: &Table, steering: &dyn Steering) {
        let by = By::Source(self.settings.name.clone());
        let mut done = None;
        steering.with_pen(&mut || {
            let words = (table.version(self.pool), table.epoch(self.pool), memory::epoch_s());
            let judged = self.judged.take().filter(|(then, _)| *then == words).map(|(_, found)| found);
            let judged = judged.map(|found| (fitting::carry_out(steering, &found.steps, &by), found));
            // A change that is made and not told yet may stand against what was judged.
            let now = || {
                let found = self.difference(table, &table.read_pool(self.pool)?.membership);
                Some((fitting::carry_out(steering, &found.steps, &by), found))
            };
            let Some((outcome, found)) = judged.filter(|(outcome, _)| outcome.is_ok()).or_else(now) else {
                return;
            };
            // Nobody else has changed it meanwhile: it is as the list says.
            if outcome.as_ref().is_ok_and(|done| done.why.is_none())
                && table.version(self.pool) == words.0 + 1
            {
                self.compared = words.0 + 1;
            }
            done = Some((outcome, found));
        });
        // Another change is being made: at the next turn.
        let Some((done, found)) = done else { return };
        self.due_ms = None;
        match done {
            Ok(done) => {
                let is_first = self.guard.standing().taken_ms == 0;
                steering.tell_all(&done.events);
                match &done.why {
                    None => self.is_taken(table),
                    Some(why) => self.is_refused(table, left_out(&done.left, why)),
                }
                if done.why.is_none() || !done.events.is_empty() {
                    self.say_taken(table, (&done, &found), is_first);
                }
            }
            Err(error) => self.is_refused(table, format!("its list cannot be put in service: {error}")),
        }
        self.answer_accept(table);
    }

    fn is_taken(&mut self, table: &Table) {
        if self.guard.standing().stage == SourceStage::Ok {
            self.guard.has_taken(memory::monotonic_ms());
        }
        self.refused = None;
        self.count(table, SourceUpdate::Applied);
    }

    /// The list is not in service, or not all of it: another try, later.
    fn is_refused(&mut self, table: &Table, why: String) {
        self.guard.could_not_take(memory::monotonic_ms());
        self.count(table, SourceUpdate::Failed);
        if self.refused.as_ref() != Some(&why) {
            self.say(table, messages::discovery::NOT_TAKEN, &why);
        }
        // Not compared: the next look tries again.
        (self.refused, self.compared) = (Some(why), 0);
    }

    fn answer_accept(&self, table: &Table) {
        let wish = self.row.and_then(|row| Some((row, table.source_wish(row, SourceAsk::Accept)?)));
        if let Some((row, number)) = wish {
            table.answer_source(row, SourceAsk::Accept, number);
        }
    }

    fn say_taken(&self, table: &Table, (done, found): (&Fitting, &ListDifference), is_first: bool) {
        let listed = self.list.as_ref().map_or(0, |list| list.members.len());
        let what = if is_first { "its first list is in service" } else { "its list is in service" };
        let (listed, changes, gone) = (listed - done.left.len(), done.events.len(), found.gone.len());
        if !done.events.is_empty() || is_first {
            self.say(
                table,
                messages::discovery::IN_SERVICE,
                &format!("{what}: {listed} members, {changes} changes, {gone} gone"),
            );
        }
        if !found.shadowed.is_empty() {
            let names = found.shadowed.join(" ");
            let text = format!("others have the names {names}, before whom it steps back");
            self.say(table, messages::discovery::STEPS_BACK, &text);
        }
    }

    /// Keeps for all children how it does.
    pub fn note(&mut self, table: &Table) {
        let standing = self.guard.standing();
        let error = self.refused.as_ref().unwrap_or(&self.error).clone();
        let gone = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        let now = SourceNote { standing, error, held: self.held.join(" "), gone };
        if self.noted == now {
            return;
        }
        self.noted = now;
        if let Some(row) = self.row {
            table.note_source(row, &self.noted);
        }
    }
}

/// The error of a list of which some members have no room.
fn left_out(names: &[String], why: &ChangeError) -> String {
    const SHOWN: usize = 3;
    let first = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} members of its list are not in service ({first}{more}): {why}", names.len())
}
