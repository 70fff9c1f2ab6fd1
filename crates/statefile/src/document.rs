// SPDX-License-Identifier: Apache-2.0
//! The document, as JSON has it. Values at their default are left out. Keys that a later version
//! has written are passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::values::{AdminWord, KeptTime, ThenWord, Weight};

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateDocument {
    /// The meaning of its keys.
    pub format: u32,
    /// When it was written.
    pub written: KeptTime,
    /// By which version of the module.
    pub by: String,
    /// Pools with a member that something is kept of.
    pub pools: Vec<KeptPool>,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptPool {
    /// Its name.
    pub name: String,
    /// Members that something is kept of, in the pool's order.
    pub members: Vec<KeptMember>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptMember {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// Its line, where it was added while the server ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<KeptLine>,
    /// The values that replace the configuration's.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
    /// The author of that order, its end, and its reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<KeptOrder>,
    /// The words of checks and requests, where they differ from what a start would suppose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<KeptHealth>,
    /// Since when no configuration has it. None: it was there when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_since: Option<KeptTime>,
}

/// The line of a member that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLine {
    /// As `LuaBalancerMember` has it, without `secret=`.
    pub line: String,
    /// `secret=`: it leaves the file for nobody but the member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// The author of the line.
    pub source: String,
}

/// The values that replace the configuration's.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overrides {
    /// The state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Override<AdminWord>>,
    /// The weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Override<Weight>>,
    /// Most requests at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_inflight: Option<Override<u32>>,
    /// All meta keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Override<BTreeMap<String, String>>>,
}

/// A value, beside the one that it holds in place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override<T> {
    /// The value that holds.
    pub value: T,
    /// The value of the configuration.
    pub configured: T,
    /// A script has set it, and no order.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_script: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The author of an order, its end, and its reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptOrder {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<KeptTime>,
    /// The author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When `then` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<KeptTime>,
    /// The state that holds then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<ThenWord>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The words of checks and requests about a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHealth {
    /// Active checks say that it is down, or up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<bool>,
    /// The state that its agent wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<KeptAgent>,
    /// It is out, because requests failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejected: Option<KeptEjection>,
}

/// The state that an agent wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAgent {
    /// No requests at all.
    #[serde(default, skip_serializing_if = "is_false")]
    pub maint: bool,
    /// No new sessions.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drain: bool,
    /// Percent of the weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u16>,
}

/// An ejection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptEjection {
    /// When it ends.
    pub until: KeptTime,
    /// How many there were, without a long good time between.
    pub times: u64,
}

impl Overrides {
    /// Whether nothing holds in place of anything.
    pub fn is_empty(&self) -> bool {
        self.admin.is_none() && self.weight.is_none() && self.max_inflight.is_none() && self.meta.is_none()
    }
}

impl KeptHealth {
    /// Whether it is what a start would suppose.
    pub fn is_empty(&self) -> bool {
        *self == KeptHealth::default()
    }
}

impl KeptMember {
    /// The parts that there are, by the names that messages have for them.
    pub fn keys(&self) -> Vec<&'static str> {
        let Overrides { admin, weight, max_inflight, meta } = &self.overrides;
        let order = self.order.as_ref();
        let all = [
            ("added", self.added.is_some()),
            ("admin", admin.is_some()),
            ("weight", weight.is_some()),
            ("max_inflight", max_inflight.is_some()),
            ("meta", meta.is_some()),
            ("until", order.is_some_and(|order| order.until.is_some())),
            ("note", order.is_some_and(|order| order.note.is_some())),
            ("health", self.health.is_some()),
        ];
        all.into_iter().filter(|(_, is)| *is).map(|(key, _)| key).collect()
    }
}
