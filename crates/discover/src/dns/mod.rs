// SPDX-License-Identifier: Apache-2.0
//! Members by the names of DNS.

#[cfg(test)]
pub(crate) mod fake;
mod lookup;
pub mod message;
mod servers;
mod transport;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use balance::member::MemberSpec;
use balance::settings::{DnsPlace, DnsRecords};

use self::lookup::{Families, FoundAddress, NameLookup, Resolution};
use self::servers::Servers;
use crate::{ListProblem, Listed, ListingRules, Look, PolledSource};

/// The system's list of servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long an answer holds that does not say so: one of nothing, without the zone's times.
const UNSAID_S: u32 = 5;
/// Largest `lbset=`.
const MAX_LBSET: u16 = 99;

/// A name, looked at as often as its records say.
pub(crate) struct DnsSource {
    place: DnsPlace,
    servers: Servers,
    rules: ListingRules,
    known: Option<Arc<Listed>>,
}

impl DnsSource {
    pub(crate) fn new(place: DnsPlace, rules: ListingRules) -> Self {
        let servers = match place.resolver {
            Some(server) => Servers::One(server),
            None => Servers::Configured(PathBuf::from(RESOLV_CONF)),
        };
        DnsSource { place, servers, rules, known: None }
    }

    async fn find(&self) -> Result<(Listed, Duration), String> {
        let name = self.place.name();
        let name = message::parse_name(name).ok_or_else(|| format!("{name} is not a name of DNS"))?;
        let servers = self.servers.now()?;
        let lookup = NameLookup { servers: &servers };
        let families = match self.place.records {
            DnsRecords::Any => Families::Both,
            DnsRecords::A => Families::Four,
            DnsRecords::Aaaa => Families::Six,
            DnsRecords::Srv => {
                let Resolution { found, ttl } = lookup.service(&name).await?;
                return Ok((self.list(found)?, self.pause(ttl)));
            }
        };
        let Resolution { found, ttl } = lookup.addresses(&name, families).await?;
        let port = self.place.port().ok_or_else(|| format!("{name}: no port is said"))?;
        let endpoint = |ip: IpAddr| FoundAddress { at: (ip, port).into(), priority: 0, weight: 1 };
        Ok((self.list(found.into_iter().map(endpoint).collect())?, self.pause(ttl)))
    }

    fn pause(&self, ttl: Option<u32>) -> Duration {
        let (least, most) = (self.place.min_ttl_ms, self.place.max_ttl_ms.max(self.place.min_ttl_ms));
        Duration::from_millis((u64::from(ttl.unwrap_or(UNSAID_S)) * 1000).clamp(least, most))
    }

    fn list(&self, mut endpoints: Vec<FoundAddress>) -> Result<Listed, String> {
        let highest = endpoints.iter().map(|endpoint| endpoint.priority).max().unwrap_or(0);
        if highest > MAX_LBSET {
            rank(&mut endpoints);
        }
        // Servers give them in any order. An address that is there twice has its first place.
        let mut by_address: BTreeMap<SocketAddr, FoundAddress> = BTreeMap::new();
        endpoints.sort_by_key(|endpoint| (endpoint.priority, u16::MAX - endpoint.weight));
        for endpoint in endpoints {
            by_address.entry(endpoint.at).or_insert(endpoint);
        }
        let (found, most) = (by_address.len(), self.rules.max);
        if found > most {
            return Err(ListProblem::TooMany { found, most }.to_string());
        }
        let mut listed = Listed::default();
        for endpoint in by_address.into_values() {
            match self.member(&endpoint) {
                Ok(spec) => listed.push(spec),
                Err(why) if self.rules.skip_invalid => listed.skip(why),
                Err(why) => return Err(why),
            }
        }
        Ok(listed)
    }

    fn member(&self, endpoint: &FoundAddress) -> Result<MemberSpec, String> {
        let (at, mut keys) = (endpoint.at, Vec::new());
        if self.place.records == DnsRecords::Srv {
            // Zones without a wish say 0 for all: it is the smallest share, and never none at all.
            keys.push(format!("weight={}", endpoint.weight.max(1)));
            keys.push(format!("lbset={}", endpoint.priority.min(MAX_LBSET)));
        }
        if at.port() == 0 {
            return Err(format!("{at}: found port 0, expected 1 to 65535"));
        }
        let spec =
            MemberSpec::parse(&format!("http://{at}"), &keys).map_err(|error| format!("{at}: {error}"))?;
        match (self.rules.misfit)(&spec.url) {
            Some(why) => Err(format!("{at}: {why}")),
            None => Ok(spec),
        }
    }
}

/// Puts ranks in place of priorities, which may be larger than a set's number.
fn rank(endpoints: &mut [FoundAddress]) {
    let mut known: Vec<u16> = endpoints.iter().map(|endpoint| endpoint.priority).collect();
    known.sort_unstable();
    known.dedup();
    for endpoint in endpoints {
        let at = known.binary_search(&endpoint.priority).unwrap_or_default();
        endpoint.priority = u16::try_from(at).unwrap_or(MAX_LBSET);
    }
}

impl PolledSource for DnsSource {
    fn look(&mut self) -> Pin<Box<dyn Future<Output = Look> + '_>> {
        Box::pin(async {
            match self.find().await {
                Ok((listed, pause)) => {
                    let same = self.known.take().filter(|known| **known == listed);
                    let list = self.known.insert(same.unwrap_or_else(|| Arc::new(listed)));
                    Look::List(list.clone(), pause)
                }
                Err(why) => Look::Failed(why),
            }
        })
    }
}

#[cfg(test)]
mod tests;
