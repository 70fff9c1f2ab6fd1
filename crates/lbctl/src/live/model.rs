// SPDX-License-Identifier: Apache-2.0
//! Documents of a server, as far as they are shown. Keys that an older one does not have are
//! empty, those of a newer one are left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The list of pools.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SeenPools {
    /// In order of their definition.
    pub pools: Vec<SeenPool>,
}

/// A pool.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SeenPool {
    pub name: String,
    pub method: String,
    pub usable: u64,
    pub total: u64,
    pub inflight: u64,
    pub queued: u64,
    pub panic: bool,
    pub requests: BTreeMap<String, u64>,
    pub latency: SeenLatency,
    pub members: Vec<SeenMember>,
}

/// A member.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SeenMember {
    pub pool: String,
    pub name: String,
    pub url: String,
    pub state: String,
    pub healthy: bool,
    pub usable: bool,
    pub since: Option<String>,
    pub why: Vec<SeenWhy>,
    pub admin: String,
    pub until: Option<String>,
    pub then: Option<String>,
    pub note: Option<String>,
    pub weight: f64,
    pub zone: Option<String>,
    pub role: String,
    pub inflight: u64,
    pub max_inflight: u64,
    pub attempts: BTreeMap<String, u64>,
    pub latency: SeenLatency,
    pub check: Option<Value>,
    pub overrides: Vec<String>,
}

/// A reason.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SeenWhy {
    pub flag: String,
    pub by: Option<String>,
    pub until: Option<String>,
    pub note: Option<String>,
}

/// Response times, in seconds.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SeenLatency {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

/// The server.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SeenServer {
    pub version: String,
    pub httpd: String,
    pub generation: u64,
    pub started: Option<String>,
    pub children: Vec<Value>,
    pub leader: Option<SeenLeader>,
    pub warnings: Vec<SeenWarning>,
}

/// The child that leads.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SeenLeader {
    pub pid: i64,
}

/// A warning of the server.
#[derive(Debug, Default, Clone, Deserialize, Serialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SeenWarning {
    pub code: String,
    pub message: String,
}

/// The events of a server.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SeenEvents {
    pub events: Vec<SeenEvent>,
    pub next: u64,
    pub lost: u64,
}

/// Something that happened.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct SeenEvent {
    pub seq: u64,
    pub at: String,
    pub kind: String,
    pub pool: Option<String>,
    pub member: Option<String>,
    pub old: Option<String>,
    pub new: Option<String>,
    pub why: Option<String>,
    pub by: Option<String>,
    pub from: Option<String>,
    pub note: Option<String>,
    pub message: Option<String>,
}

impl SeenPool {
    /// Requests, all of them.
    pub fn asked(&self) -> u64 {
        self.requests.values().sum()
    }

    /// Requests that were not served.
    pub fn failed(&self) -> u64 {
        let served = ["ok", "aborted"].map(|key| self.requests.get(key).copied().unwrap_or(0));
        self.asked().saturating_sub(served.iter().sum())
    }
}

impl SeenMember {
    /// `POOL/MEMBER`.
    pub fn full(&self) -> String {
        format!("{}/{}", self.pool, self.name)
    }

    /// Whether its state is that of an order, not of the configuration.
    pub fn is_ordered(&self) -> bool {
        self.overrides.iter().any(|key| key == "admin")
    }

    /// Attempts, all of them.
    pub fn asked(&self) -> u64 {
        self.attempts.values().sum()
    }

    /// Attempts that failed.
    pub fn failed(&self) -> u64 {
        let good = ["ok", "aborted"].map(|key| self.attempts.get(key).copied().unwrap_or(0));
        self.asked().saturating_sub(good.iter().sum())
    }

    /// Whether it is well and waits for its turn, as a spare or standby does.
    pub fn rests(&self) -> bool {
        !self.usable && self.state == "up" && ["spare", "standby"].contains(&self.role.as_str())
    }

    /// Why it does not serve like any other, in words.
    pub fn because(&self) -> String {
        if self.rests() {
            return self.role.clone();
        }
        let words = self.why.iter().map(|why| {
            let by = why.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let until = why.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
            let note = why.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            let found = self.check.as_ref().filter(|_| why.by.as_deref() == Some("checks"));
            let found = found.and_then(found_by).map(|found| format!(": {found}")).unwrap_or_default();
            format!("{}{by}{until}{note}{found}", why.flag)
        });
        words.collect::<Vec<_>>().join("; ")
    }
}

/// The finding of the last check of a member that is down, in words.
fn found_by(check: &Value) -> Option<String> {
    match check["ok"].as_bool()? {
        false => check["detail"].as_str().map(str::to_owned),
        true => Some(format!("{} of {} passed since", check["row"].as_u64()?, check["rise"].as_u64()?)),
    }
}
