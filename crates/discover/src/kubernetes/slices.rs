// SPDX-License-Identifier: Apache-2.0
//! The EndpointSlices of a service: pages of a list, events of a watch, and the members in them.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use balance::member::MemberSpec;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::problem::shown;
use crate::{Listed, ListingRules, listing};

/// Most endpoints of all slices, wanted or not.
const MOST_ENDPOINTS: usize = 100_000;
/// Most slices.
const MOST_SLICES: usize = 10_000;
/// Most parts of a page, and of an event: a page has a hundred slices, a slice a hundred endpoints.
const MOST_PARTS: usize = 500_000;
/// The status of a version that the server does not have any more.
const GONE: i64 = 410;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: String,
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page {
    metadata: Meta,
    items: Option<Vec<Object>>,
}

/// A slice, or the status in an event that says an error.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Object {
    metadata: Meta,
    address_type: String,
    endpoints: Option<Vec<Endpoint>>,
    ports: Option<Vec<Port>>,
    code: Option<i64>,
    message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    addresses: Option<Vec<String>>,
    conditions: Option<Conditions>,
    zone: Option<String>,
    target_ref: Option<TargetRef>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize, Default, PartialEq, Eq, Hash, Clone)]
#[serde(default)]
struct TargetRef {
    name: String,
    uid: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Port {
    name: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Object,
}

/// The meaning of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SliceChange {
    /// The slices are others.
    Slices,
    /// They are the same, at a later version.
    Version,
    /// The version is not there any more: they are to be listed again.
    Gone,
}

/// See the module.
#[derive(Default)]
pub struct Slices {
    /// By their names.
    all: BTreeMap<String, Object>,
    /// Of all of them.
    endpoints: usize,
    /// The version that they are of.
    pub version: String,
}

impl Slices {
    /// Takes a page in. Returns the token of the next one, if there is one.
    ///
    /// # Errors
    /// It is of another form, or there are too many.
    pub fn page(&mut self, bytes: &[u8]) -> Result<Option<String>, String> {
        let page: Page = read("the answer is not a list of EndpointSlices", bytes)?;
        // All pages are of the version of the first one.
        if self.version.is_empty() {
            self.version = page.metadata.resource_version;
        }
        if self.version.is_empty() {
            return Err("the list has no resourceVersion".to_owned());
        }
        for slice in page.items.into_iter().flatten() {
            self.put(slice)?;
        }
        Ok(page.metadata.next.filter(|token| !token.is_empty()))
    }

    /// Takes an event of a watch in.
    ///
    /// # Errors
    /// It is of another form, says an error other than 410, or there are too many slices.
    pub fn event(&mut self, line: &[u8]) -> Result<SliceChange, String> {
        let Event { kind, object } = read("the watch has said something that is not an event", line)?;
        if kind == "ERROR" {
            return match object.code {
                Some(GONE) => Ok(SliceChange::Gone),
                _ => Err(format!("the watch has ended: {}", shown(&object.message.unwrap_or_default()))),
            };
        }
        if !object.metadata.resource_version.is_empty() {
            self.version.clone_from(&object.metadata.resource_version);
        }
        match kind.as_str() {
            "ADDED" | "MODIFIED" => self.put(object)?,
            "DELETED" => {
                let old = self.all.remove(&object.metadata.name);
                self.endpoints -= old.map_or(0, |old| old.endpoints().len());
            }
            _ => return Ok(SliceChange::Version),
        }
        Ok(SliceChange::Slices)
    }

    fn put(&mut self, slice: Object) -> Result<(), String> {
        self.endpoints += slice.endpoints().len();
        let old = self.all.insert(slice.metadata.name.clone(), slice);
        self.endpoints -= old.map_or(0, |old| old.endpoints().len());
        if self.endpoints > MOST_ENDPOINTS || self.all.len() > MOST_SLICES {
            return Err(format!("there are more than {MOST_ENDPOINTS} endpoints, or {MOST_SLICES} slices"));
        }
        Ok(())
    }

