// SPDX-License-Identifier: Apache-2.0
//! Putting right what dead processes left half done.

use std::sync::atomic::Ordering::SeqCst;

use crate::Table;
use crate::members::member_tag;
use crate::place::PoolRef;
use crate::pools::pool_tag;
use crate::protocol::AtomicU64;
use crate::protocol::life::{self, Life};
use crate::protocol::text;

/// The repairs of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Rows that a dead writer left, members of pools that are gone, definitions that were not
    /// applied to the end.
    pub rows: u32,
    /// Chunks that nothing referred to.
    pub chunks: u32,
}

impl Table {
    /// Frees rows and chunks that dead processes have left, and removed rows that are idle by now.
    /// For the leader, now and then; writers do it when they find no room.
    pub fn sweep(&self) -> Swept {
        self.sweep_with(&self.alive)
    }

    pub(crate) fn sweep_with(&self, alive: &dyn Fn(i32) -> bool) -> Swept {
        self.finish_for_dead(alive);
        let alive = &|pid| self.is_owner(pid, alive);
        let rows = self.sweep_pools(alive) + self.sweep_members(alive);
        Swept { rows, chunks: self.sweep_chunks(alive) }
    }

    fn sweep_pools(&self, alive: &dyn Fn(i32) -> bool) -> u32 {
        let mut swept = 0;
        for (row, cells) in self.map.pools()[..self.pools_used()].iter().enumerate() {
            let seen = Life::load(&cells.life);
            if seen.writer().is_some_and(|writer| !alive(writer)) && life::retire(&cells.life, seen) {
                swept += 1;
            }
            self.recycle_pool(row);
        }
        swept
    }

    fn sweep_members(&self, alive: &dyn Fn(i32) -> bool) -> u32 {
        let mut swept = 0;
        for (row, key) in self.map.keys()[..self.members_used()].iter().enumerate() {
            let seen = Life::load(&key.life);
            let place = key.place.load(SeqCst);
            let abandoned = seen.writer().is_some_and(|writer| !alive(writer));
            let orphaned = seen.is_live() && !self.is_pool(PoolRef::of_place(place));
            if (abandoned || orphaned) && life::retire(&key.life, seen) {
                swept += 1;
            }
            self.recycle_member(row);
            if seen.is_live() && !orphaned && self.apply_config(row) {
                swept += 1;
                self.bump_pool(PoolRef::of_place(place));
            }
        }
        swept
    }

    fn sweep_chunks(&self, alive: &dyn Fn(i32) -> bool) -> u32 {
        let chunks = self.map.chunks();
        let text_word = |tag: u32| self.text_word(tag);
        let mut swept = 0;
        for (index, chunk) in chunks.iter().enumerate() {
            if text::is_used(chunk) && !text::reclaim(chunks, index as u32, &text_word, alive) {
                swept += 1;
            }
        }
        swept
    }

    /// The text word of a tag's row.
    pub(crate) fn text_word(&self, tag: u32) -> Option<&AtomicU64> {
        let row = (tag >> 1) as usize;
        if tag & 1 == 0 {
            debug_assert_eq!(tag, member_tag(row));
            self.map.members().get(row).map(|cells| &cells.text)
        } else {
            debug_assert_eq!(tag, pool_tag(row));
            self.map.pools().get(row).map(|cells| &cells.text)
        }
    }
}
