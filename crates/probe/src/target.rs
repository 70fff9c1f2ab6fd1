//! What is checked and what came of it.

use std::sync::Arc;

use balance::member::Member;
use balance::settings::HealthCheck;

use crate::agent::AgentReply;

/// One member to check.
#[derive(Debug, Clone)]
pub struct Target {
    /// The caller's name for it, unique among the targets.
    pub key: u64,
    /// Name of the pool.
    pub pool: Arc<str>,
    /// The member.
    pub member: Arc<Member>,
    /// How it is checked.
    pub check: Arc<HealthCheck>,
}

impl Target {
    /// Whether a running task may go on for `other`.
    pub(crate) fn same_check(&self, other: &Target) -> bool {
        self.key == other.key
            && (Arc::ptr_eq(&self.check, &other.check) || self.check == other.check)
            && self.member.spec.url == other.member.spec.url
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The target's key.
    pub key: u64,
    /// Whether the check passed.
    pub ok: bool,
    /// For administrators: why it failed, or what the member said. One line without control characters.
    pub why: String,
    /// How long the check took.
    pub millis: f64,
    /// What an agent said, when it was understood.
    pub agent: Option<AgentReply>,
}
