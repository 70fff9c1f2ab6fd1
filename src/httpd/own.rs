// SPDX-License-Identifier: Apache-2.0
//! The one value that this module keeps with a request, by its place in the request's
//! configuration.

use std::os::raw::c_void;

use super::request::Request;

/// The value of this type; None where there is none yet, or something else that `is_other` knows.
#[inline]
pub fn get<'r, T>(request: Request<'r>, is_other: impl FnOnce(*mut c_void) -> bool) -> Option<&'r T> {
    let place = request.own_record();
    if is_other(place) {
        return None;
    }
    // SAFETY: what `is_other` does not know was set by `put`, to a value in the request's pool. A
    // request is handled by one thread; only shared references are handed out.
    unsafe { place.cast::<T>().as_ref() }
}

/// Keeps a value with the request, which has none yet.
pub fn put<T>(request: Request<'_>, value: T) -> &T {
    let kept = request.pool().keep(value);
    request.set_own_record(std::ptr::from_mut(kept).cast());
    kept
}
