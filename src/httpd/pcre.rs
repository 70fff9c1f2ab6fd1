// SPDX-License-Identifier: Apache-2.0
//! Searches by PCRE that look at the clock. A limit of steps, all that httpd's own functions can be
//! given, bounds no time: one step may go through the whole text, at each place of it anew. PCRE
//! calls back before each part of a pattern that is compiled for it. The library is the one that
//! httpd is linked with, found by name; an httpd with an older one has none of this.

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;
use std::time::Duration;

use crate::ffi;

/// Where groups 0 … n of a match are, None for an unmatched group.
pub type Places = Vec<Option<Range<usize>>>;

/// The processor time that one search may use, however long its call may last.
const MOST_TIME: Duration = Duration::from_millis(25);
/// KiB that a search may remember its ways back in.
const MOST_HEAP: u32 = 2048;
/// Steps at one place; PCRE's own number.
const MOST_STEPS: u32 = 10_000_000;
/// Between two looks at the clock, in bytes that may be gone through: some milliseconds.
const STEP: usize = 1 << 22;
/// The steps that each call back costs beside those that it goes through.
const CALL: usize = 64;

/// From pcre2.h, which does not change them.
const AUTO_CALLOUT: u32 = 0x4;
const CASELESS: u32 = 0x8;
const DOLLAR_ENDONLY: u32 = 0x10;
const DOTALL: u32 = 0x20;
const MULTILINE: u32 = 0x400;
const NOTBOL: u32 = 0x1;
const NO_MATCH: c_int = -1;
const OVER: c_int = -37;

type Callout = extern "C" fn(*mut c_void, *mut c_void) -> c_int;

/// Functions of PCRE 10, by their types in pcre2.h.
struct Api {
    compile: unsafe extern "C" fn(*const u8, usize, u32, *mut c_int, *mut usize, *mut c_void) -> *mut c_void,
    code_free: unsafe extern "C" fn(*mut c_void),
    data_create: unsafe extern "C" fn(*const c_void, *mut c_void) -> *mut c_void,
    data_free: unsafe extern "C" fn(*mut c_void),
    context_create: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    context_free: unsafe extern "C" fn(*mut c_void),
    set_callout: unsafe extern "C" fn(*mut c_void, Callout, *mut c_void) -> c_int,
    set_match_limit: unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    set_heap_limit: unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    run: unsafe extern "C" fn(*const c_void, *const u8, usize, usize, u32, *mut c_void, *mut c_void) -> c_int,
    places: unsafe extern "C" fn(*mut c_void) -> *const usize,
    count: unsafe extern "C" fn(*mut c_void) -> u32,
}

macro_rules! bind {
    ($name:literal) => {{
        // SAFETY: a look-up by name among all loaded objects.
        let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, $name.as_ptr()) };
        if found.is_null() {
            return None;
        }
        // SAFETY: PCRE exports the symbol with the signature of the field.
        unsafe { std::mem::transmute::<*mut c_void, _>(found) }
    }};
}

// The types stand in `Api`'s fields.
#[allow(clippy::missing_transmute_annotations)]
fn look_up() -> Option<Api> {
    Some(Api {
        compile: bind!(c"pcre2_compile_8"),
        code_free: bind!(c"pcre2_code_free_8"),
        data_create: bind!(c"pcre2_match_data_create_from_pattern_8"),
        data_free: bind!(c"pcre2_match_data_free_8"),
        context_create: bind!(c"pcre2_match_context_create_8"),
        context_free: bind!(c"pcre2_match_context_free_8"),
        set_callout: bind!(c"pcre2_set_callout_8"),
        set_match_limit: bind!(c"pcre2_set_match_limit_8"),
        set_heap_limit: bind!(c"pcre2_set_heap_limit_8"),
        run: bind!(c"pcre2_match_8"),
        places: bind!(c"pcre2_get_ovector_pointer_8"),
        count: bind!(c"pcre2_get_ovector_count_8"),
    })
}

fn api() -> Option<&'static Api> {
    static API: OnceLock<Option<Api>> = OnceLock::new();
    API.get_or_init(look_up).as_ref()
}

/// Whether there are searches that look at the clock.
pub(super) fn is_there() -> bool {
    api().is_some()
}

/// A compiled pattern that calls back.
pub(super) struct Timed {
    api: &'static Api,
    code: *mut c_void,
    data: *mut c_void,
    context: *mut c_void,
    /// The processor time that a search may use.
    most: Duration,
}

