// SPDX-License-Identifier: Apache-2.0
//! httpd's regular expressions (PCRE), for `r:regex` and `ngx.re`.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ffi::CString;
use std::ops::Range;
use std::time::Duration;

use script::host::Search;

use super::pcre::{self, Places, Timed};
use super::pool::MemoryPool;
use crate::ffi;

const MAX_GROUPS: usize = 25;
/// Longest text.
const MAX_TEXT: usize = 1 << 20;
/// Longest text where no search looks at the clock.
const MAX_UNTIMED: usize = 8 << 10;
/// Steps of a search by httpd's functions: those at each place, each of which may go through all of
/// the text, times the places. Some milliseconds. A search that takes more is made anew with the
/// clock (`pcre`).
const MAX_QUICK: usize = 4_000_000;
/// The same where no search looks at the clock, without what a step goes through.
const MAX_STEPS: usize = 5_000_000;
/// With less time than this no search is tried by httpd's functions first.
const LEAST_QUICK: Duration = Duration::from_millis(5);
/// Steps at one place.
const MOST_STEPS: usize = 100_000;
/// KiB that a search may remember its ways back in.
const MOST_HEAP: usize = 2048;
/// httpd's AP_REG_NOMATCH.
const NO_MATCH: i32 = ffi::AP_REG_NOMATCH as i32;

/// Why a search was given up.
const TOO_MANY: &str = "the search takes too many steps";

/// Groups 0 … n of the first match, None for an unmatched group; Ok(None) for no match.
pub fn groups(pool: MemoryPool<'_>, search: &Search<'_>) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
    let found = Pattern::new(pool, search)?.find(search.text, search.from)?;
    let piece = |place: Option<Range<usize>>| search.text.get(place?).map(<[u8]>::to_vec);
    Ok(found.map(|places| places.into_iter().map(piece).collect()))
}

/// Calls `f` with all matches in turn, until it says false. Returns the names of groups.
pub fn each(
    pool: MemoryPool<'_>,
    search: &Search<'_>,
    f: &mut dyn FnMut(Places) -> bool,
) -> Result<Vec<(usize, String)>, String> {
    let (text, from) = (search.text, search.from);
    let has_names = ["(?<", "(?P<", "(?'"].iter().any(|opening| search.pattern.contains(opening));
    let pattern = Pattern::new(pool, search)?;
    let names = if has_names { pattern.names() } else { Vec::new() };
    let mut at = from;
    while at <= text.len() {
        let Some(places) = pattern.find(text, at)? else { break };
        let Some(whole) = places.first().cloned().flatten() else { break };
        // One that is empty is not found again.
        at = if whole.is_empty() { whole.end + 1 } else { whole.end };
        if !f(places) {
            break;
        }
    }
    Ok(names)
}

/// Whether a pattern may look at what stands before the place of a search.
fn looks_back(pattern: &str, flags: &str) -> bool {
    const LOOKS: [&str; 5] = ["\\b", "\\B", "\\A", "(?<=", "(?<!"];
    let lines = pattern.contains('^') && (flags.contains('m') || pattern.contains("(?"));
    lines || LOOKS.iter().any(|part| pattern.contains(part))
}

/// A compiled pattern, for texts of one length.
struct Pattern<'p> {
    pool: MemoryPool<'p>,
    compiled: *mut ffi::ap_regex_t,
    groups: usize,
    text: Cow<'p, str>,
    options: u32,
    /// The processor time that a search may use.
    most: Duration,
    /// Whether it looks at what stands before the place of a search. httpd's searches have no such
    /// place but the text's beginning.
    looks_back: bool,
    /// Whether the first search by httpd's functions is worth it.
    is_quick: bool,
    /// The pattern with the clock, made when a search takes long.
    timed: OnceCell<Option<Timed>>,
}

impl Drop for Pattern<'_> {
    fn drop(&mut self) {
        // SAFETY: compiled into this pool, and freed once.
        unsafe { ffi::ap_pregfree(self.pool.as_ptr(), self.compiled) }
    }
}

