// SPDX-License-Identifier: Apache-2.0
//! Members as text: `LuaBalancerMember`'s own syntax, read and written.

mod connection;
mod values;

use crate::error::ParseError;
use crate::member::{ConnectionSettings, MemberSpec};
use crate::status::{MAX_LBSET, Status};
use crate::units::{self, Unit};
use crate::url::{MAX_MEMBER_NAME, MemberUrl};
use crate::words;

use self::values::{check_name, check_route, check_text, number};

pub use self::values::MAX_VALUE;

/// All keys of `LuaBalancerMember` but `meta.KEY`.
pub const MEMBER_KEYS: [&str; 32] = [
    "name",
    "weight",
    "zone",
    "max_inflight",
    "slow_start",
    "meta.KEY",
    "loadfactor",
    "route",
    "redirect",
    "lbset",
    "status",
    "retry",
    "max",
    "smax",
    "min",
    "ttl",
    "acquire",
    "timeout",
    "connectiontimeout",
    "ping",
    "keepalive",
    "disablereuse",
    "enablereuse",
    "flushpackets",
    "flushwait",
    "flusher",
    "iobuffersize",
    "receivebuffersize",
    "responsefieldsize",
    "secret",
    "upgrade",
    "addressttl",
];

const STATUS_LETTERS: [(char, u64); 7] = [
    ('D', Status::DISABLED),
    ('S', Status::STOPPED),
    ('I', Status::IGNORE_ERRORS),
    ('H', Status::STANDBY),
    ('R', Status::SPARE),
    ('N', Status::DRAINING),
    ('E', Status::FORCED_ERROR),
];

impl MemberSpec {
    /// A member with nothing but a URL.
    pub fn new(url: MemberUrl) -> Self {
        let name = url.default_name();
        MemberSpec {
            url,
            route: name.clone(),
            name,
            weight: 100,
            redirect: None,
            zone: None,
            lbset: 0,
            flags: 0,
            max_inflight: 0,
            slow_start_ms: None,
            first_ejection_ms: None,
            meta: Vec::new(),
            discovered: None,
            connection: ConnectionSettings::default(),
        }
    }

    /// From a URL and `key=value` words, as [`words::split`] makes them. Keys are found in any
    /// case. Fails on a wrong URL, an unknown key, a wrong value, and on a key that is there twice.
    pub fn parse(url: &str, keys: &[impl AsRef<str>]) -> Result<Self, ParseError> {
        MemberSpec::parse_beside(url, keys, |_| false)
    }

