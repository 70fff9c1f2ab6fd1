// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerSet`.

use super::failures;
use super::values::{self, Line};
use crate::error::ParseError;
use crate::member::MAX_NAME;
use crate::settings::Set;

/// The directive's name.
pub(super) const DIRECTIVE: &str = "LuaBalancerSet";
/// Its keys.
pub const KEYS: &[&str] =
    &["retries", "retry_on", "zone", "panic", "slow_start", "on_empty", "reverse", "queue"];

/// Adds these words to what was said before.
pub(super) fn read(mut to: Set, words: &[String]) -> Result<Set, ParseError> {
    if words.is_empty() {
        return Err(ParseError::Missing(format!("key=value with one of {}", KEYS.join(", "))));
    }
    let mut seen = Vec::new();
    for word in words {
        let (key, value) = values::pair(word)?;
        values::once(&mut seen, key)?;
        set(&mut to, key, value)?;
    }
    Ok(to)
}

pub(super) fn set(to: &mut Set, key: &str, value: &str) -> Result<(), ParseError> {
    match key {
        "retries" => to.retries = values::number(key, value, 0, 1000)?,
        "retry_on" => to.retry_on = failures::read(key, value, false)?,
        "zone" => to.zone = Some(values::word(key, value, MAX_NAME)?),
        "panic" => to.panic_percent = values::percent(key, value)?,
        "slow_start" => to.slow_start_ms = values::duration(key, value)?,
        "on_empty" => to.on_empty = values::number(key, value, 400, 599)?,
        "reverse" => to.reverse = values::switch(key, value)?,
        "queue" => to.queue_ms = values::duration(key, value)?,
        _ => return Err(ParseError::unknown_key(key, KEYS)),
    }
    Ok(())
}

pub(super) fn write(of: &Set) -> Option<String> {
    let default = Set::default();
    let mut line = Line::new(DIRECTIVE);
    line.unless(&default.retries, "retries", &of.retries, u32::to_string);
    line.unless(&default.retry_on, "retry_on", &of.retry_on, failures::write);
    line.option("zone", of.zone.as_deref());
    line.unless(&default.panic_percent, "panic", &of.panic_percent, u8::to_string);
    line.unless(&default.slow_start_ms, "slow_start", &of.slow_start_ms, values::ms);
    line.unless(&default.on_empty, "on_empty", &of.on_empty, u16::to_string);
    line.unless(&default.reverse, "reverse", &of.reverse, values::on_off);
    line.unless(&default.queue_ms, "queue", &of.queue_ms, values::ms);
    line.has_keys().then(|| line.done())
}
