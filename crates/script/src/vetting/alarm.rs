// SPDX-License-Identifier: Apache-2.0
//! Where a top level is that does not end: a process that vets sets an alarm shortly before it is
//! killed, and the handler writes the script's line into the answer. It looks at Lua's stack
//! whatever it interrupts. In another process that would be wrong; this one ends a moment later in
//! any case, and at worst without that line.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};
use std::time::Duration;

use libc::{c_char, c_int};
use mlua::{Lua, ffi};

use crate::vetting::report;

static LUA: AtomicPtr<ffi::lua_State> = AtomicPtr::new(ptr::null_mut());
static ANSWER: AtomicI32 = AtomicI32::new(-1);
/// Frames of Lua's stack that are looked at.
const DEEPEST: c_int = 200;

/// Has the line of the script that runs after this time written to `answer`. For a process that
/// vets, and nothing else.
pub fn set(after: Duration, answer: RawFd) {
    ANSWER.store(answer, Ordering::Release);
    let time = libc::timeval {
        tv_sec: after.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(after.subsec_micros()),
    };
    let once = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: time };
    // SAFETY: plain calls with structures of this frame; the handler has the form that signal()
    // wants.
    unsafe {
        libc::signal(libc::SIGALRM, on_alarm as extern "C" fn(c_int) as usize);
        libc::setitimer(libc::ITIMER_REAL, &once, ptr::null_mut());
    }
}

/// Takes the alarm back.
pub fn clear() {
    ANSWER.store(-1, Ordering::Release);
}

/// As long as it lives, its state is the one that is looked at.
pub(crate) struct Watched<'l>(PhantomData<&'l Lua>);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        LUA.store(ptr::null_mut(), Ordering::Release);
    }
}

/// Names the state, where an alarm is set.
pub(crate) fn watch(lua: &Lua) -> Watched<'_> {
    if ANSWER.load(Ordering::Acquire) >= 0 {
        // SAFETY: takes the main state's address and leaves nothing on its stack.
        let noted = unsafe { lua.exec_raw::<()>((), |state| LUA.store(state, Ordering::Release)) };
        noted.ok();
    }
    Watched(PhantomData)
}

extern "C" fn on_alarm(_: c_int) {
    let (lua, answer) = (LUA.load(Ordering::Acquire), ANSWER.load(Ordering::Acquire));
    if lua.is_null() || answer < 0 {
        return;
    }
    // SAFETY: the state lives while it is named. The value that the interrupted code was changing
    // may be half done: see the head of this file.
    unsafe {
        for level in 0..DEEPEST {
            let mut frame: ffi::lua_Debug = std::mem::zeroed();
            if ffi::lua_getstack(lua, level, &mut frame) == 0 {
                return;
            }
            if ffi::lua_getinfo(lua, c"Sl".as_ptr(), &mut frame) != 0 && frame.currentline > 0 {
                let source: *const c_char = frame.source;
                if !source.is_null() && *source == b'@' as c_char {
                    return tell(answer, CStr::from_ptr(source.add(1)).to_bytes(), frame.currentline);
                }
            }
        }
    }
}

/// Without an allocation, in one write.
fn tell(answer: RawFd, file: &[u8], line: c_int) {
    let mut record = report::PlaceRecord::new();
    record.put(file);
    record.put(b":");
    record.put_number(line.unsigned_abs());
    let bytes = record.bytes();
    // SAFETY: writes bytes of this frame.
    unsafe { libc::write(answer, bytes.as_ptr().cast(), bytes.len()) };
}