    /// The members at this port, by its name or its number, in the order of their addresses.
    ///
    /// # Errors
    /// An endpoint is wrong (unless these are skipped), or there are too many.
    pub fn members(&self, port: &str, rules: ListingRules) -> Result<Listed, String> {
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        for (name, slice) in &self.all {
            for (at, endpoint) in slice.endpoints().iter().enumerate() {
                let Some(is_draining) = endpoint.is_draining() else { continue };
                let place = || format!("{}.endpoints[{at}]", shown(name));
                match slice.address(endpoint, port) {
                    Ok((ip, port)) => found.push(Found { ip, port, is_draining, endpoint, place: place() }),
                    Err(why) => wrong.push((place(), Err(why))),
                }
            }
        }
        // While slices are rearranged an endpoint may stand in two of them.
        found.sort_by_key(|one| (one.ip.is_ipv6(), one.ip, one.port, one.is_draining));
        found.dedup_by_key(|one| (one.ip, one.port));
        // Of a pod with two families, one address is the member.
        let mut pods = HashSet::new();
        found.retain(|one| {
            let pod = one.endpoint.target_ref.as_ref().filter(|pod| !pod.name.is_empty());
            pod.is_none_or(|pod| {
                let is_known = one.ip.is_ipv6() && pods.contains(pod);
                pods.insert(pod.clone());
                !is_known
            })
        });
        let members = found.iter().map(|one| (one.place.clone(), one.member()));
        listing::gather(wrong.into_iter().chain(members), rules).map_err(|problem| problem.to_string())
    }
}

fn read<T: DeserializeOwned>(wrong: &str, bytes: &[u8]) -> Result<T, String> {
    let found = listing::bounded(bytes, MOST_PARTS);
    found.map_err(|error| format!("{wrong}: {error}"))
}

/// An endpoint that is a member.
struct Found<'s> {
    ip: IpAddr,
    port: u16,
    is_draining: bool,
    endpoint: &'s Endpoint,
    /// For errors.
    place: String,
}

impl Found<'_> {
    fn member(&self) -> Result<MemberSpec, String> {
        let host = if self.ip.is_ipv6() { format!("[{}]", self.ip) } else { self.ip.to_string() };
        let pod = self.endpoint.target_ref.as_ref().map(|pod| format!("meta.pod={}", pod.name));
        let zone = self.endpoint.zone.as_ref().map(|zone| format!("zone={zone}"));
        let draining = self.is_draining.then(|| "status=+N".to_owned());
        let keys = [zone, pod, draining].into_iter().flatten();
        // A name that cannot be kept is left out, not the pod.
        let keys: Vec<String> = keys.filter(|key| MemberSpec::parse("http://a", &[key]).is_ok()).collect();
        MemberSpec::parse(&format!("http://{host}:{}", self.port), &keys).map_err(|error| error.to_string())
    }
}

impl Object {
    fn endpoints(&self) -> &[Endpoint] {
        self.endpoints.as_deref().unwrap_or_default()
    }

    fn address(&self, endpoint: &Endpoint, port: &str) -> Result<(IpAddr, u16), String> {
        let first = endpoint.addresses.iter().flatten().next();
        let first = first.ok_or_else(|| "it has no address".to_owned())?;
        let ip = first.parse::<IpAddr>();
        let ip = ip.map_err(|_| {
            format!("found {} (addressType {}), expected an address", shown(first), shown(&self.address_type))
        })?;
        let ports = self.ports.as_deref().unwrap_or_default();
        let is_it = |one: &&Port| {
            let is_named = one.name.as_deref() == Some(port);
            let is_tcp = one.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
            is_tcp && (is_named || one.port.is_some_and(|number| number.to_string() == port))
        };
        let number = ports.iter().find(is_it).and_then(|one| one.port).filter(|port| *port > 0);
        number.map(|number| (ip, number)).ok_or_else(|| {
            let known = ports.iter().filter_map(|one| {
                Some(format!("{}={}", shown(one.name.as_deref().unwrap_or_default()), one.port?))
            });
            let known: Vec<String> = known.take(5).collect();
            format!(
                "no TCP port is {port}: found {}",
                if known.is_empty() { "none".into() } else { known.join(" ") }
            )
        })
    }
}

impl Endpoint {
    /// None: it is not a member. An endpoint that says nothing is ready.
    fn is_draining(&self) -> Option<bool> {
        let none = Conditions::default();
        let now = self.conditions.as_ref().unwrap_or(&none);
        let is_ready = now.ready.unwrap_or(true);
        let is_serving = now.serving.unwrap_or(is_ready);
        match (is_ready, is_serving && now.terminating.unwrap_or(false)) {
            (true, _) => Some(false),
            (false, true) => Some(true),
            (false, false) => None,
        }
    }
}
