// SPDX-License-Identifier: Apache-2.0
//! The signal of the watch: its handler, and the threads that let it through.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use libc::{c_int, c_void};

use super::slot::{ARMED, ARMING, AT_ONCE, SIGNAL, STATE, slots};

/// The handler that had the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

thread_local! {
    /// This thread's number, once it takes the signal.
    static THREAD: Cell<i32> = const { Cell::new(0) };
}

/// This thread's number. httpd's threads block all signals; this one is let through, once a thread.
pub(super) fn this_thread() -> i32 {
    let known = THREAD.get();
    if known != 0 {
        return known;
    }
    // SAFETY: plain calls, with a set of this frame.
    let own = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, SIGNAL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut());
        libc::gettid()
    };
    THREAD.set(own);
    own
}

/// Only what a handler may do: atomics, two system calls, and what Lua allows.
pub(super) extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: errno is this thread's own, and is put back below.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: a plain system call.
    let own = unsafe { libc::syscall(libc::SYS_gettid) };
    for slot in slots().filter(|slot| i64::from(slot.thread.load(Ordering::Relaxed)) == own) {
        let word = slot.word.load(Ordering::Acquire);
        if word & STATE == ARMING {
            slot.set_hook(AT_ONCE);
            let armed = word & !STATE | ARMED;
            slot.word.compare_exchange(word, armed, Ordering::AcqRel, Ordering::Relaxed).ok();
        }
    }
    pass_on(signal, info, context);
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Calls the handler that was there before.
pub(super) fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(before) = BEFORE.get() else { return };
    if matches!(before.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) {
        return;
    }
    // SAFETY: a handler that the system would have called, in the form that its flag names.
    unsafe {
        if before.sa_flags & libc::SA_SIGINFO != 0 {
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                std::mem::transmute(before.sa_sigaction);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(c_int) = std::mem::transmute(before.sa_sigaction);
            handler(signal);
        }
    }
}

pub(super) fn take_signal() -> std::io::Result<()> {
    // SAFETY: plain calls with structures of this frame; the handler has the form that SA_SIGINFO
    // names.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(SIGNAL, ptr::null(), &mut before) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        BEFORE.get_or_init(|| before);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(_, _, _) as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        if libc::sigaction(SIGNAL, &action, ptr::null_mut()) != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}
