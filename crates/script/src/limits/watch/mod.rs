// SPDX-License-Identifier: Apache-2.0
//! The time limit of calls, for nothing while they are short. Lua looks at a clock only in a hook,
//! and a hook costs every instruction of a script, so none is set: a thread of each process, the
//! watch, looks every few milliseconds at what each state is doing. To a thread whose call it has
//! seen before it sends a signal, and the handler sets the hook, for the very next instruction or
//! call, of a C function too. The hook looks at the clock (see `crate::native::hook`), and takes
//! itself off again: a call that lasts longer gets the next signal a step later. So whatever one
//! instruction costs, a few milliseconds pass between two looks.
//!
//! The watch writes `RUNNING -> ARMING` and nothing else. All other changes of a slot, the
//! handler's included, are made by the thread that runs the call, so that the end of a call waits
//! for nobody: a signal that comes late finds no `ARMING` of its thread. The next signal is sent
//! only after the hook was there: a thread that waits in the system for something is interrupted
//! once, and its timeouts run on.
#![allow(unsafe_code)]

mod signal;
mod slot;

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use mlua::{Lua, ffi};

use self::signal::{take_signal, this_thread};
use self::slot::{
    ARMED, ARMING, AT_ONCE, HOOK, IDLE, NEVER, NEXT_CALL, Pace, RUNNING, STATE, Slot, TURNS, UNWATCHED,
    epoch, set_hook, slots,
};
use crate::limits::processor::Start;

pub use self::slot::LongCall;

/// Calls between two looks there.
const UNWATCHED_CALLS: u32 = 100;

/// The watch's longest step.
const LONGEST_STEP_MS: u64 = 10;
/// How long nothing has to happen until the watch sleeps.
const QUIET: Duration = Duration::from_secs(1);

static WATCH: OnceLock<Thread> = OnceLock::new();
static ASLEEP: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);
static RUNS: AtomicBool = AtomicBool::new(false);

/// A state that is watched.
pub(crate) struct Watched {
    slot: &'static Slot,
    main: *mut ffi::lua_State,
    /// When the hook is called without a signal.
    pace: Pace,
    /// A hook was there that may be set still.
    armed: Cell<bool>,
    /// Calls of functions that the hook was called for, without a signal.
    calls: Cell<u32>,
}

impl Watched {
    /// The watch of a state that has just been made. `turns`: runs take turns in it. The hook is
    /// called at all times where there is no watch.
    pub(crate) fn new(lua: &Lua, hook: ffi::lua_Hook, turns: bool) -> mlua::Result<Self> {
        HOOK.get_or_init(|| hook);
        let mut main = ptr::null_mut();
        // SAFETY: called outside of scripts, where the state is the main thread; nothing is left on
        // its stack.
        unsafe { lua.exec_raw::<()>((), |state| main = state)? };
        let pace = match RUNS.load(Ordering::Acquire) {
            true if turns => TURNS,
            true => NEVER,
            false => UNWATCHED,
        };
        // SAFETY: the state lives, and this thread runs it.
        unsafe { set_hook(main, pace) };
        let slot = Slot::take();
        slot.lua.store(main, Ordering::Release);
        Ok(Watched { slot, main, pace, armed: Cell::new(false), calls: Cell::new(0) })
    }

    /// A call begins, in this thread. `tag`: of what.
    pub(crate) fn begin(&self, tag: u64) {
        if self.pace.0 == UNWATCHED.0 {
            // The process may fork, and its thread have another number then.
            return;
        }
        self.slot.thread.store(this_thread(), Ordering::Relaxed);
        self.slot.tag.store(tag, Ordering::Relaxed);
        let call = (self.slot.word.load(Ordering::Relaxed) & !STATE).wrapping_add(NEXT_CALL);
        // This and ASLEEP are each written before the other is read: see `run`.
        self.slot.word.swap(call | RUNNING, Ordering::SeqCst);
        if ASLEEP.load(Ordering::SeqCst) {
            wake();
        }
    }

    /// The call is over, in the thread that began it.
    pub(crate) fn end(&self) {
        if self.pace.0 == UNWATCHED.0 {
            if self.armed.replace(false) {
                // SAFETY: the state lives, and this thread runs it.
                unsafe { set_hook(self.main, self.pace) };
            }
            return;
        }
        let call = self.slot.word.load(Ordering::Relaxed) & !STATE;
        let before = self.slot.word.swap(call | IDLE, Ordering::SeqCst);
        // From here on the handler leaves this state alone.
        if before & STATE != RUNNING || self.armed.get() {
            self.armed.set(false);
            // SAFETY: the state lives, and this thread runs it.
            unsafe { set_hook(self.main, self.pace) };
        }
    }

    /// Has the hook called with the next instruction or call.
    pub(crate) fn arm(&self) {
        self.armed.set(true);
        self.slot.set_hook(AT_ONCE);
    }

    /// Whether the hook is called for the call of a function that wants no look.
    pub(crate) fn is_plain_call(&self) -> bool {
        let calls = self.calls.get().wrapping_add(1);
        self.calls.set(calls);
        self.pace.0 == UNWATCHED.0 && !calls.is_multiple_of(UNWATCHED_CALLS)
    }

    /// The hook has looked, and the call goes on: no further look until the next signal.
    pub(crate) fn looked(&self) {
        self.armed.set(true);
        self.slot.set_hook(self.pace);
        let word = self.slot.word.load(Ordering::Relaxed);
        if word & STATE == ARMED {
            let running = word & !STATE | RUNNING;
            self.slot.word.compare_exchange(word, running, Ordering::AcqRel, Ordering::Relaxed).ok();
        }
    }

