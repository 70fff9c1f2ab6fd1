// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerSticky`.

use super::values::{self, Line};
use crate::error::ParseError;
use crate::settings::Sticky;
use crate::url::MAX_HOST;

/// The directive's name.
pub(super) const DIRECTIVE: &str = "LuaBalancerSticky";
/// Its keys.
pub const KEYS: &[&str] =
    &["cookie", "param", "ttl", "path", "domain", "secure", "httponly", "samesite", "force"];

impl Default for Sticky {
    /// Everything but the cookie's name, which has to be given.
    fn default() -> Self {
        Sticky {
            cookie: String::new(),
            param: None,
            ttl_s: None,
            path: "/".into(),
            domain: None,
            secure: None,
            httponly: true,
            samesite: "Lax".into(),
            force: false,
        }
    }
}

pub(super) fn read(words: &[String]) -> Result<Sticky, ParseError> {
    let (mut to, mut seen) = (Sticky::default(), Vec::new());
    for word in words {
        let (key, value) = values::pair(word)?;
        values::once(&mut seen, key)?;
        set(&mut to, key, value)?;
    }
    check(&to)?;
    Ok(to)
}

/// Sets one key.
pub(crate) fn set(to: &mut Sticky, key: &str, value: &str) -> Result<(), ParseError> {
    match key {
        "cookie" => {
            if let Some((cookie, param)) = value.split_once('|') {
                let expected = format!(
                    "a cookie's name alone, and the parameter's beside it: cookie={cookie} param={param}"
                );
                return Err(ParseError::value(key, value, expected));
            }
            to.cookie = values::token(key, value)?;
        }
        "param" => {
            let name = values::word(key, value, 255)?;
            if name.contains([';', '&', '=', '?', '#', '/', ',']) {
                return Err(ParseError::value(key, value, "a parameter's name, for example jsessionid"));
            }
            to.param = Some(name);
        }
        "ttl" => {
            let ms = values::some_duration(key, value)?;
            if ms % 1000 != 0 {
                return Err(ParseError::value(key, value, "whole seconds, for example 1h"));
            }
            to.ttl_s = Some(ms / 1000);
        }
        "path" => {
            if !value.starts_with('/')
                || value.chars().any(|c| c.is_control() || c.is_whitespace() || c == ';')
            {
                return Err(ParseError::value(key, value, "a path without blanks and ;, for example /app"));
            }
            to.path = value.to_owned();
        }
        "domain" => {
            let host = value.strip_prefix('.').unwrap_or(value);
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            if host.is_empty() || host.starts_with('.') || value.len() > MAX_HOST || !host.bytes().all(fits) {
                return Err(ParseError::value(key, value, "a domain, for example example.org"));
            }
            to.domain = Some(host.to_owned());
        }
        "secure" if value.eq_ignore_ascii_case("auto") => to.secure = None,
        "secure" => {
            let wrong = |_| ParseError::value(key, value, "auto, on or off");
            to.secure = Some(values::switch(key, value).map_err(wrong)?);
        }
        "httponly" => to.httponly = values::switch(key, value)?,
        "samesite" => {
            let known = ["Lax", "Strict", "None"].into_iter().find(|name| name.eq_ignore_ascii_case(value));
            to.samesite =
                known.ok_or_else(|| ParseError::value(key, value, "Lax, Strict or None"))?.to_owned();
        }
        "force" => to.force = values::switch(key, value)?,
        _ => return Err(ParseError::unknown_key(key, KEYS)),
    }
    Ok(())
}

/// Finds the faults that no single key shows.
pub(super) fn check(of: &Sticky) -> Result<(), ParseError> {
    if of.cookie.is_empty() {
        return Err(ParseError::Missing("cookie=NAME, for example LuaBalancerSticky cookie=LB".into()));
    }
    if of.samesite == "None" && of.secure == Some(false) {
        let expected = "secure=auto or secure=on with it, since browsers drop such a cookie otherwise";
        return Err(ParseError::value("samesite", "None", expected));
    }
    Ok(())
}

pub(super) fn write(of: &Sticky) -> String {
    let default = Sticky::default();
    let mut line = Line::new(DIRECTIVE);
    line.pair("cookie", &of.cookie);
    line.option("param", of.param.as_deref());
    line.option("ttl", of.ttl_s.map(|ttl| format!("{ttl}s")).as_deref());
    line.unless(&default.path, "path", &of.path, String::clone);
    line.option("domain", of.domain.as_deref());
    line.option("secure", of.secure.map(|on| if on { "on" } else { "off" }));
    line.unless(&default.httponly, "httponly", &of.httponly, values::on_off);
    line.unless(&default.samesite, "samesite", &of.samesite, String::clone);
    line.unless(&default.force, "force", &of.force, values::on_off);
    line.done()
}
