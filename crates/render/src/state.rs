// SPDX-License-Identifier: Apache-2.0
//! The document of the state file.

use serde::Serialize;
use serde_json::Value;

use crate::time::Time;

/// The state file as it is, and what a start would make of it.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "State"))]
pub struct StateFileDoc {
    /// Its path; null where there is none.
    pub path: Option<String>,
    /// When it was written; null while it was not.
    pub written: Option<Time>,
    /// Why it cannot be read, or written; null when it can.
    pub error: Option<String>,
    /// Its content, but for secrets.
    pub file: Option<Value>,
    /// The parts that a start would take, with the configuration as it is now.
    pub apply: Vec<StatePartDoc>,
    /// The parts that it would not take.
    pub drop: Vec<StatePartDoc>,
}

/// Parts of what is kept of a member.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "StatePart"))]
pub struct StatePartDoc {
    /// The pool's name.
    pub pool: String,
    /// The member's name.
    pub member: String,
    /// The keys: added, admin, weight, max_inflight, meta, until, note, health.
    pub keys: Vec<&'static str>,
    /// Why not; null where they are taken.
    pub why: Option<String>,
}
