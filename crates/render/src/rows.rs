// SPDX-License-Identifier: Apache-2.0
//! Lists of scripts, dictionaries and children. Each row says its last error; null where nobody
//! keeps one.

use balance::guard::SourceStage;
use balance::shadow::{ShadowDifference, ShadowState};
use balance::snapshot::{ScriptVerdict, SourceState};
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
    /// The comparison of its decisions with those that are made, where it only runs beside them
    /// (LuaBalancerShadow).
    pub shadow: Option<ShadowDoc<'a>>,
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

/// A function that decides nothing, beside the decisions that are made.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Shadow"))]
pub struct ShadowDoc<'a> {
    /// Requests that it would have sent where they went.
    pub agree: u64,
    /// Requests that it would have sent elsewhere.
    pub differ: u64,
    /// Calls that failed, or reached a limit.
    pub failed: u64,
    /// Percent of the requests that it is asked about.
    pub sample: Figure,
    /// The last 20 differences, oldest first.
    pub differences: Vec<DifferenceDoc<'a>>,
}

/// A request that a shadow would have sent elsewhere.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ShadowDifference"))]
pub struct DifferenceDoc<'a> {
    /// When.
    pub at: Option<Time>,
    /// The path, without the query, at most 64 bytes.
    pub path: &'a str,
    /// The decision that was made.
    pub decided: &'a str,
    /// The decision of the shadow.
    pub shadow: &'a str,
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

/// All sources of members.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Discovery"))]
pub struct DiscoveriesDoc<'a> {
    /// In the order of their pools.
    pub discovery: Vec<DiscoveryDoc<'a>>,
}

/// A source of members.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "DiscoverySource"))]
pub struct DiscoveryDoc<'a> {
    /// Its pool.
    pub pool: &'a str,
    /// Its name.
    pub source: &'a str,
    /// file, http or dns.
    pub kind: &'static str,
    /// Where it is.
    #[serde(rename = "where")]
    pub place: &'a str,
    /// waiting, ok, stale, expired or held.
    pub state: &'static str,
    /// Members in service that it has found.
    pub members: usize,
    /// Members that its last list names.
    pub listed: u32,
    /// When its list was last seen.
    pub last_success: Option<Time>,
    /// Since when it fails.
    pub failing_since: Option<Time>,
    /// The list that is held.
    pub held: Option<HeldDoc<'a>>,
    /// Looks by what became of them.
    pub updates: UpdatesDoc,
    /// Its error, or the first entry that was left out of its list.
    pub last_error: Option<&'a str>,
}

/// A list that is held.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Held"))]
pub struct HeldDoc<'a> {
    /// empty, or shrunk: too many members are missing.
    pub why: &'static str,
    /// Since when.
    pub since: Option<Time>,
    /// How often it was seen in a row.
    pub seen: u32,
    /// Members that it does not name; the first of them.
    pub gone: Vec<&'a str>,
    /// How many more it does not name.
    pub more: usize,
}

/// Looks at a source by what became of them.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "Updates"))]
pub struct UpdatesDoc {
    /// The list was put in service.
    pub applied: u64,
    /// The list changed nothing.
    pub unchanged: u64,
    /// The list was held.
    pub held: u64,
    /// There was no list.
    pub failed: u64,
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

fn shadow(shadow: &ShadowState) -> ShadowDoc<'_> {
    ShadowDoc {
        agree: shadow.counts.agree,
        differ: shadow.counts.differ,
        failed: shadow.counts.failed,
        sample: Figure::measured(f64::from(shadow.share) / 100.0),
        differences: shadow.differences.iter().map(difference).collect(),
    }
}

fn difference(one: &ShadowDifference) -> DifferenceDoc<'_> {
    DifferenceDoc { at: Time::noted(one.at_s), path: &one.path, decided: &one.decided, shadow: &one.shadow }
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
            shadow: script.shadow.as_ref().map(shadow),
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

    /// All sources of members.
    pub fn discovery(&self) -> DiscoveriesDoc<'a> {
        DiscoveriesDoc { discovery: self.all.sources.iter().map(|source| self.source_of(source)).collect() }
    }

    fn source_of(&self, source: &'a SourceState) -> DiscoveryDoc<'a> {
        let (settings, standing) = (&source.settings, &source.note.standing);
        let time = |ms: u64| if ms == 0 { None } else { self.on_calendar(ms) };
        let why = match standing.stage {
            SourceStage::HeldEmpty => Some("empty"),
            SourceStage::HeldShrunk => Some("shrunk"),
            _ => None,
        };
        let [applied, unchanged, held, failed] = source.updates;
        DiscoveryDoc {
            pool: &source.pool,
            source: &settings.name,
            kind: settings.source.kind(),
            place: settings.source.address(),
            state: standing.stage.word(),
            members: source.members,
            listed: standing.listed,
            last_success: time(standing.seen_ms),
            failing_since: time(standing.failing_ms),
            held: why.map(|why| {
                let gone: Vec<&str> = source.note.held.split_ascii_whitespace().collect();
                let more = (source.note.gone as usize).saturating_sub(gone.len());
                HeldDoc { why, since: time(standing.held_ms), seen: standing.held_seen, gone, more }
            }),
            updates: UpdatesDoc { applied, unchanged, held, failed },
            last_error: Some(source.note.error.as_str()).filter(|error| !error.is_empty()),
        }
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
