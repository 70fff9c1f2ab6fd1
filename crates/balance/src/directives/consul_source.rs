// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerDiscovery consul:…` and its keys.

use super::http_source::{between, is_url};
use super::values;
use crate::error::ParseError;
use crate::settings::ConsulPlace;

/// Its keys.
pub const KEYS: &[&str] = &["tag", "passing", "dc", "every", "timeout", "token_file", "ca"];
/// Its form.
const EXPECTED: &str = "consul:URL/SERVICE, for example consul:http://127.0.0.1:8500/app, without a user";
/// Most bytes of a tag, and of a datacenter's name.
const MOST: usize = 128;

/// Reads the text behind `consul:`.
pub(super) fn read(word: &str, url: &str) -> Result<ConsulPlace, ParseError> {
    let of = ConsulPlace::of(url.to_owned());
    let (agent, service) = of.parts();
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    if is_url(agent) && !agent.contains('?') && !service.is_empty() && service.bytes().all(is_good) {
        return Ok(of);
    }
    // A password does not belong into the log either.
    let found = if url.contains('@') { "consul:…@…" } else { word };
    Err(ParseError::word(found, EXPECTED))
}

/// Takes a key, if it is one of these.
pub(super) fn set(to: &mut ConsulPlace, key: &str, value: &str) -> Result<bool, ParseError> {
    match key {
        "tag" => to.tag = Some(values::word(key, value, MOST)?),
        "passing" => to.passing = values::switch(key, value)?,
        "dc" => to.dc = Some(values::word(key, value, MOST)?),
        "every" => to.every_ms = between(key, value, (1000, 600_000), "1s to 10m, as 30s")?,
        "timeout" => to.timeout_ms = between(key, value, (100, 60_000), "100ms to 60s, as 5s")?,
        "token_file" => to.token_file = Some(values::line(key, value)?),
        "ca" => to.ca = Some(values::line(key, value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Looks whether all keys fit together.
pub(super) fn check(of: &ConsulPlace) -> Result<(), ParseError> {
    match &of.ca {
        Some(ca) if !of.url.starts_with("https://") => {
            Err(ParseError::value("ca", ca, "a URL that begins with https://"))
        }
        _ => Ok(()),
    }
}

/// The keys that are not at their defaults, as they are written.
pub(super) fn written(of: &ConsulPlace) -> Vec<(&'static str, String)> {
    let default = ConsulPlace::of(String::new());
    let mut keys = Vec::new();
    keys.extend(of.tag.clone().map(|tag| ("tag", tag)));
    keys.extend((!of.passing).then(|| ("passing", "off".to_owned())));
    keys.extend(of.dc.clone().map(|dc| ("dc", dc)));
    keys.extend((of.every_ms != default.every_ms).then(|| ("every", values::ms(&of.every_ms))));
    keys.extend((of.timeout_ms != default.timeout_ms).then(|| ("timeout", values::ms(&of.timeout_ms))));
    keys.extend(of.token_file.clone().map(|file| ("token_file", file)));
    keys.extend(of.ca.clone().map(|file| ("ca", file)));
    keys
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{PoolSettings, SourcePlace};
    use crate::words;

    #[test]
    fn a_service_of_consul_has_an_agent_and_a_name() {
        let words = words::split("consul:http://[::1]:8500/my-app tag=v1 passing=off").expect("words");
        let mut settings = PoolSettings::default();
        settings.set_directive("LuaBalancerDiscovery", &words).expect("a source");
        let SourcePlace::Consul(of) = &settings.discovery[0].source else { panic!("{settings:?}") };
        assert_eq!((of.parts(), of.passing), (("http://[::1]:8500", "my-app"), false));
        assert_eq!(settings.discovery[0].name, "consul-1");
    }

    #[test]
    fn wrong_places_and_keys_of_consul_are_named() {
        for (line, says) in [
            ("consul:app", "found consul:app: expected consul:URL/SERVICE, for example consul:http://"),
            ("consul:http://c:8500", "expected consul:URL/SERVICE"),
            ("consul:http://c:8500/", "expected consul:URL/SERVICE"),
            ("consul:http://c:8500/a?b", "expected consul:URL/SERVICE"),
            ("consul:http://u:secret@c:8500/a", "found consul:…@…: expected consul:URL/SERVICE"),
            ("consul:http://c/a every=100ms", "every=100ms: expected a duration from 1s to 10m"),
            ("consul:http://c/a passing=maybe", "passing=maybe: expected on or off"),
            ("consul:http://c/a ca=/x", "ca=/x: expected a URL that begins with https://"),
            ("consul:http://c/a bearer_file=/x", "unknown key bearer_file"),
        ] {
            let words = words::split(line).expect(line);
            let said = PoolSettings::default().set_directive("LuaBalancerDiscovery", &words);
            let said = said.expect_err(says).to_string();
            assert!(said.contains(says) && !said.contains("secret"), "{said:?} should say {says:?}");
        }
    }

    prop_compose! {
        pub(in crate::directives) fn any_place()(
            url in "https://[a-z]{1,8}(:[1-9][0-9]{0,3})?/[a-zA-Z0-9._~-]{1,8}",
            tag in proptest::option::of("[a-z0-9]{1,8}"), passing: bool,
            dc in proptest::option::of("[a-z0-9]{1,8}"),
            every_ms in 1000u64..600_000, timeout_ms in 100u64..60_000,
            token_file in proptest::option::of("[!-~][ -~é]{0,12}"),
            ca in proptest::option::of("[!-~][ -~é]{0,12}"),
        ) -> SourcePlace {
            SourcePlace::Consul(ConsulPlace { url, tag, passing, dc, every_ms, timeout_ms, token_file, ca })
        }
    }
}
