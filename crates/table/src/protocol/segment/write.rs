// SPDX-License-Identifier: Apache-2.0
//! Changing a segment, for the holder of its claim.

use super::read::{Payload, Place, words};
use super::{
    EXPIRY, FIRST_PAYLOAD, HASH, Link, MAX_KEY, NEXT, SCALAR, SHAPE, STAMPS, Segment, TAG, Tag, USED, Value,
};
use crate::primitive::{AtomicU64, Ordering::*, fence, step};

/// The way in which a storing operation stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// In any case.
    Set,
    /// Only when the key is absent.
    Add,
    /// Only when the key is there.
    Replace,
}

/// Why nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// For [`How::Add`].
    Exists,
    /// For [`How::Replace`] and `incr`.
    NotFound,
    /// For `incr`.
    NotANumber,
    /// Key and value are longer than fits, or nothing may go to make room.
    NoMemory,
}

/// A key to be stored, with the circumstances.
#[derive(Debug, Clone, Copy)]
pub struct Item<'k> {
    /// Hash of the key.
    pub hash: u64,
    /// The key.
    pub key: &'k [u8],
    /// End of its time in µs of the clock, 0 for never.
    pub expiry: u64,
    /// µs of the clock.
    pub now: u64,
    /// Whether others may be thrown out for it.
    pub evict: bool,
}

