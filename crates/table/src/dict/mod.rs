// SPDX-License-Identifier: Apache-2.0
//! Dictionaries: bounded key/value stores in shared memory, for scripts.
//!
//! A dictionary is one mapping: a header, and segments. A key belongs to one segment, by its hash.
//! How a segment is read without waiting and written by one thread at a time, and what becomes of
//! it when that thread dies, stands at [`crate::protocol::segment`] and [`crate::protocol::claim`].
//! Here is who waits how long for whom.
//!
//! A writer that finds its segment claimed yields and sleeps for moments, and asks now and then
//! how the holder is. The claim of a dead one it takes over. For one that is stopped it waits for
//! [`PATIENCE`], for one that runs and does not get on (since the processors are busy with others)
//! for [`LONG_PATIENCE`], and says [`DictError::Busy`] then; until that claim is let go, others
//! wait for it only briefly. Readers are not concerned.

mod geometry;
mod memory;
#[cfg(test)]
mod tests;
mod wait;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xxhash_rust::xxh64::xxh64;

pub use self::geometry::{MAX_SIZE, MIN_SIZE};
use self::memory::Memory;
pub use self::memory::OpenError;
use self::wait::Waiting;
pub use self::wait::{Condition, LONG_PATIENCE, PATIENCE, Processes};
pub use crate::protocol::claim::Process;
use crate::protocol::claim::{self, Claim, Taken};
use crate::protocol::segment::{Entry, How, Item, Refusal, Segment, Torn};
pub use crate::protocol::segment::{How as Store, MAX_KEY, Value};

/// Attempts at reading what is being changed all the time, before it waits among the writers.
const READ_TRIES: u32 = 256;

/// Why a dictionary did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DictError {
    /// For [`Store::Add`].
    #[error("exists")]
    Exists,
    /// For [`Store::Replace`], `incr`, `ttl` and `expire`.
    #[error("not found")]
    NotFound,
    /// For `incr`.
    #[error("not a number")]
    NotANumber,
    /// Larger than fits, or full and nothing may go.
    #[error("no memory")]
    NoMemory,
    /// Another process writes there and does not go on.
    #[error("busy: a process that writes there does not go on")]
    Busy,
}

impl From<Refusal> for DictError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Exists => DictError::Exists,
            Refusal::NotFound => DictError::NotFound,
            Refusal::NotANumber => DictError::NotANumber,
            Refusal::NoMemory => DictError::NoMemory,
        }
    }
}

/// A handle on a dictionary. Cheap to clone.
#[derive(Clone)]
pub struct Dict {
    memory: Arc<Memory>,
    processes: Processes,
    evicts: bool,
}

impl std::fmt::Debug for Dict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dict").field("size", &self.size()).field("me", &self.processes.me).finish()
    }
}

/// The claim of a segment. Let go when dropped; marked as abandoned when a panic drops it.
struct Held<'d> {
    segment: Segment<'d>,
    mine: Claim,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            claim::abandon(&self.segment.head.claim, self.mine);
        } else {
            claim::release(&self.segment.head.claim, self.mine);
        }
    }
}

