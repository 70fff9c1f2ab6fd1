// SPDX-License-Identifier: Apache-2.0
//! The values of one reading of the configuration, from pre_config until its pool is cleared.

use std::cell::RefCell;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::pool::MemoryPool;

/// A place for one value: that of the configuration being read, or in force. For the parent in its
/// configuration phase, which has one thread.
pub struct PerReading<T: 'static> {
    value: AtomicPtr<Held<T>>,
}

/// A value as it lies in its pool. Its drop empties the place.
struct Held<T: 'static> {
    value: RefCell<T>,
    slot: &'static PerReading<T>,
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        let own = std::ptr::from_mut(self);
        let none = std::ptr::null_mut();
        let _ = self.slot.value.compare_exchange(own, none, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl<T> PerReading<T> {
    /// An empty one.
    pub const fn new() -> Self {
        PerReading { value: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Puts a value there for as long as the configuration's pool is not cleared.
    pub fn put(&'static self, pool: MemoryPool<'static>, value: T) {
        let held = pool.keep(Held { value: RefCell::new(value), slot: self });
        self.value.store(held, Ordering::Release);
    }

    /// Runs `body` with the value. None: there is none, or a use of it is not over.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> Option<R> {
        // SAFETY: in the pool until its drop, which empties the place first. The configuration
        // phase has one thread, so that the pool is not cleared meanwhile.
        let held = unsafe { self.value.load(Ordering::Acquire).as_ref() }?;
        Some(body(&mut *held.value.try_borrow_mut().ok()?))
    }
}
