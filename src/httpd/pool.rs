// SPDX-License-Identifier: Apache-2.0
//! APR pools: memory that lives as long as its request, connection or configuration.

use std::any::TypeId;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::raw::{c_char, c_void};
use std::ptr::NonNull;

use crate::ffi;
use crate::guard::guard;

/// A pool that lives for `'p`.
#[derive(Clone, Copy)]
pub struct MemoryPool<'p> {
    raw: NonNull<ffi::apr_pool_t>,
    lives: PhantomData<&'p ()>,
}

impl<'p> MemoryPool<'p> {
    /// # Safety
    /// The pool lives for `'p` and is used by this thread alone while the value is.
    pub unsafe fn from_ptr(raw: *mut ffi::apr_pool_t) -> Option<Self> {
        NonNull::new(raw).map(|raw| MemoryPool { raw, lives: PhantomData })
    }

    /// The raw pool.
    pub fn as_ptr(self) -> *mut ffi::apr_pool_t {
        self.raw.as_ptr()
    }

    /// A NUL-terminated copy of the pieces, one after the other. The caller has made sure that no
    /// piece holds a NUL; what comes after one is invisible to C.
    pub fn concat(self, pieces: &[&[u8]]) -> *mut c_char {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        // SAFETY: the pool is alive; apr_palloc never returns NULL (httpd ends the process
        // instead).
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

    /// NUL-terminated copies of several strings, each given in pieces, in one allocation. As for
    /// [`MemoryPool::concat`], no piece holds a NUL.
    pub fn texts<const N: usize>(self, strings: [&[&[u8]]; N]) -> [Text<'p>; N] {
        let length: usize = strings.iter().flat_map(|pieces| pieces.iter()).map(|piece| piece.len()).sum();
        // SAFETY: as in `concat`.
        let mut at = unsafe { ffi::apr_palloc(self.as_ptr(), length + N) }.cast::<u8>();
        strings.map(|pieces| {
            let start = at;
            for piece in pieces {
                // SAFETY: the block has room for all pieces, and for one byte more with each
                // string.
                unsafe {
                    std::ptr::copy_nonoverlapping(piece.as_ptr(), at, piece.len());
                    at = at.add(piece.len());
                }
            }
            let length = at.addr() - start.addr();
            // SAFETY: that one byte more.
            unsafe {
                *at = 0;
                at = at.add(1);
            }
            Text { start: start.cast(), length, lives: PhantomData }
        })
    }

    /// A NUL-terminated copy.
    pub fn copy(self, text: &[u8]) -> *mut c_char {
        self.concat(&[text])
    }

    /// Keeps `value` until the pool is cleared, then drops it. The address is stable.
    pub fn keep<T>(self, value: T) -> &'p mut T {
        // apr_palloc promises this alignment.
        const { assert!(align_of::<T>() <= 8) };
        // SAFETY: a block of that size and alignment, which lives as long as the pool; the cleanup
        // gets what it was registered with, once.
        unsafe {
            let raw = ffi::apr_palloc(self.as_ptr(), size_of::<T>().max(1)).cast::<T>();
            raw.write(value);
            ffi::apr_pool_cleanup_register(
                self.as_ptr(),
                raw.cast(),
                Some(drop_kept::<T>),
                Some(ffi::apr_pool_cleanup_null),
            );
            &mut *raw
        }
    }
}

/// Something that ends with a pool and stays in memory.
pub trait Ends: Sync + 'static {
    /// The pool is about to be cleared. Under prefork this runs inside a signal handler, which may
    /// have interrupted anything.
    fn end(&'static self);
}

impl MemoryPool<'_> {
    /// Tells `value` before the pool and what is in it are cleared.
    pub fn before_clearing<T: Ends>(self, value: &'static T) {
        let data = std::ptr::from_ref(value).cast_mut().cast();
        // SAFETY: a live pool; the cleanup gets a value that lives for ever.
        unsafe { ffi::apr_pool_pre_cleanup_register(self.as_ptr(), data, Some(end::<T>)) };
    }
}

unsafe extern "C" fn end<T: Ends>(data: *mut c_void) -> ffi::apr_status_t {
    guard((), || {
        // SAFETY: registered by `before_clearing` with a value of this type that lives for ever.
        if let Some(value) = unsafe { data.cast::<T>().cast_const().as_ref::<'static>() } {
            value.end();
        }
    });
    ffi::APR_SUCCESS as ffi::apr_status_t
}

