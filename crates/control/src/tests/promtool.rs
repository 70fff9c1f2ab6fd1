// SPDX-License-Identifier: Apache-2.0
//! The findings of Prometheus' own tool about the metrics; and a reader of OpenMetrics.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use super::golden::busy;
use super::{Ask, Heap, text};

fn metrics(house: &Heap, accept: &str) -> String {
    text(&Ask::new("GET", "/metrics").header("accept", accept).of(house))
}

#[test]
fn promtool_finds_nothing() {
    let found = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = found.expect("promtool (scripts/deps test installs it; Debian: prometheus)");
    let mut input = tool.stdin.take().expect("its input");
    input.write_all(metrics(&busy(), "").as_bytes()).expect("written");
    drop(input);
    let said = tool.wait_with_output().expect("it ends");
    let whole = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && whole.is_empty(), "{whole}");
}

/// Name and labels of a sample, and its value.
fn sample(line: &str) -> (&str, &str, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
    (name, labels, value.parse().unwrap_or_else(|_| panic!("{line}")))
}

/// The name that a family's samples begin with, by its type.
fn endings(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "summary" => &["_sum", "_count"],
        _ => &[""],
    }
}

#[test]
fn open_metrics_are_families_each_in_one_piece() {
    let whole = metrics(&busy(), "application/openmetrics-text");
    assert!(whole.ends_with("\n# EOF\n"));
    let (mut family, mut kind) = ("", "");
    let (mut families, mut series) = (BTreeMap::new(), BTreeMap::new());
    for line in whole.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap_or_default();
            assert_eq!(families.insert(family, ""), None, "{family} twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, is) = rest.split_once(' ').expect("a type");
            assert_eq!(name, family);
            kind = is;
        } else {
            let (name, labels, value) = sample(line);
            let ending = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} in {family}"));
            assert!(endings(kind).contains(&ending), "{line}: {kind}");
            assert!(value >= 0.0, "{line}");
            assert_eq!(series.insert((name, labels), value), None, "{line} twice");
        }
    }
    assert!(families.len() > 25, "{}", families.len());
    for ((name, labels), value) in &series {
        let Some((rest, _)) = labels.split_once(",le=\"+Inf\"") else { continue };
        let count = name.replace("_bucket", "_count");
        assert_eq!(series.get(&(count.as_str(), rest)), Some(value), "{name} {labels}");
    }
}

#[test]
fn both_formats_have_the_same_series() {
    let house = busy();
    let series = |accept: &str| -> Vec<String> {
        let whole = metrics(&house, accept);
        let lines = whole.lines().filter(|line| !line.starts_with('#') && !line.contains("scrape_duration"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(series(""), series("application/openmetrics-text"));
}
