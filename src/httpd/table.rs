// SPDX-License-Identifier: Apache-2.0
//! APR tables: headers, notes, environment.

use std::ffi::{CStr, CString, c_char};
use std::marker::PhantomData;

use super::pool::Text;
use crate::ffi;

/// A table of a request.
#[derive(Clone, Copy)]
pub struct AprTable<'r> {
    raw: *mut ffi::apr_table_t,
    lives: PhantomData<&'r ()>,
}

impl<'r> AprTable<'r> {
    /// # Safety
    /// `raw` is NULL or a table that lives for `'r` and is used by this thread alone.
    pub unsafe fn from_ptr(raw: *mut ffi::apr_table_t) -> Self {
        AprTable { raw, lives: PhantomData }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        // SAFETY: a live table, whose array it is.
        self.raw.is_null() || unsafe { (*ffi::apr_table_elts(self.raw)).nelts == 0 }
    }

    /// The first value of a key, case-insensitive.
    pub fn get(self, key: &CStr) -> Option<&'r [u8]> {
        if self.raw.is_null() {
            return None;
        }
        // SAFETY: a live table; the value is a NUL-terminated string of the table's pool.
        unsafe { super::bytes(ffi::apr_table_get(self.raw, key.as_ptr())) }
    }

    /// Whether any of these keys is there: one pass, where [`AprTable::get`] takes one each.
    pub fn holds_any(self, keys: &KeySet) -> bool {
        if self.raw.is_null() {
            return false;
        }
        // SAFETY: a live table, whose array holds `nelts` entries; keys are NUL-terminated.
        unsafe {
            let array = &*ffi::apr_table_elts(self.raw);
            if array.nelts <= 0 || array.elts.is_null() {
                return false;
            }
            std::slice::from_raw_parts(array.elts.cast::<ffi::apr_table_entry_t>(), array.nelts as usize)
                .iter()
                .any(|entry| !entry.key.is_null() && keys.holds(entry.key))
        }
    }

    /// As [`AprTable::get`] for a key that is not yet a C string; short keys cost no allocation.
    pub fn get_bytes(self, key: &[u8]) -> Option<&'r [u8]> {
        with_c_str(key, |key| self.get(key)).flatten()
    }

    /// Sets a key; both are copied into the table's pool.
    pub fn set(self, key: &CStr, value: &CStr) {
        if !self.raw.is_null() {
            // SAFETY: a live table; apr_table_set copies both.
            unsafe { ffi::apr_table_set(self.raw, key.as_ptr(), value.as_ptr()) }
        }
    }

    /// Sets a key to a string that is in the table's pool already, or static. A `new` key is known
    /// not to be there yet.
    pub fn point(self, new: bool, key: &'static CStr, value: impl Into<Text<'r>>) {
        if self.raw.is_null() {
            return;
        }
        let put = if new { ffi::apr_table_addn } else { ffi::apr_table_setn };
        // SAFETY: a live table; the key is static, and the value lives as long as the table.
        unsafe { put(self.raw, key.as_ptr(), value.into().as_ptr()) }
    }

    /// Sets a key that is not yet a C string. Keys and values with a NUL are left out.
    pub fn set_bytes(self, key: &[u8], value: &[u8]) {
        if let (Ok(key), Ok(value)) = (CString::new(key), CString::new(value)) {
            self.set(&key, &value);
        }
    }

    /// Adds a further value for a key.
    pub fn add(self, key: &CStr, value: &CStr) {
        if !self.raw.is_null() {
            // SAFETY: a live table; apr_table_add copies both.
            unsafe { ffi::apr_table_add(self.raw, key.as_ptr(), value.as_ptr()) }
        }
    }

    /// Removes all values of a key.
    pub fn unset(self, key: &CStr) {
        if !self.raw.is_null() {
            // SAFETY: a live table.
            unsafe { ffi::apr_table_unset(self.raw, key.as_ptr()) }
        }
    }

    /// Calls `f` with every pair until it says false.
    pub fn each(self, f: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
        if self.raw.is_null() {
            return;
        }
        // SAFETY: a live table; its array holds `nelts` entries whose strings live in the table's
        // pool. The copy of the strings' addresses is taken before `f` runs, so that `f` may change
        // the table.
        let pairs: Vec<(&[u8], &[u8])> = unsafe {
            let array = &*ffi::apr_table_elts(self.raw);
            if array.nelts <= 0 || array.elts.is_null() {
                return;
            }
            std::slice::from_raw_parts(array.elts.cast::<ffi::apr_table_entry_t>(), array.nelts as usize)
                .iter()
                .filter_map(|entry| Some((super::bytes(entry.key)?, super::bytes(entry.val)?)))
                .collect()
        };
        for (key, value) in pairs {
            if !f(key, value) {
                return;
            }
        }
    }
}

/// Keys that are looked for together, case-insensitive as a table's are.
pub struct KeySet {
    /// A bit for each letter that one of them begins with, whatever its case.
    initials: u32,
    keys: &'static [&'static CStr],
}

impl KeySet {
    /// Each key begins with a letter.
    pub const fn new(keys: &'static [&'static CStr]) -> Self {
        let mut initials = 0;
        let mut at = 0;
        while at < keys.len() {
            initials |= Self::bit(keys[at].to_bytes()[0]);
            at += 1;
        }
        KeySet { initials, keys }
    }

    const fn bit(letter: u8) -> u32 {
        1 << (letter & 31)
    }

    /// # Safety
    /// `key` is a NUL-terminated string.
    #[inline(always)]
    unsafe fn holds(&self, key: *const c_char) -> bool {
        // SAFETY: as above. Most keys begin with another letter: these cost no look at the rest.
        unsafe {
            if self.initials & Self::bit(*key as u8) == 0 {
                return false;
            }
            let key = CStr::from_ptr(key).to_bytes();
            self.keys.iter().any(|known| known.to_bytes().eq_ignore_ascii_case(key))
        }
    }
}

/// Calls `f` with a C string of these bytes, on the stack when they are short. None when they hold
/// a NUL.
pub fn with_c_str<T>(bytes: &[u8], f: impl FnOnce(&CStr) -> T) -> Option<T> {
    let mut room = [0u8; 128];
    if bytes.len() < room.len() {
        room[..bytes.len()].copy_from_slice(bytes);
        return CStr::from_bytes_with_nul(&room[..=bytes.len()]).ok().map(f);
    }
    CString::new(bytes).ok().map(|text| f(&text))
}
