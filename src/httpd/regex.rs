//! httpd's regular expressions (PCRE), for `r:regex`.

use std::ffi::CString;

use super::pool::Pool;
use crate::ffi;

const MAX_GROUPS: usize = 25;

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
    let pattern = CString::new(pattern).map_err(|_| "a NUL byte in the pattern".to_owned())?;
    // SAFETY: httpd compiles into the pool; the match array has the length that is passed; offsets are checked by `get`.
    unsafe {
        let compiled = ffi::ap_pregcomp(pool.as_ptr(), pattern.as_ptr(), options as i32);
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
        if rc != 0 {
            return Ok(None);
        }
        let piece = |m: &ffi::ap_regmatch_t| {
            let (start, end) = (usize::try_from(m.rm_so).ok()?, usize::try_from(m.rm_eo).ok()?);
            text.get(start..end).map(<[u8]>::to_vec)
        };
        Ok(Some(found[..groups].iter().map(piece).collect()))
    }
}
