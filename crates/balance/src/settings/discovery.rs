// SPDX-License-Identifier: Apache-2.0
//! The settings of sources of members.

use super::{ConsulPlace, DnsPlace, EtcdPlace, HttpPlace, KubernetesPlace, LuaPlace};

/// `LuaBalancerDiscovery`: where members come from besides definitions and people, and what is done
/// with what is found there.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// `name=`, unique in the pool; by default the kind and its number, as `file-1`.
    pub name: String,
    /// Where.
    pub source: SourcePlace,
    /// `stale=`: for how many milliseconds the last good list holds while the source fails; None:
    /// for ever.
    pub stale_ms: Option<u64>,
    /// `empty=`.
    pub empty: EmptyList,
    /// `shrink=`: a list without more than this percentage of the members is held.
    pub shrink_percent: u8,
    /// `absent=`: a member goes that so many lists in a row did not name.
    pub absent: u32,
    /// `settle=`: for how many milliseconds changes are joined.
    pub settle_ms: u64,
    /// `drain=`: for how many milliseconds a member that goes keeps its sessions.
    pub drain_ms: u64,
    /// `invalid=skip`: wrong entries are left out. Otherwise they fail the list.
    pub skip_invalid: bool,
    /// `max=`: a list of more is refused.
    pub max: u32,
    /// `initial=cache`: a start begins with the list of the state file.
    pub cache: bool,
    /// `wait=`: for how many milliseconds a request waits for the first list of all.
    pub wait_ms: u64,
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourcePlace {
    /// `file:PATH`, as written.
    File(String),
    /// `dns:NAME:PORT`, with its keys.
    Dns(DnsPlace),
    /// `http:URL`, with its keys.
    Http(HttpPlace),
    /// `consul:URL/SERVICE`, with its keys.
    Consul(ConsulPlace),
    /// `etcd:URL,…/PREFIX`, with its keys.
    Etcd(EtcdPlace),
    /// `kubernetes:NAMESPACE/SERVICE:PORT`, with its keys.
    Kubernetes(KubernetesPlace),
    /// `lua:SCRIPT [function]`, with its keys.
    Lua(LuaPlace),
}

/// `empty=`: what becomes of a list without members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmptyList {
    /// It is held, and taken when it stays so.
    #[default]
    Hold,
    /// It is never taken.
    Keep,
    /// It is taken at once.
    Take,
}

impl EmptyList {
    /// All of them.
    pub const ALL: [EmptyList; 3] = [EmptyList::Hold, EmptyList::Keep, EmptyList::Take];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            EmptyList::Hold => "hold",
            EmptyList::Keep => "keep",
            EmptyList::Take => "take",
        }
    }
}

impl SourcePlace {
    /// The word in front of the colon.
    pub fn kind(&self) -> &'static str {
        match self {
            SourcePlace::File(_) => "file",
            SourcePlace::Dns(_) => "dns",
            SourcePlace::Http(_) => "http",
            SourcePlace::Consul(_) => "consul",
            SourcePlace::Etcd(_) => "etcd",
            SourcePlace::Kubernetes(_) => "kubernetes",
            SourcePlace::Lua(_) => "lua",
        }
    }

    /// The text behind it.
    pub fn address(&self) -> &str {
        match self {
            SourcePlace::File(path) => path,
            SourcePlace::Dns(of) => &of.place,
            SourcePlace::Http(of) => &of.url,
            SourcePlace::Consul(of) => &of.url,
            SourcePlace::Etcd(of) => &of.place,
            SourcePlace::Kubernetes(of) => &of.place,
            SourcePlace::Lua(of) => &of.script,
        }
    }
}

impl Discovery {
    /// With all keys at their defaults.
    pub fn of(name: String, source: SourcePlace) -> Self {
        // A server may give a part of its addresses, now these and now those.
        let absent = if matches!(source, SourcePlace::Dns(_)) { 2 } else { 1 };
        Discovery {
            name,
            source,
            stale_ms: None,
            empty: EmptyList::Hold,
            shrink_percent: 50,
            absent,
            settle_ms: 200,
            drain_ms: 30_000,
            skip_invalid: false,
            max: 1000,
            cache: true,
            wait_ms: 2000,
        }
    }
}