impl<'p> Pattern<'p> {
    fn new(pool: MemoryPool<'p>, search: &Search<'p>) -> Result<Self, String> {
        let Search { text, pattern, flags, most, .. } = *search;
        let length = text.len();
        let mut options = 0;
        for flag in flags.chars() {
            options |= match flag {
                'i' => ffi::AP_REG_ICASE,
                'm' => ffi::AP_REG_NEWLINE,
                's' => ffi::AP_REG_DOTALL,
                'x' => 0,
                other => return Err(format!("unknown flag '{other}', expected any of i, m, s, x")),
            };
        }
        if length > MAX_TEXT {
            return Err(format!("a text of more than {} KiB", MAX_TEXT >> 10));
        }
        let is_timed = pcre::is_there();
        if !is_timed && length > MAX_UNTIMED {
            return Err(format!("a text of more than {} KiB", MAX_UNTIMED >> 10));
        }
        // PCRE counts from anew at each place where a match could begin.
        let passed = if is_timed { MAX_QUICK / length.max(1) } else { MAX_STEPS };
        let quick = passed / length.max(1);
        let steps = quick.clamp(1, MOST_STEPS);
        script::check_limits(pattern)?;
        // httpd's flag for it does nothing.
        let text = if flags.contains('x') {
            let (verbs, rest) = script::split_verbs(pattern);
            Cow::Owned(format!("{verbs}(?x){rest}"))
        } else {
            Cow::Borrowed(pattern)
        };
        let limited =
            |limits: String| CString::new(limits + &text).map_err(|_| "a NUL byte in the pattern".to_owned());
        // PCRE before its version 2 knows one of the limits alone.
        let both = limited(format!("(*LIMIT_MATCH={steps})(*LIMIT_HEAP={MOST_HEAP})"))?;
        let one = limited(format!("(*LIMIT_MATCH={steps})"))?;
        let compile = |text: &CString| {
            // SAFETY: httpd compiles into the pool.
            unsafe { ffi::ap_pregcomp(pool.as_ptr(), text.as_ptr(), options as i32) }
        };
        let mut compiled = compile(&both);
        if compiled.is_null() {
            compiled = compile(&one);
        }
        if compiled.is_null() {
            return Err(format!("'{pattern}' is not a regular expression"));
        }
        // SAFETY: just compiled.
        let groups = (unsafe { (*compiled).re_nsub } as usize + 1).min(MAX_GROUPS);
        let is_quick = !is_timed || quick > 0 && most >= LEAST_QUICK;
        let (looks_back, timed) = (looks_back(pattern, flags), OnceCell::new());
        Ok(Pattern { pool, compiled, groups, text, options, most, looks_back, is_quick, timed })
    }

    /// Numbers and names of the groups that have one.
    fn names(&self) -> Vec<(usize, String)> {
        // SAFETY: a compiled pattern, and an array of pointers in the pool, which httpd fills with
        // NULLs and names inside of the pattern; they are copied before either goes.
        unsafe {
            let size = size_of::<*const std::os::raw::c_char>() as i32;
            let array = ffi::apr_array_make(self.pool.as_ptr(), self.groups as i32, size);
            ffi::ap_regname(self.compiled, array, std::ptr::null(), 0);
            let names = std::slice::from_raw_parts(
                (*array).elts.cast::<*const std::os::raw::c_char>(),
                (*array).nelts.max(0) as usize,
            );
            let named = names.iter().take(self.groups).enumerate();
            named
                .filter_map(|(at, name)| Some((at, String::from_utf8(super::bytes(*name)?.to_vec()).ok()?)))
                .collect()
        }
    }

    /// The first match from a place on.
    fn find(&self, text: &[u8], from: usize) -> Result<Option<Places>, String> {
        let whole = if self.looks_back && from > 0 { self.timed() } else { None };
        if let Some(timed) = whole {
            let found = timed.find(text, from);
            let mut found = found.map_err(|()| TOO_MANY.to_owned())?;
            if let Some(places) = &mut found {
                places.truncate(self.groups);
            }
            return Ok(found);
        }
        if self.is_quick
            && let Ok(found) = self.find_quickly(text, from)
        {
            return Ok(found);
        }
        let rest = text.get(from..).unwrap_or_default();
        let found = match self.timed() {
            Some(timed) => timed.find_in_rest(rest, from == 0),
            None => Err(()),
        };
        let mut found = found.map_err(|()| TOO_MANY.to_owned())?;
        if let Some(places) = &mut found {
            places.truncate(self.groups);
            places.iter_mut().flatten().for_each(|place| *place = from + place.start..from + place.end);
        }
        Ok(found)
    }

    fn timed(&self) -> Option<&Timed> {
        let defaults = || {
            // SAFETY: asks; httpd writes it while it reads its configuration.
            unsafe { ffi::ap_regcomp_get_default_cflags() as u32 }
        };
        self.timed.get_or_init(|| Timed::new(&self.text, self.options | defaults(), self.most)).as_ref()
    }

    /// By httpd's functions; Err where that takes too many steps.
    fn find_quickly(&self, text: &[u8], from: usize) -> Result<Option<Places>, ()> {
        let mut found = [ffi::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; MAX_GROUPS];
        // Behind the text's beginning no line begins.
        let options = if from > 0 { ffi::AP_REG_NOTBOL as i32 } else { 0 };
        let rest = text.get(from..).unwrap_or_default();
        // SAFETY: a compiled pattern; the match array has the length that is passed.
        let rc = unsafe {
            ffi::ap_regexec_len(
                self.compiled,
                rest.as_ptr().cast(),
                rest.len() as ffi::apr_size_t,
                MAX_GROUPS as ffi::apr_size_t,
                found.as_mut_ptr(),
                options,
            )
        };
        match rc {
            0 => {}
            NO_MATCH => return Ok(None),
            _ => return Err(()),
        }
        let place = |m: &ffi::ap_regmatch_t| {
            let (start, end) = (usize::try_from(m.rm_so).ok()?, usize::try_from(m.rm_eo).ok()?);
            (start <= end && end <= rest.len()).then(|| from + start..from + end)
        };
        Ok(Some(found[..self.groups].iter().map(place).collect()))
    }
}
