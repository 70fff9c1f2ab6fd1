// SPDX-License-Identifier: Apache-2.0
//! A table's own account of its layout, for modules of another one ([`crate::foreign`] reads it).
//!
//! A table says itself where these words lie: its header ends with an *outline*, at the same place
//! in every layout. The meaning of the words is fixed by the outline's own number, [`MARK`]: life
//! words ([`crate::protocol::life`]), names, links and heads of texts ([`crate::protocol::text`]),
//! the lines in them, and a member's eight words (status, latency, outlier, health, requests,
//! failures, since, in that order). A change of their meaning needs another number, and a reader of
//! the older one; a change of their places needs nothing.
//!
//! Its last word says how many *more* words follow it, none in older tables: where the counts of
//! members and pools lie ([`crate::counts`]), each row the row of the same number above.

use crate::counts::{member, pool};
use crate::layout::{
    Geometry, Header, MemberCountsRow, MemberKey, MemberRow, OUTLINE_MORE, OUTLINE_WORDS, PoolCountsRow,
    PoolRow, Sections,
};
use crate::protocol::text::{self, TextChunk};

/// First word of an outline: `LBREAD` and its number, 1.
pub(crate) const MARK: u64 = u64::from_le_bytes(*b"LBREAD\x01\0");
/// Where it is, in words from the table's start.
pub(crate) const PLACE: usize = 20;

const _: () = assert!(std::mem::offset_of!(Header, outline) == PLACE * 8);
const _: () = assert!(std::mem::offset_of!(Header, more) == (PLACE + OUTLINE_WORDS) * 8);

/// A word's number in its row.
macro_rules! field {
    ($row:ty, $name:ident) => {
        std::mem::offset_of!($row, $name) / 8
    };
}

/// The outline of a table of this module's layout.
pub(crate) fn of(geometry: &Geometry) -> [u64; OUTLINE_WORDS] {
    let sections = Sections::of(geometry);
    let place = |section: crate::layout::Section| (section.offset / 8) as u64 | (section.rows as u64) << 32;
    let members = [
        field!(MemberRow, text),
        field!(MemberRow, status),
        field!(MemberRow, latency),
        field!(MemberRow, outlier),
        field!(MemberRow, health),
        field!(MemberRow, requests),
        field!(MemberRow, failures),
    ];
    [
        MARK,
        field!(Header, generation) as u64,
        place(sections.pools),
        row::<PoolRow>(&[
            field!(PoolRow, life),
            field!(PoolRow, name),
            field!(PoolRow, text),
            field!(PoolRow, origin),
        ]),
        place(sections.keys),
        row::<MemberKey>(&[
            field!(MemberKey, life),
            field!(MemberKey, place),
            field!(MemberKey, name),
            field!(MemberKey, url),
        ]),
        place(sections.members),
        row::<MemberRow>(&members),
        field!(MemberRow, since) as u64,
        place(sections.chunks),
        row::<TextChunk>(&[field!(TextChunk, link), field!(TextChunk, data), text::DATA_WORDS]),
        OUTLINE_MORE as u64,
    ]
}

/// The words that follow the outline of such a table.
pub(crate) fn more(geometry: &Geometry) -> [u64; OUTLINE_MORE] {
    let sections = Sections::of(geometry);
    let place = |section: crate::layout::Section| (section.offset / 8) as u64 | (section.rows as u64) << 32;
    [
        place(sections.member_counts),
        row::<MemberCountsRow>(&[field!(MemberCountsRow, words), member::USED]),
        place(sections.pool_counts),
        row::<PoolCountsRow>(&[field!(PoolCountsRow, words), pool::USED]),
        0,
        0,
        0,
        0,
    ]
}

/// A row's words and up to seven numbers of fields, a byte each.
fn row<T>(fields: &[usize]) -> u64 {
    let bytes = std::iter::once(size_of::<T>() / 8).chain(fields.iter().copied());
    bytes.zip(0..8).fold(0, |word, (value, at)| word | (value as u64 & 0xff) << (8 * at))
}
