// SPDX-License-Identifier: Apache-2.0
//! Saved versions on trial: each child follows them, and the first that sees one at its end says
//! what becomes of it. A version that has passed is judged once more and served then, as others are
//! that are saved without a trial: so nothing but its files has to be kept meanwhile.

use balance::counting::ReloadEnd;
use balance::journal::EventKind;
use balance::trial::{Trial, TrialStage, WHOLE};
use script::{Bundle, ScriptId, Stamp};
use table::Whose;

use crate::httpd::{log, memory};
use crate::keep::events;
use crate::serve::child::Child;
use crate::serve::trials::TriedScript;
use crate::serve::troubles::note_refused;

/// Once a tick.
pub fn turn(child: &Child) {
    let Some(trials) = child.trials.as_deref() else { return };
    for script in trials.scripts() {
        if let Some(seen) = child.table.trial(script.row) {
            look(child, script, seen);
        }
        trials.follow(&child.table, script);
    }
}

fn look(child: &Child, script: &TriedScript, seen: Trial) {
    let table = &child.table;
    match seen.stage_at(memory::monotonic_ms(), &script.rollout) {
        TrialStage::Running => {}
        TrialStage::Failed => {
            if seen.stage == TrialStage::Running && table.end_trial(script.row, seen, TrialStage::Failed) {
                tell_failed(child, script, &failures(script, seen));
            }
        }
        TrialStage::Passed => {
            if seen.stage == TrialStage::Running && table.end_trial(script.row, seen, TrialStage::Passed) {
                let label = child.library.label(script.id);
                let text =
                    format!("{label}: {} of {} calls failed: the trial is over", seen.failed, seen.calls);
                events::note(table, EventKind::Script, messages::scripts::TRIAL_OVER, &text);
            }
            let row = child.script_rows.get(script.id.0 as usize).copied().flatten();
            if row.is_some_and(|row| table.judge_again(row, table.judged_stamp(script.row))) {
                child.library.judge_again(script.id);
            }
        }
    }
}

fn failures(script: &TriedScript, seen: Trial) -> String {
    let share = |hundredths: u64| {
        let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    format!(
        "{} of {} calls failed ({} %, at most {} % may)",
        seen.failed,
        seen.calls,
        share(seen.failed.saturating_mul(u64::from(WHOLE)) / seen.calls.max(1)),
        share(u64::from(script.rollout.errors)),
    )
}

fn tell_failed(child: &Child, script: &TriedScript, why: &str) {
    let (table, label) = (&child.table, child.library.label(script.id));
    let text = format!("{label}: {why}: the saved version is not taken, the one before serves everything");
    if let Some(row) = child.script_rows.get(script.id.0 as usize).copied().flatten() {
        let last = table.trouble(Whose::Call(script.row), table.script_version(script.row));
        let last = last.map_or(String::new(), |last| format!("; the last one: {}", last.text));
        note_refused(table, row, table.judged_stamp(script.row), &format!("{label}: {why}{last}"));
        table.count_reload(row, ReloadEnd::Failed);
    }
    events::note(table, EventKind::Script, messages::scripts::TRIAL_FAILED, &text);
}

/// A call of the version on trial does not come back: it is served to nobody any more.
pub fn fail_stuck(child: &Child, id: ScriptId, late: &str) {
    let Some(script) = child.trials.as_deref().and_then(|trials| trials.script(id)) else { return };
    let Some(seen) = child.table.trial(script.row) else { return };
    if seen.stage == TrialStage::Running && child.table.end_trial(script.row, seen, TrialStage::Failed) {
        tell_failed(child, script, &format!("it is stuck in C, {late}"));
    }
}

/// Puts a good version on trial, if its script's directives say so and an earlier one serves.
/// False: it is to be served at once.
pub fn begin(child: &Child, id: ScriptId, (row, stamp): (u32, Stamp), bundle: &Bundle) -> bool {
    let (table, pid) = (&child.table, memory::pid());
    let Some(trials) = child.trials.as_deref() else { return false };
    let Some(script) = trials.script(id).filter(|_| table.script_version(row) != 0) else { return false };
    let known = table.trial(script.row).filter(|_| table.judged_stamp(script.row) == stamp.0);
    if known.is_some_and(|known| known.stage == TrialStage::Passed) {
        table.forget_trial(script.row);
        return false;
    }
    // The version that serves was saved again: that is the way back from a trial.
    let serves = child.library.bundle(id).is_some_and(|serving| serving.has_sources_of(bundle));
    if serves {
        table.forget_trial(script.row);
        trials.follow(table, script);
        return false;
    }
    if !publish(child, script, stamp, bundle) {
        return false;
    }
    table.begin_trial(script.row, memory::monotonic_ms());
    // It is judged: nobody looks at these files again before the end of the trial.
    table.reject_script(row, pid, stamp.0);
    trials.follow(table, script);
    let (percent, label) = (f64::from(script.rollout.share) / 100.0, child.library.label(id));
    let seconds = script.rollout.for_ms as f64 / 1000.0;
    let text =
        format!("{label}: the saved version is on trial, with {percent} % of the requests for {seconds} s");
    events::note(table, EventKind::Script, messages::scripts::ON_TRIAL, &text);
    true
}

/// Stores the version for all children. One without room is served at once, and its log line says
/// why.
fn publish(child: &Child, script: &TriedScript, stamp: Stamp, bundle: &Bundle) -> bool {
    let (table, pid) = (&child.table, memory::pid());
    let now_ms = memory::monotonic_ms();
    // The same files may be on trial once more.
    table.judge_again(script.row, stamp.0);
    if !table.claim_judgement(script.row, stamp.0, pid, now_ms, &memory::alive) {
        return false;
    }
    let published = table.publish_script(script.row, pid, stamp.0, &bundle.to_bytes());
    if let Err(error) = &published {
        table.give_up_judgement(script.row, pid);
        let text = format!("{}: {error}: there is no trial", child.library.label(script.id));
        log::server(messages::scripts::NO_TRIAL, &text);
    }
    published.is_ok()
}
