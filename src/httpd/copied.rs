// SPDX-License-Identifier: Apache-2.0
//! A request beside another one: its fields and tables are copies, so that what is written into it,
//! or what an expression over it adds to `Vary`, is not written into the other one.

use std::marker::PhantomData;

use super::request::Request;
use crate::ffi;

/// The copy, and the memory that it lives in. Connection, filters and body are the other one's; it
/// is asked, and never answered.
pub struct CopiedRequest<'r> {
    memory: *mut ffi::apr_pool_t,
    raw: *mut ffi::request_rec,
    of: PhantomData<Request<'r>>,
}

impl<'r> CopiedRequest<'r> {
    /// Copies a request that this thread handles. None: there is no memory.
    pub fn of(request: Request<'r>) -> Option<Self> {
        let mut memory = std::ptr::null_mut();
        // SAFETY: a pool in the request's, by its allocator, which this thread alone has meanwhile.
        // The copy reads a live request, and keeps pointers to what lives as long as that one.
        unsafe {
            let parent = request.pool().as_ptr();
            if ffi::apr_pool_create_ex(&raw mut memory, parent, None, std::ptr::null_mut()) != 0 {
                return None;
            }
            let raw = ffi::lb_copy_request(memory, request.as_ptr());
            Some(CopiedRequest { memory, raw, of: PhantomData })
        }
    }

    /// The copy, as long as this value is there.
    pub fn request(&self) -> Option<Request<'_>> {
        // SAFETY: it lives in this value's memory, and this thread alone has it.
        unsafe { Request::from_ptr(self.raw) }
    }
}

impl Drop for CopiedRequest<'_> {
    fn drop(&mut self) {
        // SAFETY: made by `of`, in a pool that lives longer; nobody borrows the copy any more.
        unsafe { ffi::apr_pool_destroy(self.memory) };
    }
}
