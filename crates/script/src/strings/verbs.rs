// SPDX-License-Identifier: Apache-2.0
//! Verbs at the beginning of a regular expression: PCRE takes the last word on its limits, so a
//! script's own is refused.

/// An error when a pattern begins with limits of its own.
pub fn check_limits(pattern: &str) -> Result<(), String> {
    let mut rest = pattern;
    while let Some(inner) = rest.strip_prefix("(*") {
        let Some((word, after)) = inner.split_once(')') else { return Ok(()) };
        if word.starts_with("LIMIT_") {
            return Err(format!("'(*{word})': a script's pattern does not set its own limits"));
        }
        rest = after;
    }
    Ok(())
}

/// The verbs that a pattern begins with, and the rest.
pub fn split_verbs(pattern: &str) -> (&str, &str) {
    let mut rest = pattern;
    while let Some((_, after)) = rest.strip_prefix("(*").and_then(|inner| inner.split_once(')')) {
        rest = after;
    }
    pattern.split_at(pattern.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_script_are_refused() {
        for pattern in ["(*LIMIT_MATCH=9)a", "(*UTF)(*LIMIT_DEPTH=1)a", "(*LIMIT_HEAP=1)"] {
            assert!(check_limits(pattern).is_err(), "{pattern}");
        }
        for pattern in ["a", "(*COMMIT)a(*LIMIT_MATCH=1)", "(*UTF)a", "(*"] {
            assert!(check_limits(pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn verbs_stand_before_the_pattern() {
        for (pattern, verbs, rest) in [
            ("a", "", "a"),
            ("(*UTF)(*UCP)(a)", "(*UTF)(*UCP)", "(a)"),
            ("(*", "", "(*"),
            ("(a)(*F)", "", "(a)(*F)"),
        ] {
            assert_eq!(split_verbs(pattern), (verbs, rest));
        }
    }
}
