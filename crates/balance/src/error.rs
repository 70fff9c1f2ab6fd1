// SPDX-License-Identifier: Apache-2.0
//! The faults of a configured text.

/// A URL, key or value that cannot be taken. One line, for administrators: what was found, what was
/// expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The URL of a member.
    #[error("URL {found}: {why}, for example http://10.0.0.1:8080")]
    Url {
        /// As written, shortened.
        found: String,
        /// The fault.
        why: String,
    },
    /// The value of a key.
    #[error("{key}={found}: expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// As written, shortened.
        found: String,
        /// The accepted form, with an example.
        expected: String,
    },
    /// A word without `=` where a key was expected, or a word too many.
    #[error("found {found}: expected {expected}")]
    Word {
        /// As written, shortened.
        found: String,
        /// The accepted form.
        expected: String,
    },
    /// A key that is not known here.
    #[error("unknown key {found}: {hint}")]
    UnknownKey {
        /// As written, shortened.
        found: String,
        /// The keys that come close, or all of them.
        hint: String,
    },
    /// A key that was given before.
    #[error("{0} is there twice: expected it once")]
    Twice(String),
    /// Two keys for the same thing, or one twice.
    #[error("{first} and {second} say the same thing: expected one of them, once")]
    Duplicate {
        /// The earlier key.
        first: String,
        /// The later key.
        second: String,
    },
    /// A key that a newer httpd follows.
    #[error("{key}= needs httpd {needed} or newer, and the module built for it")]
    NeedsNewer {
        /// The key.
        key: String,
        /// The first version that follows it.
        needed: &'static str,
    },
    /// Something is missing.
    #[error("expected {0}")]
    Missing(String),
}

/// Longest piece of a wrong text that is repeated in a message, in characters.
const SHOWN: usize = 60;

/// A wrong text as it may stand in a message: one line, no control characters, not too long.
pub(crate) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    if out.is_empty() { "\"\"".to_owned() } else { out }
}

impl ParseError {
    pub(crate) fn value(key: &str, found: &str, expected: impl Into<String>) -> Self {
        ParseError::Value { key: shown(key), found: shown(found), expected: expected.into() }
    }

    pub(crate) fn word(found: &str, expected: impl Into<String>) -> Self {
        ParseError::Word { found: shown(found), expected: expected.into() }
    }

    pub(crate) fn unknown_key(found: &str, known: &[&str]) -> Self {
        ParseError::UnknownKey { found: shown(found), hint: hint(found, known) }
    }
}

/// "did you mean …?" when something comes close, or else all names.
pub(crate) fn hint(found: &str, known: &[&str]) -> String {
    let found = found.to_ascii_lowercase();
    let reach = 1 + found.chars().count() / 4;
    let mut near: Vec<(usize, &str)> = known
        .iter()
        .map(|name| (distance(&found, name), *name))
        .filter(|(distance, name)| {
            *distance <= reach || (found.len() > 2 && name.starts_with(found.as_str()))
        })
        .collect();
    near.sort();
    if near.is_empty() {
        return format!("expected one of {}", known.join(", "));
    }
    let names: Vec<&str> = near.into_iter().take(3).map(|(_, name)| name).collect();
    format!("did you mean {}? Expected one of {}", names.join(" or "), known.join(", "))
}

/// The accepted names, to stand behind "expected" where a name is not known.
pub(crate) fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let hint = hint(found, known);
    match hint.strip_prefix("expected ") {
        Some(list) => format!("{what}, {list}"),
        None => format!("{what}; {}", hint.replace("? Expected one", "? One")),
    }
}

/// Levenshtein's distance; long texts are cut, since nothing long comes near a key.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(SHOWN).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().take(SHOWN).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_hinted_at_and_others_listed() {
        assert_eq!(hint("wieght", &["weight", "name"]), "did you mean weight? Expected one of weight, name");
        assert_eq!(
            hint("slow", &["slow_start", "name"]),
            "did you mean slow_start? Expected one of slow_start, name"
        );
        assert_eq!(hint("colour", &["weight", "name"]), "expected one of weight, name");
        assert_eq!(unknown("a key", "colour", &["weight", "name"]), "a key, one of weight, name");
        assert_eq!(unknown("a key", "wieght", &["weight"]), "a key; did you mean weight? One of weight");
    }

    #[test]
    fn messages_stay_on_one_short_line() {
        let text = ParseError::value("a\nb", &"x\r\n".repeat(100), "a number").to_string();
        assert!(!text.contains(['\n', '\r']) && text.len() < 300, "{text}");
    }
}
