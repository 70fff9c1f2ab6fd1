//! The time limit of calls, for nothing while they are short. Lua looks at a clock only in a hook, and a hook
//! costs every instruction of a script, so none is set: a thread of each process, the watch, looks every few milliseconds at what
//! each state is doing. To a thread whose call it has seen before it sends a signal, and the handler sets the hook, for the very next
//! instruction or call, of a C function too. The hook looks at the clock (see `crate::hook`), and takes itself off again: a call that lasts
//! longer gets the next signal a step later. So whatever one instruction costs, a few milliseconds pass between two looks.
//!
//! The watch writes `RUNNING -> ARMING` and nothing else. All other changes of a slot, the handler's included, are made
//! by the thread that runs the call, so that the end of a call waits for nobody: a signal that comes late finds no
//! `ARMING` of its thread. The next signal is sent only after the hook was there: a thread that waits in the system for something is
//! interrupted once, and its timeouts run on.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use libc::{c_int, c_void};
use mlua::{Lua, ffi};

use crate::context::{Budget, Frame};
use crate::library::ScriptId;
use crate::processor::{self, Start};

/// Ignored by default and sent by nobody else, since httpd asks no socket for it. One that comes by chance does no harm.
const SIGNAL: c_int = libc::SIGURG;
/// When a hook is called: events, and instructions between two of them.
#[derive(Clone, Copy)]
struct Pace(c_int, c_int);

/// Not at all.
const NEVER: Pace = Pace(0, 0);
/// With the next instruction or call: any may be the last for long.
const AT_ONCE: Pace = Pace(ffi::LUA_MASKCOUNT | ffi::LUA_MASKCALL, 1);
/// Where runs take turns, which are shorter than the watch's steps.
const TURNS: Pace = Pace(ffi::LUA_MASKCOUNT, 1_000);
/// Without a watch.
const UNWATCHED: Pace = Pace(ffi::LUA_MASKCOUNT | ffi::LUA_MASKCALL, 1_000);
/// Calls between two looks there.
const UNWATCHED_CALLS: u32 = 100;

/// The watch's longest step.
const LONGEST_STEP_MS: u64 = 10;
/// How long nothing has to happen until the watch sleeps.
const QUIET: Duration = Duration::from_secs(1);

/// States of a call, in the lowest bits of a slot's word. The others count calls.
const IDLE: u64 = 0;
const RUNNING: u64 = 1;
/// The watch has sent a signal.
const ARMING: u64 = 2;
/// The handler has set the hook.
const ARMED: u64 = 3;
const STATE: u64 = 3;
const NEXT_CALL: u64 = 4;

/// What one Lua state is doing. Never freed, used again. On cache lines of its own: states run at once.
#[repr(align(128))]
struct Slot {
    word: AtomicU64,
    /// The thread that runs the call, by its number in the system.
    thread: AtomicI32,
    /// What it calls, see `Frame::tag`.
    tag: AtomicU64,
    /// The watch's own: the word when it last was of another call than before, and when that was, in microseconds since
    /// [`epoch`].
    seen: AtomicU64,
    seen_us: AtomicU64,
    /// What the call's thread had used of the processor then, in microseconds.
    used_us: AtomicU64,
    /// The state's main thread or the coroutine that runs; not NULL while a call runs.
    lua: AtomicPtr<ffi::lua_State>,
    taken: AtomicBool,
    next: AtomicPtr<Slot>,
}

static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());
static WATCH: OnceLock<Thread> = OnceLock::new();
static ASLEEP: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);
static RUNS: AtomicBool = AtomicBool::new(false);
/// One function for all states.
static HOOK: OnceLock<ffi::lua_Hook> = OnceLock::new();
/// Who had the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

thread_local! {
    /// This thread's number, once it takes the signal.
    static THREAD: Cell<i32> = const { Cell::new(0) };
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    // SAFETY: slots are leaked by `Slot::take`, and `next` is written before a slot can be reached.
    let follow = |slot: &AtomicPtr<Slot>| unsafe { slot.load(Ordering::Acquire).as_ref() };
    std::iter::successors(follow(&SLOTS), move |slot| follow(&slot.next))
}

