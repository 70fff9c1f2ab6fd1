// SPDX-License-Identifier: Apache-2.0
//! `LuaBalancerDiscovery dns:…` and its keys.

use std::net::{IpAddr, SocketAddr};

use super::values;
use crate::error::ParseError;
use crate::settings::{DnsPlace, DnsRecords};

/// Its keys.
pub const KEYS: &[&str] = &["type", "resolver", "min_ttl", "max_ttl"];
/// Its forms.
const EXPECTED: &str = "a name and a port, as dns:app.internal:8080, or with type=srv the name of a \
                        service alone, as dns:_http._tcp.app.internal";
/// Port of DNS.
const PORT: u16 = 53;
const TYPES: [(&str, DnsRecords); 4] =
    [("any", DnsRecords::Any), ("a", DnsRecords::A), ("aaaa", DnsRecords::Aaaa), ("srv", DnsRecords::Srv)];

/// Reads the text behind `dns:`.
pub(super) fn read(word: &str, place: &str) -> Result<DnsPlace, ParseError> {
    let of = DnsPlace::of(place.to_owned());
    let has_port = place.contains(':');
    let is_good = is_host(of.name()) && (!has_port || of.port().is_some_and(|port| port > 0));
    if is_good { Ok(of) } else { Err(ParseError::word(word, EXPECTED)) }
}

/// Labels as hosts and services have them.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        (1..=63).contains(&label.len()) && label.bytes().all(good)
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    (1..=253).contains(&name.len()) && name.split('.').all(is_label) && name.parse::<IpAddr>().is_err()
}

