// SPDX-License-Identifier: Apache-2.0
//! `count=` and `retry_on=`.

use crate::error::ParseError;
use crate::settings::FailureKinds;
use crate::units::digits_only;

/// Reads a list of failures; with `answers`, statuses are failures as well.
pub(super) fn read(key: &str, text: &str, answers: bool) -> Result<FailureKinds, ParseError> {
    let expected = if answers {
        "a list of connect, reset, timeout, 5xx and status codes, or none; for example connect,reset,503"
    } else {
        "a list of connect, reset and timeout, or none; for example connect,reset"
    };
    let wrong = || ParseError::value(key, text, expected);
    let mut kinds = FailureKinds::default();
    if text.eq_ignore_ascii_case("none") {
        return Ok(kinds);
    }
    for part in text.split(',') {
        match part.trim().to_ascii_lowercase().as_str() {
            "connect" => kinds.connect = true,
            "reset" => kinds.reset = true,
            "timeout" => kinds.timeout = true,
            "5xx" if answers => kinds.any_5xx = true,
            code if answers => {
                let code = digits_only(code).and_then(|code| u16::try_from(code).ok());
                let code = code.filter(|code| (100..=599).contains(code)).ok_or_else(wrong)?;
                if !kinds.codes.contains(&code) {
                    kinds.codes.push(code);
                }
            }
            _ => return Err(wrong()),
        }
    }
    Ok(kinds)
}

pub(super) fn write(kinds: &FailureKinds) -> String {
    let named = [
        (kinds.connect, "connect"),
        (kinds.reset, "reset"),
        (kinds.timeout, "timeout"),
        (kinds.any_5xx, "5xx"),
    ];
    let mut parts: Vec<String> =
        named.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned()).collect();
    parts.extend(kinds.codes.iter().map(u16::to_string));
    if parts.is_empty() { "none".to_owned() } else { parts.join(",") }
}
