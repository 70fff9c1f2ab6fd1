// SPDX-License-Identifier: Apache-2.0
//! Shared mappings that the parent keeps over restarts.
#![allow(unsafe_code)]

use crate::httpd::memory;
use crate::httpd::retained::Plain;

/// A shared mapping of this process.
#[derive(Clone, Copy)]
pub struct Mapping {
    /// Where it begins.
    pub base: *mut u8,
    /// Bytes.
    pub length: usize,
}

impl Mapping {
    /// A new one, all zero.
    pub fn new(length: usize) -> Result<Self, String> {
        let base = memory::map_shared(length);
        let base = base.map_err(|error| format!("no shared memory of {length} bytes: {error}"))?;
        Ok(Mapping { base, length })
    }
}

/// At most `N` mappings by their names, in retained data.
#[repr(C)]
pub struct Mappings<const N: usize> {
    kept: [Named; N],
}

// SAFETY: fixed layout of numbers and pointers without drop; zeros stand for "no mapping".
unsafe impl<const N: usize> Plain for Mappings<N> {}

#[repr(C)]
struct Named {
    /// Zero padded.
    name: [u8; 64],
    /// NULL for none.
    base: *mut u8,
    length: usize,
}

impl Named {
    fn is_there(&self) -> bool {
        !self.base.is_null()
    }

    fn name(&self) -> &[u8] {
        self.name.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// # Safety
    /// Nothing in this process uses the mapping any more. Children keep their own.
    unsafe fn give_back(&mut self) {
        if self.is_there() {
            // SAFETY: a mapping of this length, see `put`; the caller's promise.
            unsafe { memory::unmap(self.base, self.length) };
        }
        *self = Named { name: [0; 64], base: std::ptr::null_mut(), length: 0 };
    }
}

impl<const N: usize> Mappings<N> {
    /// The mapping of this name.
    pub fn find(&self, name: &str) -> Option<Mapping> {
        let kept = self.kept.iter().find(|kept| kept.is_there() && kept.name() == name.as_bytes())?;
        Some(Mapping { base: kept.base, length: kept.length })
    }

    /// Keeps a mapping in the place of the one that has this name, which is given back. A name has
    /// at most 63 bytes.
    ///
    /// # Safety
    /// `mapping` is one of this process, and nothing in this process uses the one before any more.
    pub unsafe fn put(&mut self, name: &str, mapping: Mapping) -> Result<(), String> {
        let own = self.kept.iter().position(|kept| kept.is_there() && kept.name() == name.as_bytes());
        let free = || self.kept.iter().position(|kept| !kept.is_there());
        let place = own.or_else(free).and_then(|at| self.kept.get_mut(at));
        let place = place.ok_or("there are too many shared mappings")?;
        // SAFETY: the caller's promise.
        unsafe { place.give_back() };
        let mut padded = [0; 64];
        padded.iter_mut().zip(name.bytes().take(63)).for_each(|(place, byte)| *place = byte);
        *place = Named { name: padded, base: mapping.base, length: mapping.length };
        Ok(())
    }

    /// Gives back the mappings whose names are not wanted.
    ///
    /// # Safety
    /// Nothing in this process uses them any more.
    pub unsafe fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        for kept in self.kept.iter_mut().filter(|kept| kept.is_there()) {
            if !wanted(&String::from_utf8_lossy(kept.name())) {
                // SAFETY: the caller's promise.
                unsafe { kept.give_back() };
            }
        }
    }
}
