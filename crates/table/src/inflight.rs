// SPDX-License-Identifier: Apache-2.0
//! Children and their in-flight counts.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use balance::live::Slot;

use crate::Table;
use crate::protocol::AtomicU64;
use crate::protocol::children::{self, ChildRow, LanePhase, Owner};
use crate::protocol::lanes::{self, Lane};
use crate::protocol::lead;
use crate::protocol::queue;

/// A child's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChildLane {
    row: u32,
    lane: Lane,
    owner: Owner,
}

impl ChildLane {
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Number of the lane.
    pub fn index(&self) -> u32 {
        self.row
    }
}

/// More children than the table has lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("all {0} rows of children are taken: raise ServerLimit and restart")]
pub struct ChildrenFull(pub u32);

impl Table {
    /// Gives a child a lane, empty. One child has one lane; an older row of the same pid is taken
    /// for that of a dead process whose pid was used again.
    pub fn join(&self, pid: i32, generation: u32) -> Result<ChildLane, ChildrenFull> {
        self.reap(pid);
        queue::bury(self.map.tickets(), &|waiting| waiting == pid);
        if let Some(child) = self.take_lane(pid, generation) {
            return Ok(child);
        }
        self.reap_dead(&self.alive);
        self.take_lane(pid, generation).ok_or(ChildrenFull(self.geometry().children))
    }

    fn take_lane(&self, pid: i32, generation: u32) -> Option<ChildLane> {
        let rows = self.map.children();
        let (row, owner) = rows
            .iter()
            .enumerate()
            .find_map(|(row, cells)| children::take(cells, pid, &self.alive).map(|owner| (row, owner)))?;
        rows[row].generation.store(u64::from(generation), Relaxed);
        self.map.header().lanes_used.fetch_max(row as u64 + 1, SeqCst);
        let lane = self.lane(row);
        self.clear_lane(lane);
        Some(ChildLane { row: row as u32, lane, owner })
    }

    fn lane(&self, row: usize) -> Lane {
        Lane::of(row as u32, self.geometry().lane_bits)
    }

    fn clear_lane(&self, lane: Lane) -> u32 {
        let members = self.geometry().members as usize;
        let cells = self.map.lanes().iter().skip(lane.word as usize * members).take(members);
        cells.map(|cell| lanes::clear(cell, lane)).fold(0, u32::saturating_add)
    }

    /// Gives the lane back at a child's end. Returns what was still counted. Safe in a signal
    /// handler; does nothing the second time.
    pub fn leave(&self, child: ChildLane) -> u32 {
        let Some(row) = self.map.children().get(child.row as usize) else { return 0 };
        self.resign(child.owner.pid());
        children::reap(row, child.owner, self.pid, &self.alive, &mut || self.clear_lane(child.lane))
    }

    /// Gives back what a process that has certainly ended (the parent has waited for it) still
    /// counted, and puts right what it left half done. Returns the requests given back.
    pub fn reap(&self, pid: i32) -> u32 {
        self.reap_where(&|owner| owner == pid, &|other| other != pid && (self.alive)(other))
    }

    /// Does so for all children that are not alive, and for rows that another began to empty.
    pub fn reap_dead(&self, alive: &dyn Fn(i32) -> bool) -> u32 {
        self.reap_where(&|owner| !alive(owner), alive)
    }

    fn reap_where(&self, is_dead: &dyn Fn(i32) -> bool, alive: &dyn Fn(i32) -> bool) -> u32 {
        self.finish_for_dead(alive);
        let mut given_back: u32 = 0;
        let mut found = false;
        for (index, row) in self.map.children().iter().enumerate() {
            let owner = Owner::load(&row.owner);
            let dead = owner.phase() == LanePhase::Joined && is_dead(owner.pid());
            if !dead && owner.phase() != LanePhase::Leaving {
                continue;
            }
            if dead {
                found = true;
                lead::resign(&self.map.header().leader, owner.pid());
                // It may have died between a change and its announcement. The row is still there,
                // so that the one who reaps it when this process dies here announces the change as
                // well.
                self.bump_all();
            }
            given_back = given_back.saturating_add(self.reap_row(index, row, owner, alive));
        }
        if found {
            self.sweep_with(alive);
        }
        given_back
    }

    fn reap_row(&self, index: usize, row: &ChildRow, owner: Owner, alive: &dyn Fn(i32) -> bool) -> u32 {
        let lane = self.lane(index);
        children::reap(row, owner, self.pid, alive, &mut || self.clear_lane(lane))
    }

    /// The pids of all children that have a lane, with their generations.
    pub fn children(&self) -> Vec<(i32, u32)> {
        self.children_by_lane().into_iter().map(|(_, pid, generation)| (pid, generation)).collect()
    }

    /// The same, with their lanes.
    pub(crate) fn children_by_lane(&self) -> Vec<(u32, i32, u32)> {
        let rows = (0..).zip(self.map.children());
        rows.filter_map(|(lane, row)| {
            let owner = Owner::load(&row.owner);
            let generation = row.generation.load(Relaxed) as u32;
            (owner.phase() == LanePhase::Joined).then_some((lane, owner.pid(), generation))
        })
        .collect()
    }

    /// Counts a request in at a member. False when the row is not that incarnation any more
    /// (nothing is counted then), or when the lane is full.
    #[inline]
    pub fn begin(&self, child: &ChildLane, slot: Slot, incarnation: u32) -> bool {
        match (self.lane_cell(child.lane.word, slot), self.map.keys().get(slot as usize)) {
            (Some(cell), Some(key)) => lanes::begin(cell, child.lane, &key.life, incarnation),
            _ => false,
        }
    }

