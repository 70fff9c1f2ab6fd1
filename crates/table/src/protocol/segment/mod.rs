// SPDX-License-Identifier: Apache-2.0
//! A segment of a dictionary: a hash table of entries in chunks of equal size, with one claim for
//! its writers.
//!
//! **Entries.** An entry is a chain of chunks: the first holds its fields and the beginning of key
//! and value, the others the rest. All chunks of an entry carry its *stamp*, which no other entry
//! of the segment has had. A *link* is a chunk's number together with the stamp that is to be found
//! there. Entries of a bucket are chained by links.
//!
//! **Writers** hold the claim (see [`super::claim`]). They write a new entry into free chunks,
//! where nobody reads, and publish it by storing one link: into the bucket, or in the place of the
//! entry that it replaces. Removing an entry is one store as well. Numbers that stay what they are,
//! and times, change by one store in place. Only afterwards the chunks of the old entry go to the
//! free list, which begins with taking the stamp from the first of them. So at every instant the
//! entries that can be reached are whole, and each is the old one or the new one.
//!
//! **Readers** hold nothing and wait for nobody. They follow links, and the bytes that they have
//! read count if the entry's first chunk still has the link's stamp afterwards: the stamp goes
//! before any chunk of the entry is written anew, and the writer's release fence and the reader's
//! acquire fence between make sure that a reader of new words sees that. Otherwise they begin again
//! at the bucket, where the replacement was published before the stamp was taken away. Thus an
//! entry that is only being overwritten is never absent, and one that a stopped writer is working
//! on is read as it was.
//!
//! **Death.** A process may die between any two stores. Everything that can be reached is whole;
//! chunks that it had taken or not yet given back are not reachable. The free list and its counters
//! are the only things that may be wrong, and the process that takes the claim over makes them anew
//! from the reachable chunks.
//!
//! **Recent use** is a word in each chunk that nothing else uses, so that a reader that marks an
//! entry too late, when its chunk is another's, does no harm.

mod read;
mod recover;
mod room;
mod write;

pub use read::Entry;
pub use write::{How, Item, Refusal};

use crate::primitive::{AtomicU64, Ordering::*};

/// Words of a chunk.
pub const WORDS: usize = 16;
/// Chunks of a segment at most.
pub const MAX_CHUNKS: usize = INDEX_MASK as usize - 1;
/// Bytes of a key at most.
pub const MAX_KEY: usize = 65_535;

/// The place of the [`Tag`] in every chunk.
const TAG: usize = 0;
/// The place in an entry's first chunk of the time when it was last read or written, in µs.
const USED: usize = 1;
/// The rest is an entry's first chunk's. The next entry's link.
const NEXT: usize = 2;
const HASH: usize = 3;
/// In µs of the clock, 0 for never.
const EXPIRY: usize = 4;
/// [`Shape`].
const SHAPE: usize = 5;
/// A number or boolean.
const SCALAR: usize = 6;
/// Where key and text begin.
const FIRST_PAYLOAD: usize = 7;
/// Where they go on in the other chunks.
const PAYLOAD: usize = 2;

const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
const HEAD: u64 = 1 << INDEX_BITS;
const STAMP_SHIFT: u32 = INDEX_BITS + 1;
/// Stamps are 1 ..= this.
const STAMPS: u64 = (1 << (64 - STAMP_SHIFT)) - 1;

/// A chunk: 128 bytes.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct DictChunk {
    words: [AtomicU64; WORDS],
}

impl DictChunk {
    /// A chunk that was never used.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        DictChunk { words: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    fn tag(&self) -> Tag {
        Tag(self.words[TAG].load(Relaxed))
    }

    fn get(&self, word: usize) -> u64 {
        self.words[word].load(Relaxed)
    }

    fn set(&self, word: usize, value: u64) {
        self.words[word].store(value, Relaxed);
    }
}

/// The words of a segment's writers: 128 bytes. All but the claim are the holder's.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct SegmentHead {
    /// See [`super::claim`].
    pub claim: AtomicU64,
    /// A claim that somebody has waited for too long: others wait for it only briefly.
    pub stalled: AtomicU64,
    /// First chunk of the free list and 1, 0 for none.
    free: AtomicU64,
    /// Chunks in that list.
    free_count: AtomicU64,
    /// Chunks from this number on were never used.
    fresh: AtomicU64,
    /// The last stamp.
    stamp: AtomicU64,
    /// Where to look for entries that are due to go, and how old these are; see `room`.
    hand: AtomicU64,
    cutoff: AtomicU64,
    /// Entries that had time left and were thrown out. 0 in those of a module that counted none.
    evictions: AtomicU64,
    spare: [AtomicU64; 7],
}

