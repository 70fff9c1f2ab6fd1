// SPDX-License-Identifier: Apache-2.0
//! The watch's knowledge of one Lua state: a word that says whether a call runs, and which one.
#![allow(unsafe_code)]

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libc::c_int;
use mlua::ffi;

use crate::limits::frame::Frame;
use crate::limits::processor::{self, Start};
use crate::source::library::ScriptId;

/// Ignored by default and sent by nobody else, since httpd asks no socket for it. One that comes by
/// chance does no harm.
pub(super) const SIGNAL: c_int = libc::SIGURG;
/// When a hook is called: events, and instructions between two of them.
#[derive(Clone, Copy)]
pub(super) struct Pace(pub(super) c_int, pub(super) c_int);

/// Not at all.
pub(super) const NEVER: Pace = Pace(0, 0);
/// With the next instruction or call: any may be the last for long.
pub(super) const AT_ONCE: Pace = Pace(ffi::LUA_MASKCOUNT | ffi::LUA_MASKCALL, 1);
/// Where runs take turns, which are shorter than the watch's steps.
pub(super) const TURNS: Pace = Pace(ffi::LUA_MASKCOUNT, 1_000);
/// Without a watch.
pub(super) const UNWATCHED: Pace = Pace(ffi::LUA_MASKCOUNT | ffi::LUA_MASKCALL, 1_000);

/// States of a call, in the lowest bits of a slot's word. The others count calls.
pub(super) const IDLE: u64 = 0;
pub(super) const RUNNING: u64 = 1;
/// The watch has sent a signal.
pub(super) const ARMING: u64 = 2;
/// The handler has set the hook.
pub(super) const ARMED: u64 = 3;
pub(super) const STATE: u64 = 3;
pub(super) const NEXT_CALL: u64 = 4;

/// The activity of one Lua state. Never freed, used again. On cache lines of its own: states run at
/// once.
#[repr(align(128))]
pub(super) struct Slot {
    pub(super) word: AtomicU64,
    /// The thread that runs the call, by its number in the system.
    pub(super) thread: AtomicI32,
    /// The script and the phase of the call, see `Frame::tag`.
    pub(super) tag: AtomicU64,
    /// The watch's own: the word when it last was of another call than before, and when that was,
    /// in microseconds since [`epoch`].
    pub(super) seen: AtomicU64,
    pub(super) seen_us: AtomicU64,
    /// The processor time that the call's thread had used by then, in microseconds.
    pub(super) used_us: AtomicU64,
    /// The state's main thread or the coroutine that runs; not NULL while a call runs.
    pub(super) lua: AtomicPtr<ffi::lua_State>,
    pub(super) taken: AtomicBool,
    pub(super) next: AtomicPtr<Slot>,
}

pub(super) static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());
/// One function for all states.
pub(super) static HOOK: OnceLock<ffi::lua_Hook> = OnceLock::new();

pub(super) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

pub(super) fn slots() -> impl Iterator<Item = &'static Slot> {
    // SAFETY: slots are leaked by `Slot::take`, and `next` is written before a slot can be reached.
    let follow = |slot: &AtomicPtr<Slot>| unsafe { slot.load(Ordering::Acquire).as_ref() };
    std::iter::successors(follow(&SLOTS), move |slot| follow(&slot.next))
}

/// # Safety
/// The state lives, and this thread runs it, or is in a handler of a signal over it: Lua lets those
/// set hooks, whatever they interrupt.
pub(super) unsafe fn set_hook(lua: *mut ffi::lua_State, Pace(events, count): Pace) {
    if let Some(hook) = HOOK.get() {
        // SAFETY: as above.
        unsafe { ffi::lua_sethook(lua, Some(*hook), events, count) };
    }
}

