// SPDX-License-Identifier: Apache-2.0
//! A process that httpd's parent tells about when it ends, beside its children.

use std::os::raw::{c_int, c_void};
use std::sync::atomic::{AtomicPtr, Ordering};

use super::mpm;
use super::pool::MemoryPool;
use crate::ffi;
use crate::guard::guard;

/// Called in the parent when the process has ended by itself while the server runs.
pub type OnEnd = fn();

static ON_END: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// Has `on_end` called when this process of the parent's ends, until the pool is cleared. One
/// process at a time.
pub fn tend(pool: MemoryPool<'static>, pid: i32, on_end: OnEnd) {
    ON_END.store(on_end as *mut (), Ordering::Release);
    // SAFETY: httpd's configuration pool; the record is zeroed, lives as long as the pool, and so
    // does the registration.
    unsafe {
        let record = ffi::apr_palloc(pool.as_ptr(), size_of::<ffi::apr_proc_t>()).cast::<ffi::apr_proc_t>();
        record.write(std::mem::zeroed());
        (*record).pid = pid;
        let data = record.cast::<c_void>();
        ffi::apr_proc_other_child_register(record, Some(maintain), data, std::ptr::null_mut(), pool.as_ptr());
    }
}

unsafe extern "C" fn maintain(reason: c_int, data: *mut c_void, _: c_int) {
    guard((), || {
        if !matches!(reason as u32, ffi::APR_OC_REASON_DEATH | ffi::APR_OC_REASON_LOST) {
            return;
        }
        // SAFETY: the record that `tend` registered, which APR has in its list until now.
        unsafe { ffi::apr_proc_other_child_unregister(data) };
        let on_end = ON_END.load(Ordering::Acquire);
        if mpm::is_stopping() || on_end.is_null() {
            return;
        }
        // SAFETY: stored by `tend` from a function of this type.
        let on_end = unsafe { std::mem::transmute::<*mut (), OnEnd>(on_end) };
        on_end();
    });
}
