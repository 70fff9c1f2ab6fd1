// SPDX-License-Identifier: Apache-2.0
//! Pools and their members, as the script shows them, but for what only a change in time tells.

use std::fmt::Write;

use super::escape::escape;
use crate::Shown;
use crate::member::{AttemptsDoc, CheckDoc, LatencyDoc, MemberDoc, ResponsesDoc, WeightsDoc, WhyDoc};
use crate::pool::PoolDoc;
use crate::value::Figure;

const COLUMNS: [(&str, &str); 10] = [
    ("member", "Member"),
    ("condition", "State"),
    ("weight", "Weight"),
    ("flight", "In flight"),
    ("rate", "Requests"),
    ("share", "Share"),
    ("latency", "p50 · p95 · p99"),
    ("answers", "Answers"),
    ("failures", "Failures"),
    ("check", "Last check"),
];

/// Writes all pools. Writing into a String cannot fail, here and below.
pub(super) fn write(out: &mut String, view: &Shown<'_>) {
    let pools = view.pools().pools;
    if pools.is_empty() {
        out.push_str("<p class=\"empty\">No pools yet. LuaBalancerPool defines one.</p>\n");
    }
    pools.iter().enumerate().for_each(|(at, pool)| write_pool(out, at, pool));
}

fn write_pool(out: &mut String, at: usize, pool: &PoolDoc<'_>) {
    let level = match pool.usable {
        0 => "bad",
        usable if usable < pool.total || pool.panic => "some",
        _ => "good",
    };
    let panic = if pool.panic { ", panic: health is ignored" } else { "" };
    let _ = writeln!(
        out,
        "<section class=\"pool\" aria-labelledby=\"pool-{at}\">\n<header class=\"card\"><div class=\"title\">\
         <h2 id=\"pool-{at}\">{}</h2><span class=\"tag\">{}</span>\
         <p class=\"usable\"><span class=\"level {level}\">{} of {} usable{panic}</span></p></div>",
        escape(pool.name),
        pool.method,
        pool.usable,
        pool.total
    );
    let requests = &pool.requests;
    let failed = [requests.status, requests.connect, requests.reset, requests.timeout, requests.no_member];
    let waits = [requests.queue_timeout, requests.queue_full, requests.script];
    let failed: u64 = failed.into_iter().chain(waits).sum();
    let [p50, p95, p99] = [pool.latency.p50, pool.latency.p95, pool.latency.p99].map(seconds);
    let stats = [
        ("In flight", pool.inflight.to_string()),
        ("Queued", pool.queued.to_string()),
        ("Requests", (failed + requests.ok + requests.aborted).to_string()),
        ("Errors", failed.to_string()),
        ("p50", p50),
        ("p95", p95),
        ("p99", p99),
    ];
    let stats = stats.map(|(label, value)| format!("<div><dt>{label}</dt><dd>{value}</dd></div>"));
    let _ = writeln!(out, "<dl class=\"stats\">{}</dl></header>", stats.concat());
    if pool.members.is_empty() {
        out.push_str("<p class=\"empty\">No members.</p>\n</section>\n");
        return;
    }
    let heads = COLUMNS.map(|(class, label)| {
        format!("<th role=\"columnheader\" scope=\"col\" class=\"{class}\">{label}</th>")
    });
    let _ = writeln!(
        out,
        "<table role=\"table\" aria-labelledby=\"pool-{at}\"><thead role=\"rowgroup\"><tr role=\"row\">{}</tr></thead>\n\
         <tbody role=\"rowgroup\">",
        heads.concat()
    );
    let all: u64 = pool.members.iter().map(requests_of).sum();
    pool.members.iter().for_each(|member| write_member(out, member, all));
    out.push_str("</tbody></table></section>\n");
}

fn requests_of(member: &MemberDoc<'_>) -> u64 {
    let AttemptsDoc { ok, connect, reset, timeout, status, aborted } = member.attempts;
    [ok, connect, reset, timeout, status, aborted].into_iter().sum()
}

fn write_member(out: &mut String, member: &MemberDoc<'_>, all: u64) {
    let requests = requests_of(member);
    let share = if all > 0 { format!("{:.0} %", requests as f64 * 100.0 / all as f64) } else { none() };
    let zone = member.zone.map(|zone| format!(" · {zone}")).unwrap_or_default();
    let cells = [
        format!("<b>{}</b>{}", escape(member.name), sub(&format!("{}{zone}", member.url))),
        state(member),
        weight(member),
        member.inflight.to_string(),
        requests.to_string(),
        share,
        latency(&member.latency),
        pairs(&answers(&member.responses)),
        pairs(&failures(&member.attempts)),
        member.check.as_ref().map_or_else(none, check) + &opinions(member),
    ];
    out.push_str("<tr role=\"row\">");
    for ((class, label), cell) in COLUMNS.into_iter().zip(cells) {
        let (tag, role) = if class == "member" { ("th scope=\"row\"", "rowheader") } else { ("td", "cell") };
        let end = &tag[..2];
        let _ = write!(out, "<{tag} role=\"{role}\" class=\"{class}\" data-label=\"{label}\">{cell}</{end}>");
    }
    out.push_str("</tr>\n");
}

