// SPDX-License-Identifier: Apache-2.0
//! The memory of a dictionary, seen as rows of atomics.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::geometry::{ALIGN, Geometry, Header, LAYOUT, MAGIC, MAX_SIZE, MIN_SIZE};
use crate::protocol::segment::{DictChunk, Segment, SegmentHead};
use crate::zeroed::Zeroed;

/// Why memory cannot be used as a dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The address is wrong.
    #[error("a dictionary begins at a multiple of 128 bytes, such as the start of a page")]
    Unaligned,
    /// No dictionary has that size.
    #[error("a dictionary has {MIN_SIZE} to {MAX_SIZE} bytes, not {0}")]
    Size(usize),
    /// This process gets no more memory.
    #[error("no memory for a dictionary of {0} bytes")]
    NoMemory(usize),
    /// There is something else, or another version's dictionary.
    #[error("the memory holds no dictionary of this version")]
    Other,
}

/// Types that are nothing but atomics.
///
/// # Safety
/// `repr(C)`, no padding, only `AtomicU64` fields, alignment at most [`ALIGN`]: any bytes are a
/// valid value.
unsafe trait Row {}
// SAFETY: it is one.
unsafe impl Row for AtomicU64 {}
// SAFETY: repr(C), AtomicU64 fields only, size asserted in geometry.rs.
unsafe impl Row for Header {}
// SAFETY: as above.
unsafe impl Row for SegmentHead {}
// SAFETY: as above.
unsafe impl Row for DictChunk {}

/// A dictionary's memory.
pub(super) struct Memory {
    base: NonNull<u8>,
    geometry: Geometry,
    seed: u64,
    heap: Option<Zeroed>,
}

// SAFETY: the memory is only reached through atomics, and it is freed by the last owner only.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// # Safety
    /// See [`super::Dict::create`].
    pub unsafe fn create(base: *mut u8, size: usize, seed: u64) -> Result<Self, OpenError> {
        // SAFETY: the caller's promise is handed on.
        let mut memory = unsafe { Memory::over(base, size)? };
        memory.seed = seed;
        let header = memory.header();
        header.size.store(size as u64, Ordering::Relaxed);
        header.seed.store(seed, Ordering::Relaxed);
        header.layout.store(LAYOUT, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::SeqCst);
        Ok(memory)
    }

    /// # Safety
    /// See [`super::Dict::attach`].
    pub unsafe fn attach(base: *mut u8, size: usize) -> Result<Self, OpenError> {
        // SAFETY: the caller's promise is handed on.
        let mut memory = unsafe { Memory::over(base, size)? };
        let header = memory.header();
        let expected = [(&header.magic, MAGIC), (&header.layout, LAYOUT), (&header.size, size as u64)];
        if expected.iter().any(|(cell, value)| cell.load(Ordering::SeqCst) != *value) {
            return Err(OpenError::Other);
        }
        memory.seed = memory.header().seed.load(Ordering::Relaxed);
        Ok(memory)
    }

    pub fn on_heap(size: usize, seed: u64) -> Result<Self, OpenError> {
        let geometry = Geometry::of(size).ok_or(OpenError::Size(size))?;
        let zeroed = Zeroed::new(geometry.size, ALIGN).ok_or(OpenError::NoMemory(size))?;
        // SAFETY: fresh zeroed memory of that size and alignment, freed with the value only.
        let mut memory = unsafe { Memory::create(zeroed.base(), size, seed)? };
        memory.heap = Some(zeroed);
        Ok(memory)
    }

    /// # Safety
    /// `base` is null or points to `size` bytes that stay mapped, readable and writable as long as
    /// the value lives, and are reached through atomics only.
    unsafe fn over(base: *mut u8, size: usize) -> Result<Self, OpenError> {
        let base = NonNull::new(base).filter(|base| base.addr().get() % ALIGN == 0);
        let base = base.ok_or(OpenError::Unaligned)?;
        let geometry = Geometry::of(size).ok_or(OpenError::Size(size))?;
        if geometry.end() > size {
            return Err(OpenError::Size(size));
        }
        Ok(Memory { base, geometry, seed: 0, heap: None })
    }

    #[inline]
    fn rows<T: Row>(&self, offset: usize, rows: usize) -> &[T] {
        // SAFETY: the callers take offsets and numbers from the geometry, whose end `over` compared
        // with the size; parts begin at multiples of ALIGN; every T is valid for any bytes; shared
        // access goes through atomics.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset).cast(), rows) }
    }

    pub fn header(&self) -> &Header {
        &self.rows(0, 1)[0]
    }

    #[inline]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    #[inline]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A segment. `number` is below the geometry's.
    #[inline]
    pub fn segment(&self, number: usize) -> Segment<'_> {
        let number = number.min(self.geometry.segments - 1);
        Segment {
            head: &self.rows(self.geometry.head(number), 1)[0],
            buckets: self.rows(self.geometry.buckets(number), self.geometry.chunks),
            chunks: self.rows(self.geometry.first_chunk(number), self.geometry.chunks),
        }
    }
}
