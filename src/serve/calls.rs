// SPDX-License-Identifier: Apache-2.0
//! Calls of scripts, counted: how they ended, and how long they took.

use balance::counting::CallEnd;
use script::{Answer, ErrorKind, LuaState, ScriptError, ScriptId};

use crate::httpd::memory;
use crate::httpd::request::Request;
use crate::serve::child::Child;
use crate::serve::troubles;

/// The result of a call, as far as it is counted.
pub trait Said {
    /// Whether it left the decision to others.
    fn is_declined(&self) -> bool;
}

impl Said for Answer {
    fn is_declined(&self) -> bool {
        matches!(self, Answer::Decline)
    }
}

impl Said for () {
    fn is_declined(&self) -> bool {
        false
    }
}

/// How a call counts. None: it was only stopped, and is nobody's failure.
pub fn ending(said: Result<bool, &ScriptError>) -> Option<CallEnd> {
    Some(match said {
        Ok(false) => CallEnd::Ok,
        Ok(true) => CallEnd::Declined,
        Err(error) => match error.kind {
            ErrorKind::Stopped => return None,
            ErrorKind::Time => CallEnd::TimeLimit,
            ErrorKind::Memory => CallEnd::MemoryLimit,
            _ => CallEnd::Error,
        },
    })
}

impl Child {
    /// Calls `body` with a state whose scripts see this request, for a call of one of them.
    pub fn call<T: Said>(
        &self,
        request: Request<'_>,
        id: ScriptId,
        body: impl FnOnce(&LuaState) -> Result<T, ScriptError>,
    ) -> Result<T, ScriptError> {
        let (lua, on_trial) = match self.trials.as_deref().and_then(|trials| trials.of(id, request)) {
            None => (&self.lua, None),
            Some(trial) => (trial.lua, Some(trial.row)),
        };
        let began_ns = memory::monotonic_ns();
        let said = lua.with(request, body);
        if let Err(error) = &said {
            self.note_failed(id, on_trial, error);
        }
        if on_trial.is_none() && !self.table.has_counts() {
            return said;
        }
        if let Some(row) = on_trial
            && let Some(ending) = ending(said.as_ref().map(Said::is_declined))
        {
            self.table.count_trial(row, !matches!(ending, CallEnd::Ok | CallEnd::Declined));
        }
        let took_ns = memory::monotonic_ns().saturating_sub(began_ns);
        self.count_call(id, said.as_ref().map(Said::is_declined), took_ns);
        said
    }

    /// Keeps the error of a call, of the version that serves, or of the one on trial in that row.
    pub fn note_failed(&self, id: ScriptId, on_trial: Option<u32>, error: &ScriptError) {
        // The version in quarantine has its reason already.
        if matches!(error.kind, ErrorKind::Stopped | ErrorKind::Quarantined) {
            return;
        }
        let own = || self.script_rows.get(id.0 as usize).copied().flatten();
        let (row, version) = match on_trial {
            Some(row) => (Some(row), self.table.script_version(row)),
            None => (own(), self.library.version(id)),
        };
        if let Some(row) = row {
            troubles::note_failed(&self.table, row, version, &error.message);
        }
    }

    /// Counts a call.
    pub fn count_call(&self, id: ScriptId, said: Result<bool, &ScriptError>, took_ns: u64) {
        let row = self.script_rows.get(id.0 as usize).copied().flatten();
        if let (true, Some(row), Some(ending)) = (self.table.has_counts(), row, ending(said)) {
            self.table.count_call(row, ending, took_ns);
        }
    }
}
