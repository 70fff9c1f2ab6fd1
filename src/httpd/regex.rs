//! httpd's regular expressions (PCRE), for `r:regex` and `ngx.re`.

use std::ffi::CString;
use std::ops::Range;

use super::pool::Pool;
use crate::ffi;

const MAX_GROUPS: usize = 25;
/// Longest text.
const MAX_TEXT: usize = 1 << 20;
/// Steps of a search, in some hundredths of a second: those at each place times the places.
const MAX_STEPS: usize = 5_000_000;
/// Steps at one place.
const MOST_STEPS: usize = 100_000;
/// KiB that a search may remember its ways back in.
const MOST_HEAP: usize = 2048;
/// httpd's AP_REG_NOMATCH.
const NO_MATCH: i32 = ffi::AP_REG_NOMATCH as i32;

/// Where groups 0 … n of a match are, None for an unmatched group.
pub type Places = Vec<Option<Range<usize>>>;

/// Groups 0 … n of the first match, None for an unmatched group; Ok(None) for no match. Flags: any of `i m s x`.
pub fn groups(
    pool: Pool<'_>,
    text: &[u8],
    pattern: &str,
    flags: &str,
) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
    let found = Pattern::new(pool, text.len(), pattern, flags)?.find(text, 0)?;
    let piece = |place: Option<Range<usize>>| text.get(place?).map(<[u8]>::to_vec);
    Ok(found.map(|places| places.into_iter().map(piece).collect()))
}

/// Calls `f` with all matches from `from` on, one behind the other, until it says false.
pub fn each(
    pool: Pool<'_>,
    (text, from): (&[u8], usize),
    pattern: &str,
    flags: &str,
    f: &mut dyn FnMut(Places) -> bool,
) -> Result<(), String> {
    let whole = Pattern::new(pool, text.len(), pattern, flags)?;
    let mut behind = Behind::new(pool, pattern, flags);
    let mut at = from;
    while at <= text.len() {
        let found = match behind.pattern(at) {
            Some((pattern, before)) => pattern.find_behind(text, at - before)?,
            None => whole.find(text, at)?,
        };
        let Some(places) = found else { break };
        let Some(whole) = places.first().cloned().flatten() else { break };
        // One that is empty is not found again.
        at = if whole.is_empty() { whole.end + 1 } else { whole.end };
        if !f(places) {
            break;
        }
    }
    Ok(())
}

/// A compiled pattern, for texts of one length.
struct Pattern<'p> {
    pool: Pool<'p>,
    compiled: *mut ffi::ap_regex_t,
    groups: usize,
}

impl Drop for Pattern<'_> {
    fn drop(&mut self) {
        // SAFETY: compiled into this pool, and freed once.
        unsafe { ffi::ap_pregfree(self.pool.as_ptr(), self.compiled) }
    }
}

/// Bytes before the place of a search that a pattern sees.
const MOST_SEEN: usize = 255;

/// The pattern of searches that do not begin at the text's beginning, where it looks at what stands before. httpd's searches
/// have no place to begin at but the first, so this one skips what was searched already.
struct Behind<'p, 't> {
    pool: Pool<'p>,
    /// None: it looks at nothing there, or cannot be put into another one.
    wanted: Option<(&'t str, &'t str)>,
    /// How many bytes it skips.
    made: Option<(usize, Pattern<'p>)>,
}

impl<'p, 't> Behind<'p, 't> {
    fn new(pool: Pool<'p>, pattern: &'t str, flags: &'t str) -> Self {
        const LOOKS: [&str; 5] = ["\\b", "\\B", "\\A", "(?<=", "(?<!"];
        let lines = pattern.contains('^') && (flags.contains('m') || pattern.contains("(?"));
        let looks = lines || LOOKS.iter().any(|part| pattern.contains(part));
        // After a verb such as (*UTF) there are no bytes to skip.
        let wanted = (looks && !pattern.starts_with("(*")).then_some((pattern, flags));
        Behind { pool, wanted, made: None }
    }

