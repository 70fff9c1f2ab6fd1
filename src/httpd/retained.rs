// SPDX-License-Identifier: Apache-2.0
//! Data that outlives restarts, and the module's own code, which a restart loads anew.

use std::cell::{Cell, UnsafeCell};
use std::ffi::CString;
use std::marker::PhantomData;
use std::os::raw::c_void;

use crate::ffi;

/// A type whose values may be kept.
///
/// # Safety
/// Bytes of zeros are a value of the type. Its layout is fixed (`repr(C)`), and it needs no drop.
pub unsafe trait Plain {}

/// A block that httpd keeps for this module: the parent's, which has one thread.
///
/// The block's key tells its version and its size. Another build of the module, whose value has
/// another layout, finds no block of its own, and begins with a new one.
pub struct Block<T> {
    name: &'static str,
    version: u32,
    of: PhantomData<fn() -> T>,
}

/// As it lies in httpd's memory: all zero when new.
#[repr(C)]
struct Kept<T> {
    in_use: Cell<bool>,
    value: UnsafeCell<T>,
}

/// Ends a use of a block.
struct Use<'k>(&'k Cell<bool>);

impl Drop for Use<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl<T: Plain> Block<T> {
    /// `version` changes whenever the meaning of the value does and its size may not.
    pub const fn new(name: &'static str, version: u32) -> Self {
        // httpd's allocator promises this alignment.
        const { assert!(align_of::<Kept<T>>() <= 8) };
        Block { name, version, of: PhantomData }
    }

    /// Runs `body` with what is kept. None: httpd keeps nothing, or a use of the block is not over.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        // SAFETY: a block of this type, see `find`: zeroed when new, which is a value by the
        // promise of `Plain`; it lives as long as the process and is used by the parent's one
        // thread.
        let kept = unsafe { self.find().cast::<Kept<T>>().as_ref() }?;
        if kept.in_use.replace(true) {
            return None;
        }
        let _use = Use(&kept.in_use);
        // SAFETY: the mark just set says that nobody else has the value.
        Some(body(unsafe { &mut *kept.value.get() }))
    }

    fn find(&self) -> *mut c_void {
        let size = size_of::<Kept<T>>();
        let Ok(key) = CString::new(format!("{} {} of {size} bytes", self.name, self.version)) else {
            return std::ptr::null_mut();
        };
        // SAFETY: httpd looks the key up by its bytes. A new block keeps the key, which is never
        // freed.
        unsafe {
            let there = ffi::ap_retained_data_get(key.as_ptr());
            if there.is_null() {
                ffi::ap_retained_data_create(key.into_raw(), size as ffi::apr_size_t)
            } else {
                there
            }
        }
    }
}