    /// Counts it out.
    #[inline]
    pub fn end(&self, child: &ChildLane, slot: Slot) {
        if let Some(cell) = self.lane_cell(child.lane.word, slot) {
            lanes::subtract(cell, child.lane);
        }
    }

    /// Whether no request of this child is at that incarnation of a row, and none can come any
    /// more: it was removed. False as well once the child has given its lane back.
    pub fn is_done_with(&self, child: &ChildLane, slot: Slot, incarnation: u32) -> bool {
        let (Some(cell), Some(key)) =
            (self.lane_cell(child.lane.word, slot), self.map.keys().get(slot as usize))
        else {
            return true;
        };
        lanes::is_over(cell, child.lane, &key.life, incarnation) && self.has_joined(child)
    }

    /// Whether no request of this child is at a row just now. False once the child has given its
    /// lane back.
    pub fn is_away_from(&self, child: &ChildLane, slot: Slot) -> bool {
        let Some(cell) = self.lane_cell(child.lane.word, slot) else { return true };
        lanes::held(cell, child.lane) == 0 && self.has_joined(child)
    }

    /// Looked at last: a lane that is given back is emptied after that.
    fn has_joined(&self, child: &ChildLane) -> bool {
        let row = self.map.children().get(child.row as usize);
        row.is_some_and(|row| Owner::load(&row.owner) == child.owner)
    }

    #[inline]
    fn lane_cell(&self, word: u32, slot: Slot) -> Option<&AtomicU64> {
        let members = self.geometry().members;
        if slot >= members {
            return None;
        }
        self.map.lanes().get(word as usize * members as usize + slot as usize)
    }

    /// The words that hold counts of a member: those of lanes that were ever used.
    pub(crate) fn lane_cells(&self, slot: Slot) -> impl Iterator<Item = &AtomicU64> {
        let members = self.geometry().members as usize;
        let used = self.map.header().lanes_used.load(SeqCst);
        let words = if (slot as usize) < members { self.lane_words_of(used) } else { 0 };
        self.map.lanes().iter().skip(slot as usize).step_by(members).take(words)
    }

    #[inline]
    fn lane_words_of(&self, lanes_used: u64) -> usize {
        let per_word_shift = if self.geometry().lane_bits == 8 { 3 } else { 2 };
        let used = lanes_used.min(u64::from(self.geometry().children)) as usize;
        (used + (1 << per_word_shift) - 1) >> per_word_shift
    }

    /// As [`Table::sum_inflight`] for many: what is the same for all of them is looked up once.
    #[inline]
    pub(crate) fn sum_each_inflight(
        &self,
        slots: impl Iterator<Item = Slot>,
        mut see: impl FnMut(u32) -> bool,
    ) {
        let (geometry, all) = (self.map.geometry_ref(), self.map.lanes());
        let (members, bits) = (geometry.members as usize, geometry.lane_bits);
        let words = self.lane_words_of(self.map.header().lanes_used.load(Relaxed));
        let first = all.get(..members).unwrap_or_default();
        let of_word = |cells: &[AtomicU64], slot: Slot, bits: u8| {
            cells.get(slot as usize).map_or(0, |cell| lanes::sum(cell.load(Relaxed), bits))
        };
        match (words, bits) {
            // Up to four children, eight under prefork.
            (0 | 1, 16) => each(slots, |slot| of_word(first, slot, 16), &mut see),
            (0 | 1, _) => each(slots, |slot| of_word(first, slot, 8), &mut see),
            _ => each_of_rows(slots, all.chunks(members.max(1)).take(words), bits, &mut see),
        }
    }

    #[inline]
    pub(crate) fn sum_inflight(&self, slot: Slot) -> u32 {
        let geometry = self.map.geometry_ref();
        let (members, bits) = (geometry.members as usize, geometry.lane_bits);
        let (cells, at) = (self.map.lanes(), slot as usize);
        let words = self.lane_words_of(self.map.header().lanes_used.load(Relaxed));
        if at >= members || words == 0 {
            return 0;
        }
        let mut sum = cells.get(at).map_or(0, |cell| lanes::sum(cell.load(Relaxed), bits));
        for word in 1..words {
            sum += cells.get(word * members + at).map_or(0, |cell| lanes::sum(cell.load(Relaxed), bits));
        }
        sum
    }
}

#[inline(always)]
fn each(slots: impl Iterator<Item = Slot>, sum: impl Fn(Slot) -> u32, see: &mut impl FnMut(u32) -> bool) {
    for slot in slots {
        if !see(sum(slot)) {
            return;
        }
    }
}

/// Sums the words of many rows, some members at a time, so that neighbouring words are read
/// together.
fn each_of_rows<'a>(
    mut slots: impl Iterator<Item = Slot>,
    rows: impl Iterator<Item = &'a [AtomicU64]> + Clone,
    bits: u8,
    see: &mut impl FnMut(u32) -> bool,
) {
    const AT_ONCE: usize = 32;
    let (mut these, mut sums) = ([0; AT_ONCE], [0u64; AT_ONCE]);
    loop {
        let mut count = 0;
        for (place, slot) in these.iter_mut().zip(&mut slots) {
            *place = slot;
            count += 1;
        }
        if count == 0 {
            return;
        }
        let (these, sums) = (&these[..count], &mut sums[..count]);
        sums.fill(0);
        for row in rows.clone() {
            for (slot, sum) in these.iter().zip(&mut *sums) {
                if let Some(cell) = row.get(*slot as usize) {
                    *sum += lanes::partial_sums(cell.load(Relaxed), bits);
                }
            }
        }
        if !sums.iter().all(|sum| see(lanes::whole_sum(*sum))) {
            return;
        }
    }
}
