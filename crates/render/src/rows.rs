// SPDX-License-Identifier: Apache-2.0
//! Lists of scripts, dictionaries and children. Each row says its last error; null where nobody
//! keeps one.

use balance::snapshot::ScriptVerdict;
use balance::trial::{Rollout, Trial, TrialStage};
use balance::trouble::Trouble;
use serde::Serialize;

use crate::Shown;
use crate::time::Time;
use crate::value::Figure;

/// All scripts.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Scripts"))]
pub struct ScriptsDoc<'a> {
    /// In the order in which the configuration names them.
    pub scripts: Vec<ScriptDoc<'a>>,
}

/// A script.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Script"))]
pub struct ScriptDoc<'a> {
    /// Its name in the log.
    pub name: &'a str,
    /// The version that serves, 0 for none.
    pub version: u64,
    /// serves, refused, quarantined or missing.
    pub verdict: &'static str,
    /// Calls by result.
    pub calls: CallsDoc,
    /// Seconds that all calls took together.
    pub seconds: Figure,
    /// The saved version that is on trial, or was last and was not taken (LuaBalancerRollout).
    pub rollout: Option<RolloutDoc>,
    /// Saved versions by their results, since the server started.
    pub reloads: ReloadsDoc,
    /// Why the file that was saved last is refused; else the last failed call of the version that
    /// serves. With file and line.
    pub last_error: Option<&'a str>,
    /// When that was.
    pub last_error_at: Option<Time>,
}

/// Saved versions by their results.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Reloads"))]
pub struct ReloadsDoc {
    /// They came into service.
    pub ok: u64,
    /// They were refused when they were saved.
    pub refused: u64,
    /// Too many of their calls failed on trial.
    pub failed: u64,
}

/// A version on trial.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Rollout"))]
pub struct RolloutDoc {
    /// running, passed or failed.
    pub state: &'static str,
    /// Percent of the requests that it serves while it is running.
    pub percent: Figure,
    /// Percent of its calls that may fail.
    pub errors: Figure,
    /// Its calls.
    pub calls: u64,
    /// How many of them have failed.
    pub failed: u64,
    /// When it is over, if too many calls have not failed by then.
    pub until: Option<Time>,
}

/// Calls by result.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Calls"))]
pub struct CallsDoc {
    /// They decided.
    pub ok: u64,
    /// They left the decision to others.
    pub declined: u64,
    /// They failed.
    pub error: u64,
    /// They took too long.
    pub time_limit: u64,
    /// They wanted too much memory.
    pub memory_limit: u64,
}

/// All dictionaries.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Dicts"))]
pub struct DictsDoc<'a> {
    /// In configured order.
    pub dicts: Vec<DictDoc<'a>>,
}

/// A dictionary.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Dict"))]
pub struct DictDoc<'a> {
    /// Its name.
    pub name: &'a str,
    /// Bytes in all.
    pub size: usize,
    /// Bytes free.
    pub free: usize,
    /// Entries that had time left and were thrown out for others.
    pub evictions: u64,
    /// Its last refusal, for want of room or since a process held it up.
    pub last_error: Option<&'a str>,
    /// When that was.
    pub last_error_at: Option<Time>,
}

/// All children.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Children"))]
pub struct ChildrenDoc<'a> {
    /// The children that take part.
    pub children: Vec<ChildDoc<'a>>,
}

/// A child.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Child"))]
pub struct ChildDoc<'a> {
    /// Its process.
    pub pid: i32,
    /// The configuration that it serves by.
    pub generation: u32,
    /// It does what one child does for all.
    pub leads: bool,
    /// The last error that it wrote into the log for itself.
    pub last_error: Option<&'a str>,
    /// When that was.
    pub last_error_at: Option<Time>,
}

fn text_of(error: &Option<Trouble>) -> Option<&str> {
    error.as_ref().map(|error| error.text.as_str())
}

fn time_of(error: &Option<Trouble>) -> Option<Time> {
    error.as_ref().and_then(|error| Time::noted(error.at_s))
}

/// The word of a verdict.
pub fn verdict_word(verdict: ScriptVerdict) -> &'static str {
    match verdict {
        ScriptVerdict::Serves => "serves",
        ScriptVerdict::Refused => "refused",
        ScriptVerdict::Quarantined => "quarantined",
        ScriptVerdict::Missing => "missing",
    }
}

impl<'a> Shown<'a> {
    /// All scripts.
    pub fn scripts(&self) -> ScriptsDoc<'a> {
        let all = self.all.scripts.iter().map(|script| ScriptDoc {
            name: &script.label,
            version: script.version,
            verdict: verdict_word(script.verdict),
            calls: CallsDoc {
                ok: script.counts.ok,
                declined: script.counts.declined,
                error: script.counts.error,
                time_limit: script.counts.time_limit,
                memory_limit: script.counts.memory_limit,
            },
            seconds: Figure::measured(script.counts.sum_us as f64 / 1e6),
            rollout: script.trial.as_ref().map(|(trial, rollout)| self.rollout(trial, rollout)),
            reloads: {
                let [ok, refused, failed] = script.counts.reloads;
                ReloadsDoc { ok, refused, failed }
            },
            last_error: text_of(&script.last_error),
            last_error_at: time_of(&script.last_error),
        });
        ScriptsDoc { scripts: all.collect() }
    }

    fn rollout(&self, trial: &Trial, rollout: &Rollout) -> RolloutDoc {
        RolloutDoc {
            state: match trial.stage {
                TrialStage::Running => "running",
                TrialStage::Passed => "passed",
                TrialStage::Failed => "failed",
            },
            percent: Figure::measured(f64::from(rollout.share) / 100.0),
            errors: Figure::measured(f64::from(rollout.errors) / 100.0),
            calls: trial.calls,
            failed: trial.failed,
            until: self.on_calendar(trial.began_ms.saturating_add(rollout.for_ms)),
        }
    }

    /// All dictionaries.
    pub fn dicts(&self) -> DictsDoc<'a> {
        let all = self.all.dicts.iter().map(|dict| DictDoc {
            name: &dict.name,
            size: dict.size,
            free: dict.free,
            evictions: dict.evictions,
            last_error: text_of(&dict.last_error),
            last_error_at: time_of(&dict.last_error),
        });
        DictsDoc { dicts: all.collect() }
    }

    /// All children.
    pub fn children(&self) -> ChildrenDoc<'a> {
        let lead = self.all.lead.filter(|lead| lead.fresh).map(|lead| lead.pid);
        let all = self.all.children.iter().map(|child| ChildDoc {
            pid: child.pid,
            generation: child.generation,
            leads: lead == Some(child.pid),
            last_error: text_of(&child.last_error),
            last_error_at: time_of(&child.last_error),
        });
        ChildrenDoc { children: all.collect() }
    }
}
