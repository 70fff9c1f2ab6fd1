// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerDiscovery kubernetes:…` and its keys.

use super::http_source::{between, is_url};
use super::values;
use crate::error::ParseError;
use crate::settings::KubernetesPlace;

/// Its keys.
pub const KEYS: &[&str] = &["server", "every", "timeout", "token_file", "ca"];
/// Its form.
const EXPECTED: &str = "kubernetes:NAMESPACE/SERVICE:PORT, for example kubernetes:default/app:http, with the \
                        name of a port of the service, or its number in the pods";

/// Reads the text behind `kubernetes:`.
pub(super) fn read(word: &str, place: &str) -> Result<KubernetesPlace, ParseError> {
    let of = KubernetesPlace::of(place.to_owned());
    let (namespace, service, port) = of.parts();
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = if is_number { port.parse::<u16>().is_ok_and(|port| port > 0) } else { is_label(port) };
    if is_label(namespace) && is_label(service) && is_port {
        return Ok(of);
    }
    Err(ParseError::word(word, EXPECTED))
}

/// Names as Kubernetes has them.
fn is_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

/// Takes a key, if it is one of these.
pub(super) fn set(to: &mut KubernetesPlace, key: &str, value: &str) -> Result<bool, ParseError> {
    match key {
        "server" if is_url(value) && !value.contains('?') => to.server = Some(value.to_owned()),
        "server" => {
            let found = if value.contains('@') { "…@…" } else { value };
            return Err(ParseError::value(
                key,
                found,
                "a URL such as https://192.0.2.1:6443, without a user",
            ));
        }
        "every" => to.every_ms = between(key, value, (1000, 600_000), "1s to 10m, as 60s")?,
        "timeout" => to.timeout_ms = between(key, value, (100, 60_000), "100ms to 60s, as 10s")?,
        "token_file" => to.token_file = Some(values::line(key, value)?),
        "ca" => to.ca = Some(values::line(key, value)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Looks whether all keys fit together.
pub(super) fn check(of: &KubernetesPlace) -> Result<(), ParseError> {
    let is_plain = of.server.as_ref().is_some_and(|server| !server.starts_with("https://"));
    match &of.ca {
        Some(ca) if is_plain => Err(ParseError::value("ca", ca, "a server= that begins with https://")),
        _ => Ok(()),
    }
}

/// The keys that are not at their defaults, as they are written.
pub(super) fn written(of: &KubernetesPlace) -> Vec<(&'static str, String)> {
    let default = KubernetesPlace::of(String::new());
    let mut keys = Vec::new();
    keys.extend(of.server.clone().map(|server| ("server", server)));
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
    fn a_service_of_kubernetes_has_a_namespace_and_a_port() {
        for (port, place) in
            [("http", "kubernetes:default/my-app:http"), ("8080", "kubernetes:default/my-app:8080")]
        {
            let mut settings = PoolSettings::default();
            let words = [place.to_owned()];
            settings.set_directive("LuaBalancerDiscovery", &words).expect("a source");
            let SourcePlace::Kubernetes(of) = &settings.discovery[0].source else { panic!("{settings:?}") };
            assert_eq!(of.parts(), ("default", "my-app", port));
            assert_eq!(settings.discovery[0].name, "kubernetes-1");
        }
    }

    #[test]
    fn wrong_places_and_keys_of_kubernetes_are_named() {
        for (line, says) in [
            ("kubernetes:app", "found kubernetes:app: expected kubernetes:NAMESPACE/SERVICE:PORT, for"),
            ("kubernetes:default/app", "expected kubernetes:NAMESPACE/SERVICE:PORT"),
            ("kubernetes:default/app:", "expected kubernetes:NAMESPACE/SERVICE:PORT"),
            ("kubernetes:default/app:0", "expected kubernetes:NAMESPACE/SERVICE:PORT"),
            ("kubernetes:default/app:65536", "expected kubernetes:NAMESPACE/SERVICE:PORT"),
            ("kubernetes:Default/app:http", "expected kubernetes:NAMESPACE/SERVICE:PORT"),
            ("kubernetes:a/b/c:http", "expected kubernetes:NAMESPACE/SERVICE:PORT"),
            ("kubernetes:a/b:80 server=api", "server=api: expected a URL such as https://192.0.2.1:6443"),
            ("kubernetes:a/b:80 server=https://u:secret@api", "server=…@…: expected a URL such as"),
            ("kubernetes:a/b:80 server=http://api ca=/x", "ca=/x: expected a server= that begins with"),
            ("kubernetes:a/b:80 every=100ms", "every=100ms: expected a duration from 1s to 10m"),
            ("kubernetes:a/b:80 tag=x", "unknown key tag"),
        ] {
            let words = words::split(line).expect(line);
            let said = PoolSettings::default().set_directive("LuaBalancerDiscovery", &words);
            let said = said.expect_err(says).to_string();
            assert!(said.contains(says) && !said.contains("secret"), "{said:?} should say {says:?}");
        }
    }

    prop_compose! {
        pub(in crate::directives) fn any_place()(
            place in "[a-z]{1,8}/[a-z][a-z0-9]{0,8}:([a-z]{1,8}|[1-9][0-9]{0,3})",
            server in proptest::option::of("https://[a-z]{1,8}(:[1-9][0-9]{0,3})?"),
            every_ms in 1000u64..600_000, timeout_ms in 100u64..60_000,
            token_file in proptest::option::of("[!-~][ -~é]{0,12}"),
            ca in proptest::option::of("[!-~][ -~é]{0,12}"),
        ) -> SourcePlace {
            SourcePlace::Kubernetes(KubernetesPlace { place, server, every_ms, timeout_ms, token_file, ca })
        }
    }
}
