// SPDX-License-Identifier: Apache-2.0
//! Lines of metrics. Samples of a family stand together: [`Writer::begin`] comes before its first.

use std::fmt::Write;

use balance::counts::{BOUNDS_S, Histogram};

use super::families::{Kind, PREFIX, family};
use super::options::Format;

pub(super) struct Writer {
    out: String,
    format: Format,
}

/// `name="value"` pairs, joined by commas.
pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    out
}

/// The same labels and one more.
pub(super) fn with(labels: &str, name: &str, value: &str) -> String {
    let comma = if labels.is_empty() { "" } else { "," };
    format!("{labels}{comma}{name}=\"{value}\"")
}

impl Writer {
    pub(super) fn new(format: Format) -> Self {
        Writer { out: String::new(), format }
    }

    /// Writes what stands before a family's samples. False for one that the table does not have: it
    /// has no samples.
    pub(super) fn begin(&mut self, name: &str) -> bool {
        let Some(family) = family(name) else { return false };
        let shown = match self.format {
            Format::OpenMetrics if family.kind == Kind::Counter => {
                name.strip_suffix("_total").unwrap_or(name)
            }
            _ => name,
        };
        let (kind, help) = (family.kind.word(), family.help);
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(self.out, "# HELP {PREFIX}{shown} {help}\n# TYPE {PREFIX}{shown} {kind}");
        true
    }

    /// A sample of a whole number.
    pub(super) fn count(&mut self, name: &str, labels: &str, value: u64) {
        self.head(name, labels);
        let _ = writeln!(self.out, "{value}");
    }

    /// A sample.
    pub(super) fn value(&mut self, name: &str, labels: &str, value: f64) {
        self.head(name, labels);
        let _ = writeln!(self.out, "{value}");
    }

    fn head(&mut self, name: &str, labels: &str) {
        self.out.push_str(PREFIX);
        self.out.push_str(name);
        if !labels.is_empty() {
            self.out.push('{');
            self.out.push_str(labels);
            self.out.push('}');
        }
        self.out.push(' ');
    }

    /// The samples of a histogram. Bounds have a fraction in both formats, as OpenMetrics wants
    /// them: one and the same series, whichever a scrape asks for.
    pub(super) fn histogram(&mut self, name: &str, labels: &str, of: &Histogram) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0_u64;
        let bounds = BOUNDS_S.iter().copied().chain(["+Inf"]);
        for (bound, bucket) in bounds.zip(of.buckets) {
            below = below.saturating_add(bucket);
            let end = if bound.contains(['.', '+']) { "" } else { ".0" };
            let out = &mut self.out;
            let _ = writeln!(out, "{PREFIX}{name}_bucket{{{labels}{comma}le=\"{bound}{end}\"}} {below}");
        }
        self.sum(name, labels, (of.sum_us, below));
    }

    /// The sum of durations, in microseconds, and their number.
    pub(super) fn sum(&mut self, name: &str, labels: &str, (sum_us, count): (u64, u64)) {
        let open = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let seconds = sum_us as f64 / 1e6;
        let _ = writeln!(self.out, "{PREFIX}{name}_sum{open} {seconds}\n{PREFIX}{name}_count{open} {count}");
    }

    pub(super) fn done(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}
