// SPDX-License-Identifier: Apache-2.0
//! The report of a simulation: for people, and as JSON.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use super::compare;
use super::figures::{Failures, Times};
use super::results::Results;
use super::run::MemberFigures;
use crate::clean;
use crate::out::{Form, Out, Tone};
use crate::world::given_up::GivenUp;

/// Shows everything.
pub fn show(out: &Out, results: &Results) -> io::Result<()> {
    if out.form == Form::Json {
        return out.json(&document(results));
    }
    let figures = &results.figures;
    let served: u64 = figures.members.iter().map(|member| member.requests).sum();
    let rows = figures.members.iter().enumerate().map(|(number, member)| {
        let share = if served > 0 { member.requests as f64 * 100.0 / served as f64 } else { 0.0 };
        let times = [50.0, 95.0, 99.0].map(|percent| shown(member.times.percentile(percent)));
        let spark = spark(figures.series.shares(number));
        let head = [member.name.clone(), member.requests.to_string(), format!("{share:.2} %")];
        let rest = [member.peak.to_string(), member.failures.to_string()];
        head.into_iter().chain(rest).chain(times).chain([spark]).collect()
    });
    let head = ["member", "requests", "share", "peak", "failed", "p50", "p95", "p99", "share over time"];
    out.line(&out.rows(&head, rows.collect()))?;
    out.line("")?;
    for line in summary(results) {
        out.line(&clean::text(&line))?;
    }
    let show = |differences| show_differences(out, differences, &results.failures_before);
    results.differences.as_ref().map_or(Ok(()), show)
}

fn show_differences(out: &Out, differences: &compare::Differences, before: &Failures) -> io::Result<()> {
    let percent = differences.differ as f64 * 100.0 / differences.all.max(1) as f64;
    let (differ, all) = (differences.differ, differences.all);
    let text = format!("{differ} of {all} requests ({percent:.2} %) go to another member");
    if all > 0 || differences.drawn.all == 0 {
        out.line(&out.tone(Tone::Strong, &text))?;
    }
    for (path, differ, all) in differences.worst() {
        out.line(&format!("  {}: {differ} of {all}", clean::text(path)))?;
    }
    for example in &differences.examples {
        let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "nobody".into());
        let (before, now) = (name(&example.before), name(&example.now));
        let text = format!("  for example {}: {before}, now {now}", example.path);
        out.line(&clean::text(&text))?;
    }
    for line in failed(before) {
        out.line(&clean::text(&format!("the script that it is compared with: {line}")))?;
    }
    let drawn = &differences.drawn;
    if drawn.all > 0 {
        out.line(&format!(
            "draws: {} requests are not compared one by one, but by their shares:",
            drawn.all
        ))?;
    }
    for (name, now, before) in drawn.shares() {
        let name = if name.is_empty() { "nobody" } else { name };
        out.line(&clean::text(&format!("  {name}: {now:.2} %, in the log {before:.2} %")))?;
    }
    Ok(())
}

fn summary(results: &Results) -> Vec<String> {
    let figures = &results.figures;
    let mut lines = vec![format!(
        "{} requests in {:.0} s: {} retries, {} unserved (503), {} sessions moved",
        figures.requests, results.seconds, figures.retries, figures.unserved, figures.moved
    )];
    let times = [50.0, 95.0, 99.0].map(|percent| shown(figures.times.percentile(percent)));
    lines.push(format!("latency: p50 {}, p95 {}, p99 {}", times[0], times[1], times[2]));
    if figures.waited > 0 {
        let waits = [50.0, 95.0].map(|percent| shown(figures.waits.percentile(percent)));
        lines.push(format!(
            "{} waited for a place (p50 {}, p95 {}), {} of them in vain",
            figures.waited, waits[0], waits[1], figures.gave_up
        ));
    }
    let workers = &results.workers;
    if let Some(most) = workers.most {
        let waits = [50.0, 95.0].map(|percent| shown(workers.waits.percentile(percent)));
        lines.push(match workers.waited {
            0 => format!("at most {} of {most} workers were busy", workers.peak),
            waited => format!(
                "{waited} waited for one of {most} workers (p50 {}, p95 {}), part of their latency",
                waits[0], waits[1]
            ),
        });
    }
    if workers.line_peak > u64::from(workers.backlog) {
        lines.push(format!(
            "{} waited for a worker at the same time, more than ListenBacklog {}: clients beyond it try again \
             after a second or more, which is not simulated",
            workers.line_peak, workers.backlog
        ));
    }
    let mut others = Vec::new();
    for (count, what) in [
        (figures.declined, "not ours"),
        (figures.answered, "answered by the script"),
        (figures.targets, "to backends of no pool"),
    ] {
        if count > 0 {
            others.push(format!("{count} {what}"));
        }
    }
    if !others.is_empty() {
        lines.push(others.join(", "));
    }
    lines.extend(failed(&results.failures));
    if results.unread.count > 0 {
        lines.push(format!("{} of {} lines cannot be read:", results.unread.count, results.lines));
        lines.extend(results.unread.first.iter().map(|line| format!("  {line}")));
    }
    lines
}

