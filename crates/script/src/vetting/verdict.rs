// SPDX-License-Identifier: Apache-2.0
//! The findings of vetting.

use std::path::PathBuf;

use crate::decision::definition::Definition;
use crate::error::ScriptError;
use crate::source::bundle::Bundle;
use crate::source::stamp::Stamp;

/// The findings of vetting. They come from a process that ran the script and is not trusted:
/// `Library::accept` looks at them.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The files that were looked at.
    pub(crate) watch: Vec<PathBuf>,
    /// Their state; None when they would not hold still.
    pub(crate) stamp: Option<Stamp>,
    /// Sources and definitions, or what is wrong.
    pub(crate) outcome: Result<(Bundle, Vec<Definition>), ScriptError>,
}