/// Takes a key, if it is one of these.
pub(super) fn set(to: &mut DnsPlace, key: &str, value: &str) -> Result<bool, ParseError> {
    match key {
        "type" => {
            let known = TYPES.iter().find(|(word, _)| value.eq_ignore_ascii_case(word));
            let wrong = || ParseError::value(key, value, "a, aaaa, any or srv");
            to.records = known.map(|(_, records)| *records).ok_or_else(wrong)?;
        }
        "resolver" => {
            let server = value.parse::<SocketAddr>().ok();
            // Without brackets the end of an IPv6 address may be meant as the port.
            let six = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let bare = match six {
                Some(six) => six.parse().map(IpAddr::V6).ok(),
                None => value.parse().map(IpAddr::V4).ok(),
            };
            let server = server.or_else(|| bare.map(|ip| (ip, PORT).into()));
            let wrong = || ParseError::value(key, value, "an address, as 127.0.0.1, [::1] or [::1]:5353");
            to.resolver = Some(server.filter(|server| server.port() > 0).ok_or_else(wrong)?);
        }
        "min_ttl" => to.min_ttl_ms = at_least_100ms(key, value)?,
        "max_ttl" => to.max_ttl_ms = at_least_100ms(key, value)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn at_least_100ms(key: &str, value: &str) -> Result<u64, ParseError> {
    match values::duration(key, value)? {
        ms @ 100.. => Ok(ms),
        _ => Err(ParseError::value(key, value, "a duration of at least 100ms, for example 5s")),
    }
}

/// Looks whether all keys fit together.
pub(super) fn check(of: &DnsPlace) -> Result<(), ParseError> {
    let is_service = of.records == DnsRecords::Srv;
    if is_service == of.port().is_some() {
        return Err(ParseError::word(&format!("dns:{}", of.place), EXPECTED));
    }
    if of.min_ttl_ms > of.max_ttl_ms {
        let most = values::ms(&of.max_ttl_ms);
        let expected = format!("at most max_ttl=, which is {most}");
        return Err(ParseError::value("min_ttl", &values::ms(&of.min_ttl_ms), expected));
    }
    Ok(())
}

/// The keys that are not at their defaults, as they are written.
pub(super) fn written(of: &DnsPlace) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    let default = DnsPlace::of(String::new());
    let known = TYPES.iter().find(|(_, known)| *known == of.records);
    let known = known.filter(|_| of.records != default.records);
    keys.extend(known.map(|(word, _)| ("type", (*word).to_owned())));
    keys.extend(of.resolver.map(|server| ("resolver", server.to_string())));
    for (key, ms, usual_ms) in
        [("min_ttl", of.min_ttl_ms, default.min_ttl_ms), ("max_ttl", of.max_ttl_ms, default.max_ttl_ms)]
    {
        keys.extend((ms != usual_ms).then(|| (key, values::ms(&ms))));
    }
    keys
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::settings::{PoolSettings, SourcePlace};
    use crate::words;

    fn read_line(line: &str) -> Result<PoolSettings, String> {
        let mut settings = PoolSettings::default();
        let words = words::split(line).map_err(|error| error.to_string())?;
        let read = settings.set_directive("LuaBalancerDiscovery", &words);
        read.map(|()| settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_of_dns_has_a_port_unless_it_is_a_service() {
        let settings =
            read_line("dns:app.internal:8080 type=AAAA resolver=[::1] max_ttl=30s").expect("a source");
        let one = &settings.discovery[0];
        let SourcePlace::Dns(of) = &one.source else { panic!("{one:?}") };
        assert_eq!((of.name(), of.port(), of.records), ("app.internal", Some(8080), DnsRecords::Aaaa));
        assert_eq!(of.resolver.map(|server| server.to_string()).as_deref(), Some("[::1]:53"));
        assert_eq!((one.name.as_str(), one.absent, of.max_ttl_ms), ("dns-1", 2, 30_000));
        let settings =
            read_line("dns:_http._tcp.app.internal. type=srv resolver=[::1]:5353").expect("a source");
        let SourcePlace::Dns(of) = &settings.discovery[0].source else { panic!("{settings:?}") };
        assert_eq!((of.name(), of.port()), ("_http._tcp.app.internal.", None));
    }

    #[test]
    fn wrong_names_and_keys_are_named() {
        for (line, says) in [
            ("dns:", "found dns:: expected a name and a port, as dns:app.internal:8080"),
            ("dns:app.internal", "expected a name and a port"),
            ("dns:app.internal:0", "expected a name and a port"),
            ("dns:app.internal:65536", "expected a name and a port"),
            ("dns:app..internal:80", "expected a name and a port"),
            ("dns:192.0.2.1:80", "expected a name and a port"),
            ("dns:http://app:80", "expected a name and a port"),
            ("dns:app:80 type=srv", "with type=srv the name of a service alone"),
            ("dns:app:80 type=txt", "type=txt: expected a, aaaa, any or srv"),
            ("dns:app:80 resolver=ns.internal", "resolver=ns.internal: expected an address, as 127.0.0.1"),
            ("dns:app:80 resolver=127.0.0.1:0", "resolver=127.0.0.1:0: expected an address"),
            (
                "dns:app:80 resolver=::1:53",
                "resolver=::1:53: expected an address, as 127.0.0.1, [::1] or [::1]:53",
            ),
            ("dns:app:80 resolver=::1", "resolver=::1: expected an address, as 127.0.0.1, [::1] or"),
            ("dns:app:80 min_ttl=0", "min_ttl=0: expected a duration of at least 100ms"),
            ("dns:app:80 min_ttl=10m", "min_ttl=600s: expected at most max_ttl=, which is 300s"),
            ("dns:app:80 colour=red", "unknown key colour"),
            ("file:/a type=srv", "unknown key type"),
        ] {
            let said = read_line(line).expect_err(says);
            assert!(said.contains(says), "{said:?} should say {says:?}");
        }
    }

    prop_compose! {
        pub(in crate::directives) fn any_place()(
            name in "[a-z_][a-z0-9-]{0,5}(\\.[a-z]{1,5}){0,2}", port in 1u16.., records in 0..4usize,
            resolver: Option<(IpAddr, u16)>, min_ttl_ms in 100u64..9_000_000, longer in 0u64..9_000_000,
        ) -> SourcePlace {
            let records = TYPES[records].1;
            let place = if records == DnsRecords::Srv { name } else { format!("{name}:{port}") };
            let resolver = resolver.map(|(ip, port)| SocketAddr::from((ip, port.max(1))));
            SourcePlace::Dns(DnsPlace { place, records, resolver, min_ttl_ms, max_ttl_ms: min_ttl_ms + longer })
        }
    }
}
