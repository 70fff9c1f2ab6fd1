// SPDX-License-Identifier: Apache-2.0
//! Faults and their times: `a=10x@14:00+5m`.

use balance::member::MemberSpec;
use balance::units;

use crate::moment;

/// A beginning and a length, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Seconds of the day, or of the epoch from the first day of 1971 on.
    begin: f64,
    /// Seconds; infinite for ever.
    length: f64,
}

impl Span {
    /// `14:00+5m`, `2026-11-30T14:00:00Z+5m` or `14:00`.
    fn parse(text: &str) -> Option<Self> {
        let (begin, length) = match text.rsplit_once('+') {
            Some((begin, length)) => (begin, units::duration_ms(length).ok()? as f64 / 1e3),
            None => (text, f64::INFINITY),
        };
        let begin = match moment::of(begin) {
            Ok(seconds) => seconds,
            Err(_) if is_time_of_day(begin) => moment::of(&format!("1970-01-01T{begin}Z")).ok()?,
            Err(_) => return None,
        };
        Some(Span { begin, length })
    }

    /// Whether a moment (seconds since the epoch) is in it.
    fn holds(self, at: f64) -> bool {
        const DAY: f64 = 86_400.0;
        let since = if self.begin < DAY * 365.0 { at.rem_euclid(DAY) - self.begin } else { at - self.begin };
        (0.0..self.length).contains(&since)
    }
}

/// `14:00` or `14:00:30`, no later than 23:59:59.
fn is_time_of_day(text: &str) -> bool {
    let number = |part: &str| part.parse::<f64>().ok();
    let parts: Vec<Option<f64>> = text.split(':').map(number).collect();
    let is_below = |part: &Option<f64>, most: f64| part.is_some_and(|part| (0.0..most).contains(&part));
    let most = [24.0, 60.0, 60.0];
    (2..=3).contains(&parts.len()) && parts.iter().zip(most).all(|(part, most)| is_below(part, most))
}

/// How many times as long a member can take at most.
const SLOWEST: f64 = 1e6;

/// A fault, or another change.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// It takes so many times as long.
    Slow(String, f64, Span),
    /// It takes no connections.
    Down(String, Span),
    /// A member that comes: pool (None: every one), spec, when.
    Add(Option<String>, Box<MemberSpec>, Span),
}

impl Fault {
    /// `--slow a=10x@14:00+5m`.
    pub fn slow(text: &str) -> Result<Self, String> {
        let wrong = || format!("--slow '{text}': expected MEMBER=10x@14:00+5m");
        let (what, when) = text.rsplit_once('@').ok_or_else(wrong)?;
        let (name, factor) = what.split_once('=').ok_or_else(wrong)?;
        let factor = factor.strip_suffix('x').and_then(|factor| factor.parse().ok());
        let factor = factor.filter(|factor: &f64| *factor > 0.0).ok_or_else(wrong)?;
        if factor > SLOWEST {
            return Err(format!("--slow '{text}': expected at most {SLOWEST}x"));
        }
        Ok(Fault::Slow(name.to_owned(), factor, Span::parse(when).ok_or_else(wrong)?))
    }

    /// `--down b@14:10+60s`.
    pub fn down(text: &str) -> Result<Self, String> {
        let wrong = || format!("--down '{text}': expected MEMBER@14:10+60s");
        let (name, when) = text.split_once('@').ok_or_else(wrong)?;
        Ok(Fault::Down(name.to_owned(), Span::parse(when).ok_or_else(wrong)?))
    }

    /// `--add d=http://10.0.0.4:8080@15:00`, or `POOL/d=…`.
    pub fn add(text: &str) -> Result<Self, String> {
        let wrong = || format!("--add '{text}': expected MEMBER=URL@15:00");
        let (what, when) = text.rsplit_once('@').ok_or_else(wrong)?;
        let (name, url) = what.split_once('=').ok_or_else(wrong)?;
        let (pool, name) = name.split_once('/').map_or((None, name), |(pool, name)| (Some(pool), name));
        let spec = MemberSpec::from_line(&format!("{url} name={name}"));
        let spec = spec.map_err(|error| format!("--add '{text}': {error}"))?;
        Ok(Fault::Add(pool.map(str::to_owned), Box::new(spec), Span::parse(when).ok_or_else(wrong)?))
    }

