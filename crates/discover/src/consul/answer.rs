// SPDX-License-Identifier: Apache-2.0
//! The instances of a service, as `/v1/health/service` has them.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use balance::member::MemberSpec;
use serde::Deserialize;

use crate::problem::shown;
use crate::{Listed, ListingRules, listing};

/// Largest weight of Consul, and of a member.
const MAX_WEIGHT: i64 = 65_535;
/// Most parts of an answer: so many, and for each member that a list may have.
const PARTS: usize = 100_000;
const PARTS_OF_ONE: usize = 200;
/// Checks of an instance, or of a node, that somebody has taken out for maintenance.
const MAINTENANCE: [&str; 2] = ["_node_maintenance", "_service_maintenance"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    node: Option<Node>,
    service: Service,
    #[serde(default)]
    checks: Option<Vec<Check>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    address: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    address: Option<String>,
    port: i64,
    meta: Option<BTreeMap<String, String>>,
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: i64,
    warning: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", default)]
    id: String,
    #[serde(default)]
    status: String,
}

/// Reads an answer. The members are in the order of their addresses, whichever way the agent has
/// them.
///
/// # Errors
/// It has another form, a wrong instance (unless these are skipped), or too many.
pub fn read(bytes: &[u8], rules: ListingRules) -> Result<Listed, String> {
    let parts = PARTS + PARTS_OF_ONE.saturating_mul(rules.max);
    let found: Vec<Instance> =
        listing::bounded(bytes, parts).map_err(|error| format!("the answer is not Consul's: {}", error))?;
    let mut members: Vec<_> = found.iter().enumerate().map(|(at, one)| one.member(at)).collect();
    members.sort_by_cached_key(|(_, spec)| spec.as_ref().ok().map(|spec| spec.name.clone()));
    listing::gather(members, rules).map_err(|problem| problem.to_string())
}

impl Instance {
    fn member(&self, at: usize) -> (String, Result<MemberSpec, String>) {
        let own = self.service.address.as_deref().filter(|address| !address.is_empty());
        let address = own.or_else(|| self.node.as_ref()?.address.as_deref()).unwrap_or_default();
        let place = format!("[{at}] ({}:{})", shown(address), self.service.port);
        let port = u16::try_from(self.service.port).ok().filter(|port| *port > 0);
        let spec = match port {
            None => Err("expected a port from 1 to 65535".to_owned()),
            Some(_) if address.is_empty() => Err("it has no address".to_owned()),
            Some(port) => {
                let is_six = address.parse::<Ipv6Addr>().is_ok();
                let host = if is_six { format!("[{address}]") } else { address.to_owned() };
                MemberSpec::parse(&format!("http://{host}:{port}"), &self.keys())
                    .map_err(|error| error.to_string())
            }
        };
        (place, spec)
    }

    fn keys(&self) -> Vec<String> {
        let checks = self.checks.as_deref().unwrap_or_default();
        let has = |status: &str| checks.iter().any(|check| check.status == status);
        let (passing, warning) = self.service.weights.as_ref().map_or((1, 1), |of| (of.passing, of.warning));
        let weight = if has("warning") && !has("critical") { warning } else { passing.max(1) };
        let mut keys = vec![format!("weight={}", weight.clamp(0, MAX_WEIGHT))];
        let is_taken_out = checks.iter().any(|check| MAINTENANCE.iter().any(|id| check.id.starts_with(id)));
        if is_taken_out {
            keys.push("status=+N".to_owned());
        }
        for (key, value) in self.service.meta.iter().flatten() {
            let is_zone = key == "zone" && MemberSpec::parse("http://a", &[format!("zone={value}")]).is_ok();
            let word = if is_zone { format!("zone={value}") } else { format!("meta.{key}={value}") };
            // Other keys cannot be kept, and nobody is to blame.
            if MemberSpec::parse("http://a", &[&word]).is_ok() {
                keys.push(word);
            }
        }
        keys
    }
}
