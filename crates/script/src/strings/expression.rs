// SPDX-License-Identifier: Apache-2.0
//! httpd's expression language as scripts have it (`r:expr`). A text is read as httpd's own scanner
//! reads it, and one that this reader is not sure of is refused. Sub-requests are refused: they
//! would run the script again. In the sandbox there are no files and no environment of the server.
//! The searches of `=~` and `!~` get a limit of steps.

mod reader;

use reader::{BEFORE, BEHIND, MARKS, Reader};

/// Longest expression, in bytes. httpd's own parts are at most as long.
const MOST_TEXT: usize = 8000;
/// The steps of a search, and what they may go through: each step may be one through all of a text.
const MOST_STEPS: usize = 300_000;
const MOST_PASSED: usize = 50_000_000;
/// Bytes of text that an expression may go through or put together.
const MOST_MADE: usize = 4 << 20;
/// Longest text that a pattern may be asked about.
const MOST_SEARCHED: usize = 10 << 10;

/// A pattern of a checked expression without what was put around it.
pub(crate) fn limited_pattern(pattern: &str) -> Option<&str> {
    pattern.strip_prefix(BEFORE)?.strip_suffix(BEHIND)
}

/// An expression that scripts may use.
#[derive(Debug, PartialEq)]
pub(crate) struct Checked {
    /// With its searches limited.
    pub(crate) text: String,
    /// The patterns as they were. Each has to be one by itself.
    pub(crate) patterns: Vec<String>,
    /// Variables and calls of functions: each may be a text of the request.
    parts: usize,
    /// Functions that make their text longer.
    growing: u32,
}

impl Checked {
    /// Whether the texts of the request have to be looked at first.
    pub(crate) fn may_be_costly(&self) -> bool {
        !self.patterns.is_empty() || self.parts > 1 || self.growing > 0
    }

    /// Bytes of all its texts, where no text that the request holds is longer than this.
    fn made(&self, longest: usize) -> usize {
        let grown = 3_usize.saturating_pow(self.growing).saturating_mul(longest);
        grown.saturating_mul(self.parts.max(1)).max(self.text.len())
    }

    /// Err where it would put together or go through too much.
    pub(crate) fn may_make(&self, longest: usize) -> Result<(), String> {
        if self.made(longest) <= MOST_MADE {
            return Ok(());
        }
        Err(format!(
            "not available in r:expr: variables and functions whose texts may have more than {} MiB together",
            MOST_MADE >> 20
        ))
    }

    /// The expression where no text that the request holds is longer than this: longer ones get
    /// fewer steps.
    pub(crate) fn within(self, longest: usize) -> Result<String, String> {
        let made = self.made(longest);
        if made > MOST_SEARCHED * self.parts.max(1) {
            return Err(format!(
                "not available in r:expr: a pattern where a text of the request has more than {} KiB",
                MOST_SEARCHED >> 10
            ));
        }
        let steps = (MOST_PASSED / made).min(MOST_STEPS);
        Ok(self.text.replace("(*LIMIT_MATCH=300000)", &format!("(*LIMIT_MATCH={steps})")))
    }
}

/// Looks through an expression. Err is what the script is told.
pub(crate) fn checked(text: &[u8], sandbox: bool) -> Result<Checked, String> {
    if text.len() > MOST_TEXT {
        return Err(format!("an expression of more than {MOST_TEXT} bytes"));
    }
    let mut reader = Reader::new(text, sandbox);
    reader.condition()?;
    let utf8 = |bytes| String::from_utf8(bytes).map_err(|_| "an expression that is not UTF-8".to_owned());
    let patterns = reader.patterns.into_iter().map(utf8).collect::<Result<_, _>>()?;
    Ok(Checked { text: utf8(reader.out)?, patterns, parts: reader.parts, growing: reader.growing })
}

/// An expression that is one search: `WORD =~ /pattern/` or `!~`, with nothing around it.
#[derive(Debug, PartialEq)]
pub(crate) struct Alone<'t> {
    /// The text that is searched, as a string expression.
    pub(crate) word: &'t str,
    pub(crate) is_negated: bool,
    pub(crate) pattern: &'t str,
    pub(crate) flags: &'t str,
}

/// A checked expression, if it is one search: the clock bounds it, and no limit of steps has to.
pub(crate) fn alone(text: &[u8]) -> Option<Alone<'_>> {
    let blank = |c: char| c.is_ascii_whitespace();
    let text = std::str::from_utf8(text).ok()?.trim_matches(blank);
    let (word, rest) = only_word(text)?;
    let rest = rest.trim_start_matches(blank);
    let (is_negated, rest) = match (rest.strip_prefix("=~"), rest.strip_prefix("!~")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return None,
    };
    let rest = rest.trim_start_matches(blank);
    let (rest, marks) = rest.strip_prefix('m').map_or((rest, b"/".as_slice()), |rest| (rest, MARKS));
    let mark = char::from(*rest.as_bytes().first().filter(|mark| marks.contains(mark))?);
    let (pattern, flags) = rest.get(1..)?.split_once(mark)?;
    matches!(flags, "" | "i").then_some(Alone { word, is_negated, pattern, flags })
}

/// A string or a variable that reads the same as a string expression, and what stands behind it.
fn only_word(text: &str) -> Option<(&str, &str)> {
    let (word, rest) = match text.chars().next()? {
        mark @ ('"' | '\'') => text[1..].split_once(mark)?,
        '%' => text.split_at_checked(text.find('}')? + 1)?,
        _ => return None,
    };
    let is_plain = !word.contains(['\\', '$', '\n']) && !nests(word);
    is_plain.then_some((word, rest))
}

/// Whether a variable stands inside of another one.
fn nests(word: &str) -> bool {
    word.split("%{").skip(1).any(|inner| !inner.contains('}'))
}

#[cfg(test)]
mod tests;
