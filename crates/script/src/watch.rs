//! The time limit of calls that serve requests, for nothing while they are short. Lua looks at a clock only in a hook, and a hook
//! costs every instruction of a script, so none is set: a thread of each process, the watch, looks every few milliseconds at what
//! each state is doing. To a thread whose call it has seen before it sends a signal, and the handler sets the hook, which does
//! the rest (see `sandbox::set_hook`).
//!
//! The watch writes `RUNNING -> ARMING` and nothing else. All other changes of a slot, the handler's included, are made
//! by the thread that runs the call, so that the end of a call waits for nobody: a signal that comes late finds no
//! `ARMING` of its thread.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use libc::{c_int, c_void};
use mlua::{Lua, ffi};

use crate::context::Frame;
use crate::library::ScriptId;
use crate::sandbox::HOOK_INSTRUCTIONS;

/// Ignored by default and sent by nobody else, since httpd asks no socket for it. One that comes by chance does no harm.
const SIGNAL: c_int = libc::SIGURG;
/// Instructions between two looks at the clock in a call that has lasted: each may be a call of C that takes milliseconds.
const LONG_CALL_INSTRUCTIONS: u32 = 100;
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
    /// The state's main thread; not NULL while a call runs.
    lua: AtomicPtr<ffi::lua_State>,
    taken: AtomicBool,
    next: AtomicPtr<Slot>,
}

