// SPDX-License-Identifier: Apache-2.0
//! Reading, with and without the claim.

use super::{
    DictChunk, EXPIRY, FIRST_PAYLOAD, HASH, Link, NEXT, PAYLOAD, SCALAR, SHAPE, Segment, Shape, TAG, Tag,
    Torn, USED, Value, WORDS,
};
use crate::primitive::{AtomicU64, Ordering::*, fence};

/// Uses of an entry within so many µs are one, so that readers on several processors do not fight
/// for its chunk.
const USE_US: u64 = 16;

/// An entry that a link led to.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    chunks: &'a [DictChunk],
    chunk: &'a DictChunk,
    pub(super) link: Link,
    pub(super) shape: Shape,
}

/// An entry and the cell that links to it.
pub(super) struct Place<'a> {
    pub(super) cell: &'a AtomicU64,
    pub(super) entry: Entry<'a>,
}

impl<'a> Segment<'a> {
    /// The entry of a key, expired or not.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Result<Option<Entry<'a>>, Torn> {
        Ok(self.place(hash, key)?.map(|place| place.entry))
    }

    #[inline]
    pub(super) fn place(&self, hash: u64, key: &[u8]) -> Result<Option<Place<'a>>, Torn> {
        let mut found = None;
        self.walk(self.bucket(hash), &mut |cell, entry, its_hash| {
            let same = its_hash == hash && entry.shape.key() == key.len() && entry.has_key(key);
            if same {
                found = Some(Place { cell, entry });
            }
            !same
        })?;
        match &found {
            // The key was read after the walk's check.
            Some(place) if !place.entry.is_valid() => Err(Torn),
            _ => Ok(found),
        }
    }

    /// Calls `f` with the entries of a bucket and their hashes until it returns false.
    #[inline]
    pub(super) fn walk(
        &self,
        bucket: &'a AtomicU64,
        f: &mut impl FnMut(&'a AtomicU64, Entry<'a>, u64) -> bool,
    ) -> Result<(), Torn> {
        let mut cell = bucket;
        let mut link = Link(bucket.load(Acquire));
        for _ in 0..=self.chunks.len() {
            let Some(index) = link.index() else { return Ok(()) };
            let chunk = self.chunks.get(index).ok_or(Torn)?;
            let entry = Entry { chunks: self.chunks, chunk, link, shape: Shape(chunk.get(SHAPE)) };
            let hash = chunk.get(HASH);
            let next = Link(chunk.words[NEXT].load(Acquire));
            if !entry.is_valid() {
                return Err(Torn);
            }
            if !f(cell, entry, hash) {
                return Ok(());
            }
            // The words that `f` has read may have been another entry's, and made it go on.
            if !entry.is_valid() {
                return Err(Torn);
            }
            cell = &chunk.words[NEXT];
            link = next;
        }
        Err(Torn)
    }

    /// Last use and key of the entries in a bucket that have not expired.
    pub fn entries(&self, bucket: usize, now: u64, found: &mut Vec<(u64, Vec<u8>)>) -> Result<(), Torn> {
        let Some(bucket) = self.buckets.get(bucket) else { return Ok(()) };
        let before = found.len();
        let walked = self.walk(bucket, &mut |_, entry, _| {
            if !entry.is_expired(now) {
                found.push((entry.used(), entry.key()));
            }
            // The words count if the entry is valid afterwards; the walk looks.
            true
        });
        if walked.is_err() {
            found.truncate(before);
        }
        walked
    }
}

impl<'a> Entry<'a> {
    /// Whether all that was read so far is this entry's.
    #[inline]
    pub fn is_valid(&self) -> bool {
        fence(Acquire);
        let tag = Tag(self.chunk.words[TAG].load(Relaxed));
        tag.is_head() && tag.stamp() == self.link.stamp()
    }

    /// Whether its time is over.
    #[inline]
    pub fn is_expired(&self, now: u64) -> bool {
        let expiry = self.expiry();
        expiry != 0 && expiry <= now
    }

    /// End of its time in µs of the clock, 0 for never.
    #[inline]
    pub fn expiry(&self) -> u64 {
        self.chunk.get(EXPIRY)
    }

    /// When it was last used.
    pub fn used(&self) -> u64 {
        self.chunk.get(USED)
    }

    /// Notes that it is used.
    #[inline]
    pub fn touch(&self, now: u64) {
        if now > self.used().saturating_add(USE_US) {
            self.chunk.set(USED, now);
        }
    }

    /// Changes a scalar in place; for the holder of the claim.
    pub(super) fn set_scalar(&self, value: u64) {
        self.chunk.words[SCALAR].store(value, Release);
    }

    /// Changes the end of its time; for the holder of the claim.
    pub fn set_expiry(&self, expiry: u64) {
        self.chunk.words[EXPIRY].store(expiry, Release);
    }

    /// The next entry's link.
    pub(super) fn next(&self) -> u64 {
        self.chunk.words[NEXT].load(Acquire)
    }

    /// The key. To be thrown away unless the entry is valid afterwards.
    pub fn key(&self) -> Vec<u8> {
        self.payload().take(self.shape.key())
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> Result<Value, Torn> {
        let scalar = self.chunk.get(SCALAR);
        let value = match self.shape.kind() {
            1 => Value::Bool(scalar != 0),
            2 => Value::Integer(scalar.cast_signed()),
            3 => Value::Number(f64::from_bits(scalar)),
            _ => {
                let mut payload = self.payload();
                payload.skip(self.shape.key().div_ceil(8));
                Value::Text(payload.take(self.shape.text()))
            }
        };
        if self.is_valid() { Ok(value) } else { Err(Torn) }
    }

    #[inline]
    fn has_key(&self, key: &[u8]) -> bool {
        let mut payload = self.payload();
        words(key).all(|word| payload.next() == Some(word))
    }

    fn payload(&self) -> Payload<'a> {
        Payload { chunks: self.chunks, chunk: self.chunk, at: FIRST_PAYLOAD }
    }
}

/// Bytes as words, the last one padded with zeros.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks(8).map(|piece| match piece.first_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word),
        None => {
            let mut padded = [0; 8];
            padded[..piece.len()].copy_from_slice(piece);
            u64::from_le_bytes(padded)
        }
    })
}

/// The words of key and text, over all chunks of an entry. Ends early, or tells nonsense, when the
/// entry goes meanwhile.
pub(super) struct Payload<'a> {
    pub(super) chunks: &'a [DictChunk],
    pub(super) chunk: &'a DictChunk,
    pub(super) at: usize,
}

impl<'a> Payload<'a> {
    /// The next cell.
    #[inline]
    pub(super) fn cell(&mut self) -> Option<&'a AtomicU64> {
        if self.at == WORDS {
            self.chunk = self.chunks.get(self.chunk.tag().next()?)?;
            self.at = PAYLOAD;
        }
        let cell = &self.chunk.words[self.at];
        self.at += 1;
        Some(cell)
    }

    #[inline]
    fn next(&mut self) -> Option<u64> {
        self.cell().map(|cell| cell.load(Relaxed))
    }

    #[inline]
    fn skip(&mut self, words: usize) {
        for _ in 0..words {
            if self.cell().is_none() {
                return;
            }
        }
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut taken = Vec::with_capacity(bytes.next_multiple_of(8));
        for _ in 0..bytes.div_ceil(8) {
            match self.next() {
                Some(word) => taken.extend_from_slice(&word.to_le_bytes()),
                None => break,
            }
        }
        taken.truncate(bytes);
        taken
    }
}