/// A value of this type that a pool has under a name: one a name, made at its first use.
pub struct Shelf<T> {
    name: &'static CStr,
    of: PhantomData<fn() -> T>,
}

/// As it stands in the pool, with what tells its type in front.
#[repr(C)]
struct Shelved<T> {
    of: TypeId,
    value: T,
}

impl<T: Default + 'static> Shelf<T> {
    /// `name` begins with this module's name, as nobody else's does.
    pub const fn new(name: &'static CStr) -> Self {
        Shelf { name, of: PhantomData }
    }

    /// The pool's value.
    pub fn find<'p>(&self, pool: MemoryPool<'p>) -> Option<&'p T> {
        let mut found = std::ptr::null_mut();
        // SAFETY: a live pool. A value there under this module's names was put there by `get`,
        // lives as long as the pool, and begins with the number of its type.
        unsafe {
            ffi::apr_pool_userdata_get(&mut found, self.name.as_ptr(), pool.as_ptr());
            let of = found.cast::<TypeId>().as_ref()?;
            (*of == TypeId::of::<T>()).then(|| &(*found.cast::<Shelved<T>>()).value)
        }
    }

    /// The pool's value, made now if there is none.
    pub fn get<'p>(&self, pool: MemoryPool<'p>) -> &'p T {
        if let Some(found) = self.find(pool) {
            return found;
        }
        let made = pool.keep(Shelved { of: TypeId::of::<T>(), value: T::default() });
        // SAFETY: a live pool, a name that is static, a value that lives as long as the pool; from
        // here on it is shared.
        unsafe {
            let shelved = std::ptr::from_mut(made);
            ffi::apr_pool_userdata_setn(shelved.cast(), self.name.as_ptr(), None, pool.as_ptr());
            &(*shelved).value
        }
    }
}

/// A NUL-terminated string that lives for `'p`: in a pool, or for ever.
#[derive(Clone, Copy)]
pub struct Text<'p> {
    start: *const c_char,
    length: usize,
    lives: PhantomData<&'p ()>,
}

impl<'p> Text<'p> {
    /// # Safety
    /// `start` is a NUL-terminated string that lives and stays unchanged for `'p`.
    pub unsafe fn from_ptr(start: *const c_char) -> Self {
        // SAFETY: the caller's promise.
        Text { start, length: unsafe { CStr::from_ptr(start) }.count_bytes(), lives: PhantomData }
    }

    /// The string.
    pub fn bytes(self) -> &'p [u8] {
        // SAFETY: `length` bytes that live for 'p.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }
    }

    /// For C.
    pub fn as_ptr(self) -> *const c_char {
        self.start
    }

    /// For what wants a C string.
    pub fn c_str(self) -> &'p CStr {
        // SAFETY: NUL-terminated, and lives for 'p.
        unsafe { CStr::from_ptr(self.start) }
    }

    /// The bytes behind the first `count`; none when there are not so many.
    pub fn skip(self, count: usize) -> Self {
        let count = count.min(self.length);
        // SAFETY: within the string, or its end mark.
        Text { start: unsafe { self.start.add(count) }, length: self.length - count, lives: PhantomData }
    }
}

/// A string in a request's pool, as kept by what lives in that pool too. Equal: the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept(*const c_char);

impl Default for Kept {
    /// None.
    fn default() -> Self {
        Kept(std::ptr::null())
    }
}

impl Kept {
    /// # Safety
    /// `start` is NULL or a NUL-terminated string that lives as long as the request that
    /// [`Kept::bytes`] will be called with.
    pub unsafe fn from_ptr(start: *const c_char) -> Self {
        Kept(start)
    }

    /// The string, with the pool of the request that it was kept for.
    #[inline]
    pub fn bytes<'r>(self, _: MemoryPool<'r>) -> Option<&'r [u8]> {
        // SAFETY: NULL, or a string of the request's pool: that of the text it was made from.
        unsafe { super::bytes(self.0) }
    }
}

impl From<Text<'_>> for Kept {
    fn from(text: Text<'_>) -> Self {
        Kept(text.start)
    }
}

impl From<&'static CStr> for Text<'_> {
    fn from(text: &'static CStr) -> Self {
        Text { start: text.as_ptr(), length: text.count_bytes(), lives: PhantomData }
    }
}

unsafe extern "C" fn drop_kept<T>(data: *mut c_void) -> ffi::apr_status_t {
    // SAFETY: registered by `keep` with a value of this type; APR runs a cleanup once.
    guard((), || unsafe { data.cast::<T>().drop_in_place() });
    ffi::APR_SUCCESS as ffi::apr_status_t
}
