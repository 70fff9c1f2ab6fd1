// SPDX-License-Identifier: Apache-2.0
//! The layout of a dictionary's memory: header, heads of the segments, then for each segment its
//! buckets and chunks. It follows from the size.

use std::sync::atomic::AtomicU64;

use crate::protocol::segment::{DictChunk, MAX_CHUNKS, SegmentHead};

/// Bytes of the smallest dictionary.
pub const MIN_SIZE: usize = 32 << 10;
/// Bytes of the largest one.
pub const MAX_SIZE: usize = 64 << 30;

/// First word of a dictionary: `LBDICT` and two zeros.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"LBDICT\0\0");
/// Grows with every change of the layout or the meaning of a word.
pub(super) const LAYOUT: u64 = 1;
/// Bytes of a chunk.
pub(super) const CHUNK: usize = size_of::<DictChunk>();

/// Bytes of a segment at least, where there are several.
const SEGMENT: usize = 1 << 20;
const MAX_SEGMENTS: usize = 64;
/// All parts begin at a multiple of this.
pub(super) const ALIGN: usize = 128;

/// The first bytes.
#[repr(C, align(128))]
pub(super) struct Header {
    pub magic: AtomicU64,
    pub layout: AtomicU64,
    pub size: AtomicU64,
    pub seed: AtomicU64,
    /// The last refusal: 2 bits of its kind, and epoch seconds above them; 0 for none.
    pub refusal: AtomicU64,
    pub spare: [AtomicU64; 11],
}

const _: () = assert!(size_of::<Header>() == 128 && size_of::<SegmentHead>() == 128 && CHUNK == 128);

/// Numbers of the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Bytes in all.
    pub size: usize,
    /// A power of two.
    pub segments: usize,
    /// Chunks, and buckets, of each segment.
    pub chunks: usize,
}

impl Geometry {
    /// None for a size that no dictionary has.
    pub fn of(size: usize) -> Option<Self> {
        if !(MIN_SIZE..=MAX_SIZE).contains(&size) {
            return None;
        }
        let wanted = (size / SEGMENT).clamp(1, MAX_SEGMENTS);
        let segments = 1 << wanted.ilog2();
        let each = (size - Self::heads_end(segments)) / segments;
        // The buckets of a segment are rounded up to a multiple of ALIGN.
        let chunks = ((each - ALIGN) / (CHUNK + 8)).min(MAX_CHUNKS);
        Some(Geometry { size, segments, chunks })
    }

    fn heads_end(segments: usize) -> usize {
        size_of::<Header>() + segments * size_of::<SegmentHead>()
    }

    pub fn head(&self, segment: usize) -> usize {
        Self::heads_end(segment)
    }

    fn segment_bytes(&self) -> usize {
        (self.chunks * 8).next_multiple_of(ALIGN) + self.chunks * CHUNK
    }

    pub fn buckets(&self, segment: usize) -> usize {
        Self::heads_end(self.segments) + segment * self.segment_bytes()
    }

    pub fn first_chunk(&self, segment: usize) -> usize {
        self.buckets(segment) + (self.chunks * 8).next_multiple_of(ALIGN)
    }

    /// Bytes that are used, at most `size`.
    pub fn end(&self) -> usize {
        self.buckets(self.segments)
    }
}