/// The failures of scripts.
fn failed(failures: &Failures) -> impl Iterator<Item = String> {
    let errors = failures.errors.iter().map(|(error, count)| format!("{count} times: {error}"));
    let given_up = failures.given_up.iter().map(|one| {
        format!(
            "{}: not called any more after limits had stopped it {} times; {} calls were not made",
            one.script, one.stopped, one.refused
        )
    });
    errors.chain(given_up)
}

/// Seconds for people.
fn shown(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(seconds) if seconds < 0.9995 => format!("{:.0} ms", (seconds * 1e3).max(1.0)),
        Some(seconds) => format!("{seconds:.2} s"),
    }
}

/// Columns of a line of sparks.
const SPARKS: usize = 40;

/// Shares from 0 to 1 as a line of blocks.
fn spark(shares: impl Iterator<Item = Option<f64>>) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let all: Vec<Option<f64>> = shares.collect();
    let step = all.len().div_ceil(SPARKS).max(1);
    let block = |chunk: &[Option<f64>]| {
        let known: Vec<f64> = chunk.iter().flatten().copied().collect();
        if known.is_empty() {
            return ' ';
        }
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        BLOCKS[((mean * 8.0) as usize).min(7)]
    };
    all.chunks(step).map(block).collect()
}

#[derive(Serialize)]
struct Document<'r> {
    begin: f64,
    seconds: f64,
    lines: u64,
    unread: u64,
    unread_examples: &'r [String],
    /// Lines with a time that cannot be used: theirs are drawn.
    odd_times: u64,
    odd_times_examples: &'r [String],
    requests: u64,
    declined: u64,
    answered: u64,
    targets: u64,
    retries: u64,
    unserved: u64,
    waited: u64,
    gave_up: u64,
    waits: Percentiles,
    workers: Option<u32>,
    workers_peak: u32,
    waited_for_worker: u64,
    worker_waits: Percentiles,
    /// Most that waited for a worker at the same time, and how many of them the kernel holds.
    worker_line_peak: u64,
    listen_backlog: u32,
    sessions_moved: u64,
    /// Each member's part of what members answered.
    shares: BTreeMap<&'r str, f64>,
    latency: Percentiles,
    members: Vec<Member<'r>>,
    slot_seconds: f64,
    errors: &'r BTreeMap<String, u64>,
    /// Scripts that limits have stopped so often that they are not called any more.
    given_up: Vec<StoppedScript<'r>>,
    differences: Option<Differences<'r>>,
}

#[derive(Serialize)]
struct Percentiles {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Serialize)]
struct Member<'r> {
    member: &'r str,
    requests: u64,
    share: f64,
    peak: u32,
    failures: u64,
    latency: Percentiles,
    /// Its share in each slot.
    over_time: Vec<Option<f64>>,
}

#[derive(Serialize)]
struct Differences<'r> {
    all: u64,
    differ: u64,
    by_path: Vec<Path<'r>>,
    examples: Vec<Example<'r>>,
    /// Requests that are not compared one by one, since their members were drawn.
    drawn: u64,
    /// Their shares by member.
    drawn_shares: Vec<DrawnShare<'r>>,
    /// The failures of the script that it was compared with.
    errors_before: &'r BTreeMap<String, u64>,
    given_up_before: Vec<StoppedScript<'r>>,
}