impl<'a> Segment<'a> {
    /// The entry's place. The holder of the claim reads nothing torn; if it does, the memory is
    /// damaged, and the segment is put right.
    fn held(&self, hash: u64, key: &[u8]) -> Option<Place<'a>> {
        for _ in 0..2 {
            match self.place(hash, key) {
                Ok(place) => return place,
                Err(_) => self.recover(),
            }
        }
        None
    }

    /// Stores a value. True: entries that had time left were thrown out for it.
    pub fn store(&self, how: How, item: &Item<'_>, value: &Value) -> Result<bool, Refusal> {
        let old = self.held(item.hash, item.key);
        let lives = old.as_ref().is_some_and(|old| !old.entry.is_expired(item.now));
        match (how, lives) {
            (How::Add, true) => return Err(Refusal::Exists),
            (How::Replace, false) => return Err(Refusal::NotFound),
            _ => {}
        }
        self.put(old, item, value)
    }

    /// Adds to a number; an absent one starts at `init`, if there is one. Gives the sum, and as
    /// [`Segment::store`] says.
    pub fn incr(&self, item: &Item<'_>, by: &Value, init: Option<&Value>) -> Result<(Value, bool), Refusal> {
        let old = self.held(item.hash, item.key);
        let live = old.as_ref().filter(|old| !old.entry.is_expired(item.now));
        let Some(live) = live else {
            let value = sum(init.ok_or(Refusal::NotFound)?, by);
            return self.put(old, item, &value).map(|evicted| (value, evicted));
        };
        if !live.entry.shape.is_number() {
            return Err(Refusal::NotANumber);
        }
        let before = live.entry.value().map_err(|_| Refusal::NotFound)?;
        let value = sum(&before, by);
        let item = Item { expiry: live.entry.expiry(), ..*item };
        self.put(old, &item, &value).map(|evicted| (value, evicted))
    }

    /// Removes a key.
    pub fn delete(&self, hash: u64, key: &[u8]) {
        if let Some(place) = self.held(hash, key) {
            self.remove(&place);
        }
    }

    /// Removes everything.
    pub fn clear(&self) {
        for bucket in self.buckets {
            bucket.store(0, Release);
            step();
        }
        self.recover();
    }

    /// Puts the value in the place of `old`, or in front of the bucket.
    fn put(&self, old: Option<Place<'a>>, item: &Item<'_>, value: &Value) -> Result<bool, Refusal> {
        let shape = value.shape(item.key);
        if let Some(old) = &old
            && !shape.is_text()
            && old.entry.shape == shape
            && old.entry.expiry() == item.expiry
        {
            old.entry.set_scalar(value.scalar());
            old.entry.touch(item.now);
            return Ok(false);
        }
        let need = shape.chunks();
        let too_long = item.key.len() > MAX_KEY || value.text().len() > u32::MAX as usize;
        if too_long || need > self.largest() {
            return Err(Refusal::NoMemory);
        }
        let (mut place, mut evicted) = (old, false);
        if self.available() < need {
            let keep = place.as_ref().and_then(|old| old.entry.link.index());
            evicted = self.make_room(need, keep, item.now, item.evict)?;
            place = self.held(item.hash, item.key);
        }
        let bucket = self.bucket(item.hash);
        let next = place.as_ref().map_or_else(|| bucket.load(Relaxed), |old| old.entry.next());
        let link = self.write(item, value, need, next);
        step();
        match place {
            Some(old) => {
                old.cell.store(link.0, Release);
                step();
                if let Some(index) = old.entry.link.index() {
                    self.free(index);
                }
            }
            None => bucket.store(link.0, Release),
        }
        step();
        Ok(evicted)
    }

    /// Writes an entry into free chunks, of which there are enough.
    fn write(&self, item: &Item<'_>, value: &Value, need: usize, next: u64) -> Link {
        let stamp = self.next_stamp();
        let mut rest = 0;
        for number in (0..need).rev() {
            let index = self.take_chunk();
            self.chunks[index].set(TAG, Tag::new(stamp, number == 0, rest).0);
            rest = index as u64 + 1;
            step();
        }
        // A reader that sees what is written from here on sees the new stamps as well.
        fence(Release);
        let index = (rest as usize).saturating_sub(1);
        let chunk = &self.chunks[index];
        chunk.set(USED, item.now);
        chunk.set(NEXT, next);
        chunk.set(HASH, item.hash);
        chunk.set(EXPIRY, item.expiry);
        chunk.set(SHAPE, value.shape(item.key).0);
        chunk.set(SCALAR, value.scalar());
        let mut payload = Payload { chunks: self.chunks, chunk, at: FIRST_PAYLOAD };
        for word in words(item.key).chain(words(value.text())) {
            if let Some(cell) = payload.cell() {
                cell.store(word, Relaxed);
            }
        }
        Link::new(index, stamp)
    }

    /// Leaves the words of a writer that dies before it has linked the new entry; for checks of the
    /// protocol.
    #[cfg(loom)]
    pub fn leave_half_written(&self, hash: u64, key: &[u8], value: &Value) {
        let item = Item { hash, key, expiry: 0, now: 1, evict: false };
        self.write(&item, value, value.shape(key).chunks(), 0);
    }

    fn next_stamp(&self) -> u64 {
        let stamp = self.head.stamp.load(Relaxed) % STAMPS + 1;
        self.head.stamp.store(stamp, Relaxed);
        stamp
    }

    /// The next free chunk. There is one: `available` was asked.
    fn take_chunk(&self) -> usize {
        let head = self.head;
        match (head.free.load(Relaxed) as usize).checked_sub(1).filter(|index| *index < self.chunks.len()) {
            Some(index) => {
                let next = self.chunks[index].tag().next().map_or(0, |next| next as u64 + 1);
                head.free.store(next, Relaxed);
                head.free_count.store(head.free_count.load(Relaxed).saturating_sub(1), Relaxed);
                index
            }
            None => {
                let index = head.fresh.load(Relaxed) as usize;
                head.fresh.store(index as u64 + 1, Relaxed);
                index.min(self.chunks.len() - 1)
            }
        }
    }

    /// Unlinks an entry and frees its chunks.
    pub(super) fn remove(&self, place: &Place<'a>) {
        place.cell.store(place.entry.next(), Release);
        step();
        if let Some(index) = place.entry.link.index() {
            self.free(index);
        }
    }

    /// Gives the chunks of an entry that nothing links to any more back, the first one first:
    /// readers look at its stamp.
    fn free(&self, index: usize) {
        let stamp = self.chunks[index].tag().stamp();
        let mut at = Some(index);
        while let Some(index) = at.filter(|index| *index < self.chunks.len()) {
            let tag = self.chunks[index].tag();
            if tag.stamp() != stamp {
                return;
            }
            at = tag.next();
            self.chunks[index].set(TAG, Tag::new(0, false, self.head.free.load(Relaxed)).0);
            self.head.free.store(index as u64 + 1, Relaxed);
            self.head.free_count.store(self.head.free_count.load(Relaxed) + 1, Relaxed);
            step();
        }
    }

    /// The cell that links to an entry.
    pub(super) fn place_of(&self, index: usize) -> Option<Place<'a>> {
        let bucket: &AtomicU64 = self.bucket(self.chunks.get(index)?.get(HASH));
        let mut found = None;
        self.walk(bucket, &mut |cell, entry, _| {
            let same = entry.link.index() == Some(index);
            if same {
                found = Some(Place { cell, entry });
            }
            !same
        })
        .ok()?;
        found
    }
}

/// Whole numbers stay whole unless something else is added, or they grow too large.
fn sum(before: &Value, by: &Value) -> Value {
    match (before, by) {
        (Value::Integer(before), Value::Integer(by)) => {
            before.checked_add(*by).map_or_else(|| Value::Number(*before as f64 + *by as f64), Value::Integer)
        }
        (Value::Integer(before), Value::Number(by)) => Value::Number(*before as f64 + by),
        (Value::Number(before), Value::Integer(by)) => Value::Number(before + *by as f64),
        (Value::Number(before), Value::Number(by)) => Value::Number(before + by),
        (other, _) => other.clone(),
    }
}
