// SPDX-License-Identifier: Apache-2.0
//! Zeroed memory of this process's own, in place of a shared mapping: for tests and `configtest`.
//!
//! It comes from the system and goes back there: what an allocator hands out may be old, so that
//! zeros are written over all of it, and stays in the heap of httpd's parent and its children.
#![allow(unsafe_code)]

use std::ptr::NonNull;

/// Memory that is zero and takes none before it is written to.
pub(crate) struct Zeroed {
    start: NonNull<u8>,
    size: usize,
}

#[cfg(all(unix, not(miri)))]
impl Zeroed {
    /// To start at a multiple of `align`, at most a page's size. None when there is no memory.
    pub fn new(size: usize, align: usize) -> Option<Self> {
        // SAFETY: a new private mapping, which nothing refers to.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let start = NonNull::new(start.cast::<u8>()).filter(|_| start != libc::MAP_FAILED)?;
        let zeroed = Zeroed { start, size };
        (start.addr().get() % align == 0).then_some(zeroed)
    }

    fn give_back(&self) {
        // SAFETY: `new` mapped it, and its owner, who goes now, was the only one to refer to it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
    }
}

#[cfg(not(all(unix, not(miri))))]
impl Zeroed {
    /// To start at a multiple of `align`, at most a page's size. None when there is no memory.
    pub fn new(size: usize, align: usize) -> Option<Self> {
        debug_assert!(align <= PAGE);
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout(size)?) })?;
        Some(Zeroed { start, size })
    }

    fn give_back(&self) {
        if let Some(layout) = layout(self.size) {
            // SAFETY: `new` allocated it with this layout, and its owner, who goes now, was the
            // only one to refer to it.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) };
        }
    }
}

#[cfg(not(all(unix, not(miri))))]
const PAGE: usize = 4096;

#[cfg(not(all(unix, not(miri))))]
fn layout(size: usize) -> Option<std::alloc::Layout> {
    std::alloc::Layout::from_size_align(size, PAGE).ok()
}

impl Zeroed {
    /// The first byte; `size` bytes follow.
    pub fn base(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        self.give_back();
    }
}
