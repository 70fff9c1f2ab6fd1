// SPDX-License-Identifier: Apache-2.0
//! Sleeping until another process changes a word of shared memory.
#![allow(unsafe_code)]

use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Sleeps while the lower half of `cell` is `seen`, at most for `time`. May return at any time
/// before.
#[cfg(all(target_os = "linux", not(miri)))]
pub fn wait(cell: &AtomicU64, seen: u32, time: Duration) {
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos() as _,
    };
    // SAFETY: the address of half of a word that is borrowed for the call, and a timespec on the
    // stack.
    unsafe {
        libc::syscall(libc::SYS_futex, lower_half(cell), libc::FUTEX_WAIT, seen, &raw const time);
    }
}

/// Wakes one who sleeps on the word.
pub(crate) fn wake(cell: &AtomicU64) {
    wake_up_to(cell, 1);
}

/// Wakes all who sleep on the word.
pub fn wake_all(cell: &AtomicU64) {
    wake_up_to(cell, i32::MAX);
}

#[cfg(all(target_os = "linux", not(miri)))]
fn wake_up_to(cell: &AtomicU64, most: i32) {
    // SAFETY: the address of half of a word that is borrowed for the call.
    unsafe {
        libc::syscall(libc::SYS_futex, lower_half(cell), libc::FUTEX_WAKE, most);
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
fn lower_half(cell: &AtomicU64) -> *const u32 {
    let halves = cell.as_ptr().cast_const().cast::<u32>();
    halves.wrapping_add(usize::from(cfg!(target_endian = "big")))
}

/// Elsewhere one looks now and then; under miri as well, which takes a futex on half of a word for
/// an access of that size.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub fn wait(cell: &AtomicU64, seen: u32, time: Duration) {
    if cell.load(std::sync::atomic::Ordering::SeqCst) as u32 == seen {
        std::thread::sleep(time.min(Duration::from_millis(5)));
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn wake_up_to(_: &AtomicU64, _: i32) {}
