// SPDX-License-Identifier: Apache-2.0
//! The memory of a table, seen as rows of atomics. This and the dictionaries' memory are the only
//! unsafe code of the crate: everything else works on the slices that come from here.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::layout::{
    CursorRow, Geometry, Header, LAYOUT_VERSION, MAGIC, MemberCountsRow, MemberKey, MemberRow, PoolCountsRow,
    PoolRow, ScriptCountsRow, Section, Sections, SourceRow,
};
use crate::protocol::children::ChildRow;
use crate::protocol::journal::Journal;
use crate::protocol::queue::Ticket;
use crate::protocol::scripts::{COPIES, ScriptRow};
use crate::protocol::text::TextChunk;
use crate::protocol::trouble::TroubleRow;
use crate::zeroed::Zeroed;

/// Why memory cannot be used as a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// The address is wrong.
    #[error("the mapping must be at a multiple of 64 bytes, such as the start of a page")]
    Unaligned,
    /// Too few bytes.
    #[error("the mapping has {found} bytes, the table needs {needed}")]
    TooSmall {
        /// Bytes there are.
        found: usize,
        /// Bytes it takes.
        needed: usize,
    },
    /// The mapping holds something else.
    #[error("the mapping holds no table (it starts with {0:#x})")]
    NoTable(u64),
    /// Another layout.
    #[error("the table has layout {0}, this module knows layout {LAYOUT_VERSION} only")]
    OtherLayout(u64),
    /// A geometry that is impossible.
    #[error("the table's geometry is impossible: {0}")]
    BadGeometry(String),
}

/// Types that are nothing but atomics.
///
/// # Safety
/// `repr(C)`, no padding, only `AtomicU64` fields, alignment at most 64: any bytes are a valid
/// value.
unsafe trait Row {}
// SAFETY: it is one.
unsafe impl Row for AtomicU64 {}
// SAFETY: repr(C), AtomicU64 fields only, size asserted in layout.rs.
unsafe impl Row for Header {}
// SAFETY: as above.
unsafe impl Row for PoolRow {}
// SAFETY: as above.
unsafe impl Row for MemberKey {}
// SAFETY: as above.
unsafe impl Row for MemberRow {}
// SAFETY: as above.
unsafe impl Row for MemberCountsRow {}
// SAFETY: as above.
unsafe impl Row for PoolCountsRow {}
// SAFETY: as above.
unsafe impl Row for ScriptCountsRow {}
// SAFETY: as above.
unsafe impl Row for CursorRow {}
// SAFETY: as above.
unsafe impl Row for TextChunk {}
// SAFETY: as above.
unsafe impl Row for ChildRow {}
// SAFETY: as above.
unsafe impl Row for ScriptRow {}
// SAFETY: as above.
unsafe impl Row for Ticket {}
// SAFETY: as above.
unsafe impl Row for Journal {}
// SAFETY: as above.
unsafe impl Row for TroubleRow {}
// SAFETY: as above.
unsafe impl Row for SourceRow {}

/// A table's memory.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    sections: Sections,
    geometry: Geometry,
    /// The memory, where it is this process's own.
    heap: Option<Zeroed>,
}