    /// As [`MemberSpec::parse`], for a pool whose members have the names that `taken` tells:
    /// without `name=`, a twin gets `-2` (`-3` …) behind its name.
    pub fn parse_beside(
        url: &str,
        keys: &[impl AsRef<str>],
        taken: impl Fn(&str) -> bool,
    ) -> Result<Self, ParseError> {
        let mut spec = MemberSpec::new(MemberUrl::parse(url)?);
        let mut seen: Vec<&str> = Vec::with_capacity(keys.len());
        let mut route = None;
        for word in keys {
            let word = word.as_ref();
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| ParseError::word(word, "key=value, for example weight=2"))?;
            if let Some(first) = seen.iter().find(|first| same_key(first, key)) {
                return Err(ParseError::Duplicate { first: (*first).to_owned(), second: key.to_owned() });
            }
            seen.push(key);
            if value.chars().any(char::is_control) {
                return Err(ParseError::value(key, value, "no control characters"));
            }
            if key.eq_ignore_ascii_case("route") {
                route = Some(check_route(key, value)?);
            } else {
                spec.set(key, value)?;
            }
        }
        if !seen.iter().any(|key| key.eq_ignore_ascii_case("name")) {
            spec.name = apart(spec.name, taken);
        }
        spec.route = route.unwrap_or_else(|| spec.name.clone());
        Ok(spec)
    }

    /// From one line, as [`MemberSpec::to_line`] writes it and as it stands behind the directive's
    /// name. `discovered=` is a word of kept lines alone.
    pub fn from_line(line: &str) -> Result<Self, ParseError> {
        let words = words::split(line)?;
        let Some((url, keys)) = words.split_first() else {
            return Err(ParseError::Missing("a URL, for example http://10.0.0.1:8080".into()));
        };
        let last = keys.split_last().and_then(|(last, rest)| Some((last.strip_prefix(DISCOVERED)?, rest)));
        let (source, keys) = last.map_or((None, keys), |(source, rest)| (Some(source), rest));
        Ok(MemberSpec { discovered: source.map(str::to_owned), ..MemberSpec::parse(url, keys)? })
    }

    /// The line that [`MemberSpec::from_line`] makes the same member of; keys at their default are
    /// left out.
    pub fn to_line(&self) -> String {
        let mut line = words::quote(&self.url.to_string());
        let mut put = |key: &str, value: &str| {
            line.push(' ');
            line.push_str(&words::pair(key, value));
        };
        if self.name != self.url.default_name() {
            put("name", &self.name);
        }
        if self.weight != 100 {
            put("weight", &units::write_weight(self.weight));
        }
        if self.route != self.name {
            put("route", &self.route);
        }
        for (key, value) in [("redirect", &self.redirect), ("zone", &self.zone)] {
            if let Some(value) = value {
                put(key, value);
            }
        }
        for (key, number) in [("lbset", u32::from(self.lbset)), ("max_inflight", self.max_inflight)] {
            if number != 0 {
                put(key, &number.to_string());
            }
        }
        if self.flags != 0 {
            put("status", &status_letters(self.flags));
        }
        for (key, value) in [("slow_start", self.slow_start_ms), ("retry", self.first_ejection_ms)] {
            if let Some(ms) = value {
                put(key, &units::write_ms(ms));
            }
        }
        for (key, value) in &self.meta {
            put(&format!("meta.{key}"), value);
        }
        connection::write(&self.connection, &mut put);
        if let Some(source) = &self.discovered {
            line.push(' ');
            line.push_str(DISCOVERED);
            line.push_str(source);
        }
        line
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ParseError> {
        if key.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("meta.")) {
            return self.set_meta(key, value);
        }
        let duration = |unit| {
            units::duration_ms_in(value, unit).map_err(|_| ParseError::value(key, value, EXPECT_DURATION))
        };
        match key.to_ascii_lowercase().as_str() {
            "name" => self.name = check_name(key, value)?,
            "weight" | "loadfactor" => {
                let weight = units::weight(value);
                self.weight =
                    weight.map_err(|_| ParseError::value(key, value, "0 to 65535, for example 3 or 1.5"))?;
            }
            "zone" => self.zone = Some(check_text(key, value)?),
            "redirect" => self.redirect = Some(check_route(key, value)?),
            "lbset" => self.lbset = number(key, value, 0, u64::from(MAX_LBSET))? as u8,
            "max_inflight" => self.max_inflight = number(key, value, 0, u64::from(u32::MAX))? as u32,
            "status" => self.flags = parse_status(key, value)?,
            "slow_start" => self.slow_start_ms = Some(duration(Unit::Seconds)?),
            "retry" => self.first_ejection_ms = Some(duration(Unit::Seconds)?),
            lower => {
                if !connection::set(&mut self.connection, lower, value)? {
                    return Err(ParseError::unknown_key(key, &MEMBER_KEYS));
                }
            }
        }
        Ok(())
    }

    fn set_meta(&mut self, key: &str, value: &str) -> Result<(), ParseError> {
        let name = &key[5..];
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        {
            return Err(ParseError::word(
                key,
                "meta.KEY of letters, digits, _ - and ., for example meta.version=2",
            ));
        }
        if value.len() > MAX_VALUE {
            return Err(ParseError::value(key, value, format!("at most {MAX_VALUE} bytes")));
        }
        self.meta.push((name.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// Names the source of a member that was found: the last word of lines that are kept.
const DISCOVERED: &str = "discovered=";

const EXPECT_DURATION: &str = "a duration such as 500ms, 5s or 2m";

/// Whether two keys say the same thing.
fn same_key(a: &str, b: &str) -> bool {
    const PAIRS: [[&str; 2]; 2] = [["weight", "loadfactor"], ["enablereuse", "disablereuse"]];
    let meta = |key: &str| key.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("meta."));
    if meta(a) && meta(b) {
        return a[5..] == b[5..];
    }
    let among = |pair: &[&str; 2], key: &str| pair.iter().any(|name| name.eq_ignore_ascii_case(key));
    a.eq_ignore_ascii_case(b) || PAIRS.iter().any(|pair| among(pair, a) && among(pair, b))
}

/// The name, or the first of `name-2`, `name-3` … that nobody has.
fn apart(name: String, taken: impl Fn(&str) -> bool) -> String {
    if !taken(&name) {
        return name;
    }
    let numbered = |number: u32| {
        let end = format!("-{number}");
        let room = MAX_MEMBER_NAME - end.len();
        // Default names are of ASCII.
        format!("{}{end}", name.get(..room).unwrap_or(&name))
    };
    (2..u32::MAX).map(numbered).find(|name| !taken(name)).unwrap_or(name)
}

/// Letters as mod_proxy takes them: a sign holds for all letters up to the next one.
fn parse_status(key: &str, value: &str) -> Result<u64, ParseError> {
    let wrong =
        || ParseError::value(key, value, "letters of D S I H R N E with + or -, for example status=+D");
    let (mut flags, mut on, mut letters) = (0, true, 0);
    for c in value.chars() {
        match c {
            '+' => on = true,
            '-' => on = false,
            letter => {
                let upper = letter.to_ascii_uppercase();
                let (_, flag) = STATUS_LETTERS.iter().find(|(known, _)| *known == upper).ok_or_else(wrong)?;
                flags = if on { flags | flag } else { flags & !flag };
                letters += 1;
            }
        }
    }
    if letters == 0 || value.ends_with(['+', '-']) { Err(wrong()) } else { Ok(flags) }
}

/// The letters of `status=` for these flags.
pub fn status_letters(flags: u64) -> String {
    STATUS_LETTERS.iter().filter(|(_, flag)| flags & flag != 0).map(|(letter, _)| *letter).collect()
}

#[cfg(test)]
mod tests;
