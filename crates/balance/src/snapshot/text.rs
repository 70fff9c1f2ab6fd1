// SPDX-License-Identifier: Apache-2.0
//! The text of a snapshot.

use std::fmt::{Display, Formatter, Result};

use super::{
    Cause, CheckState, DictState, Flag, MemberState, OutlierView, PoolState, Role, Room, ScriptState,
    ScriptVerdict, Snapshot, Weights,
};
use crate::counts::{Histogram, MemberCounts, PoolCounts, RETRY_REASONS, ScriptCounts};
use crate::event::{By, weight_text};
use crate::store::Origin;
use crate::words;

impl Display for Snapshot {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some(lead) = &self.lead {
            writeln!(f, "lead pid={} generation={} fresh={}", lead.pid, lead.generation, lead.fresh)?;
        }
        for child in &self.children {
            writeln!(f, "child pid={} generation={}", child.pid, child.generation)?;
        }
        if let Some(fill) = &self.fill {
            let [members, pools, children] = [fill.members, fill.pools, fill.children];
            let (text, scripts) = (fill.text, fill.scripts);
            writeln!(
                f,
                "table members={members} pools={pools} children={children} text={text} scripts={scripts}"
            )?;
        }
        self.scripts.iter().try_for_each(|script| script_line(script, f))?;
        for DictState { name, size, free, .. } in &self.dicts {
            writeln!(f, "dict {} size={size} free={free}", word(name))?;
        }
        for pool in &self.pools {
            pool_line(pool, f)?;
            pool_counts(&pool.name, &pool.counts, f)?;
            for member in &pool.members {
                member_line(&pool.name, member, f)?;
                member_counts((&pool.name, &member.spec.name), &member.counts, f)?;
            }
        }
        Ok(())
    }
}

/// One word, whatever is in it: a script may give its members any text.
fn word(text: &str) -> String {
    words::quote(&text.replace(char::is_control, "?"))
}

fn pair(key: &str, value: &str) -> String {
    let clean = |text: &str| text.replace(char::is_control, "?");
    words::pair(&clean(key), &clean(value))
}

fn script_line(script: &ScriptState, f: &mut Formatter<'_>) -> Result {
    let label = if script.label.is_empty() { "-".to_owned() } else { word(&script.label) };
    let verdict = match script.verdict {
        ScriptVerdict::Serves => "serves",
        ScriptVerdict::Refused => "refused",
        ScriptVerdict::Quarantined => "quarantined",
        ScriptVerdict::Missing => "missing",
    };
    writeln!(f, "script {label} version={} verdict={verdict}", script.version)?;
    let ScriptCounts { ok, declined, error, time_limit, memory_limit, sum_us, reloads: _ } = script.counts;
    write!(f, "script_counts {label} ok={ok} declined={declined} error={error}")?;
    writeln!(f, " time_limit={time_limit} memory_limit={memory_limit} sum_us={sum_us}")
}

fn pool_counts(pool: &str, counts: &PoolCounts, f: &mut Formatter<'_>) -> Result {
    write!(f, "pool_counts {pool}")?;
    for (word, count) in counts.requests() {
        write!(f, " {word}={count}")?;
    }
    for (reason, count) in RETRY_REASONS.iter().zip(counts.retries) {
        write!(f, " retries.{reason}={count}")?;
    }
    let sessions = &counts.sessions;
    write!(f, " sessions.kept={} sessions.moved={}", sessions.kept, sessions.moved)?;
    write!(f, " sessions.new={} sessions.lost={}", sessions.new, sessions.lost)?;
    histogram("", &counts.histogram, f)?;
    histogram("queue.", &counts.queue_histogram, f)?;
    writeln!(f)
}

fn member_counts((pool, member): (&str, &str), counts: &MemberCounts, f: &mut Formatter<'_>) -> Result {
    write!(f, "member_counts {pool}/{member}")?;
    for (word, count) in counts.attempts() {
        write!(f, " {word}={count}")?;
    }
    for (class, count) in (1..).zip(counts.responses) {
        write!(f, " {class}xx={count}")?;
    }
    write!(f, " sent_bytes={} received_bytes={}", counts.sent_bytes, counts.received_bytes)?;
    write!(f, " ejections={} transitions={}", counts.ejections, counts.transitions)?;
    write!(f, " checks_ok={} checks_failed={}", counts.checks_ok, counts.checks_failed)?;
    histogram("", &counts.histogram, f)?;
    writeln!(f)
}

