// SPDX-License-Identifier: Apache-2.0
//! The decision about a request, and who made it.

use balance::api::PoolId;
use balance::choosing::{Chooser, Decision};
use script::{Answer, ScriptError};

use crate::ground::Hook;

/// A decision, and what belongs to it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The place where it goes.
    pub decision: Decision<Hook>,
    /// The key that the script gave.
    pub key: Option<Box<[u8]>>,
    /// How the script picked the first member; None: it named it.
    pub picked_by: Option<&'static str>,
}

impl Plan {
    /// The member that the pool's own method picks.
    pub fn pool(pool: PoolId) -> Self {
        Decision::pool(pool).into()
    }

    /// The chooser of its attempts.
    pub fn chooser(&self) -> Chooser<'_, Hook> {
        Chooser::of(&self.decision, self.key.as_deref(), self.picked_by)
    }
}

impl From<Decision<Hook>> for Plan {
    fn from(decision: Decision<Hook>) -> Self {
        Plan { decision, key: None, picked_by: None }
    }
}

/// A hook that was asked.
#[derive(Debug, Clone)]
pub struct HookCall {
    /// The hook.
    pub hook: Hook,
    /// The directive.
    pub directive: &'static str,
    /// Its answer, or why it failed.
    pub said: Result<Answer, ScriptError>,
    /// How long it took, where somebody measures.
    pub seconds: Option<f64>,
}

/// The ruling of all hooks, and of mod_proxy's lines behind them, on a request.
#[derive(Debug, Clone)]
pub enum Ruling {
    /// It goes there.
    Send(Plan),
    /// The script has answered, or an error has.
    Answer {
        /// The status.
        status: u16,
        /// The body, where the script has written one.
        body: Option<Vec<u8>>,
        /// The script failed.
        failed: bool,
    },
    /// Nobody of ours wants it: httpd goes on.
    Declined,
}

/// A visit to the hooks.
#[derive(Debug, Clone)]
pub struct Visited {
    /// The hooks that were asked, in order.
    pub hooks: Vec<HookCall>,
    /// The ruling.
    pub verdict: Ruling,
    /// The line of mod_proxy that decided, where one did.
    pub by_line: Option<String>,
}
