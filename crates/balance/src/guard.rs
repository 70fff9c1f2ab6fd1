// SPDX-License-Identifier: Apache-2.0
//! What becomes of the lists that a source of members gives: taken, held or refused. A state
//! machine over numbers and times; the same for every source. Its words are those of the
//! directive, the log, the API and the metrics.

use std::collections::{HashMap, HashSet};

use crate::settings::{Discovery, EmptyList};

/// From one change of a pool by a source to the next, at least: milliseconds.
pub const SPACE_MS: u64 = 1000;
/// A held list is taken when it was seen so often in a row,
pub const HOLD_SEEN: u32 = 3;
/// and for so many milliseconds.
pub const HOLD_MS: u64 = 30_000;

/// How a source does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceStage {
    /// It was not heard of yet.
    #[default]
    Waiting,
    /// Its last list is in service, or about to be.
    Ok,
    /// It fails; the last good list stays.
    Stale,
    /// It has failed for longer than `stale=` allows: its members are gone.
    Expired,
    /// Its list is held, since it is empty.
    HeldEmpty,
    /// Its list is held, since too many members are missing.
    HeldShrunk,
}

/// A wish of somebody about a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceAsk {
    /// It is to be asked now.
    Refresh,
    /// Its held list is to be taken.
    Accept,
}

impl SourceStage {
    /// All of them; their places are their numbers in the table.
    pub const ALL: [SourceStage; 6] = [
        SourceStage::Waiting,
        SourceStage::Ok,
        SourceStage::Stale,
        SourceStage::Expired,
        SourceStage::HeldEmpty,
        SourceStage::HeldShrunk,
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            SourceStage::Waiting => "waiting",
            SourceStage::Ok => "ok",
            SourceStage::Stale => "stale",
            SourceStage::Expired => "expired",
            SourceStage::HeldEmpty | SourceStage::HeldShrunk => "held",
        }
    }

    /// Whether a list is held.
    pub fn is_held(self) -> bool {
        matches!(self, SourceStage::HeldEmpty | SourceStage::HeldShrunk)
    }
}

/// Where a source stands: kept for all processes, so that another leader goes on from there. Times
/// are milliseconds of the store's clock; 0 for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceStanding {
    /// In one word.
    pub stage: SourceStage,
    /// When a list was last seen, taken or not.
    pub seen_ms: u64,
    /// When the source began to fail; 0 while it does not.
    pub failing_ms: u64,
    /// Failures in a row.
    pub failures: u32,
    /// When the list that is held was seen first.
    pub held_ms: u64,
    /// How often in a row.
    pub held_seen: u32,
    /// Members that the last list named.
    pub listed: u32,
    /// When a list was last taken, be it one that changed nothing.
    pub taken_ms: u64,
}

/// The result of a look at a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// No list.
    Failed,
    /// A list.
    Listed {
        /// Members that it names.
        listed: usize,
        /// Members in service that are the source's.
        serving: usize,
        /// Of these, how many it does not name.
        gone: usize,
        /// Whether it would change anything.
        differs: bool,
    },
}

/// The order of the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListRuling {
    /// Nothing.
    Stay,
    /// The list is to be taken, not before this time: [`Guard::may_take`] says when.
    TakeAt(u64),
    /// Nothing: the list is held. `is_new`: it was not, until now.
    Hold {
        /// See above.
        is_new: bool,
    },
    /// Nothing: the last list stays. `is_new`: until now the source did not fail.
    Stale {
        /// See above.
        is_new: bool,
    },
    /// The source has failed for too long: an empty list is to be taken, now.
    Expire,
}

/// The state machine of one source.
#[derive(Debug, Clone)]
pub struct Guard {
    empty: EmptyList,
    shrink_percent: u8,
    stale_ms: Option<u64>,
    settle_ms: u64,
    standing: SourceStanding,
    /// Since when a list waits to be taken.
    pending_ms: Option<u64>,
    /// When something was changed last.
    changed_ms: Option<u64>,
    /// Somebody wants what is held to be taken.
    accepted: bool,
    /// The objection that the list which waits to be taken has overcome.
    overcome: Option<SourceStage>,
}

impl Guard {
    /// Goes on from where the source stands.
    pub fn resume(rules: &Discovery, standing: SourceStanding) -> Self {
        Guard {
            empty: rules.empty,
            shrink_percent: rules.shrink_percent,
            stale_ms: rules.stale_ms,
            settle_ms: rules.settle_ms,
            standing,
            pending_ms: None,
            changed_ms: None,
            accepted: false,
            overcome: None,
        }
    }

    /// Where the source stands.
    pub fn standing(&self) -> SourceStanding {
        self.standing
    }

    /// Has the held list taken when it is seen next. False: nothing is held.
    pub fn accept(&mut self) -> bool {
        self.accepted = self.standing.stage.is_held();
        self.accepted
    }

