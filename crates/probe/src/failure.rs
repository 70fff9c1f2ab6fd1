// SPDX-License-Identifier: Apache-2.0
//! Why a check failed, in words for administrators.

pub(crate) use net::Stage;

/// Waiting for an agent.
pub(crate) const AGENT: Stage = Stage::Other("waiting for the agent's line");
/// A check in Lua runs.
pub(crate) const SCRIPT: Stage = Stage::Other("running the script");

/// A failed check.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The network's, or this machine's.
    #[error(transparent)]
    Net(#[from] net::Failure),
    #[error("HTTP {found}, expected {expected}")]
    Status { found: u16, expected: String },
    #[error("HTTP {status}, but the first 64 KiB of the body do not match body=\"{pattern}\"")]
    Body { status: u16, pattern: String },
    #[error("HTTP {status}, but the first 64 KiB of the body match not_body=\"{pattern}\"")]
    Unwanted { status: u16, pattern: String },
    #[error("HTTP {status}: {why}")]
    Redirect { status: u16, why: String },
    #[error("agent: {0}")]
    Agent(String),
    #[error("script: {0}")]
    Script(String),
}