impl Slot {
    pub(super) fn take() -> &'static Slot {
        let free = |slot: &&Slot| !slot.taken.swap(true, Ordering::AcqRel);
        if let Some(slot) = slots().find(free) {
            return slot;
        }
        let slot: &'static Slot = Box::leak(Box::new(Slot {
            word: AtomicU64::new(IDLE),
            thread: AtomicI32::new(0),
            tag: AtomicU64::new(0),
            seen: AtomicU64::new(IDLE),
            seen_us: AtomicU64::new(0),
            used_us: AtomicU64::new(0),
            lua: AtomicPtr::default(),
            taken: AtomicBool::new(true),
            next: AtomicPtr::default(),
        }));
        let mut first = SLOTS.load(Ordering::Acquire);
        loop {
            slot.next.store(first, Ordering::Relaxed);
            let own = ptr::from_ref(slot).cast_mut();
            match SLOTS.compare_exchange(first, own, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return slot,
                Err(other) => first = other,
            }
        }
    }

    /// Sets the hook of the coroutine that runs, in its thread or in a signal handler of it. Doing
    /// it twice, or within itself, is doing it once.
    pub(super) fn set_hook(&self, pace: Pace) {
        let lua = self.lua.load(Ordering::Relaxed);
        if !lua.is_null() {
            // SAFETY: the state lives while its call runs, and this thread runs it.
            unsafe { set_hook(lua, pace) };
        }
    }

    pub(super) fn signal(&self) {
        let thread = self.thread.load(Ordering::Relaxed);
        // SAFETY: a plain system call. A thread that has ended, or another of its number, does no
        // harm.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
    }
}

/// A call that has lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongCall {
    /// The state's number, and the call's: the same as long as it is the same call.
    pub call: (usize, u64),
    /// The script.
    pub script: ScriptId,
    /// The version that is called.
    pub version: u64,
    /// Whether it is the top level.
    pub is_load: bool,
    /// How long.
    pub lasted: Duration,
    /// How much of it its thread has computed.
    pub computed: Duration,
}

impl Slot {
    pub(super) fn long_call(&self, now_us: u64) -> Option<LongCall> {
        let word = self.word.load(Ordering::SeqCst);
        let since_us = self.seen_us.load(Ordering::Relaxed);
        let (script, version, is_load) = Frame::of_tag(self.tag.load(Ordering::Relaxed));
        let is_same = |other: u64| other & !STATE == word & !STATE;
        // Read again: what stands between belongs to this call.
        let holds = word & STATE != IDLE
            && is_same(self.seen.load(Ordering::Relaxed))
            && is_same(self.word.load(Ordering::SeqCst));
        let lasted = Duration::from_micros(now_us.saturating_sub(since_us));
        let call = (ptr::from_ref(self).addr(), word & !STATE);
        let used = processor::used_by(self.thread.load(Ordering::Relaxed)).unwrap_or_default();
        let computed = used.saturating_sub(Duration::from_micros(self.used_us.load(Ordering::Relaxed)));
        holds.then_some(LongCall { call, script, version, is_load, lasted, computed })
    }

    /// When the watch saw the call first.
    pub(super) fn start(&self) -> Start {
        let us = |of: &AtomicU64| Duration::from_micros(of.load(Ordering::Relaxed));
        Start { at: epoch() + us(&self.seen_us), used: us(&self.used_us) }
    }

    /// Notes what the thread of the call has used so far. One that has ended has no call.
    fn note_used(&self) {
        let used = processor::used_by(self.thread.load(Ordering::Relaxed)).unwrap_or_default();
        self.used_us.store(used.as_micros() as u64, Ordering::Relaxed);
    }

    /// A look of the watch: sends a signal to a call that was there a step ago. Returns whether the
    /// state has been used since the last look.
    pub(super) fn look(&self, now: Instant, step: Duration) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        let now_us = now.duration_since(epoch()).as_micros() as u64;
        if word & !STATE != self.seen.load(Ordering::Relaxed) & !STATE {
            self.seen_us.store(now_us, Ordering::Relaxed);
            if word & STATE != IDLE {
                self.note_used();
            }
            self.seen.store(word, Ordering::Relaxed);
            return true;
        }
        let ran_us = now_us.saturating_sub(self.seen_us.load(Ordering::Relaxed));
        match word & STATE {
            IDLE => return false,
            RUNNING if u128::from(ran_us) >= step.as_micros() => {
                let arming = word & !STATE | ARMING;
                if self.word.compare_exchange(word, arming, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                    self.signal();
                }
            }
            // It has not come to run since, or somebody has taken the signal away.
            ARMING => self.signal(),
            _ => {}
        }
        true
    }
}
