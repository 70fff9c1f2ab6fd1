// SPDX-License-Identifier: Apache-2.0
//! The report: Markdown and plots from numbers. Nothing here measures.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cpu::{CpuRow, CpuTable};
use crate::latency::{self, LatencyRow};
use crate::memory::MemoryRow;
use crate::plot::{self, Line, LinePlot, Row, RowPlot};
use crate::scale::{self, Scale};
use crate::servers::{Kind, PLAIN};
use crate::settings::Settings;

/// The findings of a run, each part or the reason why it is missing. None: not wanted.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// CPU time, for each number of members.
    pub cpu: Option<Result<Vec<CpuTable>, String>>,
    /// Latency beside a slow member.
    pub latency: Option<Result<Vec<LatencyRow>, String>>,
    /// Memory.
    pub memory: Option<Result<Vec<MemoryRow>, String>>,
    /// Ten thousand members.
    pub scale: Option<Result<Scale, String>>,
}

/// Where a run was made.
#[derive(Clone, Debug)]
pub struct Place {
    /// Processor, memory, kernel.
    pub machine: String,
    /// The versions of all servers.
    pub versions: String,
    /// Before it began.
    pub load: String,
}

/// The files of a report, by name.
pub fn files(findings: &Findings, settings: &Settings, place: &Place) -> BTreeMap<&'static str, String> {
    let mut files = BTreeMap::new();
    let mut page = opening(settings, place);
    if let Some(cpu) = &findings.cpu {
        page += &part("CPU time per request", cpu, |tables| cpu_part(tables, settings, &mut files));
    }
    if let Some(rows) = &findings.latency {
        page += &part("Latency beside a slow member", rows, |rows| latency_part(rows, settings, &mut files));
    }
    if let Some(rows) = &findings.memory {
        page += &part("Memory", rows, |rows| memory_part(rows, &mut files));
    }
    if let Some(scale) = &findings.scale {
        page += &part("Ten thousand members", scale, scale_part);
    }
    files.insert("README.md", page);
    files
}

fn part<T>(title: &str, found: &Result<T, String>, text: impl FnOnce(&T) -> String) -> String {
    let text = match found {
        Ok(found) => text(found),
        Err(reason) => format!("Not measured: {}\n", without_paths(reason)),
    };
    format!("\n## {title}\n\n{text}")
}

fn opening(settings: &Settings, place: &Place) -> String {
    format!(
        "# The module beside others\n\n\
         Made by `{given}make bench`; not edited by hand.\n\n\
         * Machine: {machine}. Load of the minute before: {load}. Servers, load and backends share it.\n\
         * Versions: {versions}.\n\
         * httpd: event MPM, 2 children of {threads} threads, `MaxKeepAliveRequests 0`, the same modules in every httpd but for the balancer's own. nginx: \
         2 workers, upstreams with `zone` (balancer_by_lua: a sequence in each worker). HAProxy: 2 threads, `http-reuse always`. No access log anywhere. Kept-alive connections in front; \
         behind, all keep connections to members and never run out of room for them, but for mod_lua as documented, which cannot.\n\
         * mod_lua as documented: the hook of httpd's manual, which sets `r.filename` to a URL, with the default scope, a Lua state for each request. Workers by hand: a `<Proxy>` with \
         `enablereuse=on` for each member, `LuaScope thread`. LuaHookTranslate: the selection script of this module's README.\n\
         * Members are the loopback addresses 127.0.1.1, 127.0.1.2, …, each with a worker of its own.\n",
        given = settings.given,
        machine = place.machine,
        load = place.load,
        versions = place.versions,
        threads = settings.threads,
    )
}

