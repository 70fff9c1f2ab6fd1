// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerDiscovery etcd:…` and its keys.

use super::values;
use crate::error::ParseError;
use crate::settings::EtcdPlace;

/// Its keys.
pub const KEYS: &[&str] = &["user", "password_file", "ca", "cert", "key", "timeout"];
/// Its form.
const EXPECTED: &str = "etcd: with the endpoints and a prefix of keys, for example \
                        etcd:http://10.0.0.1:2379,http://10.0.0.2:2379/lb/app";
/// The form of a place in the store that servers share, besides.
const IN_STORE: &str = "no key of etcd: alone, since it is below LuaBalancerStore, which has them";
/// Most bytes of it, and most endpoints.
const MOST: (usize, usize) = (2048, 16);

/// Reads the text behind `etcd:`: a place of its own, or one in the store that servers share.
pub(super) fn read(word: &str, place: &str) -> Result<EtcdPlace, ParseError> {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_graphic() && c != ':');
    match place.strip_prefix('/') {
        Some(rest) if place.len() <= MOST.0 && rest.split('/').all(is_part) => {
            Ok(EtcdPlace::of(place.to_owned()))
        }
        _ => read_own(word, place),
    }
}

fn read_own(word: &str, place: &str) -> Result<EtcdPlace, ParseError> {
    let of = EtcdPlace::of(place.to_owned());
    let is_good = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '@');
    let is_place = place.len() <= MOST.0
        && place.chars().all(is_good)
        && !place.ends_with('/')
        && !of.prefix().is_empty()
        && of.endpoints().len() <= MOST.1
        && of.endpoints().into_iter().all(is_endpoint);
    // A password does not belong into the log either.
    let found = if place.contains('@') { "etcd:…@…" } else { word };
    if is_place { Ok(of) } else { Err(ParseError::word(found, EXPECTED)) }
}

impl EtcdPlace {
    /// `etcd:URL,…/PREFIX` and its keys.
    ///
    /// # Errors
    /// A word is wrong.
    pub fn parse(words: &[String]) -> Result<Self, ParseError> {
        let (word, keys) = words.split_first().ok_or_else(|| ParseError::Missing(EXPECTED.to_owned()))?;
        let place = word.strip_prefix("etcd:").ok_or_else(|| ParseError::word(word, EXPECTED))?;
        let mut of = read_own(word, place)?;
        let mut seen = Vec::new();
        for word in keys {
            let (key, value) = values::pair(word)?;
            values::once(&mut seen, key)?;
            if !set(&mut of, key, value)? {
                return Err(ParseError::unknown_key(key, KEYS));
            }
        }
        check(&of)?;
        Ok(of)
    }
}