/// # Safety
/// The state lives, and this thread runs it, or is in a handler of a signal over it: Lua lets those set hooks, whatever they interrupt.
unsafe fn set_hook(lua: *mut ffi::lua_State, Pace(events, count): Pace) {
    if let Some(hook) = HOOK.get() {
        // SAFETY: as above.
        unsafe { ffi::lua_sethook(lua, Some(*hook), events, count) };
    }
}

impl Slot {
    fn take() -> &'static Slot {
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

    /// Sets the hook of the coroutine that runs, in its thread or in a signal handler of it. Doing it twice, or within itself, is
    /// doing it once.
    fn set_hook(&self, pace: Pace) {
        let lua = self.lua.load(Ordering::Relaxed);
        if !lua.is_null() {
            // SAFETY: the state lives while its call runs, and this thread runs it.
            unsafe { set_hook(lua, pace) };
        }
    }

    fn signal(&self) {
        let thread = self.thread.load(Ordering::Relaxed);
        // SAFETY: a plain system call. A thread that has ended, or another of its number, does no harm.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGNAL) };
    }
}

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
    /// Of a state that has just been made. `turns`: runs take turns in it. The hook is called at all times where there is no watch.
    pub(crate) fn new(lua: &Lua, hook: ffi::lua_Hook, turns: bool) -> mlua::Result<Self> {
        HOOK.get_or_init(|| hook);
        let mut main = ptr::null_mut();
        // SAFETY: called outside of scripts, where the state is the main thread; nothing is left on its stack.
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

    /// This coroutine runs from here on, until [`Watched::comes_back`] is called with what this returns. A hook that waits for its moment
    /// goes along.
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

/// A call that has lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongCall {
    /// Which state's, and which of its calls: the same as long as it is the same call.
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

/// Calls that have lasted at least this long. For a thread that looks now and then.
pub fn long_calls(least: Duration) -> Vec<LongCall> {
    let now_us = epoch().elapsed().as_micros() as u64;
    slots().filter_map(|slot| slot.long_call(now_us)).filter(|call| call.lasted >= least).collect()
}

impl Slot {
    fn long_call(&self, now_us: u64) -> Option<LongCall> {
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
    fn start(&self) -> Start {
        let us = |of: &AtomicU64| Duration::from_micros(of.load(Ordering::Relaxed));
        Start { at: epoch() + us(&self.seen_us), used: us(&self.used_us) }
    }
}

/// A coroutine that the host runs.
pub(crate) struct Running<'a> {
    watched: Option<&'a Watched>,
    before: *mut ffi::lua_State,
}

impl<'a> Running<'a> {
    pub(crate) fn start(budget: &'a Budget, thread: &'a mlua::Thread) -> Self {
        let watched = budget.watched.get();
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

/// This thread's number. httpd's threads block all signals; this one is let through, once a thread.
fn this_thread() -> i32 {
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
extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
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
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
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

fn take_signal() -> std::io::Result<()> {
    // SAFETY: plain calls with structures of this frame; the handler has the form that SA_SIGINFO names.
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

/// Starts the watch of this process, once: states made from now on are watched. `shortest_ms` is the shortest time limit that a call may have.
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

/// Tells the watch to end. For the end of the process: calls that still run have no time limit from here on. It may be called from the handler
/// of a signal.
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
        // Whoever begins a call after the look below sees that the watch sleeps: a call's word and ASLEEP are each
        // written before the other is read.
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

impl Slot {
    /// Notes what the thread of the call has used so far. One that has ended has no call.
    fn note_used(&self) {
        let used = processor::used_by(self.thread.load(Ordering::Relaxed)).unwrap_or_default();
        self.used_us.store(used.as_micros() as u64, Ordering::Relaxed);
    }

    /// A look of the watch: sends a signal to a call that was there a step ago. Returns whether the state has been used since
    /// the last look.
    fn look(&self, now: Instant, step: Duration) -> bool {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Script 7, version 3.
    const TAG: u64 = 7 << 32 | 3;

    thread_local! {
        static CALLS: Cell<usize> = const { Cell::new(0) };
        static GOES_ON: Cell<*const Watched> = const { Cell::new(ptr::null()) };
    }

    /// Raises, but in calls that are said to go on.
    unsafe extern "C-unwind" fn raise(lua: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: called by Lua; the tests' states outlive their calls.
        unsafe {
            match GOES_ON.get().as_ref() {
                Some(watched) => watched.looked(),
                None => drop(ffi::luaL_error(lua, c"too long".as_ptr())),
            }
        }
    }

    fn watched() -> (Lua, Watched) {
        start(4).expect("a thread and a signal");
        let lua = Lua::new();
        let watched = Watched::new(&lua, raise, false).expect("a state");
        (lua, watched)
    }

    fn has_hook(watched: &Watched) -> bool {
        // SAFETY: the tests' states live, and are used by one thread.
        unsafe { ffi::lua_gethookmask(watched.slot.lua.load(Ordering::Relaxed)) != 0 }
    }

    fn runs_too_long(lua: &Lua, watched: &Watched) {
        watched.begin(TAG);
        let error = lua.load("while true do end").exec().expect_err("stopped");
        assert!(error.to_string().contains("too long"), "{error}");
        assert!(has_hook(watched) && watched.seen().is_some());
        watched.end();
        assert!(!has_hook(watched) && watched.seen().is_none());
    }

    #[test]
    fn a_call_that_lasts_gets_the_hook_and_loses_it_with_its_end() {
        let (lua, watched) = watched();
        for nth in 1..=3 {
            runs_too_long(&lua, &watched);
            assert_eq!(CALLS.get(), nth);
        }
    }

    #[test]
    fn short_calls_have_no_hook() {
        let (lua, watched) = watched();
        // One that is kept from running is seen as a long one, and goes on.
        GOES_ON.set(&watched);
        let work =
            lua.load("local x = 0 for i = 1, 20 do x = x + i end").into_function().expect("a function");
        let until = Instant::now() + Duration::from_millis(50);
        let mut calls = 0;
        while Instant::now() < until {
            watched.begin(TAG);
            work.call::<()>(()).expect("a short call");
            watched.end();
            calls += 1;
            assert!(!has_hook(&watched));
        }
        assert!(CALLS.get() <= calls / 10, "{} hooks in {calls} calls", CALLS.get());
    }

    #[test]
    fn a_thread_that_blocks_all_signals_is_reached() {
        let blocked = || {
            // SAFETY: plain calls with a set of this frame.
            unsafe {
                let mut all = std::mem::zeroed();
                libc::sigfillset(&mut all);
                libc::pthread_sigmask(libc::SIG_SETMASK, &all, ptr::null_mut());
            }
            let (lua, watched) = watched();
            runs_too_long(&lua, &watched);
        };
        thread::spawn(blocked).join().expect("the thread");
    }

    #[test]
    fn states_that_run_at_once_are_all_reached() {
        let one = || {
            let (lua, watched) = watched();
            runs_too_long(&lua, &watched);
        };
        let threads: Vec<_> = (0..16).map(|_| thread::spawn(one)).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("a thread"));
    }

    #[test]
    fn a_state_that_goes_from_thread_to_thread_is_reached_in_each() {
        struct Moves(Lua, Watched);
        // SAFETY: one thread uses it at a time, as with the seats of a server.
        unsafe impl Send for Moves {}
        let (lua, watched) = watched();
        let mut state = Moves(lua, watched);
        for _ in 0..4 {
            let run = move || {
                let state = state;
                runs_too_long(&state.0, &state.1);
                state
            };
            state = thread::spawn(run).join().expect("a thread");
        }
    }

    #[test]
    fn a_call_after_a_quiet_time_is_watched() {
        let (lua, watched) = watched();
        let until = Instant::now() + Duration::from_secs(20);
        while !ASLEEP.load(Ordering::SeqCst) {
            assert!(Instant::now() < until, "the watch does not sleep");
            thread::sleep(Duration::from_millis(10));
        }
        runs_too_long(&lua, &watched);
    }

    #[test]
    fn a_signal_by_chance_or_too_late_sets_no_hook() {
        let (_lua, watched) = watched();
        watched.begin(TAG);
        watched.slot.signal();
        assert!(!has_hook(&watched));
        // The watch has made up its mind, and the call ends before the signal comes.
        let word = watched.slot.word.load(Ordering::Relaxed);
        watched.slot.word.store(word & !STATE | ARMING, Ordering::SeqCst);
        watched.end();
        watched.slot.signal();
        assert!(!has_hook(&watched));
        watched.begin(TAG);
        watched.slot.signal();
        assert!(!has_hook(&watched));
        watched.end();
    }

    #[test]
    fn a_call_that_goes_on_is_looked_at_again_and_again() {
        let (lua, watched) = watched();
        GOES_ON.set(&watched);
        let work =
            lua.load("local x = 0 for i = 1, 1000 do x = x + i end").into_function().expect("a function");
        let until = Instant::now() + Duration::from_millis(200);
        watched.begin(TAG);
        while Instant::now() < until {
            work.call::<()>(()).expect("a long call");
        }
        watched.end();
        // Every 1 ms on an idle machine.
        assert!((5..=400).contains(&CALLS.get()), "{} looks", CALLS.get());
        assert!(!has_hook(&watched));
    }

    #[test]
    fn functions_of_c_that_call_functions_of_c_are_reached() {
        let (lua, watched) = watched();
        watched.begin(TAG);
        let sort = "local t, s = {}, (' '):rep(2000) for i = 1, 2000 do t[i] = s .. 10 + i % 20 end \
                    while true do table.sort(t, tonumber) end";
        let error = lua.load(sort).exec().expect_err("stopped");
        assert!(error.to_string().contains("too long"), "{error}");
        watched.end();
    }

    #[test]
    fn the_coroutine_that_runs_is_reached() {
        let (lua, watched) = watched();
        let work = lua.load("while true do end").into_function().expect("a function");
        let thread = lua.create_thread(work).expect("a coroutine");
        watched.begin(TAG);
        // SAFETY: the coroutine is of this state, and lives.
        let before = unsafe { watched.goes_to(thread.state()) };
        let error = thread.resume::<()>(()).expect_err("stopped");
        // SAFETY: as above.
        unsafe { watched.comes_back(before) };
        assert!(error.to_string().contains("too long"), "{error}");
        watched.end();
        assert!(!has_hook(&watched));
    }

    #[test]
    fn a_hook_that_waits_goes_along_into_coroutines_and_back() {
        let (lua, watched) = watched();
        let thread = lua.create_thread(lua.load("return").into_function().expect("a function"));
        let thread = thread.expect("a coroutine");
        watched.begin(TAG);
        watched.arm();
        // SAFETY: the coroutine is of this state, and lives.
        unsafe {
            let before = watched.goes_to(thread.state());
            assert!(has_hook(&watched), "it goes along");
            ffi::lua_sethook(before, None, 0, 0);
            watched.comes_back(before);
        }
        assert!(has_hook(&watched), "it comes back");
        watched.end();
        assert!(!has_hook(&watched));
    }

    static BEFORE_US: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn before_us(_: c_int) {
        BEFORE_US.fetch_add(1, Ordering::Relaxed);
    }

    /// A process of its own, as nextest makes one for each test.
    #[test]
    fn who_had_the_signal_before_still_gets_it() {
        if RUNS.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: a handler of the form that signal() wants.
        unsafe { libc::signal(SIGNAL, before_us as extern "C" fn(c_int) as usize) };
        let (lua, watched) = watched();
        runs_too_long(&lua, &watched);
        watched.begin(TAG);
        watched.slot.signal();
        watched.end();
        assert!(BEFORE_US.load(Ordering::Relaxed) >= 2);
    }

    #[test]
    fn a_call_that_lasts_is_told_with_its_script_and_version() {
        let (_lua, watched) = watched();
        watched.begin(TAG);
        let until = Instant::now() + Duration::from_secs(20);
        let found = loop {
            if let Some(found) = long_calls(Duration::from_millis(30)).first() {
                break *found;
            }
            assert!(Instant::now() < until, "the watch does not see the call");
            thread::sleep(Duration::from_millis(1));
        };
        assert_eq!((found.script, found.version, found.is_load), (ScriptId(7), 3, false));
        watched.end();
        assert_eq!(long_calls(Duration::ZERO), []);
    }
}
