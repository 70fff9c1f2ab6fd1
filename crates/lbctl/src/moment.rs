// SPDX-License-Identifier: Apache-2.0
//! Moments, as people and logs write them.

/// `2026-11-30T09:00:00Z` (perhaps with a fraction or an offset), or seconds since the epoch.
pub fn of(written: &str) -> Result<f64, String> {
    if let Ok(seconds) = written.parse() {
        return Ok(seconds);
    }
    iso(written)
        .ok_or_else(|| format!("'{written}': expected a time such as 2026-11-30T09:00:00Z, or seconds"))
}

fn iso(written: &str) -> Option<f64> {
    let (date, time) = written.split_once(['T', ' '])?;
    let mut numbers = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let end = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(end);
    let mut parts = clock.split(':');
    let (hour, minute): (i64, i64) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let second: f64 = parts.next().unwrap_or("0").parse().ok()?;
    let is_second = (0.0..61.0).contains(&second);
    let whole = whole((year, month, day), (hour, minute)).filter(|_| is_second)?;
    Some(whole as f64 + second - offset(zone)? as f64)
}

/// `10/Oct/2000:13:55:36 -0700`, as logs have it.
pub fn of_log(written: &str) -> Option<f64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let (clock, zone) = written.trim().split_once(' ').unwrap_or((written.trim(), ""));
    let mut parts = clock.split(['/', ':', '.']);
    let day: i64 = parts.next()?.parse().ok()?;
    let month = MONTHS.find(parts.next().filter(|name| name.len() == 3)?)? as i64 / 3 + 1;
    let mut number = || parts.next()?.parse::<i64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    let fraction: f64 = parts.next().map_or(Some(0.0), |digits| format!("0.{digits}").parse().ok())?;
    let whole = whole((year, month, day), (hour, minute)).filter(|_| (0..=60).contains(&second))?;
    Some((whole + second - offset(zone)?) as f64 + fraction)
}

/// Seconds that a zone such as `+0130` is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    let digits = zone.trim_start_matches(['+', '-']).replace(':', "");
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let number: i64 = digits.parse().ok().filter(|number| (0..2400).contains(number))?;
    let seconds = (number / 100 * 60 + number % 100) * 60;
    Some(if zone.starts_with('-') { -seconds } else { seconds })
}

/// Seconds of a minute since the epoch. None: no calendar or clock has it.
fn whole((year, month, day): (i64, i64, i64), (hour, minute): (i64, i64)) -> Option<i64> {
    let is_date = (0..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let is_time = (0..24).contains(&hour) && (0..60).contains(&minute);
    (is_date && is_time).then(|| days(year, month, day) * 86_400 + (hour * 60 + minute) * 60)
}

/// Days from the epoch, by the Gregorian calendar with years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{of, of_log};

    #[test]
    fn moments_are_read_as_they_are_written() {
        for (written, seconds) in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("2026-11-30T09:00:00Z", 1_796_029_200.0),
            ("2026-11-30T10:30:00.5+01:30", 1_796_029_200.5),
            ("12.5", 12.5),
        ] {
            assert_eq!(of(written), Ok(seconds), "{written}");
        }
        assert!(of("yesterday").is_err() && of("2026-11-30").is_err());
        assert_eq!(of_log("10/Oct/2000:13:55:36 -0700"), Some(971_211_336.0));
        assert_eq!(of_log("29/Feb/2024:00:00:00.250 +0000"), Some(1_709_164_800.25));
        assert_eq!(of_log("10/Okt/2000:13:55:36 -0700"), None);
        for wrong in [
            "99999999999999999-01-01T00:00:00Z",
            "2026-13-30T09:00:00Z",
            "2026-11-32T09:00:00Z",
            "2026-11-30T24:00:00Z",
            "2026-11-30T9223372036854775807:00:00Z",
            "2026-11-30T09:60:00Z",
            "2026-11-30T09:00:61Z",
            "2026-11-30T09:00:-1Z",
            "2026-11-30T09:00:00+99999999999",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            "30/Nov/99999999999999999:14:00:00 +0000",
            "99/Nov/2026:14:00:00 +0000",
            "30/Nov/2026:99:00:00 +0000",
            "30/Nov/2026:14:00:99 +0000",
            "30/Nov/2026:14:00:00 +9999999999999",
        ] {
            assert_eq!(of_log(wrong), None, "{wrong}");
        }
    }
}
