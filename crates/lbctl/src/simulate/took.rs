// SPDX-License-Identifier: Apache-2.0
//! How long requests took, as logs have it.

use serde_json::Value;

/// A time of a log: one that can be used, or one that cannot be, in words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Took {
    /// Seconds, from 0 to a day. None: the log does not say, or not in a way that can be used.
    pub seconds: Option<f64>,
    /// Why the time of the log is not used.
    pub odd: Option<String>,
}

/// The longest time, in seconds.
const DAY: f64 = 86_400.0;
/// Letters of a wrong value that are shown.
const SHOWN: usize = 30;

impl Took {
    /// A value under its name, in units of which a second has so many. Nothing, and a `-`, say that
    /// the time is not known.
    pub fn read(name: &str, written: &str, per_second: f64) -> Self {
        if matches!(written, "" | "-") {
            return Took::default();
        }
        let seconds = written.parse::<f64>().ok().filter(|number| !number.is_nan());
        let why = match seconds.map(|number| number / per_second) {
            Some(seconds) if (0.0..=DAY).contains(&seconds) => {
                return Took { seconds: Some(seconds), odd: None };
            }
            Some(seconds) if seconds < 0.0 => "less than 0",
            Some(_) => "more than a day",
            None => "not a number",
        };
        let shown: String = written.chars().take(SHOWN).collect();
        let dots = if written.chars().nth(SHOWN).is_some() { "…" } else { "" };
        Took { seconds: None, odd: Some(format!("{name} is '{}{dots}', {why}", shown.escape_debug())) }
    }

    /// The first of these keys that a line of JSON has.
    pub fn of_json(line: &Value, names: &[&str], per_second: f64) -> Self {
        let known =
            names.iter().find_map(|name| Some((name, line.get(*name).filter(|value| !value.is_null())?)));
        match known {
            None => Took::default(),
            Some((name, Value::String(text))) => Took::read(name, text, per_second),
            Some((name, other)) => Took::read(name, &other.to_string(), per_second),
        }
    }

    /// This one, if it can be used; else the other, if that can be; else the reason.
    pub fn or(self, other: Self) -> Self {
        if self.seconds.is_some() || (other.seconds.is_none() && self.odd.is_some()) { self } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_cannot_be_used_says_why() {
        for (written, per_second, seconds) in [
            ("0", 1.0, 0.0),
            ("86400", 1.0, DAY),
            ("2500", 1e6, 0.0025),
            ("1e3", 1e3, 1.0),
            ("-0.0", 1.0, 0.0),
        ] {
            assert_eq!(Took::read("%D", written, per_second).seconds, Some(seconds), "{written}");
        }
        for (written, why) in [
            ("86401", "%D is '86401', more than a day"),
            ("inf", "%D is 'inf', more than a day"),
            ("-1", "%D is '-1', less than 0"),
            ("-inf", "%D is '-inf', less than 0"),
            ("nan", "%D is 'nan', not a number"),
            ("x\u{1b}[2J", "%D is 'x\\u{1b}[2J', not a number"),
        ] {
            let took = Took::read("%D", written, 1.0);
            assert_eq!((took.seconds, took.odd.as_deref()), (None, Some(why)));
        }
        assert_eq!(Took::read("%D", "-", 1.0), Took::default());
        let long = Took::read("%D", &"9".repeat(4000), 1.0).odd.unwrap();
        assert!(long.len() < 70, "{long}");
    }

    #[test]
    fn one_that_can_be_used_goes_before_one_that_cannot() {
        let [good, odd, none] = ["1", "-1", "-"].map(|written| Took::read("%T", written, 1.0));
        assert_eq!(odd.clone().or(good.clone()), good);
        assert_eq!(none.clone().or(odd.clone()), odd);
        assert_eq!(odd.clone().or(none.clone()), odd);
        assert_eq!(none.or(good.clone()), good);
    }
}