fn histogram(of: &str, histogram: &Histogram, f: &mut Formatter<'_>) -> Result {
    write!(f, " {of}sum_us={} {of}buckets=", histogram.sum_us)?;
    for (at, bucket) in histogram.buckets.iter().enumerate() {
        write!(f, "{}{bucket}", if at > 0 { "," } else { "" })?;
    }
    Ok(())
}

fn pool_line(pool: &PoolState, f: &mut Formatter<'_>) -> Result {
    let origin = match pool.origin {
        Origin::Configuration => "configuration",
        Origin::Script => "script",
    };
    write!(f, "pool {} origin={origin} method={}", pool.name, pool.settings.method.name())?;
    write!(f, " usable={}/{} inflight={}", pool.usable, pool.members.len(), pool.inflight)?;
    writeln!(f, " queued={} panic={}", pool.queued, pool.panic)
}

fn member_line(pool: &str, member: &MemberState, f: &mut Formatter<'_>) -> Result {
    let spec = &member.spec;
    write!(f, "member {pool}/{} url={} state={}", spec.name, spec.url, member.state)?;
    write!(f, " usable={} healthy={} why={}", member.usable, member.healthy, Causes(&member.why))?;
    write!(f, " since={} {} lbset={}", member.since, member.weights, member.lbset)?;
    write!(f, " role={} route={}", member.role, word(&spec.route))?;
    if let Some(zone) = &spec.zone {
        write!(f, " {}", pair("zone", zone))?;
    }
    for (key, value) in &spec.meta {
        write!(f, " {}", pair(&format!("meta.{key}"), value))?;
    }
    write!(f, " inflight={} max_inflight={}", member.inflight, member.max_inflight)?;
    write!(f, " requests={} failures={}", member.requests, member.failures)?;
    write!(f, " latency_ms={:.3} ", member.latency.ewma_ms)?;
    match &member.check {
        Some(check) => write!(f, "{check}")?,
        None => write!(f, "check=-")?,
    }
    writeln!(f, " {}", member.outlier)
}

/// Joined by commas, `-` for none.
struct Causes<'a>(&'a [Cause]);

impl Display for Causes<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.0.is_empty() {
            return f.write_str("-");
        }
        for (at, cause) in self.0.iter().enumerate() {
            write!(f, "{}{}:{}", if at > 0 { "," } else { "" }, cause.flag, account(&cause.by))?;
        }
        Ok(())
    }
}

fn account(by: &By) -> &'static str {
    match by {
        By::Checks => "checks",
        By::Agent => "agent",
        By::Requests => "requests",
        By::Time => "time",
        By::Configuration => "configuration",
        By::Definition => "definition",
        By::Source(_) => "source",
        By::Script(_) => "script",
        By::Person(_) => "person",
        By::Somebody => "somebody",
    }
}

impl Display for Flag {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Flag::Disabled => "disabled",
            Flag::Stopped => "stopped",
            Flag::AgentMaint => "agent_maint",
            Flag::ForcedError => "error",
            Flag::CheckDown => "down",
            Flag::Ejected => "ejected",
            Flag::Draining => "draining",
            Flag::AgentDrain => "agent_drain",
            Flag::NoWeight => "no_weight",
        })
    }
}

impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Role::Active => "active",
            Role::Spare => "spare",
            Role::Standby => "standby",
        })
    }
}

impl Display for Weights {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let [configured, ordered, effective] =
            [self.configured, self.ordered, self.effective].map(weight_text);
        write!(f, "configured={configured} weight={ordered} effective={effective}")?;
        write!(f, " ramp={} agent_percent={}", self.ramp, self.agent_percent)
    }
}

impl Display for CheckState {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let word = if self.ok { "passed" } else { "failed" };
        write!(
            f,
            "check={word} row={} check_down={} rise={} fall={}",
            self.row, self.down, self.rise, self.fall
        )
    }
}

impl Display for OutlierView {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "ejected={} failed_row={} ejections={}", self.ejected, self.failures, self.ejections)?;
        match self.until_ms {
            Some(until_ms) => write!(f, " until_ms={until_ms}"),
            None => Ok(()),
        }
    }
}

impl Display for Room {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}/{}", self.used, self.of)
    }
}