    /// How many times as long a member takes now, and whether it takes connections.
    pub fn weigh(faults: &[Fault], pool: &str, member: &str, at: f64) -> (f64, bool) {
        let is = |name: &str| {
            name == member || name.split_once('/').is_some_and(|(own, name)| own == pool && name == member)
        };
        let (mut factor, mut serves) = (1.0, true);
        for fault in faults {
            match fault {
                Fault::Slow(name, times, span) if is(name) && span.holds(at) => factor *= times,
                Fault::Down(name, span) if is(name) && span.holds(at) => serves = false,
                _ => {}
            }
        }
        (factor, serves)
    }

    /// The first member that is neither among these pools and members nor comes by `--add`.
    pub fn unknown<'f>(faults: &'f [Fault], known: &[(String, String)]) -> Option<&'f str> {
        let is = |name: &str, pool: Option<&str>, member: &str| {
            let whole = name.split_once('/').is_some_and(|(own, name)| {
                name == member && pool.is_none_or(|pool| pool.eq_ignore_ascii_case(own))
            });
            name == member || whole
        };
        let comes = |name: &str| {
            faults.iter().any(|fault| match fault {
                Fault::Add(pool, spec, _) => is(name, pool.as_deref(), &spec.name),
                _ => false,
            })
        };
        let names = faults.iter().filter_map(|fault| match fault {
            Fault::Slow(name, ..) | Fault::Down(name, _) => Some(name.as_str()),
            Fault::Add(..) => None,
        });
        let mut names = names;
        names.find(|name| !comes(name) && !known.iter().any(|(pool, member)| is(name, Some(pool), member)))
    }

    /// Whether it has begun.
    pub fn has_begun(&self, at: f64) -> bool {
        match self {
            Fault::Add(_, _, span) | Fault::Slow(_, _, span) | Fault::Down(_, span) => span.holds(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_hold_while_they_are_said_to() {
        let faults =
            [Fault::slow("a=10x@14:00+5m").unwrap(), Fault::down("app/b@2026-11-30T14:10:00Z+60s").unwrap()];
        let at = |time: &str| moment::of(&format!("2026-11-30T{time}Z")).unwrap();
        let weigh = |member, time| Fault::weigh(&faults, "app", member, at(time));
        assert_eq!(weigh("a", "13:59:59"), (1.0, true));
        assert_eq!(weigh("a", "14:04:59"), (10.0, true));
        assert_eq!(weigh("a", "14:05:00"), (1.0, true));
        assert_eq!(weigh("b", "14:10:30"), (1.0, false));
        assert_eq!(Fault::weigh(&faults, "api", "b", at("14:10:30")), (1.0, true));
        let known = |pool: &str| [("app".to_owned(), "a".to_owned()), (pool.to_owned(), "b".to_owned())];
        assert_eq!(Fault::unknown(&faults, &known("app")), None);
        assert_eq!(Fault::unknown(&faults, &known("api")), Some("app/b"));
        for wrong in
            ["a", "a=10@14:00", "a=x@14:00", "a=2x@14:00+1y", "a=2x@noon", "a=infx@14:00", "a=2e6x@14:00"]
        {
            assert!(Fault::slow(wrong).is_err(), "{wrong}");
        }
        for wrong in ["a@25:00", "a@14:99", "a@24:00", "a@14:00:60", "a@-1:00"] {
            assert!(Fault::down(wrong).is_err(), "{wrong}");
        }
        assert!(Fault::down("a@23:59:59").is_ok());
        assert!(Fault::add("d=nonsense@15:00").is_err() && Fault::add("d=http://d:1@15:00").is_ok());
    }
}
