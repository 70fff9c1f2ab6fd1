// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerHealthCheck`.

use super::values::{self, Line};
use crate::error::{ParseError, unknown};
use crate::settings::{CheckKind, HealthCheck};
use crate::units::digits_only;

/// The directive's name.
pub(super) const DIRECTIVE: &str = "LuaBalancerHealthCheck";
const TYPES: [&str; 6] = ["none", "tcp", "http", "https", "agent", "lua"];
/// Keys of every check.
pub const COMMON: &[&str] = &["interval", "timeout", "rise", "fall", "initial", "jitter", "port"];
/// Keys of checks by http and https.
pub const HTTP: &[&str] = &["uri", "method", "host", "header", "expect", "body", "not_body", "follow"];
/// Further keys of checks by https.
pub const HTTPS: &[&str] = &["verify", "sni", "ca"];
/// Keys of checks in Lua.
pub const LUA: &[&str] = &["script", "function"];
const FUNCTION: &str = "check";

impl HealthCheck {
    /// A check of this kind with every default.
    pub fn new(kind: CheckKind) -> Self {
        HealthCheck {
            kind,
            interval_ms: 5000,
            timeout_ms: 2000,
            rise: 2,
            fall: 3,
            initial_up: true,
            jitter_percent: 10,
            port: None,
            uri: "/".into(),
            method: "GET".into(),
            host: None,
            headers: Vec::new(),
            expect: vec![(200, 399)],
            body: None,
            not_body: None,
            follow: false,
            verify: true,
            sni: None,
            ca: None,
            script: None,
        }
    }
}

impl CheckKind {
    /// Its name in the configuration and in scripts.
    pub fn name(self) -> &'static str {
        match self {
            CheckKind::Tcp => "tcp",
            CheckKind::Http => "http",
            CheckKind::Https => "https",
            CheckKind::Agent => "agent",
            CheckKind::Lua => "lua",
        }
    }
}

/// The check of a type, None for `none`.
pub(super) fn of_type(name: &str) -> Result<Option<HealthCheck>, ParseError> {
    let kind = match name {
        "none" => return Ok(None),
        "tcp" => CheckKind::Tcp,
        "http" => CheckKind::Http,
        "https" => CheckKind::Https,
        "agent" => CheckKind::Agent,
        "lua" => CheckKind::Lua,
        _ => return Err(ParseError::word(name, unknown("a type of check", name, &TYPES))),
    };
    Ok(Some(HealthCheck::new(kind)))
}

pub(super) fn read(words: &[String]) -> Result<Option<HealthCheck>, ParseError> {
    let missing = || ParseError::Missing(format!("a type of check: one of {}", TYPES.join(", ")));
    let (name, keys) = words.split_first().ok_or_else(missing)?;
    let Some(mut to) = of_type(name)? else {
        return match keys.first() {
            Some(word) => Err(ParseError::word(word, "nothing after none")),
            None => Ok(None),
        };
    };
    let mut seen = Vec::new();
    for word in keys {
        let (key, value) = values::pair(word)?;
        if key != "header" {
            values::once(&mut seen, key)?;
        }
        set(&mut to, key, value)?;
    }
    check(&to)?;
    Ok(Some(to))
}

/// Finds the faults that no single key shows.
pub(super) fn check(of: &HealthCheck) -> Result<(), ParseError> {
    if of.kind == CheckKind::Lua && of.script.as_ref().is_none_or(|(script, _)| script.is_empty()) {
        return Err(ParseError::Missing("script= for a lua check, for example script=lua/check.lua".into()));
    }
    Ok(())
}

pub(super) fn set(to: &mut HealthCheck, key: &str, value: &str) -> Result<(), ParseError> {
    let mut known = COMMON.to_vec();
    match to.kind {
        CheckKind::Tcp | CheckKind::Agent => {}
        CheckKind::Http => known.extend(HTTP),
        CheckKind::Https => known.extend(HTTP.iter().chain(HTTPS)),
        CheckKind::Lua => known.extend(LUA),
    }
    if !known.contains(&key) {
        return Err(if COMMON.iter().chain(HTTP).chain(HTTPS).chain(LUA).any(|other| *other == key) {
            let kind = to.kind.name();
            ParseError::word(&format!("{key}="), format!("for {kind} checks only {}", known.join(", ")))
        } else {
            ParseError::unknown_key(key, &known)
        });
    }
    match key {
        "interval" => to.interval_ms = values::some_duration(key, value)?,
        "timeout" => to.timeout_ms = values::some_duration(key, value)?,
        "rise" => to.rise = values::number(key, value, 1, 1000)?,
        "fall" => to.fall = values::number(key, value, 1, 1000)?,
        "initial" => {
            to.initial_up = match value.to_ascii_lowercase().as_str() {
                "up" => true,
                "down" => false,
                _ => return Err(ParseError::value(key, value, "up or down")),
            }
        }
        "jitter" => to.jitter_percent = values::percent(key, value)?,
        "port" => to.port = Some(values::number(key, value, 1, 65_535)?),
        "uri" => to.uri = uri(key, value)?,
        "method" => to.method = values::token(key, value)?,
        "host" => to.host = Some(values::word(key, value, 255)?),
        "header" => to.headers.push(header(key, value)?),
        "expect" => to.expect = expect(key, value)?,
        "body" => to.body = Some(pattern(key, value)?),
        "not_body" => to.not_body = Some(pattern(key, value)?),
        "follow" => to.follow = values::switch(key, value)?,
        "verify" => to.verify = values::switch(key, value)?,
        "sni" => to.sni = Some(values::word(key, value, 255)?),
        "ca" => to.ca = Some(values::line(key, value)?),
        "script" => {
            let script = values::line(key, value)?;
            let function = to.script.take().map_or_else(|| FUNCTION.to_owned(), |(_, function)| function);
            to.script = Some((script, function));
        }
        _ => {
            let function = values::function(key, value)?;
            let script = to.script.take().map_or_else(String::new, |(script, _)| script);
            to.script = Some((script, function));
        }
    }
    Ok(())
}

