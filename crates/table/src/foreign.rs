// SPDX-License-Identifier: Apache-2.0
//! The parts of a table of another layout that a module can read by its outline: the members, and
//! the changes made while running.

use std::collections::HashMap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};

use crate::layout::{OUTLINE_MORE, OUTLINE_WORDS};
use crate::mapping::Words;
use crate::outline::{MARK, PLACE};
use crate::place::PoolRef;
use crate::protocol::life::Life;
use crate::protocol::text::{self, RowText};

/// Attempts at reading a text that changes meanwhile.
const TRIES: u32 = 256;

/// Rows of a table of another layout.
#[derive(Clone, Copy)]
struct Rows {
    start: usize,
    count: usize,
    stride: usize,
    fields: u64,
}

impl Rows {
    fn read(place: u64, fields: u64) -> Self {
        Rows {
            start: place as u32 as usize,
            count: (place >> 32) as usize,
            stride: (fields & 0xff) as usize,
            fields,
        }
    }

    /// Whether all rows lie in a memory of so many words.
    fn fits(&self, words: usize) -> bool {
        let end = self.count.checked_mul(self.stride).and_then(|length| length.checked_add(self.start));
        self.stride > 0 && end.is_some_and(|end| end <= words)
    }

    /// The `at`th of the fields, from 1.
    fn field(&self, at: usize) -> usize {
        (self.fields >> (8 * at) & 0xff) as usize
    }
}

/// A pool, as another layout has left it.
pub(crate) struct PoolLeft {
    pub name: String,
    pub origin: u64,
    pub settings: Option<RowText>,
    /// As many words as were counted there.
    pub counts: Vec<u64>,
    pub members: Vec<MemberLeft>,
}

/// A member, as it is taken over.
pub(crate) struct MemberLeft {
    /// Hashes of name and URL.
    pub name: u64,
    pub url: u64,
    pub record: RowText,
    pub status: u64,
    /// latency, outlier, health, requests, failures, since.
    pub observed: [u64; 6],
    /// As many words as were counted there.
    pub counts: Vec<u64>,
}

/// The words behind an outline that are there; zeros for the others.
fn read_more(words: &Words, there: u64) -> [u64; OUTLINE_MORE] {
    let cells = words.cells().get(PLACE + OUTLINE_WORDS..).unwrap_or_default();
    let there = usize::try_from(there).unwrap_or(0);
    let mut more = [0; OUTLINE_MORE];
    for (word, cell) in more.iter_mut().zip(cells.iter().take(there)) {
        *word = cell.load(SeqCst);
    }
    more
}

/// A table of another layout that has an outline.
pub struct Foreign {
    words: Words,
    pools: Rows,
    keys: Rows,
    members: Rows,
    since: usize,
    chunks: Rows,
    member_counts: Rows,
    pool_counts: Rows,
    generation: usize,
}

impl Foreign {
    pub(crate) fn over(words: Words) -> Option<Self> {
        let outline: Vec<u64> =
            words.cells().get(PLACE..PLACE + OUTLINE_WORDS)?.iter().map(|cell| cell.load(SeqCst)).collect();
        if outline[0] != MARK {
            return None;
        }
        let more = read_more(&words, outline[OUTLINE_WORDS - 1]);
        let foreign = Foreign {
            member_counts: Rows::read(more[0], more[1]),
            pool_counts: Rows::read(more[2], more[3]),
            generation: outline[1] as usize,
            pools: Rows::read(outline[2], outline[3]),
            keys: Rows::read(outline[4], outline[5]),
            members: Rows::read(outline[6], outline[7]),
            since: outline[8] as usize & 0xff,
            chunks: Rows::read(outline[9], outline[10]),
            words,
        };
        let all = [foreign.pools, foreign.keys, foreign.members, foreign.chunks];
        let length = foreign.words.cells().len();
        all.iter().all(|rows| rows.fits(length)).then_some(foreign)
    }

    /// Starts a generation there, so that none of its children leads any more. Never goes back.
    pub fn set_generation(&self, generation: u32) {
        if let Some(cell) = self.words.cells().get(self.generation) {
            cell.fetch_max(u64::from(generation), SeqCst);
        }
    }

