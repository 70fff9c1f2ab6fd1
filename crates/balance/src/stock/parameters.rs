// SPDX-License-Identifier: Apache-2.0
//! The parameters of a stock balancer (`ProxySet` in `<Proxy "balancer://…">`) in a
//! `LuaBalancerSet` line.

use crate::directives::sticky;
use crate::error::ParseError;
use crate::line::MEMBER_KEYS;
use crate::settings::{FailureKinds, Method, Outlier, PoolSettings};
use crate::units;

/// Where a key of mod_proxy's own stands in a pool: for messages. None: it has nothing to do with
/// it.
pub(super) fn home_of(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    match key.as_str() {
        "stickysession" | "stickysessionsep" | "lbmethod" | "nofailover" | "maxattempts" | "failonstatus"
        | "failontimeout" => Some("LuaBalancerSet"),
        key if MEMBER_KEYS.contains(&key) || super::hcheck::is_key(&format!("{key}=")) => {
            Some("LuaBalancerMember")
        }
        _ => None,
    }
}

/// Takes the words that are a stock balancer's, and returns the others.
pub(crate) fn take(settings: &mut PoolSettings, words: &[String]) -> Result<Vec<String>, ParseError> {
    let (mut rest, mut forced, mut failing) = (Vec::new(), None, Failing::default());
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            rest.push(word.clone());
            continue;
        };
        match key.to_ascii_lowercase().as_str() {
            "stickysession" => stick(settings, key, value)?,
            "stickysessionsep" => separator(key, value)?,
            "lbmethod" => settings.method = method(key, value)?,
            "nofailover" => forced = Some((key, value, switch(key, value)?)),
            "maxattempts" => {
                let number = units::digits_only(value).filter(|number| *number <= 1000);
                let wrong = || ParseError::value(key, value, "a whole number from 0 to 1000");
                settings.set.retries = number.ok_or_else(wrong)? as u32;
            }
            "failonstatus" => failing.codes = codes(key, value)?,
            "failontimeout" => failing.timeout = Some(switch(key, value)?),
            lower => match advice(lower) {
                Some(expected) => return Err(ParseError::value(key, value, expected)),
                None => rest.push(word.clone()),
            },
        }
    }
    failing.count_in(&mut settings.outlier)?;
    match (forced, &mut settings.sticky) {
        (Some((_, _, on)), Some(sticky)) => sticky.force = on,
        (Some((key, value, true)), None) => {
            let expected =
                "stickysession= with it or LuaBalancerSticky before it: without sessions it has no meaning";
            return Err(ParseError::value(key, value, expected));
        }
        _ => {}
    }
    Ok(rest)
}

/// `failonstatus=` and `failontimeout=`: what takes a member out of a stock balancer besides
/// refused connections.
#[derive(Default)]
struct Failing {
    codes: Vec<u16>,
    timeout: Option<bool>,
}

impl Failing {
    /// Without a LuaBalancerOutlier before it as in stock httpd, where one failure is enough; else
    /// beside what that line counts.
    fn count_in(self, outlier: &mut Outlier) -> Result<(), ParseError> {
        let counts = !self.codes.is_empty() || self.timeout == Some(true);
        if counts && !outlier.on {
            let expected = "LuaBalancerOutlier on: nothing takes a member out where it is off".to_owned();
            return Err(ParseError::word("failonstatus= or failontimeout=", expected));
        }
        if counts && *outlier == Outlier::default() {
            outlier.failures = 1;
            outlier.count = FailureKinds { connect: true, ..FailureKinds::default() };
        }
        if let Some(on) = self.timeout {
            outlier.count.timeout = on;
        }
        for code in self.codes {
            if !outlier.count.codes.contains(&code) {
                outlier.count.codes.push(code);
            }
        }
        Ok(())
    }
}

fn codes(key: &str, value: &str) -> Result<Vec<u16>, ParseError> {
    let wrong = || ParseError::value(key, value, "status codes from 100 to 599, for example 500,503");
    let code = |text: &str| {
        let code = units::digits_only(text).and_then(|code| u16::try_from(code).ok());
        code.filter(|code| (100..=599).contains(code)).ok_or_else(wrong)
    };
    let parts = value.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty());
    let codes: Vec<u16> = parts.map(code).collect::<Result<_, _>>()?;
    if codes.is_empty() { Err(wrong()) } else { Ok(codes) }
}

/// `A|a`: cookie and parameter; one name is both.
fn stick(settings: &mut PoolSettings, key: &str, value: &str) -> Result<(), ParseError> {
    let (cookie, param) = value.split_once('|').unwrap_or((value, value));
    let wrong = |error: ParseError| {
        let expected = format!("COOKIE|parameter, for example JSESSIONID|jsessionid ({error})");
        ParseError::value(key, value, expected)
    };
    let sticky = settings.sticky.get_or_insert_default();
    for (key, value) in [("cookie", cookie), ("param", param)] {
        sticky::set(sticky, key, value).map_err(wrong)?;
    }
    Ok(())
}

fn separator(key: &str, value: &str) -> Result<(), ParseError> {
    // A value that is a route as a whole is taken as one anyway.
    if value == "." || value.eq_ignore_ascii_case("off") {
        return Ok(());
    }
    let expected = "'.' or Off: another separator is for a script to read, with r:getcookie and pool:member";
    Err(ParseError::value(key, value, expected))
}