fn pattern(key: &str, value: &str) -> Result<String, ParseError> {
    let text = values::line(key, value)?;
    regex::Regex::new(&text).map_err(|error| {
        let why = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
        ParseError::value(key, value, format!("a regular expression ({why}), for example ^ok"))
    })?;
    Ok(text)
}

fn uri(key: &str, value: &str) -> Result<String, ParseError> {
    let good = |c: char| !(c.is_control() || c.is_whitespace() || c == '#');
    // As OPTIONS asks.
    if value == "*" {
        return Ok(value.to_owned());
    }
    if !value.starts_with('/') || !value.chars().all(good) {
        return Err(ParseError::value(key, value, "a path without blanks, for example /health"));
    }
    Ok(value.to_owned())
}

fn header(key: &str, value: &str) -> Result<(String, String), ParseError> {
    let wrong = || ParseError::value(key, value, "\"Name: value\" without control characters");
    let (name, text) = value.split_once(':').ok_or_else(wrong)?;
    let name = values::token(key, name).map_err(|_| wrong())?;
    if text.chars().any(char::is_control) {
        return Err(wrong());
    }
    if name.eq_ignore_ascii_case("host") {
        return Err(ParseError::value(key, value, "no Host header: host= sets it"));
    }
    Ok((name, text.trim().to_owned()))
}

fn expect(key: &str, value: &str) -> Result<Vec<(u16, u16)>, ParseError> {
    let wrong =
        || ParseError::value(key, value, "status codes and ranges from 100 to 599, for example 200-399,404");
    let code = |text: &str| {
        let code = digits_only(text.trim()).and_then(|code| u16::try_from(code).ok());
        code.filter(|code| (100..=599).contains(code)).ok_or_else(wrong)
    };
    value
        .split(',')
        .map(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let range = (code(from)?, code(to)?);
            if range.0 <= range.1 { Ok(range) } else { Err(wrong()) }
        })
        .collect()
}

/// The directive's line that says a check.
pub(crate) fn write(of: &HealthCheck) -> String {
    let default = HealthCheck::new(of.kind);
    let mut line = Line::new(DIRECTIVE).word(of.kind.name());
    line.unless(&default.interval_ms, "interval", &of.interval_ms, values::ms);
    line.unless(&default.timeout_ms, "timeout", &of.timeout_ms, values::ms);
    line.unless(&default.rise, "rise", &of.rise, u32::to_string);
    line.unless(&default.fall, "fall", &of.fall, u32::to_string);
    line.unless(&default.initial_up, "initial", &of.initial_up, |up| if *up { "up" } else { "down" }.into());
    line.unless(&default.jitter_percent, "jitter", &of.jitter_percent, u8::to_string);
    line.option("port", of.port.map(|port| port.to_string()).as_deref());
    line.unless(&default.uri, "uri", &of.uri, String::clone);
    line.unless(&default.method, "method", &of.method, String::clone);
    line.option("host", of.host.as_deref());
    for (name, value) in &of.headers {
        line.pair("header", &format!("{name}: {value}"));
    }
    line.unless(&default.expect, "expect", &of.expect, |ranges| {
        let range = |(from, to): &(u16, u16)| {
            if from == to { from.to_string() } else { format!("{from}-{to}") }
        };
        ranges.iter().map(range).collect::<Vec<_>>().join(",")
    });
    line.option("body", of.body.as_deref());
    line.option("not_body", of.not_body.as_deref());
    line.unless(&default.follow, "follow", &of.follow, values::on_off);
    line.unless(&default.verify, "verify", &of.verify, values::on_off);
    line.option("sni", of.sni.as_deref());
    line.option("ca", of.ca.as_deref());
    if let Some((script, function)) = &of.script {
        line.pair("script", script);
        if function != FUNCTION {
            line.pair("function", function);
        }
    }
    line.done()
}
