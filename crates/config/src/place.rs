// SPDX-License-Identifier: Apache-2.0
//! Where something is written.

/// Place of a directive, for messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Configuration file.
    pub file: String,
    /// Line in it.
    pub line: u32,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} of {}", self.line, self.file)
    }
}
