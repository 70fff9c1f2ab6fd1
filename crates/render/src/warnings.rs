// SPDX-License-Identifier: Apache-2.0
//! Warnings: things that somebody should look at.

use balance::guard::SourceStage;
use balance::snapshot::{PoolState, Room, ScriptState, ScriptVerdict, SourceState};
use serde::Serialize;

use crate::Shown;
use crate::time::Time;

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Warning"))]
pub struct WarningDoc {
    /// The kind: pool_unusable, pool_panic, script_refused, discovery_stale, discovery_held,
    /// state_file, store_away, order_not_held or table_nearly_full.
    pub code: &'static str,
    /// In words.
    pub message: String,
    /// Since when; null where nobody has noted it.
    pub since: Option<Time>,
}

impl Shown<'_> {
    /// Everything of that kind.
    pub fn warnings(&self) -> Vec<WarningDoc> {
        let pools = self.all.pools.iter().filter_map(of_pool);
        let scripts = self.all.scripts.iter().filter_map(of_script);
        let table = self.all.fill.iter().flat_map(|fill| {
            let rooms = [("members", fill.members), ("pools", fill.pools), ("text", fill.text)];
            rooms.into_iter().filter_map(|(what, room)| of_room(what, room))
        });
        let state = self.facts.state_trouble.iter().map(|(why, since_s)| WarningDoc {
            code: "state_file",
            message: why.clone(),
            since: Time::noted(*since_s),
        });
        let store = self.facts.store.iter().filter(|(is_there, _)| !is_there).map(|(_, since_s)| WarningDoc {
            code: "store_away",
            message: "the store of shared orders does not answer: orders stay as they are, and new ones are refused"
                .to_owned(),
            since: Time::noted(*since_s),
        });
        let unheld = self.facts.unheld.iter().map(|(pool, member, since_s)| WarningDoc {
            code: "order_not_held",
            message: format!(
                "pool {pool}: member {member}: its order in the store of shared orders does not hold here, the \
                 log says why"
            ),
            since: Time::noted(*since_s),
        });
        let store = store.chain(unheld);
        let sources = self.all.sources.iter().filter_map(|source| self.of_source(source));
        pools.chain(scripts).chain(sources).chain(state).chain(store).chain(table).collect()
    }
}

impl Shown<'_> {
    fn of_source(&self, source: &SourceState) -> Option<WarningDoc> {
        let (pool, name, now) = (&source.pool, &source.settings.name, &source.note.standing);
        let (code, what, since_ms) = match now.stage {
            SourceStage::Stale if now.taken_ms == 0 && source.members == 0 => {
                ("discovery_stale", "fails, it has given no list yet", now.failing_ms)
            }
            SourceStage::Stale => ("discovery_stale", "fails, its last list stays", now.failing_ms),
            SourceStage::Expired => {
                ("discovery_stale", "has failed for longer than stale=, its members are gone", now.failing_ms)
            }
            SourceStage::HeldEmpty => ("discovery_held", "gives an empty list, which is held", now.held_ms),
            SourceStage::HeldShrunk => {
                ("discovery_held", "gives a list that lacks too many members, which is held", now.held_ms)
            }
            SourceStage::Waiting | SourceStage::Ok => return None,
        };
        let why =
            if source.note.error.is_empty() { String::new() } else { format!(": {}", source.note.error) };
        let message = format!("pool {pool}: source {name} {what}{why}");
        Some(WarningDoc { code, message, since: self.on_calendar(since_ms) })
    }
}

fn of_pool(pool: &PoolState) -> Option<WarningDoc> {
    let name = &pool.name;
    let since = pool.members.iter().map(|member| member.since).max().and_then(Time::noted);
    if pool.panic {
        let message = format!("pool {name} ignores health: too few of its members are usable");
        return Some(WarningDoc { code: "pool_panic", message, since });
    }
    (pool.usable == 0).then(|| WarningDoc {
        code: "pool_unusable",
        message: format!("pool {name} has no usable member ({} in all)", pool.members.len()),
        since,
    })
}

fn of_script(script: &ScriptState) -> Option<WarningDoc> {
    let (label, version, error) = (&script.label, script.version, &script.last_error);
    let why = error.as_ref().map_or(String::new(), |error| format!(": {}", error.text));
    (script.verdict == ScriptVerdict::Refused).then(|| WarningDoc {
        code: "script_refused",
        message: format!("{label}: the file that was saved last is refused, version {version} serves{why}"),
        since: error.as_ref().and_then(|error| Time::noted(error.at_s)),
    })
}

/// From nine tenths on.
fn of_room(what: &str, room: Room) -> Option<WarningDoc> {
    let is_near = room.of > 0 && room.used.saturating_mul(10) >= room.of.saturating_mul(9);
    is_near.then(|| WarningDoc {
        code: "table_nearly_full",
        message: format!(
            "the table is nearly full: {} of {} rows of {what} are taken (LuaBalancerMaxMembers)",
            room.used, room.of
        ),
        since: None,
    })
}
