// SPDX-License-Identifier: Apache-2.0
//! Hooks about children.

use std::cell::Cell;

use super::proxy;
use crate::control;
use crate::faults;
use crate::ffi;
use crate::guard::guard;
use crate::httpd::log;
use crate::httpd::memory::Deferred;
use crate::httpd::pool::MemoryPool;
use crate::keep::state;
use crate::lead::thread;
use crate::serve::child::{self, Child};
use crate::start;

thread_local! {
    static DEFERRED: Cell<Option<Deferred>> = const { Cell::new(None) };
}

/// The first of the hooks that give up root's rights. A new process of httpd may end by a signal's
/// handler as long as it has no threads, and that corrupts the heap when the signal meets an
/// allocation: the more free pieces the heap has, the likelier. These hooks allocate (they look up
/// accounts), and helpers such as mod_cgid's daemon run them as well.
pub(super) unsafe extern "C" fn before_privileges(_: *mut ffi::apr_pool_t, _: *mut ffi::server_rec) -> i32 {
    guard(ffi::DECLINED, || {
        DEFERRED.set(Some(Deferred::begin()));
        state::leave_to_parent();
        ffi::DECLINED
    })
}

/// The last of these hooks. The next steps are not ours: the MPM sets its children's mask, and a
/// helper goes to its work.
pub(super) unsafe extern "C" fn after_privileges(_: *mut ffi::apr_pool_t, _: *mut ffi::server_rec) -> i32 {
    guard(ffi::DECLINED, || {
        drop(DEFERRED.take());
        ffi::DECLINED
    })
}

pub(super) unsafe extern "C" fn init(pchild: *mut ffi::apr_pool_t, server: *mut ffi::server_rec) {
    guard((), || {
        let _deferred = Deferred::begin();
        log::set_server(server);
        // SAFETY: httpd's child pool, which is cleared as the process ends, which 'static stands
        // for; nobody else uses it at this moment.
        if let Some(pool) = unsafe { MemoryPool::from_ptr(pchild) } {
            child::init(pool, proxy::scheme_handler, start_threads);
        }
    });
}

fn start_threads(child: &'static Child) {
    thread::start(child);
    control::thread::start(child);
}

/// The child is told to end: at once, its clients' connections being closed already, or when it has
/// answered them. prefork calls this inside of a signal handler.
pub(super) unsafe extern "C" fn stopping(_: *mut ffi::apr_pool_t, graceful: i32) {
    guard((), || {
        let Some(child) = child::get() else { return };
        if graceful == 0 {
            child.room.close();
            child.answering.close();
        } else {
            child.answering.leave();
            child.background.wake();
        }
    });
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
        // MPM_CHILD_LOST_SLOT speaks of a child that goes on serving what it has: httpd needs its
        // place for another.
        if state == ffi::MPM_CHILD_EXITED {
            start::child_ended(pid);
        }
    });
}

/// The parent's turn, every ten seconds or so.
pub(super) unsafe extern "C" fn look_round(_: *mut ffi::apr_pool_t, _: *mut ffi::server_rec) -> i32 {
    guard(ffi::DECLINED, || {
        start::look_round();
        ffi::DECLINED
    })
}
