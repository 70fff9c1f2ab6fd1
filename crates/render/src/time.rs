// SPDX-License-Identifier: Apache-2.0
//! Times as RFC 3339 has them, in UTC, to the second.

use std::fmt;

use serde::{Serialize, Serializer};

/// Epoch seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

/// The last second of the year 9999: later ones have no such text.
const LAST: u64 = 253_402_300_799;
const DAY: u64 = 86_400;

impl Time {
    /// None for 0, which stands for a time that nobody has noted.
    pub fn noted(epoch_s: u64) -> Option<Self> {
        (epoch_s > 0).then_some(Time(epoch_s))
    }

    /// Reads `2026-11-29T12:00:00Z`, also with a fraction, which is dropped, and with another
    /// offset.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_once(['T', 't', ' '])?;
        let [year, month, day] = numbers(date, '-')?;
        let end = rest.find(['Z', 'z', '+', '-'])?;
        let (clock, zone) = rest.split_at(end);
        let clock = match clock.split_once('.') {
            Some((clock, part)) if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) => clock,
            Some(_) => return None,
            None => clock,
        };
        let [hour, minute, second] = numbers(clock, ':')?;
        let is_date = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
        if date.len() != 10 || !is_date || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let local = days(year, month, day) * DAY as i64 + (hour * 3600 + minute * 60 + second) as i64;
        let epoch = u64::try_from(local - offset(zone)?).ok()?;
        (epoch <= LAST).then_some(Time(epoch))
    }
}

/// Three numbers between these marks, of two digits each but for a year.
fn numbers(text: &str, mark: char) -> Option<[u64; 3]> {
    let mut parts = text.split(mark).map(|part| {
        let good = matches!(part.len(), 2 | 4) && part.bytes().all(|b| b.is_ascii_digit());
        good.then(|| part.parse().ok()).flatten()
    });
    let all = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(all)
}

/// Seconds that a zone is ahead.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let two = |text: &str| {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i64>().ok())?
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let ahead = (hours <= 23 && minutes <= 59).then_some(hours * 3600 + minutes * 60)?;
    Some(if zone.starts_with('-') { -ahead } else { ahead })
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date.
fn days(year: u64, month: u64, day: u64) -> i64 {
    let year = year as i64;
    let leaps = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    let months: u64 = (1..month).map(|month| days_of(year as u64, month)).sum();
    years + (months + day - 1) as i64
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.0.min(LAST);
        let (mut day, clock) = (epoch / DAY, epoch % DAY);
        // Never too late: no year is longer than 366 days.
        let mut year = 1970 + day / 366;
        day -= days(year, 1, 1) as u64;
        while day >= 365 + u64::from(is_leap(year)) {
            (day, year) = (day - 365 - u64::from(is_leap(year)), year + 1);
        }
        let mut month = 1;
        while day >= days_of(year, month) {
            (day, month) = (day - days_of(year, month), month + 1);
        }
        let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
        write!(f, "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", day + 1)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (epoch, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_953_600, "2026-11-29T12:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Time(epoch).to_string(), text);
            assert_eq!(Time::parse(text), Some(Time(epoch)), "{text}");
        }
        assert_eq!(Time(u64::MAX).to_string(), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn every_day_is_found_again() {
        for day in (0..80_000).step_by(7) {
            let time = Time(day * DAY + 3_723);
            assert_eq!(Time::parse(&time.to_string()), Some(time));
        }
    }

    #[test]
    fn offsets_and_fractions_are_understood() {
        let noon = Time::parse("2026-11-29T12:00:00Z");
        for text in [
            "2026-11-29T13:00:00+01:00",
            "2026-11-29t06:30:00.25-05:30",
            "2026-11-29 12:00:00.999999z",
            "2026-11-30T02:00:00+14:00",
        ] {
            assert_eq!(Time::parse(text), noon, "{text}");
        }
    }

    #[test]
    fn text_that_is_not_a_time_is_not_read() {
        for text in [
            "",
            "now",
            "2026-11-29",
            "2026-11-29T12:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-29T24:00:00Z",
            "2026-11-29T12:60:00Z",
            "2026-11-29T12:00Z",
            "2026-11-29T12:00:00.Z",
            "2026-11-29T12:00:00+1:00",
            "2026-11-29T12:00:00+01",
            "26-11-29T12:00:00Z",
            "+026-11-29T12:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-11-29T12:00:00Zx",
            "2026-11-29T12:00:00+ü:00",
        ] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }
}
