//! Why a check failed.

use thiserror::Error;

/// A failed check. The texts are for administrators.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Failure {
    #[error("resolve: {0}")]
    Resolve(String),
    #[error("connect: {0}")]
    Connect(String),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("HTTP: {0}")]
    Http(String),
    #[error("HTTP {status}, expected {expected}")]
    Status { status: u16, expected: String },
    #[error("body does not match /{0}/ in its first 64 KiB")]
    Body(String),
    #[error("more than {0} redirects")]
    Redirects(usize),
    #[error("agent: {0}")]
    Agent(String),
    #[error("settings: {0}")]
    Settings(String),
}
