// SPDX-License-Identifier: Apache-2.0
//! The settings that a pool's directives make, as an object. Values of checks' headers stay here:
//! they may be secrets.

use std::collections::BTreeMap;

use balance::settings::{Discovery, FailureKinds, HealthCheck, Method, Outlier, PoolSettings, Sticky};
use serde::Serialize;

use crate::member::kind_word;
use crate::value::Figure;

/// All settings, by the names that scripts define pools with; durations are seconds.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Settings"))]
#[allow(missing_docs)]
pub struct SettingsDoc<'a> {
    pub method: &'static str,
    pub key: Option<&'a str>,
    pub balance_factor: Option<Figure>,
    pub retries: u32,
    pub retry_on: Vec<String>,
    pub zone: Option<&'a str>,
    pub panic: u8,
    pub slow_start: Figure,
    pub on_empty: u16,
    pub reverse: bool,
    pub queue: Figure,
    pub health: Option<HealthDoc<'a>>,
    pub outlier: OutlierSettingsDoc,
    pub sticky: Option<StickyDoc<'a>>,
    pub discovery: Vec<DiscoverySettingsDoc<'a>>,
}

/// How members are checked.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "HealthSettings"))]
#[allow(missing_docs)]
pub struct HealthDoc<'a> {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub interval: Figure,
    pub timeout: Figure,
    pub rise: u32,
    pub fall: u32,
    /// up or down.
    pub initial: &'static str,
    pub jitter: u8,
    pub port: Option<u16>,
    pub uri: &'a str,
    pub method: &'a str,
    pub host: Option<&'a str>,
    /// Names alone: values may be secrets.
    pub headers: Vec<&'a str>,
    pub expect: Vec<String>,
    pub body: Option<&'a str>,
    pub not_body: Option<&'a str>,
    pub follow: bool,
    pub verify: bool,
    pub script: Option<&'a str>,
}

/// When failed requests take a member out.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "OutlierSettings"))]
#[allow(missing_docs)]
pub struct OutlierSettingsDoc {
    pub on: bool,
    pub failures: u32,
    pub ejection: Figure,
    pub max_ejection: Figure,
    pub max_percent: u8,
    pub count: Vec<String>,
}

/// How sessions stay with their members.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "StickySettings"))]
#[allow(missing_docs)]
pub struct StickyDoc<'a> {
    pub cookie: &'a str,
    pub param: Option<&'a str>,
    pub ttl: Option<u64>,
    pub path: &'a str,
    pub domain: Option<&'a str>,
    pub secure: Option<bool>,
    pub httponly: bool,
    pub samesite: &'a str,
    pub force: bool,
}

/// Where members come from, and what becomes of their lists.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "DiscoverySettings"))]
#[allow(missing_docs)]
pub struct DiscoverySettingsDoc<'a> {
    pub name: &'a str,
    /// With its kind, as file:/etc/lb/app.json.
    pub source: String,
    /// Keys of this kind of source alone, as they are written.
    pub own: BTreeMap<&'static str, String>,
    /// None: forever.
    pub stale: Option<Figure>,
    /// hold, keep or take.
    pub empty: &'static str,
    pub shrink: u8,
    pub absent: u32,
    pub settle: Figure,
    pub drain: Figure,
    /// refuse or skip.
    pub invalid: &'static str,
    pub max: u32,
    /// cache or empty.
    pub initial: &'static str,
    pub wait: Figure,
}

impl<'a> DiscoverySettingsDoc<'a> {
    fn of(source: &'a Discovery) -> Self {
        DiscoverySettingsDoc {
            name: &source.name,
            source: format!("{}:{}", source.source.kind(), source.source.address()),
            own: source.source.keys().into_iter().collect(),
            stale: source.stale_ms.map(Figure::seconds),
            empty: source.empty.word(),
            shrink: source.shrink_percent,
            absent: source.absent,
            settle: Figure::seconds(source.settle_ms),
            drain: Figure::seconds(source.drain_ms),
            invalid: if source.skip_invalid { "skip" } else { "refuse" },
            max: source.max,
            initial: if source.cache { "cache" } else { "empty" },
            wait: Figure::seconds(source.wait_ms),
        }
    }
}

impl<'a> SettingsDoc<'a> {
    pub(crate) fn of(settings: &'a PoolSettings) -> Self {
        let set = &settings.set;
        SettingsDoc {
            method: settings.method.name(),
            key: settings.key.as_deref(),
            balance_factor: match settings.method {
                Method::ConsistentHash { balance_factor } => balance_factor.map(Figure),
                _ => None,
            },
            retries: set.retries,
            retry_on: kinds(&set.retry_on),
            zone: set.zone.as_deref(),
            panic: set.panic_percent,
            slow_start: Figure::seconds(set.slow_start_ms),
            on_empty: set.on_empty,
            reverse: set.reverse,
            queue: Figure::seconds(set.queue_ms),
            health: settings.health.as_ref().map(HealthDoc::of),
            outlier: OutlierSettingsDoc::of(&settings.outlier),
            sticky: settings.sticky.as_ref().map(StickyDoc::of),
            discovery: settings.discovery.iter().map(DiscoverySettingsDoc::of).collect(),
        }
    }
}

impl<'a> HealthDoc<'a> {
    fn of(check: &'a HealthCheck) -> Self {
        HealthDoc {
            kind: kind_word(check.kind),
            interval: Figure::seconds(check.interval_ms),
            timeout: Figure::seconds(check.timeout_ms),
            rise: check.rise,
            fall: check.fall,
            initial: if check.initial_up { "up" } else { "down" },
            jitter: check.jitter_percent,
            port: check.port,
            uri: &check.uri,
            method: &check.method,
            host: check.host.as_deref(),
            headers: check.headers.iter().map(|(name, _)| name.as_str()).collect(),
            expect: check.expect.iter().map(|range| codes(*range)).collect(),
            body: check.body.as_deref(),
            not_body: check.not_body.as_deref(),
            follow: check.follow,
            verify: check.verify,
            script: check.script.as_ref().map(|(script, _)| script.as_str()),
        }
    }
}

impl OutlierSettingsDoc {
    fn of(outlier: &Outlier) -> Self {
        OutlierSettingsDoc {
            on: outlier.on,
            failures: outlier.failures,
            ejection: Figure::seconds(outlier.ejection_ms),
            max_ejection: Figure::seconds(outlier.max_ejection_ms),
            max_percent: outlier.max_percent,
            count: kinds(&outlier.count),
        }
    }
}

impl<'a> StickyDoc<'a> {
    fn of(sticky: &'a Sticky) -> Self {
        StickyDoc {
            cookie: &sticky.cookie,
            param: sticky.param.as_deref(),
            ttl: sticky.ttl_s,
            path: &sticky.path,
            domain: sticky.domain.as_deref(),
            secure: sticky.secure,
            httponly: sticky.httponly,
            samesite: &sticky.samesite,
            force: sticky.force,
        }
    }
}

fn codes((first, last): (u16, u16)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn kinds(kinds: &FailureKinds) -> Vec<String> {
    let FailureKinds { connect, reset, timeout, any_5xx, codes } = kinds;
    let named = [(connect, "connect"), (reset, "reset"), (timeout, "timeout"), (any_5xx, "5xx")];
    let words = named.into_iter().filter(|(on, _)| **on).map(|(_, word)| word.to_owned());
    words.chain(codes.iter().map(u16::to_string)).collect()
}