impl SegmentHead {
    /// The head of an empty segment.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let cell = || AtomicU64::new(0);
        SegmentHead {
            claim: cell(),
            stalled: cell(),
            free: cell(),
            free_count: cell(),
            fresh: cell(),
            stamp: cell(),
            hand: cell(),
            cutoff: cell(),
            evictions: cell(),
            spare: std::array::from_fn(|_| cell()),
        }
    }
}

/// A chunk's first word: the next chunk of the entry (or of the free list) and 1, whether it is an
/// entry's first chunk, and the stamp, 0 for a free chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag(u64);

impl Tag {
    fn new(stamp: u64, head: bool, next: u64) -> Self {
        Tag(stamp << STAMP_SHIFT | if head { HEAD } else { 0 } | next & INDEX_MASK)
    }

    fn stamp(self) -> u64 {
        self.0 >> STAMP_SHIFT
    }

    /// Whether a live or half made entry begins here.
    fn is_head(self) -> bool {
        self.0 & HEAD != 0 && self.stamp() != 0
    }

    fn next(self) -> Option<usize> {
        ((self.0 & INDEX_MASK) as usize).checked_sub(1)
    }
}

/// A chunk's number and 1, and the stamp to be found there; 0 for the end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link(u64);

impl Link {
    fn new(index: usize, stamp: u64) -> Self {
        Link(stamp << STAMP_SHIFT | (index as u64 + 1) & INDEX_MASK)
    }

    fn index(self) -> Option<usize> {
        ((self.0 & INDEX_MASK) as usize).checked_sub(1)
    }

    fn stamp(self) -> u64 {
        self.0 >> STAMP_SHIFT
    }
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Any bytes.
    Text(Vec<u8>),
}

/// A whole number if it is one that a float holds exactly.
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        const EXACT: f64 = (1u64 << 53) as f64;
        if value.fract() == 0.0 && value.abs() <= EXACT {
            Value::Integer(value as i64)
        } else {
            Value::Number(value)
        }
    }
}

impl Value {
    fn shape(&self, key: &[u8]) -> Shape {
        let (kind, length) = match self {
            Value::Bool(_) => (1, 0),
            Value::Integer(_) => (2, 0),
            Value::Number(_) => (3, 0),
            Value::Text(text) => (4, text.len()),
        };
        Shape(kind << 56 | (key.len() as u64 & INDEX_MASK) << 32 | length as u64 & 0xffff_ffff)
    }

    fn scalar(&self) -> u64 {
        match self {
            Value::Bool(flag) => u64::from(*flag),
            Value::Integer(number) => number.cast_unsigned(),
            Value::Number(number) => number.to_bits(),
            Value::Text(_) => 0,
        }
    }

    fn text(&self) -> &[u8] {
        match self {
            Value::Text(text) => text,
            _ => &[],
        }
    }
}

/// Kind of the value << 56 | bytes of the key << 32 | bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape(u64);

impl Shape {
    fn kind(self) -> u64 {
        self.0 >> 56
    }

    fn is_text(self) -> bool {
        self.kind() == 4
    }

    fn is_number(self) -> bool {
        matches!(self.kind(), 2 | 3)
    }

    fn key(self) -> usize {
        (self.0 >> 32 & INDEX_MASK) as usize
    }

    fn text(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    /// Chunks of an entry.
    fn chunks(self) -> usize {
        let words = self.key().div_ceil(8) + self.text().div_ceil(8);
        1 + words.saturating_sub(WORDS - FIRST_PAYLOAD).div_ceil(WORDS - PAYLOAD)
    }
}

/// The words that were read belong to several entries: begin again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn;

/// A segment.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Its writers' words.
    pub head: &'a SegmentHead,
    /// Links of the buckets' first entries.
    pub buckets: &'a [AtomicU64],
    /// Its chunks, at most [`MAX_CHUNKS`].
    pub chunks: &'a [DictChunk],
}

impl<'a> Segment<'a> {
    /// The bucket of a hash. There is one at least.
    fn bucket(&self, hash: u64) -> &'a AtomicU64 {
        let at = ((hash & 0xffff_ffff) * self.buckets.len() as u64) >> 32;
        &self.buckets[at as usize]
    }

    /// Chunks that are free. Exact for the holder of the claim.
    pub fn available(&self) -> usize {
        let fresh = self.chunks.len().saturating_sub(self.head.fresh.load(Relaxed) as usize);
        self.head.free_count.load(Relaxed) as usize + fresh
    }

    /// The largest entry, in chunks: two of them fit, so that one can be replaced by another.
    pub fn largest(&self) -> usize {
        self.chunks.len() / 2
    }

    /// Bytes of key and text that always fit into the largest entry.
    pub fn largest_bytes(&self) -> usize {
        let words = WORDS - FIRST_PAYLOAD + (self.largest() - 1) * (WORDS - PAYLOAD);
        // Key and text begin at a word each.
        words * 8 - 14
    }
}
