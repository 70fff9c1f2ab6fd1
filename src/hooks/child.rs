//! Hooks about children.

use crate::app::{child, startup};
use crate::faults;
use crate::ffi;
use crate::guard::guard;

pub(super) unsafe extern "C" fn init(pchild: *mut ffi::apr_pool_t, server: *mut ffi::server_rec) {
    // SAFETY: httpd's child pool and main server.
    guard((), || unsafe { child::init(pchild, server) });
}

pub(super) unsafe extern "C" fn status(
    _: *mut ffi::server_rec,
    pid: ffi::pid_t,
    _: ffi::ap_generation_t,
    _: i32,
    state: ffi::mpm_child_status,
) {
    guard((), || {
        faults::point("child_status");
        // MPM_CHILD_LOST_SLOT speaks of a child that goes on serving what it has: httpd needs its place for another.
        if state == ffi::MPM_CHILD_EXITED {
            startup::child_ended(pid);
        }
    });
}
