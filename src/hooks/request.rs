// SPDX-License-Identifier: Apache-2.0
//! Hooks of the request's phases.

use super::status::{DECLINED, FAILED, OK};
use crate::control::{self, Answered};
use crate::faults;
use crate::ffi;
use crate::guard::guard;
use crate::httpd::memory::monotonic_us;
use crate::httpd::request::Request;
use crate::relay::headers;
use crate::relay::record::Record;
use crate::report::finish;
use crate::route::entry;
use crate::serve::snapshot;

pub(super) unsafe extern "C" fn translate_name(r: *mut ffi::request_rec) -> i32 {
    guard(FAILED, || {
        faults::point("translate_name");
        // SAFETY: httpd's request, alive for the hook.
        unsafe { Request::from_ptr(r) }.map_or(DECLINED, |request| entry::translate(request).code())
    })
}

pub(super) unsafe extern "C" fn before_rewriting(r: *mut ffi::request_rec) -> i32 {
    guard(FAILED, || {
        faults::point("before_rewriting");
        // SAFETY: as above.
        let request = unsafe { Request::from_ptr(r) };
        request.into_iter().for_each(Record::mark_before_rewriting);
        DECLINED
    })
}

pub(super) unsafe extern "C" fn fixups(r: *mut ffi::request_rec) -> i32 {
    guard(FAILED, || {
        faults::point("fixups");
        // SAFETY: as above.
        unsafe { Request::from_ptr(r) }.map_or(DECLINED, |request| entry::fixups(request).code())
    })
}

pub(super) unsafe extern "C" fn rewritten_fixups(r: *mut ffi::request_rec) -> i32 {
    guard(FAILED, || {
        faults::point("rewritten_fixups");
        // SAFETY: as above.
        unsafe { Request::from_ptr(r) }.map_or(DECLINED, |request| entry::rewritten_fixups(request).code())
    })
}

pub(super) unsafe extern "C" fn late_fixups(r: *mut ffi::request_rec) -> i32 {
    guard(FAILED, || {
        faults::point("late_fixups");
        // SAFETY: as above.
        unsafe { Request::from_ptr(r) }.map_or(DECLINED, |request| entry::late_fixups(request).code())
    })
}

pub(super) unsafe extern "C" fn handler(r: *mut ffi::request_rec) -> i32 {
    guard(FAILED, || {
        faults::point("handler");
        // SAFETY: as above.
        match unsafe { Request::from_ptr(r) }.map_or(Answered::No, control::answer) {
            Answered::No => DECLINED,
            Answered::Yes => OK,
            Answered::Failed => FAILED,
        }
    })
}

/// Adds to mod_status's page.
pub(super) unsafe extern "C" fn status(r: *mut ffi::request_rec, flags: i32) -> i32 {
    guard(DECLINED, || {
        faults::point("status");
        // SAFETY: as above.
        let Some(request) = (unsafe { Request::from_ptr(r) }) else { return DECLINED };
        control::status::show(request, flags as u32 & ffi::AP_STATUS_SHORT != 0);
        OK
    })
}

/// Registered in servers of tests alone.
pub(super) unsafe extern "C" fn door(r: *mut ffi::request_rec, is_lookup: i32) -> i32 {
    guard(FAILED, || {
        // SAFETY: as above.
        let request = unsafe { Request::from_ptr(r) }.filter(|_| is_lookup == 0);
        let is_answered = request.is_some_and(|request| {
            snapshot::seed(request);
            snapshot::answer(request)
        });
        if is_answered { OK } else { DECLINED }
    })
}

pub(super) unsafe extern "C" fn log_transaction(r: *mut ffi::request_rec) -> i32 {
    guard(DECLINED, || {
        faults::point("log_transaction");
        // SAFETY: as above.
        if let Some(request) = unsafe { Request::from_ptr(r) } {
            finish::log(request);
        }
        DECLINED
    })
}

pub(super) unsafe extern "C" fn reverse_filter(
    filter: *mut ffi::ap_filter_t,
    brigade: *mut ffi::apr_bucket_brigade,
) -> ffi::apr_status_t {
    // SAFETY: httpd's filter record, with the request it was added to; removed before the brigade
    // goes on, so that it runs once.
    unsafe {
        let next = (*filter).next;
        guard((), || {
            faults::point("reverse_filter");
            if let Some(request) = Request::from_ptr((*filter).r) {
                headers::are_known(request);
            }
        });
        ffi::ap_remove_output_filter(filter);
        ffi::ap_pass_brigade(next, brigade)
    }
}

pub(super) unsafe extern "C" fn body_filter(
    filter: *mut ffi::ap_filter_t,
    brigade: *mut ffi::apr_bucket_brigade,
    mode: ffi::ap_input_mode_t,
    block: ffi::apr_read_type_e,
    bytes: ffi::apr_off_t,
) -> ffi::apr_status_t {
    // SAFETY: httpd's filter record, with the request it was added to, and a brigade that the next
    // filter fills.
    unsafe {
        let began_us = monotonic_us();
        let status = ffi::ap_get_brigade((*filter).next, brigade, mode, block, bytes);
        guard((), || {
            faults::point("body_filter");
            let ended = status == ffi::APR_SUCCESS as ffi::apr_status_t && ffi::lb_brigade_ends(brigade) != 0;
            if let Some(request) = Request::from_ptr((*filter).r) {
                headers::body_was_read(request, monotonic_us().saturating_sub(began_us), ended);
            }
        });
        status
    }
}
