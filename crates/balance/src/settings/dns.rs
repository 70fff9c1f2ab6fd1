// SPDX-License-Identifier: Apache-2.0
//! Members by a name of DNS, as a directive says it.

use std::net::SocketAddr;

/// Where `dns:` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsPlace {
    /// As written: `app.internal:8080`, or the name alone where a port is not said.
    pub place: String,
    /// `type=`.
    pub records: DnsRecords,
    /// `resolver=`; None: the servers of `resolv.conf`.
    pub resolver: Option<SocketAddr>,
    /// `min_ttl=`: the shortest time from one look to the next, in milliseconds.
    pub min_ttl_ms: u64,
    /// `max_ttl=`: the longest one.
    pub max_ttl_ms: u64,
}

/// The records that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DnsRecords {
    /// Addresses of both families.
    #[default]
    Any,
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
    /// Places of a service: ports, weights and priorities are theirs.
    Srv,
}

impl DnsPlace {
    /// With all keys at their defaults.
    pub fn of(place: String) -> Self {
        DnsPlace {
            place,
            records: DnsRecords::default(),
            resolver: None,
            min_ttl_ms: 1000,
            max_ttl_ms: 300_000,
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.place.split_once(':').map_or(&self.place, |(name, _)| name)
    }

    /// The port of all members; a service says its own.
    pub fn port(&self) -> Option<u16> {
        self.place.split_once(':').and_then(|(_, port)| port.parse().ok())
    }
}