/// A scheme, a host and a port.
fn is_endpoint(endpoint: &str) -> bool {
    let rest = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    let Some((host, port)) = rest.and_then(|rest| rest.rsplit_once(':')) else { return false };
    let is_bare = |c: char| !matches!(c, '/' | '?' | '#' | '[' | ']' | '%');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains(':') && host.chars().all(is_bare),
    };
    is_host
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Takes a key, if it is one of these.
pub(super) fn set(to: &mut EtcdPlace, key: &str, value: &str) -> Result<bool, ParseError> {
    let file = || values::line(key, value).map(Some);
    match key {
        "user" => to.user = file()?,
        "password_file" => to.password_file = file()?,
        "ca" => to.ca = file()?,
        "cert" => to.cert = file()?,
        "key" => to.key = file()?,
        "timeout" => {
            to.timeout_ms = match values::duration(key, value)? {
                ms @ 100..=60_000 => ms,
                _ => return Err(ParseError::value(key, value, "a duration from 100ms to 60s, as 2s")),
            };
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Looks whether all keys fit together.
pub(super) fn check(of: &EtcdPlace) -> Result<(), ParseError> {
    let pairs = [("user", &of.user, "password_file", &of.password_file), ("cert", &of.cert, "key", &of.key)];
    for (one, of_one, other, of_other) in pairs {
        let (key, value, missing) = match (of_one, of_other) {
            (Some(value), None) => (one, value, other),
            (None, Some(value)) => (other, value, one),
            _ => continue,
        };
        return Err(ParseError::value(key, value, format!("{missing}= beside it")));
    }
    if of.is_in_store() {
        return match written(of).into_iter().next() {
            Some((key, value)) => Err(ParseError::value(key, &value, IN_STORE)),
            None => Ok(()),
        };
    }
    let is_tls = of.endpoints().iter().any(|endpoint| endpoint.starts_with("https://"));
    for (key, value) in [("ca", &of.ca), ("cert", &of.cert)] {
        if let Some(value) = value.as_ref().filter(|_| !is_tls) {
            return Err(ParseError::value(key, value, "an endpoint that begins with https://"));
        }
    }
    Ok(())
}

/// The keys that are not at their defaults, as they are written.
pub(super) fn written(of: &EtcdPlace) -> Vec<(&'static str, String)> {
    let texts = [
        ("user", &of.user),
        ("password_file", &of.password_file),
        ("ca", &of.ca),
        ("cert", &of.cert),
        ("key", &of.key),
    ];
    let mut keys: Vec<_> = texts.into_iter().filter_map(|(key, text)| Some((key, text.clone()?))).collect();
    let usual_ms = EtcdPlace::of(String::new()).timeout_ms;
    keys.extend((of.timeout_ms != usual_ms).then(|| ("timeout", values::ms(&of.timeout_ms))));
    keys
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{PoolSettings, SourcePlace};
    use crate::words;

    #[test]
    fn wrong_places_and_keys_are_named() {
        for (line, says) in [
            (
                "etcd:",
                "found etcd:: expected etcd: with the endpoints and a prefix of keys, for example etcd:http",
            ),
            ("etcd:cmdb", "expected etcd: with the endpoints"),
            ("etcd:http://a:2379", "expected etcd: with the endpoints and a prefix"),
            ("etcd:http://a:2379/", "expected etcd: with the endpoints and a prefix"),
            ("etcd:http://a:2379/app/", "expected etcd: with the endpoints and a prefix"),
            ("etcd:http://a/app", "expected etcd: with the endpoints"),
            ("etcd:http://a:70000/app", "expected etcd: with the endpoints"),
            ("etcd:http://a:2379/x,http://b:2379/app", "expected etcd: with the endpoints"),
            ("etcd:http://a:2379,b:2379/app", "expected etcd: with the endpoints"),
            ("etcd:ftp://a:2379/app", "expected etcd: with the endpoints"),
            ("etcd:http://lb:secret@a:2379/app", "found etcd:…@…: expected etcd:"),
            ("etcd:http://a:2379/app user=lb", "user=lb: expected password_file= beside it"),
            ("etcd:http://a:2379/app password_file=p", "password_file=p: expected user= beside it"),
            ("etcd:https://a:2379/app key=k", "key=k: expected cert= beside it"),
            ("etcd:http://a:2379/app ca=c", "ca=c: expected an endpoint that begins with https://"),
            ("etcd:http://a:2379/app timeout=10ms", "timeout=10ms: expected a duration from 100ms to 60s"),
            ("etcd:http://a:2379/app every=30s", "unknown key every"),
            ("etcd:/", "expected etcd: with the endpoints"),
            ("etcd:/pools//x", "expected etcd: with the endpoints"),
            (
                "etcd:/pools/app/members timeout=5s",
                "timeout=5s: expected no key of etcd: alone, since it is below",
            ),
        ] {
            let words = words::split(line).expect(line);
            let said = PoolSettings::default().set_directive("LuaBalancerDiscovery", &words);
            let said = said.expect_err(says).to_string();
            assert!(said.contains(says), "{said:?} should say {says:?}");
        }
    }

    prop_compose! {
        fn own_place()(
            place in "https://([a-z]{1,8}:[1-9][0-9]{0,3},http://){0,2}\\[::1\\]:2379(/[a-zA-Z0-9.,_~-]{1,8}){1,3}",
            user in proptest::option::of(("[!-~][ -~é]{0,12}", "[!-~][ -~é]{0,12}")),
            ca in proptest::option::of("[!-~][ -~é]{0,12}"),
            cert in proptest::option::of(("[!-~][ -~é]{0,12}", "[!-~][ -~é]{0,12}")),
            timeout_ms in 100u64..=60_000,
        ) -> SourcePlace {
            let ((user, password_file), (cert, key)) = (user.unzip(), cert.unzip());
            SourcePlace::Etcd(EtcdPlace { place, user, password_file, ca, cert, key, timeout_ms })
        }
    }

    pub(in crate::directives) fn any_place() -> impl Strategy<Value = SourcePlace> {
        let in_store = "(/[a-zA-Z0-9.,_~-]{1,8}){1,3}";
        prop_oneof![own_place(), in_store.prop_map(|place| SourcePlace::Etcd(EtcdPlace::of(place)))]
    }
}
