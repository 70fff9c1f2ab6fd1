// SPDX-License-Identifier: Apache-2.0
//! Modules that hooks stand before or behind.

use std::os::raw::c_char;

/// A list that ends with NULL.
pub(super) struct Names<const N: usize>([*const c_char; N]);

// SAFETY: static strings.
unsafe impl<const N: usize> Sync for Names<N> {}

impl<const N: usize> Names<N> {
    pub(super) const fn as_ptr(&self) -> *const *const c_char {
        self.0.as_ptr()
    }
}

pub(super) static AFTER_PROXY: Names<2> = Names([c"mod_proxy.c".as_ptr(), std::ptr::null()]);
pub(super) static AFTER_REWRITE: Names<2> = Names([c"mod_rewrite.c".as_ptr(), std::ptr::null()]);
pub(super) static BEFORE_REWRITE: Names<2> = Names([c"mod_rewrite.c".as_ptr(), std::ptr::null()]);
pub(super) static AFTER_ENVIRONMENT: Names<6> = Names([
    c"mod_rewrite.c".as_ptr(),
    c"mod_proxy.c".as_ptr(),
    c"mod_env.c".as_ptr(),
    c"mod_ssl.c".as_ptr(),
    c"mod_lua.c".as_ptr(),
    std::ptr::null(),
]);
pub(super) static BEFORE_HEADERS: Names<3> =
    Names([c"mod_headers.c".as_ptr(), c"mod_dir.c".as_ptr(), std::ptr::null()]);
pub(super) static BEFORE_BOTH: Names<3> =
    Names([c"mod_proxy.c".as_ptr(), c"mod_rewrite.c".as_ptr(), std::ptr::null()]);
pub(super) static BEFORE_PROXY: Names<2> = Names([c"mod_proxy.c".as_ptr(), std::ptr::null()]);
