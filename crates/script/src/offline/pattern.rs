// SPDX-License-Identifier: Apache-2.0
//! Regular expressions without httpd's PCRE. The parts that both know mean the same; look-around
//! and back references are an error here.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use crate::strings::verbs;

/// Places of the groups of a match.
pub(super) type Places = Vec<Option<Range<usize>>>;

/// Longest text, as with httpd.
const MAX_TEXT: usize = 1 << 20;

fn compiled(length: usize, pattern: &str, flags: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(false).size_limit(1 << 20);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            other => return Err(format!("unknown flag '{other}', expected any of i, m, s, x")),
        };
    }
    if length > MAX_TEXT {
        return Err(format!("a text of more than {} KiB", MAX_TEXT >> 10));
    }
    verbs::check_limits(pattern)?;
    builder.build().map_err(|_| format!("'{pattern}' is not a regular expression"))
}

/// The groups of the first match.
pub(super) fn groups(
    text: &[u8],
    pattern: &str,
    flags: &str,
) -> Result<Option<Vec<Option<Vec<u8>>>>, String> {
    let found = compiled(text.len(), pattern, flags)?.captures(text);
    let piece = |group: Option<regex::bytes::Match<'_>>| group.map(|group| group.as_bytes().to_vec());
    Ok(found.map(|found| found.iter().map(piece).collect()))
}

/// All matches from `from` on, until `f` says false. Returns the names of groups.
pub(super) fn each(
    (text, from): (&[u8], usize),
    pattern: &str,
    flags: &str,
    f: &mut dyn FnMut(Places) -> bool,
) -> Result<Vec<(usize, String)>, String> {
    let pattern = compiled(text.len(), pattern, flags)?;
    let mut at = from;
    while at <= text.len() {
        let Some(found) = pattern.captures_at(text, at) else { break };
        let places: Places = found.iter().map(|group| group.map(|group| group.range())).collect();
        let Some(whole) = places.first().cloned().flatten() else { break };
        // One that is empty is not found again.
        at = if whole.is_empty() { whole.end + 1 } else { whole.end };
        if !f(places) {
            break;
        }
    }
    let names = pattern.capture_names().enumerate();
    Ok(names.filter_map(|(at, name)| Some((at, name?.to_owned()))).collect())
}
