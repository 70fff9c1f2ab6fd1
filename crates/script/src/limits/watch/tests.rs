// SPDX-License-Identifier: Apache-2.0
use std::sync::atomic::AtomicUsize;

use libc::c_int;

use super::slot::SIGNAL;
use super::*;
use crate::source::library::ScriptId;

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
    let work = lua.load("local x = 0 for i = 1, 20 do x = x + i end").into_function().expect("a function");
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
    let work = lua.load("local x = 0 for i = 1, 1000 do x = x + i end").into_function().expect("a function");
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
    // An order that holds, whichever elements the sort begins with: it draws them by the clock.
    let sort = "local t = {} for i = 1, 100000 do t[i] = i * 7919 % 100003 end \
                while true do table.sort(t, math.ult) end";
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
fn an_earlier_handler_of_the_signal_still_gets_it() {
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