fn none() -> String {
    "–".to_owned()
}

fn sub(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<span class=\"sub\">{}</span>", escape(text)) }
}

fn state(member: &MemberDoc<'_>) -> String {
    let since = member.since.map(|since| format!("since {since}"));
    let facts: Vec<String> = since.into_iter().chain(member.why.iter().map(reason)).collect();
    format!("<span class=\"state {0}\">{0}</span>{1}", member.state, sub(&facts.join("; ")))
}

/// The words of a reason, with its author.
fn reason(why: &WhyDoc<'_>) -> String {
    let from = why.from.map(|from| format!(" ({from})")).unwrap_or_default();
    let by = why.by.map(|by| format!(" by {by}{from}")).unwrap_or_default();
    let until = why.until.map(|until| format!(" until {until}")).unwrap_or_default();
    let note = why.note.map(|note| format!(": {note}")).unwrap_or_default();
    format!("{}{by}{until}{note}", why.flag)
}

fn weight(member: &MemberDoc<'_>) -> String {
    let WeightsDoc { configured, ordered, effective, .. } = &member.weights;
    let facts = [
        (ordered != configured).then(|| format!("configured {}", configured.0)),
        (effective != ordered).then(|| format!("now {}", effective.0)),
        (member.role != "active").then(|| member.role.to_owned()),
        (member.lbset > 0).then(|| format!("tier {}", member.lbset)),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    format!("{}{}", ordered.0, sub(&facts.join(", ")))
}

fn latency(latency: &LatencyDoc) -> String {
    match latency {
        LatencyDoc { p50: None, ewma: Some(_), .. } => {
            format!("{}{}", seconds(latency.ewma), sub("average"))
        }
        LatencyDoc { p50: None, .. } => none(),
        LatencyDoc { p50, p95, p99, .. } => [*p50, *p95, *p99].map(seconds).join(" · "),
    }
}

fn seconds(figure: Option<Figure>) -> String {
    match figure {
        None => none(),
        Some(Figure(seconds)) if seconds < 0.01 => format!("{:.1} ms", seconds * 1000.0),
        Some(Figure(seconds)) if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        Some(Figure(seconds)) => format!("{seconds:.1} s"),
    }
}

fn answers(responses: &ResponsesDoc) -> [(&'static str, u64, bool); 5] {
    let ResponsesDoc { informational, success, redirection, client_error, server_error } = *responses;
    [
        ("1xx", informational, false),
        ("2xx", success, false),
        ("3xx", redirection, false),
        ("4xx", client_error, false),
        ("5xx", server_error, true),
    ]
}

fn failures(attempts: &AttemptsDoc) -> [(&'static str, u64, bool); 5] {
    let AttemptsDoc { connect, reset, timeout, status, aborted, .. } = *attempts;
    [
        ("connect", connect, true),
        ("reset", reset, true),
        ("timeout", timeout, true),
        ("status", status, true),
        ("aborted", aborted, false),
    ]
}

/// The results that have a count.
fn pairs(all: &[(&str, u64, bool)]) -> String {
    let some = all.iter().filter(|(_, count, _)| *count > 0);
    let some: String = some
        .map(|(word, count, is_bad)| {
            let class = if *is_bad { "pair bad" } else { "pair" };
            format!("<span class=\"{class}\">{word} {count}</span>")
        })
        .collect();
    if some.is_empty() { none() } else { some }
}

/// The opinions of the servers that share their health, a line each.
fn opinions(member: &MemberDoc<'_>) -> String {
    member.opinions.iter().flatten().map(|said| sub(&format!("{} {}", said.front, said.state))).collect()
}

fn check(check: &CheckDoc) -> String {
    let Some(ok) = check.ok else { return format!("{}: none yet", check.kind) };
    let word = if ok { "passed" } else { "failed" };
    let row = format!("{} in a row", check.row);
    let detail = check.detail.unwrap_or(&row);
    format!("<span class=\"{word}\">{} {word}</span>{}", check.kind, sub(detail))
}

#[cfg(test)]
mod tests {
    use super::COLUMNS;

    #[test]
    fn the_script_shows_the_same_columns() {
        let script = include_str!("../../page/pools.js");
        let list = script.split("const COLUMNS = [").nth(1).and_then(|rest| rest.split("];").next());
        let quoted: Vec<&str> = list.expect("its columns").split('"').skip(1).step_by(2).collect();
        let names: Vec<&str> = quoted.iter().step_by(2).copied().collect();
        assert_eq!(names, COLUMNS.map(|(name, _)| name));
    }
}
