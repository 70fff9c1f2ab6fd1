// SPDX-License-Identifier: Apache-2.0
//! Values of keys, with errors that name the key, and lines of keys.

use crate::error::ParseError;
use crate::units;
use crate::words;

/// Splits `key=value`.
pub(super) fn pair(word: &str) -> Result<(&str, &str), ParseError> {
    word.split_once('=').ok_or_else(|| ParseError::word(word, "key=value"))
}

/// Notes a key; fails when it was there before.
pub(super) fn once<'a>(seen: &mut Vec<&'a str>, key: &'a str) -> Result<(), ParseError> {
    if seen.contains(&key) {
        return Err(ParseError::Twice(format!("{key}=")));
    }
    seen.push(key);
    Ok(())
}

/// A whole number in a range.
pub(super) fn number<T: TryFrom<u64>>(key: &str, text: &str, min: u64, max: u64) -> Result<T, ParseError> {
    units::digits_only(text)
        .filter(|value| (min..=max).contains(value))
        .and_then(|value| T::try_from(value).ok())
        .ok_or_else(|| ParseError::value(key, text, format!("a whole number from {min} to {max}")))
}

/// A duration in milliseconds, 0 allowed.
pub(super) fn duration(key: &str, text: &str) -> Result<u64, ParseError> {
    units::duration_ms(text).map_err(|_| {
        ParseError::value(
            key,
            text,
            "a duration such as 500ms, 5s, 2m or 1h, no finer than 1ms, at most 100 years",
        )
    })
}

/// A duration in milliseconds above 0.
pub(super) fn some_duration(key: &str, text: &str) -> Result<u64, ParseError> {
    match duration(key, text)? {
        0 => Err(ParseError::value(key, text, "a duration above 0, for example 5s")),
        ms => Ok(ms),
    }
}

/// A percentage, with or without its sign.
pub(super) fn percent(key: &str, text: &str) -> Result<u8, ParseError> {
    units::digits_only(text.strip_suffix('%').unwrap_or(text))
        .and_then(|value| u8::try_from(value).ok())
        .filter(|value| *value <= 100)
        .ok_or_else(|| ParseError::value(key, text, "a percentage from 0 to 100, for example 10%"))
}

/// `on` or `off`; `yes`, `no` and a script's `true`, `false` are taken too.
pub(super) fn switch(key: &str, text: &str) -> Result<bool, ParseError> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err(ParseError::value(key, text, "on or off")),
    }
}

/// Text that fits into one line, not empty.
pub(super) fn line(key: &str, text: &str) -> Result<String, ParseError> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(ParseError::value(key, text, "text, not empty and without control characters"));
    }
    Ok(text.to_owned())
}

/// One word of at most `max` bytes without blanks, quotes and control characters.
pub(super) fn word(key: &str, text: &str, max: usize) -> Result<String, ParseError> {
    let good = |c: char| !(c.is_control() || c.is_whitespace() || c == '"' || c == '\'');
    if text.is_empty() || text.len() > max || !text.chars().all(good) {
        let expected = format!("1 to {max} bytes without blanks, quotes and control characters");
        return Err(ParseError::value(key, text, expected));
    }
    Ok(text.to_owned())
}

/// A name as HTTP's tokens are: of methods, headers, cookies.
pub(super) fn token(key: &str, text: &str) -> Result<String, ParseError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if text.is_empty() || !text.bytes().all(good) {
        return Err(ParseError::value(key, text, "letters, digits and - _ . without blanks"));
    }
    Ok(text.to_owned())
}

/// A Lua function's name, with dots where it stands in tables.
pub(super) fn function(key: &str, text: &str) -> Result<String, ParseError> {
    let name = |part: &str| {
        part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && part.bytes().next().is_some_and(|b| !b.is_ascii_digit())
    };
    if !text.split('.').all(name) {
        return Err(ParseError::value(key, text, "the name of a Lua function, for example select"));
    }
    Ok(text.to_owned())
}

/// A directive that is being written.
pub(super) struct Line {
    text: String,
    keys: usize,
}

impl Line {
    pub(super) fn new(directive: &str) -> Self {
        Line { text: directive.to_owned(), keys: 0 }
    }

    pub(super) fn word(mut self, word: &str) -> Self {
        self.text.push(' ');
        self.text.push_str(&words::quote(word));
        self
    }

    pub(super) fn pair(&mut self, key: &str, value: &str) {
        self.keys += 1;
        self.text.push(' ');
        self.text.push_str(&words::pair(key, value));
    }

    /// Writes a value that is not the default.
    pub(super) fn unless<T: PartialEq>(
        &mut self,
        default: &T,
        key: &str,
        value: &T,
        show: impl Fn(&T) -> String,
    ) {
        if value != default {
            self.pair(key, &show(value));
        }
    }

    pub(super) fn option(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.pair(key, value);
        }
    }

    pub(super) fn has_keys(&self) -> bool {
        self.keys > 0
    }

    pub(super) fn done(self) -> String {
        self.text
    }
}

/// How a switch is written.
pub(super) fn on_off(value: &bool) -> String {
    if *value { "on" } else { "off" }.to_owned()
}

/// How a duration is written.
pub(super) fn ms(value: &u64) -> String {
    units::write_ms(*value)
}
