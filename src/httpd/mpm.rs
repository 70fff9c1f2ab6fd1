// SPDX-License-Identifier: Apache-2.0
//! The facts that the MPM and the process tell.

use std::os::raw::c_int;

use crate::ffi;

fn query(code: u32) -> Option<i32> {
    let mut answer: c_int = 0;
    // SAFETY: writes one int.
    (unsafe { ffi::ap_mpm_query(code as c_int, &mut answer) } == ffi::APR_SUCCESS as i32).then_some(answer)
}

/// The largest number of children that may exist at once (ServerLimit), at least 1.
pub fn max_children() -> u32 {
    query(ffi::AP_MPMQ_HARD_LIMIT_DAEMONS).filter(|n| *n > 0).unwrap_or(256) as u32
}

/// Threads that all children together can have, by their limits that only a new start changes.
pub fn max_threads() -> u32 {
    let threads = query(ffi::AP_MPMQ_HARD_LIMIT_THREADS).filter(|n| *n > 0).unwrap_or(1) as u32;
    max_children().saturating_mul(threads)
}

/// The number of children as configured, at least 1.
pub fn children() -> u32 {
    query(ffi::AP_MPMQ_MAX_DAEMONS).filter(|n| *n > 0).unwrap_or(1) as u32
}

/// Threads of a child that serve requests, at least 1.
pub fn threads() -> u32 {
    query(ffi::AP_MPMQ_MAX_THREADS).filter(|n| *n > 0).unwrap_or(1) as u32
}

/// Whether children have several threads.
pub fn is_threaded() -> bool {
    query(ffi::AP_MPMQ_IS_THREADED).is_some_and(|answer| answer != 0)
}

/// Whether the server is being stopped or restarted, as far as the MPM tells.
pub fn is_stopping() -> bool {
    query(ffi::AP_MPMQ_MPM_STATE).is_none_or(|state| state == ffi::AP_MPMQ_STOPPING as i32)
}

/// Whether this process is on its way out, for good: its configuration's pool goes next.
pub fn is_exiting() -> bool {
    // SAFETY: a plain query.
    let state = unsafe { ffi::ap_state_query(ffi::AP_SQ_MAIN_STATE as c_int) };
    state == ffi::AP_SQ_MS_EXITING as c_int
}

/// Whether this process takes no connections any more, though it goes on: the parent after it was
/// told to stop gracefully.
pub fn has_closed_its_listeners() -> bool {
    // SAFETY: a list of the configuration, which the process's first thread alone changes.
    unsafe { ffi::lb_listeners_closed() != 0 }
}

/// The state of httpd's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// `apachectl configtest`, and whatever reads the configuration only to show it.
    ConfigTest,
    /// The first reading at start, before the modules are loaded again.
    FirstPass,
    /// The second reading at start, or a restart.
    Running,
}

/// See [`RunState`].
pub fn run_state() -> RunState {
    // SAFETY: plain queries.
    let (main, run) = unsafe {
        (
            ffi::ap_state_query(ffi::AP_SQ_MAIN_STATE as c_int),
            ffi::ap_state_query(ffi::AP_SQ_RUN_MODE as c_int),
        )
    };
    if run == ffi::AP_SQ_RM_CONFIG_TEST as c_int || run == ffi::AP_SQ_RM_CONFIG_DUMP as c_int {
        RunState::ConfigTest
    } else if main == ffi::AP_SQ_MS_CREATE_PRE_CONFIG as c_int {
        RunState::FirstPass
    } else {
        RunState::Running
    }
}
