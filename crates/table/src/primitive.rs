// SPDX-License-Identifier: Apache-2.0
//! The atomics that the protocols are written against: the standard ones, or loom's when the
//! protocols are checked.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Stands between a SeqCst access and a later SeqCst access to another word where the protocol
/// needs both in the single total order. The language gives that order to the accesses themselves;
/// loom treats them as acquire/release and knows the total order of fences only, so it gets one.
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

/// A place where a process may die. Nothing outside of this crate's own tests, where `crash` makes
/// the operation stop.
#[inline(always)]
pub(crate) fn step() {
    #[cfg(all(test, not(loom)))]
    crash::step();
}

/// Whether the process has died at a [`step`] and only its stack is left: what is dropped there
/// does nothing, as where a process is killed.
#[inline(always)]
pub(crate) fn is_killed() -> bool {
    #[cfg(all(test, not(loom)))]
    return crash::is_killed();
    #[cfg(not(all(test, not(loom))))]
    false
}

/// Makes operations die half way, as by SIGKILL (nothing is undone), or stop there, as by SIGSTOP.
#[cfg(all(test, not(loom)))]
pub(crate) mod crash {
    use std::cell::{Cell, RefCell};
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    enum End {
        Die,
        Stop(SyncSender<()>, Receiver<()>),
    }

    thread_local! {
        static LEFT: RefCell<Option<(u32, End)>> = const { RefCell::new(None) };
        static KILLED: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn is_killed() -> bool {
        KILLED.get()
    }

    struct Crashed;

    pub(crate) fn step() {
        let reached = LEFT.with_borrow_mut(|left| match left {
            Some((0, _)) => left.take(),
            Some((steps, _)) => {
                *steps -= 1;
                None
            }
            None => None,
        });
        match reached {
            Some((_, End::Die)) => {
                KILLED.set(true);
                resume_unwind(Box::new(Crashed))
            }
            Some((_, End::Stop(stopped, go_on))) => {
                stopped.send(()).expect("somebody waits");
                go_on.recv().expect("somebody goes on");
            }
            None => {}
        }
    }

    /// Runs the operation up to its step number `steps`; None when it died there.
    pub(crate) fn after<T>(steps: u32, operation: impl FnOnce() -> T) -> Option<T> {
        LEFT.set(Some((steps, End::Die)));
        let outcome = catch_unwind(AssertUnwindSafe(operation));
        LEFT.set(None);
        KILLED.set(false);
        match outcome {
            Ok(value) => Some(value),
            Err(payload) if payload.is::<Crashed>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Runs `slow` in a thread up to its step number `steps`, then `meanwhile`, then the rest of
    /// `slow`. False when `slow` has not as many steps; `meanwhile` is run after it then.
    pub(crate) fn around<T: Send, U>(
        steps: u32,
        slow: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce() -> U,
    ) -> (T, U, bool) {
        let (stopped, is_stopped) = sync_channel(0);
        let (go_on, may_go_on) = sync_channel(1);
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                LEFT.set(Some((steps, End::Stop(stopped, may_go_on))));
                let value = slow();
                LEFT.set(None);
                value
            });
            let was_stopped = is_stopped.recv().is_ok();
            let other = meanwhile();
            // Failing means that the thread has ended.
            let _ = go_on.send(());
            (thread.join().expect("no panic"), other, was_stopped)
        })
    }
}