    /// Takes in what a look has found.
    pub fn see(&mut self, sight: Sight, now_ms: u64) -> ListRuling {
        match sight {
            Sight::Failed => self.failed(now_ms),
            Sight::Listed { listed, serving, gone, differs } => {
                let now = &mut self.standing;
                (now.seen_ms, now.failing_ms, now.failures) = (now_ms.max(1), 0, 0);
                now.listed = u32::try_from(listed).unwrap_or(u32::MAX);
                match self.objection(listed, serving, gone) {
                    Some(stage) => self.hold(stage, now_ms),
                    None => {
                        self.overcome = None;
                        self.take(differs, now_ms)
                    }
                }
            }
        }
    }

    /// Whether the list that waits may be taken now.
    pub fn may_take(&self, now_ms: u64) -> bool {
        self.pending_ms.is_some_and(|since_ms| self.due_ms(since_ms) <= now_ms)
    }

    /// The list that waited is in service.
    pub fn has_taken(&mut self, now_ms: u64) {
        (self.pending_ms, self.overcome) = (None, None);
        self.changed_ms = Some(now_ms);
        self.standing.taken_ms = now_ms.max(1);
    }

    /// The list that waited could not be put in service: another try, later.
    pub fn could_not_take(&mut self, now_ms: u64) {
        (self.pending_ms, self.changed_ms) = (None, Some(now_ms));
    }

    fn due_ms(&self, since_ms: u64) -> u64 {
        // Requests may wait for the first list of all.
        let settle_ms = if self.standing.taken_ms == 0 { 0 } else { self.settle_ms };
        let spaced = self.changed_ms.map_or(0, |changed_ms| changed_ms.saturating_add(SPACE_MS));
        since_ms.saturating_add(settle_ms).max(spaced)
    }

    fn failed(&mut self, now_ms: u64) -> ListRuling {
        self.pending_ms = None;
        let now = &mut self.standing;
        now.failures = now.failures.saturating_add(1);
        let is_new = now.failing_ms == 0;
        if is_new {
            now.failing_ms = now_ms.max(1);
        }
        if now.stage == SourceStage::Expired {
            return ListRuling::Stay;
        }
        let since_ms = if now.seen_ms == 0 { now.failing_ms } else { now.seen_ms };
        if self.stale_ms.is_some_and(|most| now_ms.saturating_sub(since_ms) >= most) {
            now.stage = SourceStage::Expired;
            return ListRuling::Expire;
        }
        // A held list that was not seen just now was not seen in a row.
        (now.stage, now.held_ms, now.held_seen) = (SourceStage::Stale, 0, 0);
        ListRuling::Stale { is_new }
    }

    /// The objection to a list, if there is one.
    fn objection(&self, listed: usize, serving: usize, gone: usize) -> Option<SourceStage> {
        if serving == 0 {
            return None;
        }
        if listed == 0 {
            return (self.empty != EmptyList::Take).then_some(SourceStage::HeldEmpty);
        }
        let is_shrunk = gone.saturating_mul(100) > serving.saturating_mul(self.shrink_percent.into());
        is_shrunk.then_some(SourceStage::HeldShrunk)
    }

    fn hold(&mut self, stage: SourceStage, now_ms: u64) -> ListRuling {
        // It is looked at again before it has settled.
        if self.overcome == Some(stage) && self.pending_ms.is_some() {
            return self.take(true, now_ms);
        }
        let now = &mut self.standing;
        let is_new = now.stage != stage;
        if is_new {
            (now.stage, now.held_ms, now.held_seen) = (stage, now_ms, 0);
        }
        now.held_seen = now.held_seen.saturating_add(1);
        let is_kept = stage == SourceStage::HeldEmpty && self.empty == EmptyList::Keep;
        let stays = now.held_seen >= HOLD_SEEN && now_ms.saturating_sub(now.held_ms) >= HOLD_MS;
        if std::mem::take(&mut self.accepted) || stays && !is_kept {
            self.overcome = Some(stage);
            return self.take(true, now_ms);
        }
        self.pending_ms = None;
        ListRuling::Hold { is_new }
    }

    fn take(&mut self, differs: bool, now_ms: u64) -> ListRuling {
        let now = &mut self.standing;
        (now.stage, now.held_ms, now.held_seen) = (SourceStage::Ok, 0, 0);
        self.accepted = false;
        if !differs {
            self.pending_ms = None;
            now.taken_ms = now_ms.max(1);
            return ListRuling::Stay;
        }
        let since_ms = *self.pending_ms.get_or_insert(now_ms);
        ListRuling::TakeAt(self.due_ms(since_ms))
    }
}

/// How often in a row each member was not named.
#[derive(Debug, Clone, Default)]
pub struct Absences(HashMap<String, u32>);

impl Absences {
    /// Takes in one more list. Returns the serving members that it does not name and that stay all
    /// the same: `most` lists in a row have to leave a member out.
    pub fn see<'n>(
        &mut self,
        serving: impl Iterator<Item = &'n str>,
        listed: &HashSet<&str>,
        most: u32,
    ) -> HashSet<&'n str> {
        let before = std::mem::take(&mut self.0);
        let missing = serving.filter(|name| !listed.contains(name));
        let mut stays = HashSet::new();
        for name in missing {
            let count = before.get(name).copied().unwrap_or(0).saturating_add(1);
            self.0.insert(name.to_owned(), count);
            if count < most {
                stays.insert(name);
            }
        }
        stays
    }
}

#[cfg(test)]
mod tests;