fn method(key: &str, value: &str) -> Result<Method, ParseError> {
    match value.to_ascii_lowercase().as_str() {
        "byrequests" => Ok(Method::RoundRobin),
        "bybusyness" => Ok(Method::LeastConnections),
        "bytraffic" | "heartbeat" => Err(ParseError::value(
            key,
            value,
            "LuaBalancerMethod least_connections or least_latency, which weigh what members have to do now",
        )),
        _ => Err(ParseError::value(
            key,
            value,
            "byrequests or bybusyness, or LuaBalancerMethod with one of this module's own",
        )),
    }
}

fn switch(key: &str, value: &str) -> Result<bool, ParseError> {
    units::switch(value).ok_or_else(|| ParseError::value(key, value, "On or Off"))
}

/// The advice for a key that has no counterpart here.
fn advice(key: &str) -> Option<String> {
    Some(match key {
        "timeout" => {
            "queue= for how long a request waits for a place, or timeout= at the LuaBalancerMember lines \
                      for how long a member may take"
                .to_owned()
        }
        "scolonpathdelim" => {
            "no such key: param= of LuaBalancerSticky is read behind ';' in any case".to_owned()
        }
        "growth" => {
            "no such key: LuaBalancerMaxMembers gives room for members added while running".to_owned()
        }
        "retry" => "retries= for further attempts, or retry= at the LuaBalancerMember lines".to_owned(),
        "nonce" | "forcerecovery" => "no such key: there is nothing to write in its place".to_owned(),
        key if home_of(key) == Some("LuaBalancerMember")
            && !["zone", "slow_start", "status"].contains(&key) =>
        {
            format!("{key}= at the LuaBalancerMember lines")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words;

    fn set(line: &str) -> Result<String, String> {
        let mut settings = PoolSettings::default();
        let words = words::split(line).unwrap();
        let done = settings.set_directive("LuaBalancerSet", &words).map_err(|error| error.to_string());
        done.map(|()| settings.to_text())
    }

    #[test]
    fn parameters_that_mean_the_same_are_taken() {
        for (line, text) in [
            ("stickysession=JSESSIONID|jsessionid", "LuaBalancerSticky cookie=JSESSIONID param=jsessionid\n"),
            ("stickysession=ROUTEID", "LuaBalancerSticky cookie=ROUTEID param=ROUTEID\n"),
            ("nofailover=On StickySession=A|a", "LuaBalancerSticky cookie=A param=a force=on\n"),
            ("stickysession=A|a nofailover=off stickysessionsep=.", "LuaBalancerSticky cookie=A param=a\n"),
            ("lbmethod=byrequests", ""),
            ("lbmethod=bybusyness", "LuaBalancerMethod least_connections\n"),
            ("maxattempts=5 on_empty=502", "LuaBalancerSet retries=5 on_empty=502\n"),
            ("nofailover=Off", ""),
            ("failonstatus=500,503", "LuaBalancerOutlier on failures=1 count=connect,500,503\n"),
            ("failontimeout=On", "LuaBalancerOutlier on failures=1 count=connect,timeout\n"),
            (
                "failontimeout=On failonstatus=502",
                "LuaBalancerOutlier on failures=1 count=connect,timeout,502\n",
            ),
            ("failontimeout=Off", "LuaBalancerOutlier on count=connect,reset\n"),
        ] {
            assert_eq!(set(line).as_deref(), Ok(text), "{line}");
        }
    }

    #[test]
    fn failures_are_counted_beside_those_of_a_line_before() {
        let mut settings = PoolSettings::default();
        let line = words::split("on failures=5 count=connect").unwrap();
        settings.set_directive("LuaBalancerOutlier", &line).unwrap();
        let words = words::split("failonstatus=500 failontimeout=on").unwrap();
        settings.set_directive("LuaBalancerSet", &words).unwrap();
        assert_eq!(settings.to_text(), "LuaBalancerOutlier on failures=5 count=connect,timeout,500\n");
        settings.set_directive("LuaBalancerOutlier", &["off".to_owned()]).unwrap();
        let error = settings.set_directive("LuaBalancerSet", &words).unwrap_err().to_string();
        assert!(error.contains("LuaBalancerOutlier on"), "{error}");
    }

    #[test]
    fn parameters_that_mean_something_else_are_refused_with_the_line_to_write() {
        for (line, part) in [
            ("failonstatus=bad", "500,503"),
            ("failonstatus=700", "500,503"),
            ("failonstatus=", "500,503"),
            ("failontimeout=perhaps", "On or Off"),
            ("lbmethod=bytraffic", "LuaBalancerMethod least_connections"),
            ("lbmethod=fast", "byrequests or bybusyness"),
            ("nofailover=On", "stickysession="),
            ("nofailover=perhaps", "On or Off"),
            ("stickysession=A|", "COOKIE|parameter"),
            ("stickysession=|a", "COOKIE|parameter"),
            ("stickysession=A;b", "COOKIE|parameter"),
            ("stickysessionsep=!", "'.' or Off"),
            ("maxattempts=many", "whole number"),
            ("timeout=5", "queue="),
            ("retry=2", "retries="),
            ("growth=3", "LuaBalancerMaxMembers"),
            ("nonce=None", "nothing to write"),
            ("connectiontimeout=5", "LuaBalancerMember"),
            ("hcmethod=GET", "LuaBalancerMember"),
            ("bogus=1", "retries"),
        ] {
            let error = set(line).expect_err(line);
            assert!(error.contains(part) && error.contains("expected"), "{line}: {error}");
        }
    }
}
