// SPDX-License-Identifier: Apache-2.0
//! The report of tests: for people, as JSON, as JUnit's XML.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Serialize;

use super::runs::{FileRun, Runs};
use super::stage::{Case, Failed};
use crate::out::{Form, Out, Tone};

/// Shows everything.
pub fn show(out: &Out, runs: &Runs) -> io::Result<()> {
    if out.form == Form::Json {
        return out.json(&document(runs));
    }
    for file in &runs.files {
        if file.cases.is_empty() && file.error.is_none() {
            continue;
        }
        out.line(&out.tone(Tone::Strong, &file.name))?;
        for case in &file.cases {
            show_case(out, case)?;
        }
        if let Some(error) = &file.error {
            out.line(&format!(
                "  {} {}",
                out.tone(Tone::Bad, "FAILED"),
                indented(error, "    ").trim_start()
            ))?;
        }
    }
    if let Some(coverage) = &runs.coverage {
        let here = std::env::current_dir().unwrap_or_default();
        let rows = coverage.files().map(|(path, ran, all, missed)| {
            vec![shortened(path, &here), format!("{ran}/{all}"), ranges(&missed)]
        });
        out.line("")?;
        out.line(&out.rows(&["script", "lines", "did not run"], rows.collect()))?;
        out.line(&format!("{:.1} % of the lines ran", coverage.percent()))?;
    }
    let (passed, failed) = runs.count();
    let tone = if failed > 0 { Tone::Bad } else { Tone::Good };
    out.line(&out.tone(tone, &format!("{passed} passed, {failed} failed")))
}

fn show_case(out: &Out, case: &Case) -> io::Result<()> {
    let Some(failed) = &case.failed else {
        return out.line(&format!("  {} {}", out.tone(Tone::Good, "ok"), case.name));
    };
    out.line(&format!("  {} {}", out.tone(Tone::Bad, "FAILED"), case.name))?;
    out.line(&indented(&told(case, failed), "    "))
}

/// Line, expected, came, explanation, log.
fn told(case: &Case, failed: &Failed) -> String {
    let mut lines = Vec::new();
    match &failed.expected {
        Some(expected) => {
            lines.push(format!("line {}", failed.line.unwrap_or(case.line)));
            lines.push(format!("expected: {expected}"));
            lines.push(format!("came:     {}", failed.came));
        }
        None => lines.push(failed.came.clone()),
    }
    if !failed.explanation.is_empty() {
        lines.push(String::new());
        lines.push(failed.explanation.clone());
    }
    lines.extend(failed.log.iter().map(|line| format!("log: {line}")));
    lines.join("\n")
}

fn indented(text: &str, by: &str) -> String {
    let line = |line: &str| if line.is_empty() { String::new() } else { format!("{by}{line}") };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn shortened(path: &Path, here: &Path) -> String {
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

/// `3, 7-9`.
fn ranges(lines: &[usize]) -> String {
    let mut rows: Vec<(usize, usize)> = Vec::new();
    for line in lines {
        match rows.last_mut() {
            Some((_, last)) if *last + 1 == *line => *last = *line,
            _ => rows.push((*line, *line)),
        }
    }
    let row = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

#[derive(Serialize)]
struct Document<'r> {
    files: Vec<FileDocument<'r>>,
    coverage: Option<Vec<CoverageDocument>>,
    passed: usize,
    failed: usize,
}

#[derive(Serialize)]
struct FileDocument<'r> {
    file: &'r str,
    error: Option<&'r str>,
    cases: Vec<CaseDocument<'r>>,
}

#[derive(Serialize)]
struct CaseDocument<'r> {
    name: &'r str,
    line: usize,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureDocument<'r>>,
}

#[derive(Serialize)]
struct FailureDocument<'r> {
    line: Option<usize>,
    expected: Option<&'r str>,
    came: &'r str,
    explanation: &'r str,
    log: &'r [String],
}

#[derive(Serialize)]
struct CoverageDocument {
    script: String,
    ran: usize,
    lines: usize,
    missed: Vec<usize>,
}

fn document(runs: &Runs) -> Document<'_> {
    let (passed, failed) = runs.count();
    let coverage = runs.coverage.as_ref().map(|coverage| {
        let one = |(path, ran, lines, missed): (&Path, usize, usize, Vec<usize>)| CoverageDocument {
            script: path.display().to_string(),
            ran,
            lines,
            missed,
        };
        coverage.files().map(one).collect()
    });
    Document { files: runs.files.iter().map(file_document).collect(), coverage, passed, failed }
}

fn case_document(case: &Case) -> CaseDocument<'_> {
    let Case { name, line, failed } = case;
    let failure = failed.as_ref().map(|failed: &Failed| FailureDocument {
        line: failed.line,
        expected: failed.expected.as_deref(),
        came: &failed.came,
        explanation: &failed.explanation,
        log: &failed.log,
    });
    CaseDocument { name, line: *line, passed: failed.is_none(), failure }
}

fn file_document(file: &FileRun) -> FileDocument<'_> {
    let cases = file.cases.iter().map(case_document).collect();
    FileDocument { file: &file.name, error: file.error.as_deref(), cases }
}

/// JUnit's XML. No times are in it: the same tests give the same file.
pub fn junit(runs: &Runs) -> String {
    let (passed, failed) = runs.count();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into a text cannot fail.
    let _ = writeln!(text, "<testsuites tests=\"{}\" failures=\"{failed}\">", passed + failed);
    for file in &runs.files {
        let all = file.cases.len() + usize::from(file.error.is_some());
        let name = escaped(&file.name);
        let failures = file.failures();
        let _ = writeln!(text, "  <testsuite name=\"{name}\" tests=\"{all}\" failures=\"{failures}\">");
        for case in &file.cases {
            let own = escaped(&case.name);
            let begin = format!("    <testcase classname=\"{name}\" name=\"{own}\" line=\"{}\"", case.line);
            let _ = match &case.failed {
                None => writeln!(text, "{begin}/>"),
                Some(failed) => writeln!(text, "{begin}>\n{}    </testcase>", failure(&told(case, failed))),
            };
        }
        if let Some(error) = &file.error {
            let begin = format!("    <testcase classname=\"{name}\" name=\"(the file itself)\">");
            let _ = writeln!(text, "{begin}\n{}    </testcase>", failure(error));
        }
        text.push_str("  </testsuite>\n");
    }
    text + "</testsuites>\n"
}

fn failure(told: &str) -> String {
    let first = told.lines().find(|line| line.starts_with("expected: ")).or(told.lines().next());
    let message = escaped(first.unwrap_or_default());
    format!("      <failure message=\"{message}\">{}</failure>\n", escaped(told))
}

/// Text of XML; what no XML may hold becomes a blank.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(letter),
            letter if letter < ' ' || matches!(letter, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