impl Drop for Timed {
    fn drop(&mut self) {
        // SAFETY: made by `Timed::new`, and freed once; PCRE takes NULL.
        unsafe {
            (self.api.context_free)(self.context);
            (self.api.data_free)(self.data);
            (self.api.code_free)(self.code);
        }
    }
}

impl Timed {
    /// `options` are httpd's, its defaults among them. None where there is no memory, or PCRE wants
    /// no such pattern.
    pub(super) fn new(pattern: &str, options: u32, most: Duration) -> Option<Self> {
        let api = api()?;
        let set = |flag: u32, own: u32| if options & flag != 0 { own } else { 0 };
        let own = AUTO_CALLOUT
            | set(ffi::AP_REG_ICASE, CASELESS)
            | set(ffi::AP_REG_NEWLINE, MULTILINE)
            | set(ffi::AP_REG_DOTALL, DOTALL)
            | set(ffi::AP_REG_DOLLAR_ENDONLY, DOLLAR_ENDONLY);
        let (mut error, mut at) = (0, 0);
        // SAFETY: PCRE reads the pattern and writes two numbers of this frame. NULL is not used,
        // and `Drop` frees the rest.
        unsafe {
            let code =
                (api.compile)(pattern.as_ptr(), pattern.len(), own, &mut error, &mut at, ptr::null_mut());
            if code.is_null() {
                return None;
            }
            let data = (api.data_create)(code, ptr::null_mut());
            let context = (api.context_create)(ptr::null_mut());
            let timed = Timed { api, code, data, context, most: most.min(MOST_TIME) };
            if data.is_null() || context.is_null() {
                return None;
            }
            (api.set_match_limit)(context, MOST_STEPS);
            (api.set_heap_limit)(context, MOST_HEAP);
            Some(timed)
        }
    }

    /// Groups 0 … n of the first match in `text` from a place on. Err: it takes too long.
    pub(super) fn find(&self, text: &[u8], from: usize) -> Result<Option<Places>, ()> {
        self.search((text, from), 0)
    }

    /// The same in what is left of a text; `is_begin`: all of it.
    pub(super) fn find_in_rest(&self, rest: &[u8], is_begin: bool) -> Result<Option<Places>, ()> {
        self.search((rest, 0), if is_begin { 0 } else { NOTBOL })
    }

    fn search(&self, (text, from): (&[u8], usize), options: u32) -> Result<Option<Places>, ()> {
        let share = STEP / 25 * self.most.as_millis().clamp(1, 25) as usize;
        let every = (share / (CALL + text.len() / 4)).max(1);
        let mut clock = Clock { every, left: every, end: used() + self.most };
        // SAFETY: all three are whole; the clock lives as long as the search that calls back with
        // it.
        let found = unsafe {
            (self.api.set_callout)(self.context, look, ptr::from_mut(&mut clock).cast());
            let (code, at) = (self.code, text.as_ptr());
            (self.api.run)(code, at, text.len(), from, options, self.data, self.context)
        };
        match found {
            NO_MATCH => Ok(None),
            found if found < 0 => Err(()),
            _ => Ok(Some(self.places(text.len()))),
        }
    }

    fn places(&self, length: usize) -> Places {
        // SAFETY: PCRE keeps two numbers for each group, of which the unset ones are beyond any
        // text.
        let ends = unsafe {
            let count = (self.api.count)(self.data) as usize;
            std::slice::from_raw_parts((self.api.places)(self.data), 2 * count)
        };
        let range = |pair: &[usize]| Range { start: pair[0], end: pair[1] };
        let is_set = |place: &Range<usize>| place.start <= place.end && place.end <= length;
        ends.chunks_exact(2).map(|pair| Some(range(pair)).filter(is_set)).collect()
    }
}

struct Clock {
    every: usize,
    left: usize,
    end: Duration,
}

/// Called back by PCRE.
extern "C" fn look(_: *mut c_void, clock: *mut c_void) -> c_int {
    // SAFETY: the clock of the search that runs, which nobody else uses meanwhile.
    let clock = unsafe { &mut *clock.cast::<Clock>() };
    clock.left -= 1;
    if clock.left > 0 {
        return 0;
    }
    clock.left = clock.every;
    if used() < clock.end { 0 } else { OVER }
}

/// The processor time that this thread has used.
fn used() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a plain system call with a structure of this frame.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
