// SPDX-License-Identifier: Apache-2.0
//! Sources of members, as they are shown.

use std::sync::Arc;

use crate::guard::SourceStanding;
use crate::settings::Discovery;

/// A source of members.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceState {
    /// Its pool.
    pub pool: Arc<str>,
    /// Its directive.
    pub settings: Discovery,
    /// Members in service that it has found.
    pub members: usize,
    /// How it does.
    pub note: SourceNote,
    /// How many lists were applied, unchanged, held, and how many looks have failed.
    pub updates: [u64; 4],
}

/// How a source does, as its leader has noted it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceNote {
    /// In numbers.
    pub standing: SourceStanding,
    /// The error of it, or of its list; empty for none.
    pub error: String,
    /// Names of the members that a held list does not have, separated by blanks; so many as fit.
    pub held: String,
    /// How many these are, with those that do not fit.
    pub gone: u32,
}
