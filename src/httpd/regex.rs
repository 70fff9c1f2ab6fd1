//! httpd's regular expressions (PCRE), for `r:regex`.

use std::ffi::CString;

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

/// Groups 0 … n of the first match, None for an unmatched group; Ok(None) for no match. Flags: any of `i m s x`.
pub fn groups(
    pool: Pool<'_>,
    text: &[u8],
    pattern: &str,
    flags: &str,
) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
    let mut options = 0;
    for flag in flags.chars() {
        options |= match flag {
            'i' => ffi::AP_REG_ICASE,
            'm' => ffi::AP_REG_NEWLINE,
            's' => ffi::AP_REG_DOTALL,
            'x' => ffi::AP_REG_EXTENDED,
            other => return Err(format!("unknown flag '{other}', expected any of i, m, s, x")),
        };
    }
    if text.len() > MAX_TEXT {
        return Err(format!("a text of more than {} KiB", MAX_TEXT >> 10));
    }
    // PCRE counts from anew at each place where a match could begin.
    let steps = (MAX_STEPS / text.len().max(1)).clamp(1, MOST_STEPS);
    script::check_limits(pattern)?;
    let limited =
        |limits: String| CString::new(limits + pattern).map_err(|_| "a NUL byte in the pattern".to_owned());
    // PCRE before its version 2 knows one of the limits alone.
    let both = limited(format!("(*LIMIT_MATCH={steps})(*LIMIT_HEAP={MOST_HEAP})"))?;
    let one = limited(format!("(*LIMIT_MATCH={steps})"))?;
    let pattern = CString::new(pattern).map_err(|_| "a NUL byte in the pattern".to_owned())?;
    // SAFETY: httpd compiles into the pool; the match array has the length that is passed; offsets are checked by `get`.
    unsafe {
        let mut compiled = ffi::ap_pregcomp(pool.as_ptr(), both.as_ptr(), options as i32);
        if compiled.is_null() {
            compiled = ffi::ap_pregcomp(pool.as_ptr(), one.as_ptr(), options as i32);
        }
        if compiled.is_null() {
            return Err(format!("'{}' is no regular expression", pattern.to_string_lossy()));
        }
        let mut found = [ffi::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; MAX_GROUPS];
        let rc = ffi::ap_regexec_len(
            compiled,
            text.as_ptr().cast(),
            text.len() as ffi::apr_size_t,
            MAX_GROUPS as ffi::apr_size_t,
            found.as_mut_ptr(),
            0,
        );
        let groups = ((*compiled).re_nsub as usize + 1).min(MAX_GROUPS);
        ffi::ap_pregfree(pool.as_ptr(), compiled);
        match rc {
            0 => {}
            NO_MATCH => return Ok(None),
            _ => return Err("the search takes too many steps".to_owned()),
        }
        let piece = |m: &ffi::ap_regmatch_t| {
            let (start, end) = (usize::try_from(m.rm_so).ok()?, usize::try_from(m.rm_eo).ok()?);
            text.get(start..end).map(<[u8]>::to_vec)
        };
        Ok(Some(found[..groups].iter().map(piece).collect()))
    }
}
