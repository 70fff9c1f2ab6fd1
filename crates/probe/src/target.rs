// SPDX-License-Identifier: Apache-2.0
//! The target of a check, and its result.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use balance::member::Member;
use balance::settings::HealthCheck;

use crate::agent::AgentReply;

/// A member to be checked.
#[derive(Debug, Clone)]
pub struct CheckTarget {
    /// Identity: the member's slot in the upper, its incarnation in the lower 32 bits. Comes back
    /// in [`Observation`].
    pub key: u64,
    /// Name of the pool.
    pub pool: Arc<str>,
    /// Where to connect to.
    pub member: Arc<Member>,
    /// How to check, and how often.
    pub check: Arc<HealthCheck>,
}

/// The result of one check of one member.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// [`CheckTarget::key`].
    pub key: u64,
    /// Whether the check passed. An agent's answer passes unless it says `down`, `fail` or
    /// `stopped`.
    pub ok: bool,
    /// The reason, for administrators: `HTTP 503, expected 200-399`, `connect: refused
    /// (10.0.0.1:80)`, `status 200`.
    pub why: String,
    /// How long the whole check took.
    pub millis: f64,
    /// How long it is until the next one begins.
    pub next: Duration,
    /// The agent's reply, when it could be read.
    pub agent: Option<AgentReply>,
}

/// Runs a Lua check. Called on the prober's thread when a member's check is due; the future is
/// polled there too, beside all other checks, and dropped when the check's timeout is over. `Err`
/// holds why the member failed.
pub type ScriptCheck = Rc<dyn Fn(&CheckTarget) -> Pin<Box<dyn Future<Output = Result<(), String>>>>>;
