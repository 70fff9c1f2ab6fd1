// SPDX-License-Identifier: Apache-2.0
//! Users and groups of the system, by name and by number, from any thread.

use std::ffi::{CStr, CString};

/// Room for the texts of one entry.
const ROOM: usize = 16 << 10;

/// The number of a group.
pub fn group(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    let mut texts = vec![0; ROOM];
    // SAFETY: writes into structures of this frame and at most as many bytes of texts as named.
    unsafe {
        let mut entry: libc::group = std::mem::zeroed();
        let mut found = std::ptr::null_mut();
        libc::getgrnam_r(name.as_ptr(), &mut entry, texts.as_mut_ptr(), texts.len(), &mut found);
        (!found.is_null()).then_some(entry.gr_gid)
    }
}

/// The name of a user.
pub fn user(number: u32) -> Option<String> {
    let mut texts = vec![0; ROOM];
    // SAFETY: as above; the name is copied before the texts go.
    unsafe {
        let mut entry: libc::passwd = std::mem::zeroed();
        let mut found = std::ptr::null_mut();
        libc::getpwuid_r(number, &mut entry, texts.as_mut_ptr(), texts.len(), &mut found);
        (!found.is_null()).then(|| CStr::from_ptr(entry.pw_name).to_string_lossy().into_owned())
    }
}
