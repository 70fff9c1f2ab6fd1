// SPDX-License-Identifier: Apache-2.0
//! The memory of a history, seen as words.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use crate::zeroed::Zeroed;

/// So many words, each an atomic.
pub(super) struct Words {
    base: NonNull<AtomicU64>,
    len: usize,
    /// The memory, where it is this process's own.
    _heap: Option<Zeroed>,
}

// SAFETY: the memory is only reached through atomics, and it is freed by the last owner only.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// # Safety
    /// `base` is null or points to `len` bytes that stay mapped, readable and writable as long as
    /// the value lives, and are reached through atomics only.
    pub unsafe fn over(base: *mut u8, len: usize) -> Option<Self> {
        let base = NonNull::new(base.cast::<AtomicU64>()).filter(|base| base.addr().get() % 64 == 0)?;
        Some(Words { base, len: len / 8, _heap: None })
    }

    /// In this process's own memory.
    pub fn on_heap(len: usize) -> Option<Self> {
        let zeroed = Zeroed::new(len, 64)?;
        // SAFETY: fresh zeroed memory of that size and alignment, freed with the value only.
        let words = unsafe { Words::over(zeroed.base(), len) }?;
        Some(Words { _heap: Some(zeroed), ..words })
    }

    /// All of them.
    pub fn cells(&self) -> &[AtomicU64] {
        // SAFETY: `over` was promised that many bytes, which stay mapped and are reached through
        // atomics only; any bytes are an atomic's value.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}
