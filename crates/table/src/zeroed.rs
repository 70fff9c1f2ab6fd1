//! Zeroed memory of this process's own, in place of a mapping: for tests and `configtest`.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// The allocator hands out zeros without writing them, but only where it aligns by itself: there is room to align here.
pub(crate) struct Zeroed {
    start: NonNull<u8>,
    layout: Layout,
    align: usize,
}

impl Zeroed {
    /// To start at a multiple of `align`, a power of two. None when there is no memory.
    pub fn new(size: usize, align: usize) -> Option<Self> {
        let layout = Layout::from_size_align(size.checked_add(align)?, 16).ok()?;
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Zeroed { start, layout, align })
    }

    /// The first byte that is aligned; `size` bytes follow.
    pub fn base(&self) -> *mut u8 {
        let start = self.start.as_ptr();
        start.wrapping_add(start.align_offset(self.align))
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        // SAFETY: `new` allocated it with this layout, and its owner, who goes now, was the only one to refer to it.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
