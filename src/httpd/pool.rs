//! APR pools: memory that lives as long as its request, connection or configuration.

use std::marker::PhantomData;
use std::os::raw::{c_char, c_void};
use std::ptr::NonNull;

use crate::ffi;
use crate::guard::guard;

/// A pool that lives for `'p`.
#[derive(Clone, Copy)]
pub struct Pool<'p> {
    raw: NonNull<ffi::apr_pool_t>,
    lives: PhantomData<&'p ()>,
}

impl<'p> Pool<'p> {
    /// # Safety
    /// The pool lives for `'p` and is used by this thread alone while the value is.
    pub unsafe fn from_ptr(raw: *mut ffi::apr_pool_t) -> Option<Self> {
        NonNull::new(raw).map(|raw| Pool { raw, lives: PhantomData })
    }

    /// The raw pool.
    pub fn as_ptr(self) -> *mut ffi::apr_pool_t {
        self.raw.as_ptr()
    }

    /// A NUL-terminated copy of the pieces, one after the other. The caller has made sure that no piece holds a NUL;
    /// what comes after one is invisible to C.
    pub fn concat(self, pieces: &[&[u8]]) -> *mut c_char {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        // SAFETY: the pool is alive; apr_palloc never returns NULL (httpd ends the process instead).
        let start = unsafe { ffi::apr_palloc(self.as_ptr(), length + 1) }.cast::<u8>();
        let mut at = start;
        for piece in pieces {
            // SAFETY: the pieces' lengths sum up to `length`, and the block has one byte more.
            unsafe {
                std::ptr::copy_nonoverlapping(piece.as_ptr(), at, piece.len());
                at = at.add(piece.len());
            }
        }
        // SAFETY: the last byte of the block.
        unsafe { *at = 0 };
        start.cast()
    }

    /// A NUL-terminated copy.
    pub fn copy(self, text: &[u8]) -> *mut c_char {
        self.concat(&[text])
    }

    /// Keeps `value` until the pool is cleared, then drops it. The address is stable.
    pub fn keep<T>(self, value: T) -> &'p mut T {
        let raw = Box::into_raw(Box::new(value));
        // SAFETY: the cleanup gets the box it was registered with, once; `raw` stays valid for the pool's life.
        unsafe {
            ffi::apr_pool_cleanup_register(
                self.as_ptr(),
                raw.cast(),
                Some(drop_box::<T>),
                Some(ffi::apr_pool_cleanup_null),
            );
            &mut *raw
        }
    }
}

unsafe extern "C" fn drop_box<T>(data: *mut c_void) -> ffi::apr_status_t {
    // SAFETY: registered by `keep` with a box of this type; APR runs a cleanup once.
    guard((), || drop(unsafe { Box::from_raw(data.cast::<T>()) }));
    ffi::APR_SUCCESS as ffi::apr_status_t
}
