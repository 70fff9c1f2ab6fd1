// SPDX-License-Identifier: Apache-2.0
//! A script, as it can be shown.

use crate::counts::ScriptCounts;
use crate::shadow::ShadowState;
use crate::trial::{Rollout, Trial};
use crate::trouble::Trouble;

/// A script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptState {
    /// Its row in the store, if it has one.
    pub row: Option<u32>,
    /// Its label; the store itself knows none.
    pub label: String,
    /// The version that serves, 0 for none.
    pub version: u64,
    /// The verdict on the file that was saved last.
    pub verdict: ScriptVerdict,
    /// The counts of its calls; zeros without a row.
    pub counts: ScriptCounts,
    /// The saved version that is on trial, or was last, and by which rules. None: a later one was
    /// saved without, or it serves.
    pub trial: Option<(Trial, Rollout)>,
    /// How a script that only runs beside others compares with them (`LuaBalancerShadow`).
    pub shadow: Option<ShadowState>,
    /// Why the file that was saved last was refused, while it is; else the last failed call of the
    /// version that serves.
    pub last_error: Option<Trouble>,
}

/// The verdict on a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptVerdict {
    /// It serves.
    Serves,
    /// The file that was saved last was refused; the version before goes on serving.
    Refused,
    /// The version was stuck: nobody calls it any more.
    Quarantined,
    /// There is no good version.
    Missing,
}
