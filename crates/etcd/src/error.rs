// SPDX-License-Identifier: Apache-2.0
//! Why etcd has not done as it was asked, for administrators: one line, without secrets.

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// Nobody has answered, or somebody who cannot work: another endpoint may.
    #[error("{endpoint}: {why}")]
    Away {
        /// `http://host:port`.
        endpoint: String,
        /// The error.
        why: String,
        /// The question may have been carried out all the same.
        sent: bool,
    },
    /// The answer is a refusal, which all endpoints would give.
    #[error("{endpoint}: etcd says \"{message}\"")]
    Refused {
        /// `http://host:port`.
        endpoint: String,
        /// Of gRPC.
        code: i64,
        /// Of etcd.
        message: String,
    },
    /// The answer is not etcd's.
    #[error("{endpoint}: {why}")]
    Garbage {
        /// `http://host:port`.
        endpoint: String,
        /// The error.
        why: String,
    },
    /// A file that is named by the settings cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl EtcdError {
    /// Whether what was asked may have been done all the same.
    pub fn may_have_landed(&self) -> bool {
        matches!(self, EtcdError::Away { sent: true, .. } | EtcdError::Garbage { .. })
    }
}