static SLOTS: AtomicPtr<Slot> = AtomicPtr::new(ptr::null_mut());
static WATCH: OnceLock<Thread> = OnceLock::new();
static ASLEEP: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);
static RUNS: AtomicBool = AtomicBool::new(false);
/// mlua's hook: one function for all states.
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

    /// Sets the hook, in the thread that runs the state or in a signal handler of it, to be called every so many instructions.
    /// Doing it twice, or within itself, is doing it once.
    fn set_hook(&self, instructions: u32) {
        let lua = self.lua.load(Ordering::Relaxed);
        if let Some(hook) = HOOK.get()
            && !lua.is_null()
        {
            // SAFETY: the state lives while its call runs, and this thread runs it. Lua lets handlers of signals
            // set hooks, whatever they interrupt.
            unsafe { ffi::lua_sethook(lua, Some(*hook), ffi::LUA_MASKCOUNT, instructions as c_int) };
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
    /// The call itself has set the hook.
    armed: Cell<bool>,
}

impl Watched {
    /// Takes the hook off a state that has just been made; None, and the hook stays, when there is no watch.
    pub(crate) fn new(lua: &Lua) -> mlua::Result<Option<Self>> {
        if !RUNS.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut main = ptr::null_mut();
        // SAFETY: called outside of scripts, where the state is the main thread; nothing is left on its stack.
        unsafe {
            lua.exec_raw::<()>((), |state| {
                if let Some(hook) = ffi::lua_gethook(state) {
                    HOOK.get_or_init(|| hook);
                    ffi::lua_sethook(state, None, 0, 0);
                    main = state;
                }
            })?;
        }
        if main.is_null() {
            return Ok(None);
        }
        let slot = Slot::take();
        slot.lua.store(main, Ordering::Release);
        Ok(Some(Watched { slot, armed: Cell::new(false) }))
    }

    /// A call begins, in this thread. `tag`: of what.
    pub(crate) fn begin(&self, tag: u64) {
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
        let call = self.slot.word.load(Ordering::Relaxed) & !STATE;
        let before = self.slot.word.swap(call | IDLE, Ordering::SeqCst);
        // From here on the handler leaves this state alone.
        if before & STATE != RUNNING || self.armed.get() {
            self.armed.set(false);
            // SAFETY: the state lives, and this thread runs it.
            unsafe { ffi::lua_sethook(self.slot.lua.load(Ordering::Relaxed), None, 0, 0) };
        }
    }

    /// Sets the hook until the end of the call. A coroutine has the hook for good if whoever makes it has it, so a call
    /// that makes one has it from there on.
    pub(crate) fn arm(&self) {
        self.armed.set(true);
        self.slot.set_hook(HOOK_INSTRUCTIONS);
    }

    /// When the watch saw this call first, if it has been long enough to be seen again.
    pub(crate) fn seen(&self) -> Option<Instant> {
        let state = self.slot.word.load(Ordering::Acquire) & STATE;
        let since = Duration::from_micros(self.slot.seen_us.load(Ordering::Relaxed));
        (state == ARMING || state == ARMED).then(|| epoch() + since)
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
        holds.then_some(LongCall { call, script, version, is_load, lasted })
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
            slot.set_hook(LONG_CALL_INSTRUCTIONS);
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
    /// A look of the watch: sends a signal to a call that was there a step ago. Returns whether the state has been used since
    /// the last look.
    fn look(&self, now: Instant, step: Duration) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        let now_us = now.duration_since(epoch()).as_micros() as u64;
        if word & !STATE != self.seen.load(Ordering::Relaxed) & !STATE {
            self.seen_us.store(now_us, Ordering::Relaxed);
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

    use mlua::{HookTriggers, VmState};

    use super::*;

    /// A state whose hook raises once the call has been seen twice, and how often it was called.
    fn watched() -> (Lua, Watched, &'static AtomicUsize) {
        start(4).expect("a thread and a signal");
        let lua = Lua::new();
        let calls: &'static AtomicUsize = Box::leak(Box::default());
        let triggers = HookTriggers::new().every_nth_instruction(HOOK_INSTRUCTIONS);
        let hook = move |_: &Lua, _: &mlua::debug::Debug| {
            calls.fetch_add(1, Ordering::Relaxed);
            Err::<VmState, _>(mlua::Error::runtime("too long"))
        };
        lua.set_global_hook(triggers, hook).expect("a hook");
        let watched = Watched::new(&lua).expect("a state").expect("a watch");
        (lua, watched, calls)
    }

    fn has_hook(watched: &Watched) -> bool {
        // SAFETY: the tests' states live, and are used by one thread.
        unsafe { ffi::lua_gethookmask(watched.slot.lua.load(Ordering::Relaxed)) != 0 }
    }

    fn runs_too_long(lua: &Lua, watched: &Watched) {
        watched.begin(7 << 32 | 3);
        let error = lua.load("while true do end").exec().expect_err("stopped");
        assert!(error.to_string().contains("too long"), "{error}");
        assert!(has_hook(watched) && watched.seen().is_some());
        watched.end();
        assert!(!has_hook(watched) && watched.seen().is_none());
    }

    #[test]
    fn a_call_that_lasts_gets_the_hook_and_loses_it_with_its_end() {
        let (lua, watched, calls) = watched();
        for nth in 1..=3 {
            runs_too_long(&lua, &watched);
            assert_eq!(calls.load(Ordering::Relaxed), nth);
        }
    }

    #[test]
    fn short_calls_have_no_hook() {
        let (lua, watched, calls) = watched();
        let work =
            lua.load("local x = 0 for i = 1, 20 do x = x + i end").into_function().expect("a function");
        let until = Instant::now() + Duration::from_millis(50);
        while Instant::now() < until {
            watched.begin(7 << 32 | 3);
            work.call::<()>(()).expect("a short call");
            watched.end();
            assert!(!has_hook(&watched));
        }
        assert_eq!(calls.load(Ordering::Relaxed), 0);
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
            let (lua, watched, _) = watched();
            runs_too_long(&lua, &watched);
        };
        thread::spawn(blocked).join().expect("the thread");
    }

    #[test]
    fn states_that_run_at_once_are_all_reached() {
        let one = || {
            let (lua, watched, _) = watched();
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
        let (lua, watched, _) = watched();
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
        let (lua, watched, _) = watched();
        let until = Instant::now() + Duration::from_secs(20);
        while !ASLEEP.load(Ordering::SeqCst) {
            assert!(Instant::now() < until, "the watch does not sleep");
            thread::sleep(Duration::from_millis(10));
        }
        runs_too_long(&lua, &watched);
    }

    #[test]
    fn a_signal_by_chance_or_too_late_sets_no_hook() {
        let (_lua, watched, _) = watched();
        watched.begin(7 << 32 | 3);
        watched.slot.signal();
        assert!(!has_hook(&watched));
        // The watch has made up its mind, and the call ends before the signal comes.
        let word = watched.slot.word.load(Ordering::Relaxed);
        watched.slot.word.store(word & !STATE | ARMING, Ordering::SeqCst);
        watched.end();
        watched.slot.signal();
        assert!(!has_hook(&watched));
        watched.begin(7 << 32 | 3);
        watched.slot.signal();
        assert!(!has_hook(&watched));
        watched.end();
    }

    #[test]
    fn who_makes_a_coroutine_has_the_hook_until_the_call_ends() {
        let (lua, watched, calls) = watched();
        watched.begin(7 << 32 | 3);
        watched.arm();
        let make = "co = coroutine.wrap(function() coroutine.yield() while true do end end) co()";
        lua.load(make).exec().expect("a coroutine");
        watched.end();
        assert!(!has_hook(&watched));
        watched.begin(7 << 32 | 3);
        let error = lua.load("co()").exec().expect_err("stopped");
        assert!(error.to_string().contains("too long"), "{error}");
        watched.end();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
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
        let (lua, watched, _) = watched();
        runs_too_long(&lua, &watched);
        watched.begin(7 << 32 | 3);
        watched.slot.signal();
        watched.end();
        assert!(BEFORE_US.load(Ordering::Relaxed) >= 2);
    }

    #[test]
    fn a_call_that_lasts_is_told_with_its_script_and_version() {
        let (_lua, watched, _) = watched();
        watched.begin(7 << 32 | 3);
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
