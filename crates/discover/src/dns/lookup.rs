// SPDX-License-Identifier: Apache-2.0
//! The addresses behind a name, whole: from all the servers, families, aliases and targets that it
//! takes, or an error.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::message::{Datum, DnsName, Heard, MOST_ALIASES, RecordKind, Records, ServicePlace};
use super::transport::{self, Unanswered};

/// How long each server may take, and after all were silent once more.
const PATIENCE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// Most targets of a service.
const MOST_TARGETS: usize = 1000;

/// The families of addresses that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Families {
    /// IPv4.
    Four,
    /// IPv6.
    Six,
    /// Both; one of them may be empty.
    Both,
}

/// An address with its place among others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundAddress {
    /// Where.
    pub at: SocketAddr,
    /// Smaller ones are used first.
    pub priority: u16,
    /// The share among those of one priority; 0 is the smallest share, not none.
    pub weight: u16,
}

/// An answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution<T> {
    /// In the order of the answers.
    pub found: Vec<T>,
    /// For how many seconds it holds; None: no answer said so.
    pub ttl: Option<u32>,
}

impl<T> Resolution<T> {
    fn new(found: Vec<T>, ttl: Option<u32>) -> Self {
        Resolution { found, ttl }
    }

    fn holds(&mut self, ttl: Option<u32>) {
        self.ttl = self.ttl.into_iter().chain(ttl).min();
    }
}

/// See the module.
pub struct NameLookup<'a> {
    /// In the order in which they are asked.
    pub servers: &'a [SocketAddr],
}

