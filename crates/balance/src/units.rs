// SPDX-License-Identifier: Apache-2.0
//! Durations, sizes, weights and switches as they are written.

use crate::error::ParseError;
use crate::status::MAX_WEIGHT_HUNDREDTHS;

/// Longest duration, in milliseconds: a hundred years. Sums of a few never overflow.
pub const MAX_MS: u64 = 100 * 366 * 24 * 3_600_000;

/// The meaning of a number without a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Unit {
    Milliseconds,
    Seconds,
}

const DURATION: &str = "a duration such as 500ms, 5s, 2m or 1h";

/// A duration in milliseconds. A bare number is seconds.
pub fn duration_ms(text: &str) -> Result<u64, ParseError> {
    duration_ms_in(text, Unit::Seconds)
}

/// A duration in milliseconds, where a bare number has this unit. Units: `ms s m h`, and httpd's
/// `mi`, `min`. Fractions such as `1.5s` are taken down to a millisecond. At most [`MAX_MS`].
pub fn duration_ms_in(text: &str, default: Unit) -> Result<u64, ParseError> {
    let wrong = || ParseError::word(text, DURATION);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale: u64 = match (unit.to_ascii_lowercase().as_str(), default) {
        ("ms", _) | ("", Unit::Milliseconds) => 1,
        ("s", _) | ("", Unit::Seconds) => 1000,
        ("m" | "mi" | "min", _) => 60_000,
        ("h", _) => 3_600_000,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction.trim_end_matches('0')),
        Some(_) => return Err(wrong()),
        None => (number, ""),
    };
    if whole.is_empty() || whole.len() > 13 || fraction.len() > 7 || fraction.contains('.') {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let base = 10u64.pow(fraction.len() as u32);
    let part = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().map_err(|_| wrong())? * scale };
    if !part.is_multiple_of(base) {
        return Err(ParseError::word(text, format!("{DURATION}, no finer than 1ms")));
    }
    let total =
        whole.checked_mul(scale).and_then(|ms| ms.checked_add(part / base)).filter(|ms| *ms <= MAX_MS);
    total.ok_or_else(|| ParseError::word(text, "a duration of at most 100 years"))
}

/// A duration as [`duration_ms`] reads it, in seconds where that is exact.
pub fn write_ms(ms: u64) -> String {
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}

/// A size in bytes: digits, then `K` or `M` (of 1024) or nothing.
pub fn size(text: &str) -> Result<u64, ParseError> {
    let wrong = || ParseError::word(text, "a size such as 4096, 64K or 16M");
    let (digits, scale) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let number: u64 = digits_only(digits).ok_or_else(wrong)?;
    number.checked_mul(scale).filter(|size| *size <= 1 << 50).ok_or_else(wrong)
}

/// A plain decimal number, without sign.
pub fn digits_only(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A weight in hundredths: 0 to 65535, digits after the second behind the point are dropped (as
/// `loadfactor` does it).
pub fn weight(text: &str) -> Result<u32, ParseError> {
    let wrong = || ParseError::word(text, "a weight of 0 to 65535, for example 3 or 1.5");
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(wrong()),
        None => (text, ""),
    };
    let whole = digits_only(whole).filter(|whole| *whole <= 65_535).ok_or_else(wrong)?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let digit = |at: usize| fraction.as_bytes().get(at).map_or(0, |b| u64::from(b - b'0'));
    let hundredths = whole * 100 + digit(0) * 10 + digit(1);
    if hundredths > u64::from(MAX_WEIGHT_HUNDREDTHS) {
        return Err(wrong());
    }
    if hundredths == 0 && fraction.bytes().any(|b| b != b'0') {
        return Err(ParseError::word(text, "a weight of 0, or of at least 0.01"));
    }
    Ok(hundredths as u32)
}

/// A weight as [`weight`] reads it.
pub fn write_weight(hundredths: u32) -> String {
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match rest {
        0 => whole.to_string(),
        rest if rest % 10 == 0 => format!("{whole}.{}", rest / 10),
        rest => format!("{whole}.{rest:02}"),
    }
}

/// `on` or `off`, in any case.
pub fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_have_units_and_limits() {
        for (text, ms) in [
            ("5", 5000),
            ("5s", 5000),
            ("250ms", 250),
            ("2m", 120_000),
            ("2min", 120_000),
            ("1h", 3_600_000),
            ("0", 0),
            ("1.5", 1500),
            ("0.25H", 900_000),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        assert_eq!(duration_ms_in("7", Unit::Milliseconds), Ok(7));
        for text in [
            "",
            "s",
            "-1",
            "1x",
            "1 s",
            "1.",
            ".5",
            "0.0001s",
            "1.2.3",
            "99999999999999999999h",
            "999999999h",
            "+3",
            "5ſ",
        ] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_and_limits() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64k"), Ok(65536));
        assert_eq!(size("16M"), Ok(16 << 20));
        for text in ["", "K", "1G", "-1", "99999999999999M", "1.5M", "+1"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn weights_are_hundredths() {
        for (text, hundredths) in
            [("0", 0), ("1", 100), ("1.5", 150), ("0.019", 1), ("65535", 6_553_500), ("007", 700)]
        {
            assert_eq!(weight(text), Ok(hundredths), "{text}");
        }
        for text in ["", "-1", "65535.01", "65536", "0.001", "1.", "1e3", "1.x", "0x1", "NaN"] {
            assert!(weight(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn written_units_are_read_back(ms in 0..=MAX_MS, hundredths in 0..=MAX_WEIGHT_HUNDREDTHS) {
            prop_assert_eq!(duration_ms(&write_ms(ms)), Ok(ms));
            prop_assert_eq!(weight(&write_weight(hundredths)), Ok(hundredths));
        }
    }
}
