// SPDX-License-Identifier: Apache-2.0
//! The return values of hooks, as httpd has them.

use crate::ffi;

pub(super) const OK: i32 = ffi::OK as i32;
pub(super) const DECLINED: i32 = ffi::DECLINED;
pub(super) const FAILED: i32 = ffi::HTTP_INTERNAL_SERVER_ERROR as i32;
