// SPDX-License-Identifier: Apache-2.0
//! Filters.

use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::request::Request;
use crate::ffi;

type Function =
    unsafe extern "C" fn(*mut ffi::ap_filter_t, *mut ffi::apr_bucket_brigade) -> ffi::apr_status_t;
type InputFunction = unsafe extern "C" fn(
    *mut ffi::ap_filter_t,
    *mut ffi::apr_bucket_brigade,
    ffi::ap_input_mode_t,
    ffi::apr_read_type_e,
    ffi::apr_off_t,
) -> ffi::apr_status_t;

/// A registered filter; registered anew whenever httpd loads the module.
pub struct Filter(AtomicPtr<ffi::ap_filter_rec_t>);

/// The filter that sees an answer's headers.
pub static ANSWER: Filter = Filter::new();

/// The filter that sees a request's body come to its end.
pub static BODY: Filter = Filter::new();

impl Filter {
    /// Not registered yet.
    pub const fn new() -> Self {
        Filter(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// Registers it, to run when the answer's headers are known, before every filter that changes
    /// content or headers.
    pub fn register(&self, name: &CStr, function: Function) {
        // SAFETY: httpd's registration call; it copies the name.
        let record = unsafe {
            ffi::ap_register_output_filter(name.as_ptr(), Some(function), None, ffi::AP_FTYPE_RESOURCE)
        };
        self.0.store(record, Ordering::Release);
    }

    /// Registers it, to run when a request's body is read.
    pub fn register_for_input(&self, name: &CStr, function: InputFunction) {
        // SAFETY: as above.
        let record = unsafe {
            ffi::ap_register_input_filter(name.as_ptr(), Some(function), None, ffi::AP_FTYPE_CONTENT_SET)
        };
        self.0.store(record, Ordering::Release);
    }
}

impl Request<'_> {
    /// Puts a filter that changes nothing into this request's input chain.
    pub fn add_input_filter(self, filter: &Filter) {
        let record = filter.0.load(Ordering::Acquire);
        if record.is_null() {
            return;
        }
        // SAFETY: as in `add_filter`. mod_proxy keeps a body back until it has all of it where a
        // filter might change its length, which it takes from these two being different; the second
        // is the rest of the first.
        unsafe {
            let r = self.as_ptr();
            ffi::ap_add_input_filter_handle(record, std::ptr::null_mut(), r, (*r).connection);
            if (*(*r).input_filters).next == (*r).proto_input_filters {
                (*r).proto_input_filters = (*r).input_filters;
            }
        }
    }

    /// Puts a filter into this request's output chain.
    pub fn add_filter(self, filter: &Filter) {
        let record = filter.0.load(Ordering::Acquire);
        if !record.is_null() {
            // SAFETY: a registered filter, a live request and its connection.
            unsafe {
                ffi::ap_add_output_filter_handle(
                    record,
                    std::ptr::null_mut(),
                    self.as_ptr(),
                    (*self.as_ptr()).connection,
                );
            }
        }
    }
}