    /// This coroutine runs from here on, until [`Watched::comes_back`] is called with what this
    /// returns. A hook that waits for its moment goes along.
    ///
    /// # Safety
    /// It is of this state, and lives as long as it runs.
    pub(crate) unsafe fn goes_to(&self, coroutine: *mut ffi::lua_State) -> *mut ffi::lua_State {
        // From here on a signal sets the other one's hook: who has it now is looked at afterwards.
        let before = self.slot.lua.swap(coroutine, Ordering::AcqRel);
        self.hand_on(before);
        before
    }

    /// The coroutine has yielded or ended.
    ///
    /// # Safety
    /// As with [`Watched::goes_to`], from which `before` is.
    pub(crate) unsafe fn comes_back(&self, before: *mut ffi::lua_State) {
        let coroutine = self.slot.lua.swap(before, Ordering::AcqRel);
        self.hand_on(coroutine);
    }

    /// Sets the hook at once where `from`, which has just stopped running, has it so.
    fn hand_on(&self, from: *mut ffi::lua_State) {
        // SAFETY: both are coroutines of one call, which this thread runs.
        if unsafe { ffi::lua_gethookcount(from) == AT_ONCE.1 && ffi::lua_gethookmask(from) == AT_ONCE.0 } {
            self.arm();
        }
    }

    /// When the watch saw this call first, if it has been long enough to be seen again.
    pub(crate) fn seen(&self) -> Option<Start> {
        let state = self.slot.word.load(Ordering::Acquire) & STATE;
        (state == ARMING || state == ARMED).then(|| self.slot.start())
    }

    /// Whether the watch looks at the calls of this state.
    pub(crate) fn will_be_seen(&self) -> bool {
        self.pace.0 != UNWATCHED.0 && RUNS.load(Ordering::Relaxed)
    }
}

/// Calls that have lasted at least this long. For a thread that looks now and then.
pub fn long_calls(least: Duration) -> Vec<LongCall> {
    let now_us = epoch().elapsed().as_micros() as u64;
    slots().filter_map(|slot| slot.long_call(now_us)).filter(|call| call.lasted >= least).collect()
}

/// A coroutine that the host runs.
pub(crate) struct Running<'a> {
    watched: Option<&'a Watched>,
    before: *mut ffi::lua_State,
}

impl<'a> Running<'a> {
    pub(crate) fn start(watched: Option<&'a Watched>, thread: &'a mlua::Thread) -> Self {
        // SAFETY: the thread is borrowed for as long as it runs.
        let before = watched.map(|watched| unsafe { watched.goes_to(thread.state()) });
        Running { watched, before: before.unwrap_or(ptr::null_mut()) }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(watched) = self.watched {
            // SAFETY: `before` is from `goes_to`.
            unsafe { watched.comes_back(self.before) };
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.slot.lua.store(ptr::null_mut(), Ordering::Relaxed);
        self.slot.taken.store(false, Ordering::Release);
    }
}

/// Starts the watch of this process, once: states made from now on are watched. `shortest_ms` is
/// the shortest time limit that a call may have.
///
/// # Errors
/// The system gives no thread or no signal. States then have the hook at all times.
pub fn start(shortest_ms: u64) -> std::io::Result<()> {
    if RUNS.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let step = Duration::from_millis((shortest_ms / 4).clamp(1, LONGEST_STEP_MS));
    epoch();
    let started = take_signal().and_then(|()| spawn(step));
    started.map(|watch| drop(WATCH.set(watch))).inspect_err(|_| RUNS.store(false, Ordering::Release))
}

/// The thread, which handles no signal.
fn spawn(step: Duration) -> std::io::Result<Thread> {
    // SAFETY: plain calls with sets of this frame; the mask is put back.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let spawned = thread::Builder::new().name("lua-balancer-watch".into()).spawn(move || run(step));
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        Ok(spawned?.thread().clone())
    }
}

/// Tells the watch to end. For the end of the process: calls that still run have no time limit from
/// here on. It may be called from the handler of a signal.
pub fn stop() {
    STOP.store(true, Ordering::SeqCst);
    wake();
}

/// Whether the watch has ended, or never began.
pub fn has_stopped() -> bool {
    !RUNS.load(Ordering::Acquire)
}

fn wake() {
    if let Some(watch) = WATCH.get() {
        ASLEEP.store(false, Ordering::SeqCst);
        watch.unpark();
    }
}

fn run(step: Duration) {
    let mut used = Instant::now();
    while !STOP.load(Ordering::SeqCst) {
        let now = Instant::now();
        if slots().filter(|slot| slot.look(now, step)).count() > 0 {
            used = now;
        }
        if now.duration_since(used) < QUIET {
            thread::park_timeout(step);
            continue;
        }
        // A thread that begins a call after the look below sees that the watch sleeps: the call's
        // word and ASLEEP are each written before the other is read.
        ASLEEP.store(true, Ordering::SeqCst);
        let is_idle = |slot: &Slot| slot.word.load(Ordering::SeqCst) & STATE == IDLE;
        if slots().all(is_idle) && !STOP.load(Ordering::SeqCst) {
            thread::park();
        }
        ASLEEP.store(false, Ordering::SeqCst);
        used = Instant::now();
    }
    RUNS.store(false, Ordering::Release);
}

#[cfg(test)]
mod tests;
