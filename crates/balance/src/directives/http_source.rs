// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerDiscovery http:…` and its keys.

use super::values;
use crate::error::ParseError;
use crate::settings::HttpPlace;

/// Its keys.
pub const KEYS: &[&str] = &["every", "timeout", "bearer_file", "ca"];
/// Its form.
const EXPECTED: &str =
    "http:URL, for example http:https://cmdb.example/app.json, without a user, blanks and fragment";
/// Most bytes of a URL.
const MOST: usize = 2048;

/// Reads the text behind `http:`.
pub(super) fn read(word: &str, url: &str) -> Result<HttpPlace, ParseError> {
    if is_url(url) {
        return Ok(HttpPlace::of(url.to_owned()));
    }
    // A password does not belong into the log either.
    let found = if url.contains('@') { "http:…@…" } else { word };
    Err(ParseError::word(found, EXPECTED))
}

/// Whether it is an `http://` or `https://` URL that can be asked for.
pub(super) fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?']).next());
    let is_good = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '#' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
    };
    let is_host = |host: &str| !host.is_empty() && !host.starts_with(':') && !host.contains('@');
    authority.is_some_and(is_host) && url.len() <= MOST && url.chars().all(is_good)
}

/// Takes a key, if it is one of these.
pub(super) fn set(to: &mut HttpPlace, key: &str, value: &str) -> Result<bool, ParseError> {
    match key {
        "every" => to.every_ms = between(key, value, (1000, 86_400_000), "1s to 24h, as 30s")?,
        "timeout" => to.timeout_ms = between(key, value, (100, 60_000), "100ms to 60s, as 10s")?,
        "bearer_file" => to.bearer_file = Some(values::line(key, value)?),
        "ca" => to.ca = Some(values::line(key, value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// A duration in milliseconds within bounds.
pub(super) fn between(
    key: &str,
    value: &str,
    (least, most): (u64, u64),
    range: &str,
) -> Result<u64, ParseError> {
    let ms = values::duration(key, value)?;
    let is_in = (least..=most).contains(&ms);
    if is_in { Ok(ms) } else { Err(ParseError::value(key, value, format!("a duration from {range}"))) }
}

/// Looks whether all keys fit together.
pub(super) fn check(of: &HttpPlace) -> Result<(), ParseError> {
    match &of.ca {
        Some(ca) if !of.url.starts_with("https://") => {
            Err(ParseError::value("ca", ca, "a URL that begins with https://"))
        }
        _ => Ok(()),
    }
}

/// The keys that are not at their defaults, as they are written.
pub(super) fn written(of: &HttpPlace) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    let default = HttpPlace::of(String::new());
    for (key, ms, usual_ms) in
        [("every", of.every_ms, default.every_ms), ("timeout", of.timeout_ms, default.timeout_ms)]
    {
        keys.extend((ms != usual_ms).then(|| (key, values::ms(&ms))));
    }
    for (key, file) in [("bearer_file", &of.bearer_file), ("ca", &of.ca)] {
        keys.extend(file.clone().map(|file| (key, file)));
    }
    keys
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{PoolSettings, SourcePlace};
    use crate::words;

    #[test]
    fn wrong_urls_and_keys_are_named() {
        for (line, says) in [
            ("http:cmdb/app.json", "found http:cmdb/app.json: expected http:URL, for example http:https://"),
            ("http://cmdb/a.json", "found http://cmdb/a.json: expected http:http://cmdb/a.json, for a web"),
            ("https://cmdb/", "found https://cmdb/: expected http:https://cmdb/, for a web server's list"),
            ("https://user:x@cmdb/", "found http:…@…: expected http:URL"),
            ("http:ftp://cmdb/", "expected http:URL"),
            ("http:http:http://cmdb/", "expected http:URL"),
            ("http:https://", "expected http:URL"),
            ("http:https://user:x@cmdb/", "found http:…@…: expected http:URL"),
            ("http:http://cmdb/#x", "expected http:URL"),
            ("http:http://cmdb/ every=100ms", "every=100ms: expected a duration from 1s to 24h"),
            ("http:http://cmdb/ timeout=5m", "timeout=5m: expected a duration from 100ms to 60s"),
            ("http:http://cmdb/ ca=/etc/ca.pem", "ca=/etc/ca.pem: expected a URL that begins with https://"),
            ("http:http://cmdb/ ever=30s", "unknown key ever: did you mean every"),
            ("http:http://cmdb/ max_ttl=30s", "unknown key max_ttl"),
            ("dns:cmdb:80 every=30s", "unknown key every"),
            ("file:/a every=30s", "unknown key every"),
        ] {
            let words = words::split(line).expect(line);
            let said = PoolSettings::default().set_directive("LuaBalancerDiscovery", &words);
            let said = said.expect_err(says).to_string();
            assert!(said.contains(says), "{said:?} should say {says:?}");
        }
    }

    prop_compose! {
        pub(in crate::directives) fn any_place()(
            url in "https://[a-z]{1,8}(:[1-9][0-9]{0,3})?/[a-zA-Z0-9/.?=&_~%-]{0,8}",
            every_ms in 1000u64..86_400_000, timeout_ms in 100u64..60_000,
            bearer_file in proptest::option::of("[!-~][ -~é]{0,12}"),
            ca in proptest::option::of("[!-~][ -~é]{0,12}"),
        ) -> SourcePlace {
            SourcePlace::Http(HttpPlace { url, every_ms, timeout_ms, bearer_file, ca })
        }
    }
}
