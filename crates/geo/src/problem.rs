// SPDX-License-Identifier: Apache-2.0
//! Why a database is not used.

use std::path::{Path, PathBuf};

/// The fault of a database's file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The finding, and the expectation.
    pub what: String,
}

impl Problem {
    pub(crate) fn new(path: &Path, what: impl std::fmt::Display) -> Self {
        Problem { path: path.to_owned(), what: what.to_string() }
    }
}