impl NameLookup<'_> {
    /// The addresses of a name.
    ///
    /// # Errors
    /// One of the families asked for cannot be found out; the text names it.
    pub async fn addresses(&self, name: &DnsName, families: Families) -> Result<Resolution<IpAddr>, String> {
        let kinds: &[RecordKind] = match families {
            Families::Four => &[RecordKind::A],
            Families::Six => &[RecordKind::Aaaa],
            Families::Both => &[RecordKind::A, RecordKind::Aaaa],
        };
        let mut answer = Resolution::new(Vec::new(), None);
        for kind in kinds {
            let asked = self.family(name, *kind).await;
            let Resolution { found, ttl } = asked.map_err(|why| match answer.found.is_empty() {
                // IPv6 alone fails where its questions are not answered.
                false => format!("{why}; with type=a it is not asked for"),
                true => why,
            })?;
            answer.holds(ttl);
            answer.found.extend(found);
        }
        Ok(answer)
    }

    /// The places of a service, each target's addresses included.
    ///
    /// # Errors
    /// As [`NameLookup::addresses`], for the service or one of its targets.
    pub async fn service(&self, name: &DnsName) -> Result<Resolution<FoundAddress>, String> {
        let mut answer = Resolution::new(Vec::new(), None);
        let records = match self.resolve(name, RecordKind::Srv).await? {
            Resolved::Records(records) => records,
            Resolved::None(ttl) => return Ok(Resolution::new(Vec::new(), ttl)),
        };
        answer.holds(Some(records.ttl));
        let Records { data, beside, .. } = records;
        // A target may be there with several ports.
        let mut known: BTreeMap<DnsName, Vec<IpAddr>> = BTreeMap::new();
        for datum in data {
            let Datum::Place(place) = datum else { continue };
            if place.target.is_root() {
                continue;
            }
            if !known.contains_key(&place.target) {
                if known.len() >= MOST_TARGETS {
                    return Err(format!("{name} SRV: it names more than {MOST_TARGETS} targets"));
                }
                let found = self.target(&place.target, &beside).await?;
                answer.holds(found.ttl);
                known.insert(place.target.clone(), found.found);
            }
            let addresses = known.get(&place.target).into_iter().flatten();
            answer.found.extend(addresses.map(|address| place.endpoint(*address)));
        }
        Ok(answer)
    }

    /// The addresses of a target. A family of which none came along is asked for: it may have been
    /// left out for want of room.
    async fn target(
        &self,
        target: &DnsName,
        beside: &[(DnsName, IpAddr, u32)],
    ) -> Result<Resolution<IpAddr>, String> {
        let mut answer = Resolution::new(Vec::new(), None);
        for (_, address, ttl) in beside.iter().filter(|(name, ..)| name == target) {
            answer.holds(Some(*ttl));
            answer.found.push(*address);
        }
        let (has_four, has_six) =
            (answer.found.iter().any(IpAddr::is_ipv4), answer.found.iter().any(IpAddr::is_ipv6));
        let missing = match (has_four, has_six) {
            (true, true) => return Ok(answer),
            (true, false) => Families::Six,
            (false, true) => Families::Four,
            (false, false) => Families::Both,
        };
        let asked = self.addresses(target, missing).await?;
        answer.holds(asked.ttl);
        answer.found.extend(asked.found);
        Ok(answer)
    }

    async fn family(&self, name: &DnsName, kind: RecordKind) -> Result<Resolution<IpAddr>, String> {
        let records = match self.resolve(name, kind).await? {
            Resolved::Records(records) => records,
            Resolved::None(ttl) => return Ok(Resolution::new(Vec::new(), ttl)),
        };
        let addresses = records.data.into_iter().filter_map(|datum| match datum {
            Datum::Address(address) => Some(address),
            Datum::Place(_) => None,
        });
        Ok(Resolution::new(addresses.collect(), Some(records.ttl)))
    }

    /// Follows aliases over as many answers as it takes.
    async fn resolve(&self, name: &DnsName, kind: RecordKind) -> Result<Resolved, String> {
        let (mut at, mut smallest, mut followed) = (name.clone(), None::<u32>, 0);
        let least = |ttl: Option<u32>, smallest: Option<u32>| ttl.into_iter().chain(smallest).min();
        loop {
            let reply = self.ask(&at, kind).await;
            let reply = reply.map_err(|why| match at == *name {
                true => format!("{name} {}: {why}", kind.word()),
                false => format!("{name} {}: its alias {at}: {why}", kind.word()),
            })?;
            match reply {
                Heard::Records(records) => {
                    let ttl = smallest.map_or(records.ttl, |smallest| smallest.min(records.ttl));
                    return Ok(Resolved::Records(Records { ttl, ..records }));
                }
                Heard::None { ttl } => return Ok(Resolved::None(least(ttl, smallest))),
                Heard::Alias { name: next, ttl, aliases } => {
                    (at, smallest, followed) = (next, least(Some(ttl), smallest), followed + aliases);
                }
            }
            if followed > MOST_ALIASES {
                let word = kind.word();
                return Err(format!("{name} {word}: its aliases (CNAME) lead in a circle, or are too many"));
            }
        }
    }

    /// Asks one server after the other until one answers; those that were silent, twice.
    async fn ask(&self, name: &DnsName, kind: RecordKind) -> Result<Heard, String> {
        let mut failed: Vec<Option<String>> = vec![None; self.servers.len()];
        for patience in PATIENCE {
            for (server, failed) in self.servers.iter().zip(&mut failed) {
                if failed.is_some() {
                    continue;
                }
                match transport::ask(*server, name, kind, patience).await {
                    Err(Unanswered::Error(why)) => *failed = Some(why),
                    Ok(heard) => return Ok(heard),
                    Err(Unanswered::Silence) => {}
                }
            }
        }
        let failed = self.servers.iter().zip(failed).map(|(server, why)| {
            let why = why.unwrap_or_else(|| "no answer".to_owned());
            format!("{why} ({server})")
        });
        Err(failed.collect::<Vec<_>>().join(", "))
    }
}

/// The end of the aliases.
enum Resolved {
    Records(Records),
    /// There are none, for so many seconds.
    None(Option<u32>),
}

impl ServicePlace {
    fn endpoint(&self, address: IpAddr) -> FoundAddress {
        let (priority, weight) = (self.priority, self.weight);
        FoundAddress { at: (address, self.port).into(), priority, weight }
    }
}

#[cfg(test)]
mod tests;
