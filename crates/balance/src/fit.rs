// SPDX-License-Identifier: Apache-2.0
//! Whether a pool's settings and its members fit together.

use crate::settings::{CheckKind, HealthCheck, PoolSettings};
use crate::url::MemberUrl;

/// Whether the pool's check can ask this member at all. Err: why it could only fail, and what was
/// expected.
pub fn check_fits(settings: &PoolSettings, member: &MemberUrl) -> Result<(), String> {
    let Some(check) = &settings.health else { return Ok(()) };
    // With a port of its own the check asks something else than the member.
    if check.port.is_some() {
        return Ok(());
    }
    let wrong = |what: &str, instead: &str| {
        let kind = check.kind.name();
        Err(format!(
            "a check of type {kind} cannot pass at {member}, which speaks {what}: expected LuaBalancerHealthCheck {instead}, or \
             port= of something that answers it"
        ))
    };
    match asked_for(check) {
        None => Ok(()),
        Some(_) if !member.speaks_http() => wrong("no HTTP", "tcp"),
        Some(Asked::Plain) if member.is_secure() => wrong("TLS", "https"),
        Some(Asked::Secure) if !member.is_secure() => wrong("no TLS", "http"),
        Some(_) => Ok(()),
    }
}

enum Asked {
    Plain,
    Secure,
}

fn asked_for(check: &HealthCheck) -> Option<Asked> {
    match check.kind {
        CheckKind::Http => Some(Asked::Plain),
        CheckKind::Https => Some(Asked::Secure),
        CheckKind::Tcp | CheckKind::Agent | CheckKind::Lua => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_checks_are_for_members_that_speak_it() {
        let fits = |check: &str, url: &str| {
            let mut settings = PoolSettings::default();
            let words = crate::words::split(check).unwrap();
            settings.set_directive("LuaBalancerHealthCheck", &words).unwrap();
            check_fits(&settings, &MemberUrl::parse(url).unwrap())
        };
        for (check, url, instead) in [
            ("http", "https://h", "LuaBalancerHealthCheck https"),
            ("http", "wss://h", "LuaBalancerHealthCheck https"),
            ("http", "h2://h", "LuaBalancerHealthCheck https"),
            ("https", "http://h", "LuaBalancerHealthCheck http,"),
            ("https", "unix:/s|http:", "LuaBalancerHealthCheck http,"),
            ("http", "ajp://h", "LuaBalancerHealthCheck tcp"),
            ("https", "fcgi://h", "LuaBalancerHealthCheck tcp"),
        ] {
            let why = fits(check, url).expect_err(url);
            assert!(why.contains(instead) && why.contains(url.split('|').next().unwrap()), "{why}");
        }
        for (check, url) in [
            ("http", "http://h"),
            ("http", "ws://h"),
            ("http", "h2c://h"),
            ("https", "https://h"),
            ("https", "h2://h"),
            ("http port=8080", "https://h"),
            ("https port=443", "http://h"),
            ("http port=8080", "ajp://h"),
            ("tcp", "https://h"),
            ("agent port=1", "ajp://h"),
            ("none", "https://h"),
        ] {
            assert_eq!(fits(check, url), Ok(()), "{check} {url}");
        }
    }
}
