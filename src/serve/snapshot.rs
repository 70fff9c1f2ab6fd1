// SPDX-License-Identifier: Apache-2.0
//! Everything that can be shown, as any child sees it, and a door to it for tests.

use std::ffi::CStr;
use std::sync::OnceLock;

use balance::counts::ScriptCounts;
use balance::shadow::ShadowState;
use balance::snapshot::{Extent, ScriptState, ScriptVerdict, Snapshot};
use balance::trial::{Rollout, Trial, TrialStage};
use script::{Bundle, ScriptId};
use table::{Table, Whose};

use crate::httpd::memory;
use crate::httpd::request::Request;
use crate::serve::child::{self, Child};

/// The part of the snapshot that is asked for, with what other servers say of members; all of it
/// has scripts and dictionaries.
pub fn of(child: &Child, extent: Extent<'_>) -> Snapshot {
    let mut all = child.table.snapshot(memory::monotonic_ms(), extent);
    if let Some(fronts) = &child.fronts {
        fronts.opinions().show(&mut all.pools);
    }
    if extent != Extent::All {
        return all;
    }
    let known = std::mem::take(&mut all.scripts);
    let scripts = child.library.ids().zip(&child.script_rows);
    all.scripts = scripts.map(|(id, row)| script(child, &known, id, *row)).collect();
    tell_apart(&mut all.scripts);
    all.dicts = child.dicts.states();
    all
}

/// A script without a row is known to this child alone.
fn script(child: &Child, known: &[ScriptState], id: ScriptId, row: Option<u32>) -> ScriptState {
    let version = child.library.version(id);
    let verdict = if version == 0 { ScriptVerdict::Missing } else { ScriptVerdict::Serves };
    let counts = ScriptCounts::default();
    let trial = trial(child, id);
    let label = child.library.label(id);
    let shadow = shadow(child, id, row);
    let label = if shadow.is_some() { format!("{label} (shadow)") } else { label };
    let own = ScriptState { row, label, version, verdict, counts, trial, shadow, last_error: None };
    let Some(found) = known.iter().find(|script| row.is_some() && script.row == row) else { return own };
    let is_tried = trial.is_some_and(|(trial, _)| trial.stage != TrialStage::Failed);
    let refused = !is_tried
        && found.verdict == ScriptVerdict::Serves
        && row.is_some_and(|row| is_refused(&child.table, row));
    let verdict = if refused { ScriptVerdict::Refused } else { found.verdict };
    let last_error = row.filter(|_| refused).and_then(|row| {
        let stamp = child.table.judged_stamp(row);
        child.table.trouble(Whose::Save(row), stamp)
    });
    let last_error = last_error.or_else(|| found.last_error.clone());
    ScriptState { version: found.version, verdict, counts: found.counts, last_error, ..own }
}

/// How a script compares that is only looked at.
fn shadow(child: &Child, id: ScriptId, row: Option<u32>) -> Option<ShadowState> {
    let share = child.main_config.config.scripts.get(id.0 as usize)?.shadow?;
    let of_row = |row: u32| {
        let differences = child.table.differences(row, memory::monotonic_ms());
        ShadowState { share, counts: child.table.shadow_counts(row), differences }
    };
    Some(row.map_or(ShadowState { share, ..ShadowState::default() }, of_row))
}

/// Gives each script a name of its own: one file may be a script of several servers, with other
/// settings.
fn tell_apart(scripts: &mut [ScriptState]) {
    for at in 1..scripts.len() {
        let (before, rest) = scripts.split_at_mut(at);
        let Some(script) = rest.first_mut() else { return };
        let is_taken = |name: &str| before.iter().any(|other| other.label == name);
        if is_taken(&script.label) {
            let names = (2..).map(|number| format!("{} #{number}", script.label));
            script.label = names.into_iter().find(|name| !is_taken(name)).unwrap_or_default();
        }
    }
}

/// The version of the files that were judged last, while those do not serve.
fn trial(child: &Child, id: ScriptId) -> Option<(Trial, Rollout)> {
    let script = child.trials.as_deref()?.script(id)?;
    let row = child.script_rows.get(id.0 as usize).copied().flatten()?;
    let trial = child.table.trial(script.row)?;
    let judged = child.table.judged_stamp(row);
    let is_last = judged == child.table.judged_stamp(script.row) || trial.stage == TrialStage::Passed;
    is_last.then_some((trial, script.rollout))
}

/// Whether other files were looked at since those that serve, and not taken.
fn is_refused(table: &Table, row: u32) -> bool {
    let serving = table.read_script(row).and_then(|(_, bytes)| Bundle::from_bytes(&bytes).ok());
    serving.is_some_and(|bundle| ![0, bundle.stamp().0].contains(&table.judged_stamp(row)))
}

/// Names the path, such as `/--state`, below which the text of the snapshot is answered, whatever
/// else is configured: for tests. In other servers the variable is not set, and nothing asks here.
const DOOR: &str = "LUA_BALANCER_TEST_DOOR";

/// The path of the door, if this server has one.
pub fn door() -> Option<&'static str> {
    static PATH: OnceLock<Option<String>> = OnceLock::new();
    PATH.get_or_init(|| std::env::var(DOOR).ok().filter(|path| path.starts_with('/'))).as_deref()
}

/// In a server with a door, a request may say from which seed the picks of its thread draw.
const DRAW: &CStr = c"X-Draw";

/// Has a request of a test draw from its own seed.
pub fn seed(request: Request<'_>) {
    let said = request.headers_in().get(DRAW).and_then(|seed| str::from_utf8(seed).ok()?.parse().ok());
    if let (Some(seed), Some(child)) = (said, child::get()) {
        child::with_thread(child, |thread| thread.balancer.draw_from(seed));
    }
}

/// Answers a request to the door, or to a pool's name below it. False: it wants something else.
pub fn answer(request: Request<'_>) -> bool {
    let path = request.uri().unwrap_or_default();
    let Some(rest) = door().and_then(|door| path.strip_prefix(door.as_bytes())) else { return false };
    let Some(child) = child::get() else { return false };
    let pool = rest.split(|byte| *byte == b'/').find(|part| !part.is_empty());
    let mut all = of(child, Extent::All);
    if let Some(name) = pool {
        all.pools.retain(|pool| pool.name.as_bytes() == name);
    }
    request.write(all.to_string().as_bytes());
    true
}