impl Dict {
    /// Makes an empty dictionary in zeroed shared memory. `seed` goes into the hashes, so that
    /// nobody outside can choose keys that collide.
    ///
    /// # Safety
    /// As for [`crate::Table::create`].
    #[allow(unsafe_code)]
    pub unsafe fn create(
        base: *mut u8,
        size: usize,
        seed: u64,
        processes: Processes,
    ) -> Result<Self, OpenError> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { Memory::create(base, size, seed) }.map(|memory| Dict::over(memory, processes))
    }

    /// Opens a dictionary that is there already.
    ///
    /// # Safety
    /// As for [`crate::Table::attach`].
    #[allow(unsafe_code)]
    pub unsafe fn attach(base: *mut u8, size: usize, processes: Processes) -> Result<Self, OpenError> {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { Memory::attach(base, size) }.map(|memory| Dict::over(memory, processes))
    }

    /// A dictionary in this process's own memory, for tests and `configtest`.
    pub fn on_heap(size: usize, seed: u64, processes: Processes) -> Result<Self, OpenError> {
        Memory::on_heap(size, seed).map(|memory| Dict::over(memory, processes))
    }

    fn over(memory: Memory, processes: Processes) -> Self {
        Dict { memory: Arc::new(memory), processes, evicts: true }
    }

    /// Says who uses this handle; after a fork.
    #[must_use]
    pub fn with_identity(mut self, me: Process) -> Self {
        self.processes.me = me;
        self
    }

    /// Refuses what does not fit instead of throwing others out.
    #[must_use]
    pub fn never_evicting(mut self) -> Self {
        self.evicts = false;
        self
    }

    /// Bytes of its memory.
    pub fn size(&self) -> usize {
        self.memory.geometry().size
    }

    /// Bytes of the largest key and value.
    pub fn largest(&self) -> usize {
        self.memory.segment(0).largest_bytes()
    }

    /// The value, unless absent or past its time.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Result<Option<Value>, DictError> {
        let now = (self.processes.now_us)();
        let value = self.read(key, |entry| {
            if entry.is_expired(now) {
                return if entry.is_valid() { Ok(None) } else { Err(Torn) };
            }
            let value = entry.value()?;
            entry.touch(now);
            Ok(Some(value))
        })?;
        Ok(value.flatten())
    }

    /// The value, also of an entry past its time that nothing has taken the place of, and whether
    /// it is.
    pub fn get_stale(&self, key: &[u8]) -> Result<Option<(Value, bool)>, DictError> {
        let now = (self.processes.now_us)();
        self.read(key, |entry| {
            let is_over = entry.is_expired(now);
            Ok((entry.value()?, is_over))
        })
    }

    /// Stores; `ttl` in seconds, 0 for ever. True: entries that had time left were thrown out for
    /// it.
    pub fn store(&self, how: Store, key: &[u8], value: &Value, ttl: f64) -> Result<bool, DictError> {
        let now = (self.processes.now_us)();
        self.change(key, now, until(now, ttl), |segment, item| segment.store(how, item, value))
    }

    /// As [`Dict::store`], and throws nothing out.
    pub fn store_safely(&self, how: Store, key: &[u8], value: &Value, ttl: f64) -> Result<(), DictError> {
        self.clone().never_evicting().store(how, key, value, ttl).map(|_| ())
    }

    /// Adds to a number; an absent one starts at `init` and lives `init_ttl` seconds (0 for ever),
    /// if there is an `init`. Whole numbers stay whole. Gives the sum, and as [`Dict::store`] says.
    pub fn incr(
        &self,
        key: &[u8],
        by: f64,
        init: Option<f64>,
        init_ttl: f64,
    ) -> Result<(Value, bool), DictError> {
        self.incr_exactly(key, &by.into(), init.map(Value::from).as_ref(), init_ttl)
    }

    /// As [`Dict::incr`], for whole numbers that no float holds.
    pub fn incr_exactly(
        &self,
        key: &[u8],
        by: &Value,
        init: Option<&Value>,
        init_ttl: f64,
    ) -> Result<(Value, bool), DictError> {
        let now = (self.processes.now_us)();
        self.change(key, now, until(now, init_ttl), |segment, item| segment.incr(item, by, init))
    }

    /// Removes a key.
    pub fn delete(&self, key: &[u8]) -> Result<(), DictError> {
        let (hash, segment) = self.segment_of(key);
        self.claim(segment)?.segment.delete(hash, key);
        Ok(())
    }

    /// Seconds left, 0 for ever.
    pub fn ttl(&self, key: &[u8]) -> Result<f64, DictError> {
        let now = (self.processes.now_us)();
        let expiry = self.read(key, |entry| {
            let expiry = entry.expiry();
            if entry.is_valid() { Ok(expiry) } else { Err(Torn) }
        })?;
        match expiry {
            Some(0) => Ok(0.0),
            Some(expiry) if expiry > now => Ok((expiry - now).div_ceil(1000) as f64 / 1e3),
            _ => Err(DictError::NotFound),
        }
    }

    /// Sets the seconds left, 0 for ever.
    pub fn expire(&self, key: &[u8], ttl: f64) -> Result<(), DictError> {
        let now = (self.processes.now_us)();
        self.change(key, now, until(now, ttl), |segment, item| match segment.find(item.hash, key) {
            Ok(Some(entry)) if !entry.is_expired(now) => {
                entry.set_expiry(item.expiry);
                entry.touch(now);
                Ok(())
            }
            _ => Err(Refusal::NotFound),
        })
    }

    /// Keys, at most `max` (0: all). Keys that are there all the while are among all.
    pub fn keys(&self, max: usize) -> Result<Vec<Vec<u8>>, DictError> {
        Ok(self.entries(max)?.into_iter().map(|(_, key)| key).collect())
    }

    /// Last use and key of entries.
    fn entries(&self, max: usize) -> Result<Vec<(u64, Vec<u8>)>, DictError> {
        let now = (self.processes.now_us)();
        let mut found = Vec::new();
        for segment in self.segments() {
            for bucket in 0..segment.buckets.len() {
                self.patiently(segment, |segment| segment.entries(bucket, now, &mut found))?;
                if max > 0 && found.len() >= max {
                    found.truncate(max);
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    /// Removes everything. When a part is busy, all the others are empty.
    pub fn clear(&self) -> Result<(), DictError> {
        let mut result = Ok(());
        for segment in self.segments() {
            match self.claim(segment) {
                Ok(held) => held.segment.clear(),
                Err(busy) => result = Err(busy),
            }
        }
        result
    }

    /// Frees entries whose time is over, at most `max` (0: all). Gives their number.
    pub fn purge(&self, max: usize) -> Result<usize, DictError> {
        let now = (self.processes.now_us)();
        let mut gone = 0;
        for segment in self.segments() {
            let left = if max == 0 { 0 } else { max - gone };
            gone += self.claim(segment)?.segment.purge(now, left);
            if max > 0 && gone >= max {
                break;
            }
        }
        Ok(gone)
    }

    /// Bytes in all, and bytes free.
    pub fn room(&self) -> (usize, usize) {
        let free: usize = self.segments().map(|segment| segment.available()).sum();
        (self.size(), free * geometry::CHUNK)
    }

    /// Entries that had time left and were thrown out for others, so far.
    pub fn evictions(&self) -> u64 {
        self.segments().map(|segment| segment.evictions()).fold(0, u64::wrapping_add)
    }

    /// The refusal that was noted last, and when: epoch seconds.
    pub fn last_refusal(&self) -> Option<(DictError, u64)> {
        let word = self.memory.header().refusal.load(Relaxed);
        let error = match word & 3 {
            1 => DictError::NoMemory,
            2 => DictError::Busy,
            _ => return None,
        };
        Some((error, word >> 2))
    }

    /// Notes a refusal that an administrator may want to know of: [`DictError::NoMemory`] or
    /// [`DictError::Busy`]. `at_s`: epoch seconds.
    pub fn note_refusal(&self, error: DictError, at_s: u64) {
        let kind = match error {
            DictError::NoMemory => 1,
            DictError::Busy => 2,
            _ => return,
        };
        self.memory.header().refusal.store(at_s << 2 | kind, Relaxed);
    }

    /// Copies everything from another dictionary that has time left into this one, which nobody
    /// uses yet. When it does not fit, what was used last stays. Gives how many entries there were
    /// and how many are here now.
    pub fn carry_over(&self, old: &Dict) -> Result<(usize, usize), DictError> {
        let mut entries = old.entries(0)?;
        entries.sort_unstable();
        for (used, key) in &entries {
            let found = old.read(key, |entry| Ok((entry.value()?, entry.expiry())))?;
            // One that has gone meanwhile stays gone.
            let Some((value, expiry)) = found else { continue };
            let carried =
                self.change(key, *used, expiry, |segment, item| segment.store(How::Set, item, &value));
            if let Err(DictError::Busy) = carried {
                return Err(DictError::Busy);
            }
        }
        // A value that did not fit does not count as an eviction of this one's own.
        for segment in self.segments() {
            segment.forget_evictions();
        }
        self.memory.segment(0).count_evictions(old.evictions());
        Ok((entries.len(), self.entries(0)?.len()))
    }

    /// Checks a dictionary that nobody changes at the moment; for tests.
    pub fn check(&self) -> Result<(), String> {
        for (number, segment) in self.segments().enumerate() {
            segment.check().map_err(|problem| format!("segment {number}: {problem}"))?;
        }
        Ok(())
    }

    fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        (0..self.memory.geometry().segments).map(|number| self.memory.segment(number))
    }

    #[inline]
    fn segment_of(&self, key: &[u8]) -> (u64, Segment<'_>) {
        let hash = xxh64(key, self.memory.seed());
        let number = (hash >> 48) as usize & (self.memory.geometry().segments - 1);
        (hash, self.memory.segment(number))
    }

    #[inline]
    fn read<T>(
        &self,
        key: &[u8],
        take: impl Fn(Entry<'_>) -> Result<T, Torn>,
    ) -> Result<Option<T>, DictError> {
        let (hash, segment) = self.segment_of(key);
        self.patiently(segment, |segment| segment.find(hash, key)?.map(&take).transpose())
    }

    /// Reads until nobody changes it in between: then as a writer, whom nobody disturbs.
    #[inline]
    fn patiently<'d, T>(
        &'d self,
        segment: Segment<'d>,
        mut attempt: impl FnMut(&Segment<'d>) -> Result<T, Torn>,
    ) -> Result<T, DictError> {
        for _ in 0..READ_TRIES {
            match attempt(&segment) {
                Ok(value) => return Ok(value),
                Err(Torn) => std::hint::spin_loop(),
            }
        }
        let held = self.claim(segment)?;
        attempt(&held.segment).or_else(|Torn| {
            held.segment.recover();
            attempt(&held.segment).map_err(|Torn| DictError::Busy)
        })
    }

    fn change<T>(
        &self,
        key: &[u8],
        now: u64,
        expiry: u64,
        operation: impl FnOnce(&Segment<'_>, &Item<'_>) -> Result<T, Refusal>,
    ) -> Result<T, DictError> {
        let (hash, segment) = self.segment_of(key);
        let item = Item { hash, key, expiry, now, evict: self.evicts };
        let held = self.claim(segment)?;
        Ok(operation(&held.segment, &item)?)
    }

    #[inline]
    fn claim<'d>(&'d self, segment: Segment<'d>) -> Result<Held<'d>, DictError> {
        let mine = wait::next_claim(self.processes.me);
        let mut waiting = Waiting::new(&self.processes, &segment.head.stalled);
        let taken = claim::take(&segment.head.claim, mine, &mut |seen| waiting.look(seen));
        let taken = taken.ok_or(DictError::Busy)?;
        let held = Held { segment, mine };
        if taken == Taken::Inherited {
            held.segment.recover();
        }
        Ok(held)
    }
}

/// End of a time to live, 0 for never.
fn until(now: u64, ttl: f64) -> u64 {
    const FOR_EVER: f64 = (1u64 << 52) as f64;
    let micros = ttl * 1e6;
    if micros > 0.0 && micros < FOR_EVER { now + (micros as u64).max(1000) } else { 0 }
}
