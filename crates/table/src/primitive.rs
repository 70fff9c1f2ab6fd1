//! The atomics that the protocols are written against: the standard ones, or loom's when the protocols are checked.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Stands between a SeqCst access and a later SeqCst access to another word where the protocol needs both in the single
/// total order. The language gives that order to the accesses themselves; loom treats them as acquire/release and knows
/// the total order of fences only, so it gets one.
#[inline(always)]
pub(crate) fn total_order() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}

/// Gives another thread a chance before a retry.
#[inline]
pub(crate) fn pause() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    std::thread::yield_now();
}

/// A place where a process may die. Nothing outside of this crate's own tests, where [`crash`] makes the operation stop.
#[inline(always)]
pub(crate) fn step() {
    #[cfg(all(test, not(loom)))]
    crash::step();
}

/// Stops operations half way, as SIGKILL would: nothing is undone.
#[cfg(all(test, not(loom)))]
pub(crate) mod crash {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    thread_local! {
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    struct Crashed;

    pub(crate) fn step() {
        match LEFT.get() {
            Some(0) => {
                LEFT.set(None);
                resume_unwind(Box::new(Crashed));
            }
            Some(left) => LEFT.set(Some(left - 1)),
            None => {}
        }
    }

    /// Runs the operation up to its step number `after`; None when it was stopped there.
    pub(crate) fn after<T>(steps: u32, operation: impl FnOnce() -> T) -> Option<T> {
        LEFT.set(Some(steps));
        let outcome = catch_unwind(AssertUnwindSafe(operation));
        LEFT.set(None);
        match outcome {
            Ok(value) => Some(value),
            Err(payload) if payload.is::<Crashed>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }
}
