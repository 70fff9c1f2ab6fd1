// SPDX-License-Identifier: Apache-2.0
//! A pool's settings: the directives inside `<LuaBalancerPool>` other than the members. They are
//! kept in shared memory as the directives' own text, one a line, so that configured and
//! script-defined pools take the same way.

mod consul;
mod discovery;
mod dns;
mod etcd;
mod http;
mod kubernetes;
mod lua;
mod share;

pub use consul::ConsulPlace;
pub use discovery::{Discovery, EmptyList, SourcePlace};
pub use dns::{DnsPlace, DnsRecords};
pub use etcd::EtcdPlace;
pub use http::HttpPlace;
pub use kubernetes::KubernetesPlace;
pub use lua::LuaPlace;
pub use share::{Shared, SharedHealth};

/// Everything a pool's directives say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PoolSettings {
    /// `LuaBalancerMethod`.
    pub method: Method,
    /// `LuaBalancerMethod … key="…"`: an httpd string expression, kept as text.
    pub key: Option<String>,
    /// `LuaBalancerHealthCheck`; None for `none`.
    pub health: Option<HealthCheck>,
    /// `LuaBalancerOutlier`.
    pub outlier: Outlier,
    /// `LuaBalancerSticky`.
    pub sticky: Option<Sticky>,
    /// `LuaBalancerSet`.
    pub set: Set,
    /// `LuaBalancerDiscovery`, in order.
    pub discovery: Vec<Discovery>,
    /// `LuaBalancerShare`; None: as the server's.
    pub share: Option<Shared>,
}

/// How a pool picks.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Method {
    /// Smooth weighted round robin, as nginx does it.
    #[default]
    RoundRobin,
    /// Weighted random.
    Random,
    /// Smallest in-flight/weight, ties by the round robin.
    LeastConnections,
    /// Two weighted draws, the smaller in-flight/weight.
    PowerOfTwo,
    /// Peak EWMA × (in-flight + 1) / weight, over two draws.
    LeastLatency,
    /// The first in configured order with room.
    First,
    /// Ketama as nginx's `hash … consistent`; with a factor (> 1): bounded loads.
    ConsistentHash {
        /// `balance_factor=`.
        balance_factor: Option<f64>,
    },
    /// Maglev as Envoy builds it.
    Maglev,
    /// Weighted highest random weight.
    Rendezvous,
    /// nginx's `hash`.
    Hash,
    /// A Lua function gets `(pool, r)`.
    Lua {
        /// Path of the script, as written.
        script: String,
        /// Function name, default `select`.
        function: String,
    },
}

impl Method {
    /// Whether it picks by a key.
    pub fn is_by_key(&self) -> bool {
        matches!(self, Method::ConsistentHash { .. } | Method::Maglev | Method::Rendezvous | Method::Hash)
    }
}

/// `LuaBalancerHealthCheck`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct HealthCheck {
    pub kind: CheckKind,
    /// Milliseconds between checks of one member, > 0. Default 5000.
    pub interval_ms: u64,
    /// Milliseconds for one whole check, > 0. Default 2000.
    pub timeout_ms: u64,
    /// Consecutive successes that bring a member up. Default 2.
    pub rise: u32,
    /// Consecutive failures that take a member down. Default 3.
    pub fall: u32,
    /// A member's state before its first check: up (true, default) or down.
    pub initial_up: bool,
    /// Percent of the interval, 0 ..= 100. Default 10.
    pub jitter_percent: u8,
    /// `port=`; None: the member's.
    pub port: Option<u16>,
    /// `uri=`, default `/`.
    pub uri: String,
    /// `method=`, default `GET`.
    pub method: String,
    /// `host=`; None: the member's `host:port`.
    pub host: Option<String>,
    /// `header=` lines.
    pub headers: Vec<(String, String)>,
    /// `expect=`: inclusive ranges. Default 200-399.
    pub expect: Vec<(u16, u16)>,
    /// `body=`: a regular expression, valid.
    pub body: Option<String>,
    /// `not_body=`: the same, which must not match.
    pub not_body: Option<String>,
    /// `follow=`, default no.
    pub follow: bool,
    /// `verify=`, default on.
    pub verify: bool,
    /// `sni=`.
    pub sni: Option<String>,
    /// `ca=`: a PEM file.
    pub ca: Option<String>,
    /// `script=` and `function=` (default `check`) of a Lua check.
    pub script: Option<(String, String)>,
}

/// Kind of an active check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CheckKind {
    Tcp,
    Http,
    Https,
    Agent,
    Lua,
}

/// `LuaBalancerOutlier`.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlier {
    /// Default on.
    pub on: bool,
    /// Consecutive failures that eject. Default 3, > 0.
    pub failures: u32,
    /// First ejection in milliseconds, doubling each time. Default 10 000.
    pub ejection_ms: u64,
    /// Longest ejection. Default 300 000.
    pub max_ejection_ms: u64,
    /// Never more than this part of a pool (and never its last member). Default 50.
    pub max_percent: u8,
    /// The kinds of failures that count.
    pub count: FailureKinds,
}

/// A set of failures: for `LuaBalancerOutlier count=` and `LuaBalancerSet retry_on=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct FailureKinds {
    pub connect: bool,
    pub reset: bool,
    pub timeout: bool,
    pub any_5xx: bool,
    /// Single status codes, 100 ..= 599.
    pub codes: Vec<u16>,
}

/// `LuaBalancerSticky`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Sticky {
    pub cookie: String,
    /// Path (`;name=`) or query parameter.
    pub param: Option<String>,
    pub ttl_s: Option<u64>,
    pub path: String,
    /// None: the host that the client asked.
    pub domain: Option<String>,
    /// None: auto, as the client's connection is.
    pub secure: Option<bool>,
    pub httponly: bool,
    pub samesite: String,
    pub force: bool,
}

/// `LuaBalancerSet`.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// Further attempts on other members. Default 2.
    pub retries: u32,
    /// Default connect, reset.
    pub retry_on: FailureKinds,
    /// Preferred zone.
    pub zone: Option<String>,
    /// With fewer usable members than this percentage, health is ignored. 0: never.
    pub panic_percent: u8,
    /// Milliseconds.
    pub slow_start_ms: u64,
    /// Status when no member is usable, 400 ..= 599. Default 503.
    pub on_empty: u16,
    /// Whether answers' Location and cookies are mapped back. Default on.
    pub reverse: bool,
    /// Milliseconds that a request may wait for a place.
    pub queue_ms: u64,
}

impl Default for Outlier {
    fn default() -> Self {
        Outlier {
            on: true,
            failures: 3,
            ejection_ms: 10_000,
            max_ejection_ms: 300_000,
            max_percent: 50,
            count: FailureKinds {
                connect: true,
                reset: true,
                timeout: true,
                any_5xx: false,
                codes: Vec::new(),
            },
        }
    }
}

impl Default for Set {
    fn default() -> Self {
        Set {
            retries: 2,
            retry_on: FailureKinds { connect: true, reset: true, ..FailureKinds::default() },
            zone: None,
            panic_percent: 0,
            slow_start_ms: 0,
            on_empty: 503,
            reverse: true,
            queue_ms: 0,
        }
    }
}
