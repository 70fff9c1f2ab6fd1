// SPDX-License-Identifier: Apache-2.0
//! Why a request would go where it goes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The decision about a request, by whom, and from among whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Explained"))]
pub struct ExplainedDoc {
    /// The hook that decided; null where none did.
    pub hook: Option<HookDoc>,
    /// The decision.
    pub decision: DecisionDoc,
    /// The members that could be picked.
    pub candidates: Vec<CandidateDoc>,
    /// The route of the client's session.
    pub session: Option<String>,
    /// The members that would be asked next, one after the other.
    pub then: Vec<String>,
    /// The facts that could not be known.
    pub unknown: Vec<String>,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ExplainedHook"))]
pub struct HookDoc {
    /// The directive.
    pub directive: Cow<'static, str>,
    /// The script.
    pub script: String,
    /// The function.
    pub function: String,
    /// Where it begins.
    pub line: Option<usize>,
    /// The version that was asked.
    pub version: u64,
    /// How long it took; null where nobody measures.
    pub seconds: Option<f64>,
    /// Its return value.
    pub returned: String,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ExplainedDecision"))]
pub struct DecisionDoc {
    /// The pool.
    pub pool: Option<String>,
    /// How it is narrowed.
    pub view: Option<String>,
    /// How the member was picked.
    pub method: Option<String>,
    /// The member, or the URL of a backend that is in no pool.
    pub member: Option<String>,
    /// The status, where nobody is asked.
    pub status: Option<u16>,
    /// In words.
    pub because: String,
}

/// A member of the pool or view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ExplainedCandidate"))]
pub struct CandidateDoc {
    /// Its name.
    pub member: String,
    /// Whether it could be picked.
    pub considered: bool,
    /// Why not; or that it was chosen.
    pub why: String,
    /// Its weight in this pick.
    pub weight: f64,
    /// Requests there.
    pub inflight: u32,
    /// The value that its method compares; null where it compares none.
    pub score: Option<f64>,
}