    /// What to search with from `at` on, and how many bytes before it the text has to begin.
    fn pattern(&mut self, at: usize) -> Option<(&Pattern<'p>, usize)> {
        let (pattern, flags) = self.wanted.filter(|_| at > 0)?;
        let skip = at.min(MOST_SEEN);
        if self.made.as_ref().is_none_or(|(made, _)| *made != skip) {
            // A comment ends with its line.
            let (start, end) = if flags.contains('x') { ("(?x)", "\n)") } else { ("", ")") };
            let text = format!("\\A[\\s\\S]{{{skip}}}[\\s\\S]*?\\K(?:{start}{pattern}{end}");
            self.made = Pattern::limited(self.pool, &text, flags, MAX_STEPS).ok().map(|made| (skip, made));
        }
        match &self.made {
            Some((skip, pattern)) => Some((pattern, *skip)),
            None => {
                self.wanted = None;
                None
            }
        }
    }
}

impl<'p> Pattern<'p> {
    fn new(pool: Pool<'p>, length: usize, pattern: &str, flags: &str) -> Result<Self, String> {
        if length > MAX_TEXT {
            return Err(format!("a text of more than {} KiB", MAX_TEXT >> 10));
        }
        script::check_limits(pattern)?;
        // PCRE counts from anew at each place where a match could begin.
        let steps = (MAX_STEPS / length.max(1)).clamp(1, MOST_STEPS);
        // httpd's flag for it does nothing.
        let (verbs, rest) = script::split_verbs(pattern);
        let text = if flags.contains('x') { format!("{verbs}(?x){rest}") } else { pattern.to_owned() };
        Pattern::limited(pool, &text, flags, steps)
            .map_err(|why| why.unwrap_or_else(|| format!("'{pattern}' is no regular expression")))
    }

    /// Compiles for searches of so many steps. Err(None): it is no pattern.
    fn limited(pool: Pool<'p>, pattern: &str, flags: &str, steps: usize) -> Result<Self, Option<String>> {
        let mut options = 0;
        for flag in flags.chars() {
            options |= match flag {
                'i' => ffi::AP_REG_ICASE,
                'm' => ffi::AP_REG_NEWLINE,
                's' => ffi::AP_REG_DOTALL,
                'x' => 0,
                other => return Err(Some(format!("unknown flag '{other}', expected any of i, m, s, x"))),
            };
        }
        let limited = |limits: String| {
            CString::new(limits + pattern).map_err(|_| Some("a NUL byte in the pattern".to_owned()))
        };
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
            return Err(None);
        }
        // SAFETY: just compiled.
        let groups = (unsafe { (*compiled).re_nsub } as usize + 1).min(MAX_GROUPS);
        Ok(Pattern { pool, compiled, groups })
    }

    /// The first match from a place on.
    fn find(&self, text: &[u8], from: usize) -> Result<Option<Places>, String> {
        // Behind the text's beginning no line begins.
        self.search(text, from, if from > 0 { ffi::AP_REG_NOTBOL as i32 } else { 0 })
    }

    /// The first match of a pattern that skips what stands at `from`.
    fn find_behind(&self, text: &[u8], from: usize) -> Result<Option<Places>, String> {
        self.search(text, from, 0)
    }

    fn search(&self, text: &[u8], from: usize, options: i32) -> Result<Option<Places>, String> {
        let mut found = [ffi::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; MAX_GROUPS];
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
            _ => return Err("the search takes too many steps".to_owned()),
        }
        let place = |m: &ffi::ap_regmatch_t| {
            let (start, end) = (usize::try_from(m.rm_so).ok()?, usize::try_from(m.rm_eo).ok()?);
            (start <= end && end <= rest.len()).then(|| from + start..from + end)
        };
        Ok(Some(found[..self.groups].iter().map(place).collect()))
    }
}