// SAFETY: the memory is only reached through atomics, and it is freed by the last owner only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Makes a table in zeroed memory.
    ///
    /// # Safety
    /// See [`crate::Table::create`].
    pub unsafe fn create(base: *mut u8, len: usize, geometry: Geometry) -> Result<Self, AttachError> {
        if !geometry.is_valid() {
            return Err(AttachError::BadGeometry(format!("{geometry:?}")));
        }
        // SAFETY: the caller's promise is handed on.
        let mapping = unsafe { Mapping::over(base, len, geometry)? };
        let header = mapping.header();
        for (cell, word) in header.geometry.iter().zip(geometry.to_words()) {
            cell.store(word, Ordering::Relaxed);
        }
        header.layout.store(LAYOUT_VERSION, Ordering::Relaxed);
        mapping.write_outline();
        header.magic.store(MAGIC, Ordering::SeqCst);
        Ok(mapping)
    }

    /// Finds the table that another process or an older configuration made.
    ///
    /// # Safety
    /// See [`crate::Table::attach`].
    pub unsafe fn attach(base: *mut u8, len: usize) -> Result<Self, AttachError> {
        let smallest = Geometry {
            members: 1,
            pools: 1,
            children: 1,
            lane_bits: 16,
            chunks: 1,
            cursors: 1,
            tickets: 1,
            scripts: 0,
            script_bytes: 0,
            decisions: 0,
        };
        // SAFETY: the caller's promise is handed on.
        let probe = unsafe { Mapping::over(base, len, smallest)? };
        let header = probe.header();
        let magic = header.magic.load(Ordering::SeqCst);
        if magic != MAGIC {
            return Err(AttachError::NoTable(magic));
        }
        let layout = header.layout.load(Ordering::Relaxed);
        if layout != LAYOUT_VERSION {
            return Err(AttachError::OtherLayout(layout));
        }
        let words = std::array::from_fn(|at| header.geometry[at].load(Ordering::Relaxed));
        let geometry =
            Geometry::from_words(words).ok_or_else(|| AttachError::BadGeometry(format!("{words:?}")))?;
        // SAFETY: the caller's promise is handed on.
        let mapping = unsafe { Mapping::over(base, len, geometry)? };
        // An older module of this layout may have made the table without one.
        mapping.write_outline();
        Ok(mapping)
    }

    fn write_outline(&self) {
        let header = self.header();
        for (cell, word) in header.more.iter().zip(crate::outline::more(&self.geometry)) {
            cell.store(word, Ordering::SeqCst);
        }
        for (cell, word) in header.outline.iter().zip(crate::outline::of(&self.geometry)) {
            cell.store(word, Ordering::SeqCst);
        }
    }

    /// A table in this process's own memory.
    pub fn on_heap(geometry: Geometry) -> Result<Self, AttachError> {
        if !geometry.is_valid() {
            return Err(AttachError::BadGeometry(format!("{geometry:?}")));
        }
        let bytes = geometry.bytes();
        let memory = Zeroed::new(bytes, 64).ok_or(AttachError::TooSmall { found: 0, needed: bytes })?;
        // SAFETY: fresh zeroed memory of that size and alignment, freed with the mapping only.
        let mut mapping = unsafe { Mapping::create(memory.base(), bytes, geometry)? };
        mapping.heap = Some(memory);
        Ok(mapping)
    }

    /// # Safety
    /// `base` is null or points to `len` bytes that stay mapped, readable and writable as long as
    /// the mapping lives, and are reached through atomics only.
    unsafe fn over(base: *mut u8, len: usize, geometry: Geometry) -> Result<Self, AttachError> {
        let base = NonNull::new(base).filter(|base| base.addr().get() % 64 == 0);
        let base = base.ok_or(AttachError::Unaligned)?;
        let needed = geometry.bytes();
        if len < needed {
            return Err(AttachError::TooSmall { found: len, needed });
        }
        Ok(Mapping { base, sections: Sections::of(&geometry), geometry, heap: None })
    }

    /// The whole memory, as a module of another layout sees it.
    #[cfg(test)]
    pub fn words(&self) -> Words {
        Words { base: self.base.cast(), len: self.geometry.bytes() / 8 }
    }

    #[inline]
    fn rows<T: Row>(&self, section: Section) -> &[T] {
        // SAFETY: `Sections::of` placed this section inside `geometry.bytes()`, which `over`
        // compared with the length; it starts at a multiple of 64 bytes; every T is valid for any
        // bytes; shared access goes through atomics.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(section.offset).cast(), section.rows) }
    }

    #[inline]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    #[inline]
    pub fn geometry_ref(&self) -> &Geometry {
        &self.geometry
    }

    #[inline]
    pub fn header(&self) -> &Header {
        &self.rows(Section { offset: 0, rows: 1 })[0]
    }

    #[inline]
    pub fn pools(&self) -> &[PoolRow] {
        self.rows(self.sections.pools)
    }

    #[inline]
    pub fn keys(&self) -> &[MemberKey] {
        self.rows(self.sections.keys)
    }

    #[inline]
    pub fn members(&self) -> &[MemberRow] {
        self.rows(self.sections.members)
    }

    #[inline]
    pub fn member_counts(&self) -> &[MemberCountsRow] {
        self.rows(self.sections.member_counts)
    }

    #[inline]
    pub fn pool_counts(&self) -> &[PoolCountsRow] {
        self.rows(self.sections.pool_counts)
    }

    #[inline]
    pub fn script_counts(&self) -> &[ScriptCountsRow] {
        self.rows(self.sections.script_counts)
    }

    /// `[word][member]`.
    #[inline]
    pub fn lanes(&self) -> &[AtomicU64] {
        self.rows(self.sections.lanes)
    }

    #[inline]
    pub fn chunks(&self) -> &[TextChunk] {
        self.rows(self.sections.chunks)
    }

    #[inline]
    pub fn children(&self) -> &[ChildRow] {
        self.rows(self.sections.children)
    }

    #[inline]
    pub fn cursors(&self) -> &[CursorRow] {
        self.rows(self.sections.cursors)
    }

    pub fn tickets(&self) -> &[Ticket] {
        self.rows(self.sections.tickets)
    }

    pub fn scripts(&self) -> &[ScriptRow] {
        self.rows(self.sections.scripts)
    }

    pub fn journal(&self) -> &Journal {
        &self.rows(self.sections.journal)[0]
    }

    pub fn sources(&self) -> &[SourceRow] {
        self.rows(self.sections.sources)
    }

    /// The words of the journal's entries.
    pub fn entries(&self) -> &[AtomicU64] {
        self.rows(self.sections.entries)
    }

    /// The words of the ring of events.
    pub fn events(&self) -> &[AtomicU64] {
        self.rows(self.sections.events)
    }

    /// Last errors: those of scripts, then those of children ([`crate::trouble`]).
    pub fn troubles(&self) -> &[TroubleRow] {
        self.rows(self.sections.troubles)
    }

    /// The words of the ring of sampled decisions.
    pub fn decisions(&self) -> &[AtomicU64] {
        self.rows(self.sections.decisions)
    }

    /// The words of the rings of differences, one ring for each script's row.
    pub fn differences(&self) -> &[AtomicU64] {
        self.rows(self.sections.differences)
    }

    /// The words of a script's copies; the row must be one of [`Mapping::scripts`].
    pub fn copies(&self, row: usize) -> [&[AtomicU64]; COPIES] {
        let words = self.geometry.script_words();
        let all = self.rows(self.sections.copies);
        std::array::from_fn(|copy| &all[(row * COPIES + copy) * words..][..words])
    }
}

/// A table's memory as words, for one of another layout.
pub(crate) struct Words {
    base: NonNull<AtomicU64>,
    len: usize,
}

impl Words {
    /// None when the memory holds no table.
    ///
    /// # Safety
    /// See [`crate::Table::foreign`].
    pub unsafe fn over(base: *mut u8, len: usize) -> Option<Self> {
        let base = NonNull::new(base.cast::<AtomicU64>()).filter(|base| base.addr().get() % 64 == 0)?;
        let words = Words { base, len: len / 8 };
        let magic = words.cells().first()?.load(Ordering::SeqCst);
        (magic == MAGIC).then_some(words)
    }

    /// All words.
    pub fn cells(&self) -> &[AtomicU64] {
        // SAFETY: `over` was promised that many bytes, which stay mapped and are reached through
        // atomics only.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}