fn cpu_part(tables: &[CpuTable], settings: &Settings, files: &mut BTreeMap<&'static str, String>) -> String {
    let mut text = format!(
        "User and system time of all processes of the server per request, in microseconds, and its ratio to plain `ProxyPass` to one member, measured just before and just after in \
         the same round: medians of {rounds} rounds of turns of {seconds} s, quartiles in brackets. Behind all of them one nginx that answers `ok`; in front wrk with \
         {connections} connections and a thousand paths. All servers run at once and take turns.\n\n",
        rounds = settings.rounds,
        seconds = settings.seconds,
        connections = settings.connections,
    );
    let heads = tables.iter().map(|table| format!(" {0} members, µs | ratio |", table.members));
    let _ = writeln!(text, "| |{}", heads.collect::<String>());
    let _ = writeln!(text, "|---|{}", "---|---|".repeat(tables.len()));
    let mut notes = String::new();
    for (name, _) in names(tables) {
        let _ = write!(text, "| {name} |");
        for table in tables {
            match cost(table, &name) {
                Some(Ok(cost)) => {
                    let (low, high) = (cost.ratio.low, cost.ratio.high);
                    let _ =
                        write!(text, " {:.1} | {:.3} ({low:.3}–{high:.3}) |", cost.cpu_us, cost.ratio.median);
                }
                Some(Err(reason)) => {
                    text.push_str(" – | – |");
                    let _ = writeln!(notes, "* {name}, {} members: {}", table.members, without_paths(reason));
                }
                None => text.push_str(" – | – |"),
            }
        }
        text.push('\n');
    }
    if !notes.is_empty() {
        let _ = write!(text, "\nWithout a number:\n\n{notes}");
    }
    files.insert("cpu.csv", cpu_csv(tables));
    let httpd = ratio_plot(
        "CPU time relative to plain ProxyPass: this module and mod_proxy_balancer",
        tables,
        false,
        |name, kind| kind == Kind::Own || name.starts_with("mod_proxy_balancer"),
    );
    let peers =
        ratio_plot("CPU time relative to plain ProxyPass: all servers", tables, true, |name, kind| {
            kind != Kind::Own
                || ["lb:// round_robin", "lb:// least_connections", "LuaHookTranslate, script"]
                    .contains(&name)
        });
    files.insert("cpu.svg", httpd);
    files.insert("peers.svg", peers);
    text + "\n![CPU time over members, within httpd](cpu.svg)\n\n![CPU time over members, all servers](peers.svg)\n\nAll numbers, with requests per second: [cpu.csv](cpu.csv).\n"
}

/// Every way of any table, in order.
fn names(tables: &[CpuTable]) -> Vec<(String, Kind)> {
    let mut names: Vec<(String, Kind)> = Vec::new();
    for row in tables.iter().flat_map(|table| &table.rows) {
        if !names.iter().any(|(name, _)| *name == row.name) {
            names.push((row.name.clone(), row.kind));
        }
    }
    names
}

fn cost<'a>(table: &'a CpuTable, name: &str) -> Option<&'a Result<crate::cpu::Cost, String>> {
    table.rows.iter().find(|row| row.name == name).map(|row| &row.outcome)
}

fn cpu_csv(tables: &[CpuTable]) -> String {
    let mut text =
        "members,way,cpu_us,ratio_low,ratio_median,ratio_high,requests_per_second,failed_requests\n"
            .to_owned();
    for table in tables {
        for row in &table.rows {
            let Ok(cost) = &row.outcome else { continue };
            let ratio = cost.ratio;
            let _ = writeln!(
                text,
                "{},\"{}\",{:.2},{:.4},{:.4},{:.4},{:.0},{}",
                table.members,
                row.name,
                cost.cpu_us,
                ratio.low,
                ratio.median,
                ratio.high,
                cost.per_second,
                cost.failed
            );
        }
    }
    text
}

fn ratio_plot(title: &str, tables: &[CpuTable], log_y: bool, wanted: impl Fn(&str, Kind) -> bool) -> String {
    let line = |name: String| {
        let point = |table: &CpuTable| {
            let cost = cost(table, &name)?.as_ref().ok()?;
            Some((table.members as f64, cost.ratio.median))
        };
        let points = tables.iter().filter_map(point).collect();
        Line { name, points }
    };
    let names = names(tables).into_iter().filter(|(name, kind)| name != PLAIN && wanted(name, *kind));
    let lines = names.map(|(name, _)| line(name)).filter(|line| !line.points.is_empty()).collect();
    plot::lines(&LinePlot { title: title.to_owned(), x: "members".to_owned(), log_y, lines })
}

