// SPDX-License-Identifier: Apache-2.0
//! The document of sampled decisions.

use balance::counting::Ending;
use balance::sampled::{SampledAttempt, SampledRequest};
use serde::Serialize;

use crate::time::Time;
use crate::value::Figure;

/// Decisions that were sampled, oldest first.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Decisions"))]
pub struct DecisionsDoc<'a> {
    /// The decisions.
    pub decisions: Vec<SampledDoc<'a>>,
}

/// Where a request went, and how.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SampledDecision"))]
pub struct SampledDoc<'a> {
    /// When it was over.
    pub at: Time,
    /// The pool; null for a target.
    pub pool: Option<&'a str>,
    /// The last member that was asked, or the target.
    pub member: Option<&'a str>,
    /// How it was picked, as `LB_METHOD` says.
    pub method: Option<&'a str>,
    /// How it ended, as `LB_REASON` says.
    pub reason: &'a str,
    /// How many members could have been picked.
    pub candidates: u32,
    /// The attempts, in their order.
    pub attempts: Vec<AttemptDoc<'a>>,
    /// From the first attempt, or the wait for it, to the end of the last one.
    pub seconds: Figure,
    /// The status of the answer.
    pub status: u16,
    /// The path without its query, at most 64 bytes.
    pub path: &'a str,
}

/// One attempt of a request.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "SampledAttempt"))]
pub struct AttemptDoc<'a> {
    /// The member; null for a target.
    pub member: Option<&'a str>,
    /// How it ended: a key of a member's `attempts`.
    pub outcome: &'static str,
}

impl<'a> SampledDoc<'a> {
    /// Of a request and its attempts.
    pub fn of(request: &SampledRequest<'a>, attempts: &[SampledAttempt<'a>]) -> Self {
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let attempt =
            |one: &SampledAttempt<'a>| AttemptDoc { member: some(one.member), outcome: outcome(one.ending) };
        SampledDoc {
            at: Time(request.at_ms / 1000),
            pool: some(request.pool),
            member: some(request.member),
            method: some(request.method),
            reason: request.reason,
            candidates: request.candidates,
            attempts: attempts.iter().map(attempt).collect(),
            seconds: Figure::measured(request.took_us as f64 / 1e6),
            status: request.status,
            path: request.path,
        }
    }
}

fn outcome(ending: Ending) -> &'static str {
    match ending {
        Ending::Ok => "ok",
        Ending::Status => "status",
        Ending::Connect => "connect",
        Ending::Reset => "reset",
        Ending::Timeout => "timeout",
        Ending::Aborted => "aborted",
        Ending::NoMember => "no_member",
        Ending::QueueTimeout => "queue_timeout",
        Ending::QueueFull => "queue_full",
        Ending::Script => "script",
    }
}
