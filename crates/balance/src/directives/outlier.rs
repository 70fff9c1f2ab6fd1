// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerOutlier`.

use super::failures;
use super::values::{self, Line};
use crate::error::ParseError;
use crate::outlier::MOST_FAILURES;
use crate::settings::Outlier;

/// The directive's name.
pub(super) const DIRECTIVE: &str = "LuaBalancerOutlier";
/// Its keys.
pub const KEYS: &[&str] = &["failures", "ejection", "max_ejection", "max_percent", "count"];

pub(super) fn read(words: &[String]) -> Result<Outlier, ParseError> {
    let missing = || ParseError::Missing("on or off, for example LuaBalancerOutlier on failures=5".into());
    let (on, keys) = words.split_first().ok_or_else(missing)?;
    let on = match on.to_ascii_lowercase().as_str() {
        "on" => true,
        "off" => false,
        _ => {
            return Err(ParseError::word(
                on,
                "on or off first, for example LuaBalancerOutlier on failures=5",
            ));
        }
    };
    let (mut to, mut seen) = (Outlier { on, ..Outlier::default() }, Vec::new());
    for word in keys {
        let (key, value) = values::pair(word)?;
        values::once(&mut seen, key)?;
        set(&mut to, key, value)?;
    }
    check(&to)?;
    Ok(to)
}

pub(super) fn set(to: &mut Outlier, key: &str, value: &str) -> Result<(), ParseError> {
    match key {
        "failures" => to.failures = values::number(key, value, 1, MOST_FAILURES)?,
        "ejection" => {
            to.ejection_ms = values::some_duration(key, value)?;
            // An administrator who says nothing of the longest ejection wants no error about it.
            if to.max_ejection_ms == Outlier::default().max_ejection_ms {
                to.max_ejection_ms = to.max_ejection_ms.max(to.ejection_ms);
            }
        }
        "max_ejection" => to.max_ejection_ms = values::some_duration(key, value)?,
        "max_percent" => to.max_percent = values::percent(key, value)?,
        "count" => to.count = failures::read(key, value, true)?,
        _ => return Err(ParseError::unknown_key(key, KEYS)),
    }
    Ok(())
}

/// Finds the faults that no single key shows.
pub(super) fn check(of: &Outlier) -> Result<(), ParseError> {
    if of.max_ejection_ms < of.ejection_ms {
        let expected = format!("at least ejection={}", values::ms(&of.ejection_ms));
        return Err(ParseError::value("max_ejection", &values::ms(&of.max_ejection_ms), expected));
    }
    Ok(())
}

pub(super) fn write(of: &Outlier) -> Option<String> {
    let default = Outlier::default();
    let mut line = Line::new(DIRECTIVE).word(if of.on { "on" } else { "off" });
    line.unless(&default.failures, "failures", &of.failures, u32::to_string);
    line.unless(&default.ejection_ms, "ejection", &of.ejection_ms, values::ms);
    line.unless(&default.max_ejection_ms, "max_ejection", &of.max_ejection_ms, values::ms);
    line.unless(&default.max_percent, "max_percent", &of.max_percent, u8::to_string);
    line.unless(&default.count, "count", &of.count, failures::write);
    (*of != default).then(|| line.done())
}