fn latency_part(
    rows: &[LatencyRow],
    settings: &Settings,
    files: &mut BTreeMap<&'static str, String>,
) -> String {
    let mut text = format!(
        "{} members, of which one answers after {} ms and the others after {} ms; {} requests under way at any time, each of them on its own connection, the next one as soon as the \
         answer is there. Medians over {} rounds of each turn's number; a turn is {} s, its first second not counted. The times of all requests were kept, none was estimated.\n\n\
         | | p50 ms | p90 | p99 | p99.9 | to the slow member | requests/s | failed |\n|---|---|---|---|---|---|---|---|\n",
        latency::MEMBERS,
        latency::SLOW.as_millis(),
        latency::USUAL.as_millis(),
        settings.latency_clients,
        settings.latency_rounds,
        settings.latency_seconds,
    );
    let mut marks = Vec::new();
    for row in rows {
        match &row.outcome {
            Ok(seen) => {
                let _ = writeln!(
                    text,
                    "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} % | {:.0} | {} |",
                    row.name,
                    seen.p50,
                    seen.p90,
                    seen.p99,
                    seen.p999,
                    seen.slow_percent,
                    seen.per_second,
                    seen.failed
                );
                marks.push(Row {
                    name: row.name.clone(),
                    values: vec![seen.p50, seen.p90, seen.p99, seen.p999],
                });
            }
            Err(reason) => {
                let _ = writeln!(text, "| {} | not measured: {} |", row.name, without_paths(reason));
            }
        }
    }
    let plot = RowPlot {
        title: "Latency with one of ten members ten times as slow".to_owned(),
        x: "milliseconds".to_owned(),
        marks: ["p50", "p90", "p99", "p99.9"].map(str::to_owned).to_vec(),
        rows: marks,
    };
    files.insert("latency.svg", plot::rows(&plot));
    text + "\n![Percentiles of latency](latency.svg)\n"
}

fn memory_part(rows: &[MemoryRow], files: &mut BTreeMap<&'static str, String>) -> String {
    let mut text = "Of all processes of a server together, in MiB: what each has in memory (RSS, shared pages counted in each process) and its share (PSS), before the first request \
                    and after seconds of load. One server at a time.\n\n\
                    | | members | RSS at rest | PSS at rest | RSS after load | PSS after load |\n|---|---|---|---|---|---|\n"
        .to_owned();
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let name = &row.name;
        match &row.outcome {
            Ok(memory) => {
                let (rest, loaded) = (memory.rest, memory.loaded);
                let mib = [rest.rss, rest.pss, loaded.rss, loaded.pss].map(|kib| format!("{:.1}", mib(kib)));
                let _ = writeln!(text, "| {name} | {} | {} |", row.members, mib.join(" | "));
                let point = (row.members as f64, self::mib(loaded.pss));
                match lines.iter_mut().find(|line| line.name == *name) {
                    Some(line) => line.points.push(point),
                    None => lines.push(Line { name: name.clone(), points: vec![point] }),
                }
            }
            Err(reason) => {
                let _ =
                    writeln!(text, "| {name} | {} | not measured: {} |", row.members, without_paths(reason));
            }
        }
    }
    let plot = LinePlot {
        title: "PSS of all processes after load, MiB".to_owned(),
        x: "members".to_owned(),
        log_y: true,
        lines,
    };
    files.insert("memory.svg", plot::lines(&plot));
    text + "\n![Memory over members](memory.svg)\n"
}

fn scale_part(scale: &Scale) -> String {
    let mut text = "Start: from the start of the process to the first answer. Graceful restart: from the signal to the line in the log that the new generation serves, and an answer. Medians of three, by a clock \
         that looks every 10 ms. Memory after the restart, before any load.\n\n\
         | | start s | graceful restart s | RSS MiB | PSS MiB | shared mappings MiB | touched of them MiB |\n|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in &scale.rows {
        match &row.outcome {
            Ok(times) => {
                let (held, shared) = (times.held, times.shared);
                let mib =
                    [held.rss, held.pss, shared.size, shared.touched].map(|kib| format!("{:.1}", mib(kib)));
                let _ = writeln!(
                    text,
                    "| {} | {:.2} | {:.2} | {} |",
                    row.name,
                    times.start,
                    times.graceful,
                    mib.join(" | ")
                );
            }
            Err(reason) => {
                let _ = writeln!(text, "| {} | not measured: {} |", row.name, without_paths(reason));
            }
        }
    }
    let _ = write!(
        text,
        "\nRequests through one pool of {} members, alone and beside {} other pools, in turns:\n\n| | µs | ratio |\n|---|---|---|\n",
        scale::OF_MEMBERS,
        scale::POOLS - 1
    );
    scale.unused_pools.iter().for_each(|row| text.push_str(&unused_row(row)));
    text
}

