// SPDX-License-Identifier: Apache-2.0
//! What a call over a frozen store has changed: seen by this call, and forgotten with it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::api::PoolId;
use crate::live::{CursorId, Slot};
use crate::member::Member;
use crate::status::Status;
use crate::store::PoolImage;

/// Most changes that are noted in words.
const MOST: usize = 8;

/// A round robin sequence of which something was taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sequence {
    /// The number that it was begun anew with; None: it goes on from the one below.
    pub(super) from: Option<u64>,
    /// Numbers taken since.
    pub(super) taken: u64,
}

/// A member that was changed, added or removed.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) pool: PoolId,
    pub(super) incarnation: u32,
    pub(super) status: Status,
    /// When it changed last: epoch seconds.
    pub(super) since: u64,
    /// None: the store below has it.
    pub(super) added: Option<Member>,
    pub(super) is_removed: bool,
}

/// The numbers by which a pool's readers see that it has changed; 0: it has not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Numbers {
    pub(super) epoch: u64,
    pub(super) version: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) sequences: HashMap<CursorId, Sequence>,
    pub(super) rows: HashMap<Slot, Row>,
    pub(super) pools: HashMap<PoolId, Numbers>,
    pub(super) changes: Vec<String>,
}

impl Written {
    /// Notes a change in words.
    pub(super) fn note(&mut self, change: &str) {
        if self.changes.len() < MOST && !self.changes.iter().any(|known| known == change) {
            self.changes.push(change.to_owned());
        }
    }

    /// The row of a member, if it is that incarnation.
    pub(super) fn row(&self, slot: Slot, incarnation: u32) -> Option<&Row> {
        self.rows.get(&slot).filter(|row| row.incarnation == incarnation)
    }

    /// The members that were added, by their rows.
    pub(super) fn added(&self) -> impl Iterator<Item = (&Row, &Member)> {
        self.rows.values().filter_map(|row| Some((row, row.added.as_ref()?)))
    }

    /// Puts the members that were added into a pool, and takes out those that were removed.
    pub(super) fn overlay(&self, image: &mut PoolImage) {
        let stays = |member: &&Arc<Member>| {
            self.row(member.slot, member.incarnation).is_none_or(|row| !row.is_removed)
        };
        let below = image.membership.members.iter().filter(stays).cloned();
        let pool = image.membership.pool;
        let is_here = |row: &Row| row.pool == pool && !row.is_removed;
        let mut added: Vec<_> =
            self.added().filter(|(row, _)| is_here(row)).map(|(_, member)| member.clone().into()).collect();
        added.sort_by_key(|member: &Arc<Member>| member.order);
        let members = below.chain(added).collect();
        image.membership.members = members;
    }
}