    /// The `offset`th word of a row; None beyond the memory, whatever the outline says.
    fn cell(&self, rows: Rows, row: usize, offset: usize) -> Option<&AtomicU64> {
        if row >= rows.count {
            return None;
        }
        let at = row.checked_mul(rows.stride)?.checked_add(rows.start)?.checked_add(offset)?;
        self.words.cells().get(at)
    }

    fn word(&self, rows: Rows, row: usize, field: usize) -> Option<u64> {
        self.cell(rows, row, rows.field(field)).map(|cell| cell.load(SeqCst))
    }

    /// The words that were counted in a row; none where nothing was, or beyond the memory.
    fn counts(&self, rows: Rows, row: usize) -> Vec<u64> {
        let words = (0..rows.field(2)).map_while(|at| self.cell(rows, row, rows.field(1) + at));
        words.map(|cell| cell.load(Relaxed)).collect()
    }

    /// All pools with their members.
    pub(crate) fn pools(&self) -> Vec<PoolLeft> {
        let (mut places, mut pools) = (HashMap::new(), Vec::new());
        for (place, pool) in (0..self.pools.count).filter_map(|row| self.pool(row)) {
            places.insert(place, pools.len());
            pools.push(pool);
        }
        for (place, member) in (0..self.keys.count).filter_map(|row| self.member(row)) {
            if let Some(pool) = places.get(&place).and_then(|at| pools.get_mut(*at)) {
                pool.members.push(member);
            }
        }
        pools
    }

    /// A live pool, and what its members carry as their place.
    fn pool(&self, row: usize) -> Option<(u64, PoolLeft)> {
        let life = Life(self.word(self.pools, row, 1)?);
        if !life.is_live() {
            return None;
        }
        let mut name = Vec::with_capacity(64);
        for at in 0..8 {
            let cell = self.cell(self.pools, row, self.pools.field(2) + at)?;
            name.extend_from_slice(&cell.load(SeqCst).to_le_bytes());
        }
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        let left = PoolLeft {
            name: String::from_utf8(name).ok()?,
            origin: self.word(self.pools, row, 4)?,
            settings: self.text(self.pools, row, 3),
            counts: self.counts(self.pool_counts, row),
            members: Vec::new(),
        };
        let pool = PoolRef { row, incarnation: life.incarnation() };
        Life(self.word(self.pools, row, 1)?).same_as(life).then(|| (pool.place(), left))
    }

    /// A live member, and its place.
    fn member(&self, row: usize) -> Option<(u64, MemberLeft)> {
        let life = Life(self.word(self.keys, row, 1)?);
        if !life.is_live() {
            return None;
        }
        let mut observed = [0; 6];
        for (at, word) in observed[..5].iter_mut().enumerate() {
            *word = self.word(self.members, row, 3 + at)?;
        }
        observed[5] = self.cell(self.members, row, self.since)?.load(SeqCst);
        let left = MemberLeft {
            name: self.word(self.keys, row, 3)?,
            url: self.word(self.keys, row, 4)?,
            record: self.text(self.members, row, 1)?,
            status: self.word(self.members, row, 2)?,
            observed,
            counts: self.counts(self.member_counts, row),
        };
        let place = self.word(self.keys, row, 2)?;
        Life(self.word(self.keys, row, 1)?).same_as(life).then_some((place, left))
    }

    /// The text that a row's field links; None when there is none, it is damaged, or it changed too
    /// often meanwhile.
    fn text(&self, rows: Rows, row: usize, field: usize) -> Option<RowText> {
        let cell = self.cell(rows, row, rows.field(field))?;
        let mut seen = cell.load(SeqCst);
        for _ in 0..TRIES {
            let record = text::decode(&mut self.chain(seen as u32));
            fence(Acquire);
            let now = cell.load(SeqCst);
            if now == seen {
                return record;
            }
            seen = now;
        }
        None
    }

    /// The words of a chain of chunks; `head` and links are numbers of chunks and 1. Endless when
    /// damaged.
    fn chain(&self, head: u32) -> impl Iterator<Item = u64> {
        let chunks = self.chunks;
        let (mut chunk, mut at) = (head, 0);
        std::iter::from_fn(move || {
            let row = (chunk as usize).checked_sub(1)?;
            let word = self.cell(chunks, row, chunks.field(2) + at)?.load(Relaxed);
            at += 1;
            if at >= chunks.field(3) {
                at = 0;
                chunk = self.cell(chunks, row, chunks.field(1))?.load(Relaxed) as u32;
            }
            Some(word)
        })
    }
}