fn unused_row(row: &CpuRow) -> String {
    match &row.outcome {
        Ok(cost) => format!(
            "| {} | {:.1} | {:.3} ({:.3}–{:.3}) |\n",
            row.name, cost.cpu_us, cost.ratio.median, cost.ratio.low, cost.ratio.high
        ),
        Err(reason) => format!("| {} | not measured: {} |\n", row.name, without_paths(reason)),
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// A reason fit for a table: one line, not long, without absolute paths.
fn without_paths(reason: &str) -> String {
    let words = reason.split_whitespace().map(|word| {
        let start = word.trim_start_matches(|first: char| "\"'(@".contains(first));
        if start.starts_with('/') && start.len() > 1 { "…" } else { word }
    });
    let text = words.collect::<Vec<_>>().join(" ").replace('|', "/");
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cost;
    use crate::latency::Latency;
    use crate::memory::Memory;
    use crate::scale::{ScaleRow, Times};
    use peers::memory::{Held, SharedMappings};
    use peers::stats::Spread;

    fn cost(ratio: f64) -> Result<Cost, String> {
        let ratio = Spread { low: ratio - 0.01, median: ratio, high: ratio + 0.01 };
        Ok(Cost { cpu_us: 50.0 * ratio.median, ratio, per_second: 20_000.0, failed: 0 })
    }

    fn row(name: &str, kind: Kind, outcome: Result<Cost, String>) -> CpuRow {
        CpuRow { name: name.to_owned(), kind, outcome }
    }

    fn findings() -> Findings {
        let table = |members| CpuTable {
            members,
            rows: vec![
                row(PLAIN, Kind::Stock, cost(1.0)),
                row("lb:// round_robin", Kind::Own, cost(1.02)),
                row("HAProxy leastconn", Kind::Other, Err("no such file: /usr/sbin/haproxy".to_owned())),
            ],
        };
        let seen = Latency {
            p50: 2.2,
            p90: 2.5,
            p99: 20.2,
            p999: 20.5,
            slow_percent: 1.25,
            per_second: 7000.0,
            failed: 0,
        };
        let held = Held { rss: 20 * 1024, pss: 10 * 1024 };
        let memory = Memory { rest: held, loaded: held };
        let times =
            Times { start: 0.5, graceful: 0.25, held, shared: SharedMappings { size: 2048, touched: 1024 } };
        Findings {
            cpu: Some(Ok(vec![table(3), table(1000)])),
            latency: Some(Ok(vec![LatencyRow { name: "lb:// round_robin".to_owned(), outcome: Ok(seen) }])),
            memory: Some(Ok(vec![MemoryRow { name: PLAIN.to_owned(), members: 3, outcome: Ok(memory) }])),
            scale: Some(Ok(Scale {
                rows: vec![ScaleRow { name: "100 pools".to_owned(), outcome: Ok(times) }],
                unused_pools: vec![row("100 pool(s)", Kind::Own, cost(1.0))],
            })),
        }
    }

    fn report(findings: &Findings) -> BTreeMap<&'static str, String> {
        let settings = Settings::from_environment().unwrap();
        let place = Place { machine: "M".to_owned(), versions: "V".to_owned(), load: "0.1".to_owned() };
        files(findings, &settings, &place)
    }

    #[test]
    fn the_page_has_a_table_of_every_part_and_every_plot_is_shown() {
        let files = report(&findings());
        let page = &files["README.md"];
        assert!(
            page.contains("| lb:// round_robin | 51.0 | 1.020 (1.010–1.030) | 51.0 | 1.020 (1.010–1.030) |"),
            "{page}"
        );
        assert!(
            page.contains("| lb:// round_robin | 2.20 | 2.50 | 20.20 | 20.50 | 1.25 % | 7000 | 0 |"),
            "{page}"
        );
        assert!(page.contains("| plain ProxyPass | 3 | 20.0 | 10.0 | 20.0 | 10.0 |"), "{page}");
        assert!(page.contains("| 100 pools | 0.50 | 0.25 | 20.0 | 10.0 | 2.0 | 1.0 |"), "{page}");
        for name in files.keys().filter(|name| **name != "README.md") {
            assert!(page.contains(&format!("({name})")), "{name} is not shown");
        }
    }

    #[test]
    fn a_server_that_fails_is_named_with_its_reason_and_without_paths() {
        let files = report(&findings());
        let page = &files["README.md"];
        assert!(page.contains("* HAProxy leastconn, 3 members: no such file: …\n"), "{page}");
        assert!(!page.contains("/usr"));
        assert!(!files["peers.svg"].contains("HAProxy"));
    }

    #[test]
    fn parts_that_were_not_wanted_are_not_there_and_failed_ones_say_why() {
        let findings = Findings { cpu: Some(Err("nginx does not start".to_owned())), ..Findings::default() };
        let files = report(&findings);
        assert_eq!(files.keys().collect::<Vec<_>>(), [&"README.md"]);
        assert!(files["README.md"].contains("Not measured: nginx does not start"));
        assert!(!files["README.md"].contains("Memory"));
    }
}