#[derive(Serialize)]
struct StoppedScript<'r> {
    script: &'r str,
    why: &'r str,
    /// Calls that limits have stopped.
    stopped: u32,
    /// Calls that were not made since.
    not_called: u64,
}

#[derive(Serialize)]
struct DrawnShare<'r> {
    member: Option<&'r str>,
    before: f64,
    now: f64,
}

#[derive(Serialize)]
struct Path<'r> {
    path: &'r str,
    differ: u64,
    all: u64,
}

#[derive(Serialize)]
struct Example<'r> {
    path: &'r str,
    before: Option<&'r str>,
    now: Option<&'r str>,
}

/// As many digits as there is something behind.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}

fn percentiles(times: &Times) -> Percentiles {
    let at = |percent| times.percentile(percent).map(rounded);
    Percentiles { p50: at(50.0), p95: at(95.0), p99: at(99.0) }
}

fn document(results: &Results) -> Document<'_> {
    let figures = &results.figures;
    let served: u64 = figures.members.iter().map(|member| member.requests).sum();
    let share = |member: &MemberFigures| {
        if served > 0 { rounded(member.requests as f64 / served as f64) } else { 0.0 }
    };
    let member = |(number, member): (usize, &'_ MemberFigures)| Member {
        member: name_of(&figures.members, number),
        requests: member.requests,
        share: share(member),
        peak: member.peak,
        failures: member.failures,
        latency: percentiles(&member.times),
        over_time: figures.series.shares(number).map(|share| share.map(rounded)).collect(),
    };
    Document {
        begin: results.begin,
        seconds: rounded(results.seconds),
        lines: results.lines,
        unread: results.unread.count,
        unread_examples: &results.unread.first,
        odd_times: results.odd_times.count,
        odd_times_examples: &results.odd_times.first,
        requests: figures.requests,
        declined: figures.declined,
        answered: figures.answered,
        targets: figures.targets,
        retries: figures.retries,
        unserved: figures.unserved,
        waited: figures.waited,
        gave_up: figures.gave_up,
        waits: percentiles(&figures.waits),
        workers: results.workers.most,
        workers_peak: results.workers.peak,
        waited_for_worker: results.workers.waited,
        worker_waits: percentiles(&results.workers.waits),
        worker_line_peak: results.workers.line_peak,
        listen_backlog: results.workers.backlog,
        sessions_moved: figures.moved,
        shares: figures.members.iter().map(|member| (member.name.as_str(), share(member))).collect(),
        latency: percentiles(&figures.times),
        members: figures.members.iter().enumerate().map(member).collect(),
        slot_seconds: figures.series.width,
        errors: &results.failures.errors,
        given_up: stopped(&results.failures),
        differences: results
            .differences
            .as_ref()
            .map(|differences| document_of(differences, &results.failures_before)),
    }
}

fn share_of<'d>((name, now, before): (&'d str, f64, f64)) -> DrawnShare<'d> {
    let member = Some(name).filter(|name| !name.is_empty());
    DrawnShare { member, before: rounded(before / 100.0), now: rounded(now / 100.0) }
}

fn stopped(failures: &Failures) -> Vec<StoppedScript<'_>> {
    let all = failures.given_up.iter();
    all.map(|GivenUp { script, why, stopped, refused }| StoppedScript {
        script,
        why,
        stopped: *stopped,
        not_called: *refused,
    })
    .collect()
}

fn document_of<'d>(differences: &'d compare::Differences, before: &'d Failures) -> Differences<'d> {
    Differences {
        errors_before: &before.errors,
        given_up_before: stopped(before),
        all: differences.all,
        differ: differences.differ,
        by_path: differences
            .worst()
            .into_iter()
            .map(|(path, differ, all)| Path { path, differ, all })
            .collect(),
        examples: differences
            .examples
            .iter()
            .map(|one| Example { path: &one.path, before: one.before.as_deref(), now: one.now.as_deref() })
            .collect(),
        drawn: differences.drawn.all,
        drawn_shares: differences.drawn.shares().map(share_of).collect(),
    }
}

/// The name of a member.
fn name_of(members: &[MemberFigures], number: usize) -> &str {
    members.get(number).map_or("", |member| member.name.as_str())
}
